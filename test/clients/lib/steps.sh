# Functions for the script of a client: steps with a log and a reason of failure, test images, daemons, and the chroot of an
# unpacked release. W is the work folder of the client, KEY is its name, and RUN is the number of this run.

# step WHAT CMD...: runs it with its output in the log; on failure gives the reason and ends
step() {
  local what=$1; shift
  echo "+ [$what] ${*//${SM_PASS:-$'\x01'}/***}" >> "$LOG"
  "$@" >> "$LOG" 2>&1 < /dev/null || fail "$what: $(reason)"
}
# gone WHAT CMD...: the command must fail, because what it asks for was deleted
gone() {
  local what=$1; shift
  echo "+ [$what] ${*//${SM_PASS:-$'\x01'}/***}" >> "$LOG"
  ! "$@" >> "$LOG" 2>&1 < /dev/null || fail "$what: it is still there"
  reason | grep -qiE 'not found|unknown|404|no signatures' || fail "$what: $(reason)"
}
deletes() { [ -z "${SMOKE_NO_DELETE:-}" ]; }
# no_fallback CMD...: CMD lists tags, and none of them may be a fallback tag of the referrers API
no_fallback() {
  local tags
  [ -z "${SMOKE_NO_REFERRERS:-}" ] || return 0
  echo "+ [tags] $*" >> "$LOG"
  tags=$("$@" 2>> "$LOG" < /dev/null) || fail "list of tags: $(reason)"
  printf '%s\n' "$tags" >> "$LOG"
  tags=$(grep -m 1 -E 'sha256-[0-9a-f]{64}' <<< "$tags") || return 0
  fail "referrers: a fallback tag was written: $tags"
}
fail() { printf '%s\n' "$*" > "$W/reason"; exit 1; }
last_output() { tail -c 20000 "$LOG" | tac | sed '/^+ \[/q' | tac | tr '\r' '\n' | grep -vE '^\+ \[|^\s*$'; }
reason() { # the line that explains the last step's failure
  local out bad='error|fatal|denied|unauthorized|refused|unknown|unexpected|not found|cannot|failed|forbidden'
  out=$(last_output | tail -n 30)
  { grep -iE "$bad" <<< "$out" || printf '%s\n' "$out"; } | tail -n 1 | tr -d '\000-\037' | cut -c1-300
}
same() { [ "$2" = "$3" ] || fail "$1: got ${2:-nothing}, want $3"; }
pw() { printf '%s' "$SM_PASS" | "$@"; }                       # CMD with the password on standard input
from() { local file=$1; shift; "$@" < "$file"; }              # CMD with FILE on standard input
login() { [ -z "$SM_USER" ] || step login pw "$@"; }
label() { printf '%s' "$1" > "$W/label"; }
ver() { grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1; }
jget() { # FILE KEY...
  python3 -c 'import json,sys; v=json.load(open(sys.argv[1]))
for k in sys.argv[2:]: v = v[int(k)] if isinstance(v, list) else v[k]
print(v)' "$@"
}
layout_digest() { jget "$1/index.json" manifests 0 digest; }
shafile() { echo "sha256:$(sha256sum "$1" | cut -d' ' -f1)"; }

# image [mkimage args]: layout $W/img with a tag v1 of data that no other client or run has, and a tag multi of two
# platforms; sets their digests DIG and MDIG, and CFG, that of the config
image() {
  local one=(--layers "$LAYERS" --seed "$RUN-$NAME" --tag v1 "$@")
  local two=(--layers 2000,30K --seed "$RUN-$NAME-m" --tag multi --platforms linux/amd64,linux/arm64/v8)
  step image python3 "$HERE/mkimage.py" "$W/img" "${one[@]}"
  python3 "$HERE/mkimage.py" "$W/img" --append "${one[@]}" > "$W/v1.json"
  python3 "$HERE/mkimage.py" "$W/img" --append "${two[@]}" > "$W/multi.json"
  DIG=$(jget "$W/v1.json" digest) CFG=$(jget "$W/v1.json" config digest) MDIG=$(jget "$W/multi.json" digest)
  tar -C "$W/img" -cf "$W/img.tar" .
}
# pushed: pushes the image with the host's skopeo, for a client that cannot push; sets REF, the name of the image by digest
pushed() {
  image "$@"
  login skopeo login --tls-verify=false --authfile "$W/auth.json" -u "$SM_USER" --password-stdin "$REG"
  step 'push (skopeo)' skopeo copy --preserve-digests --dest-tls-verify=false "${AUTH[@]}" "oci:$W/img:v1" \
    "docker://$REG/$PREFIX/$KEY:v1"
  REF=$REG/$PREFIX/$KEY@$DIG
}

# daemon PIDFILE READY-COMMAND -- CMD...: starts CMD in the background, waits until READY-COMMAND succeeds
daemon() {
  local pidf=$1 ready=$2 log=$W/daemon.log pid; shift 3
  echo "+ [daemon] $*" >> "$LOG"
  setsid "$@" > "$log" 2>&1 < /dev/null &
  pid=$!
  echo $pid > "$pidf"
  for _ in $(seq 300); do
    eval "$ready" > /dev/null 2>&1 && return
    [ -d /proc/$pid ] ||
      fail "the daemon ended at once: $(grep -iE 'level=(error|fatal)|failed|error' "$log" | tail -n 1 | cut -c1-300)"
    sleep 0.2
  done
  fail "the daemon did not answer within 60 s: $(tail -n 1 "$log" | cut -c1-200)"
}
stop_daemons() {
  local f pid m
  for f in "$W"/*.pid "$W"/exec/containerd/containerd.pid; do
    [ -s "$f" ] || continue
    pid=$(cat "$f")
    { tr '\0' ' ' < "/proc/$pid/cmdline"; } 2> /dev/null | grep -qF "$W" || continue      # not ours (any more)
    kill "$pid" 2> /dev/null
    for _ in $(seq 75); do [ -d "/proc/$pid" ] || break; sleep 0.2; done
    [ -d "/proc/$pid" ] && kill -9 "$pid" 2> /dev/null
  done
  awk -v w="$W/" 'index($2, w) == 1 {print $2}' /proc/mounts | tac |
    while read -r m; do umount -l "$m" 2> /dev/null; done
  rmdir "$CACHE/$SUITE/root$W" 2> /dev/null
}

# the folders with programs in the unpacked release of this client, for PATH
bins() { local p; for p in "$@"; do printf '%s' "$CACHE/$SUITE/$p/usr/sbin:$CACHE/$SUITE/$p/usr/bin:"; done; }
# IN: prefix for commands of the unpacked release (chroot), empty for the host's
into() { IN=(inroot); [ "$SUITE" != host ] || IN=(); }
# inroot CMD...: chrooted into the unpacked release, with the host's /proc, /sys, /dev and network and this work folder,
# in a private mount namespace. Its / is bound onto itself to be a mount point: containers/storage remounts / to unpack.
# The cache of the tools about blobs (/var/lib/containers) is private to this client, because others may run at the same time.
inroot() {
  mkdir -p "$W/varlib"
  unshare -m --propagation private bash -c 'R=$1 W=$2; shift 2
    mount --bind "$R" "$R" && mount -t proc proc "$R/proc" && mount --rbind /sys "$R/sys" &&
    mount --rbind /dev "$R/dev" && mount -t tmpfs tmpfs "$R/run" &&
    mkdir -p "$R$W" "$R/var/lib/containers" && mount --bind "$W" "$R$W" &&
    mount --bind "$W/varlib" "$R/var/lib/containers" && exec chroot "$R" "$@"' _ "$CACHE/$SUITE/root" "$W" "$@"
}
