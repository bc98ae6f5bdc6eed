# Installs the clients. Sets broken[CLIENT] to the reason if a client cannot be installed. Takes one lock for the whole cache,
# so that two runs do not unpack into the same folder.

install_clients() { # CLIENT...
  local c
  exec 9> "$CACHE/lock"; flock 9
  : > "$CACHE/last.log"
  install_host_packages "$@"
  for c in "$@"; do
    if [ "$(id -u)" != 0 ] && needs_root "$c"; then broken[$c]='needs root'
    else install_for "$c" || broken[$c]=${broken[$c]:-$(install_error "$c")}; fi
  done
  flock -u 9; exec 9>&-
}
needs_root() { case $1 in */oras | */crane | */cosign | */notation | go/* | host/skopeo) return 1;; esac; }
install_error() {
  local line
  line=$(grep -hE '^[EW]:' "$CACHE/last.log" "$CACHE/apt-${1%/*}/log" 2> /dev/null | tail -n 1 | cut -c1-200)
  echo "${line:-$(grep . "$CACHE/last.log" | tail -n 1 | cut -c1-200)}"
}

# ------------------------------------------------------------------ the host's own release

host_packages() { # what these clients need of it: COMMAND:PACKAGE
  local c
  for c in "$@"; do
    case $c in
      host/docker | host/dockercli) echo "dockerd:docker.io /usr/bin/docker:docker.io";;
      host/ctr) echo containerd:containerd;;
      host/umoci) echo umoci:umoci skopeo:skopeo;;
      host/*) echo "${c#*/}:${c#*/}";;
      */docker*) echo "runc:runc iptables:iptables";;
      */ctr) echo runc:runc;;
      */umoci | */cosign | */notation) echo skopeo:skopeo;;
      */apptainer) echo "skopeo:skopeo /bin/busybox:busybox-static";;
    esac
  done | tr ' ' '\n' | sort -u
}
missing_packages() {
  local p
  for p in $(host_packages "$@"); do command -v "${p%%:*}" > /dev/null || echo "${p#*:}"; done | sort -u
}
install_host_packages() {
  local missing
  missing=$(missing_packages "$@")
  [ -n "$missing" ] && [ "$(id -u)" = 0 ] || return 0
  echo "installing:" $missing >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get -o DPkg::Lock::Timeout=300 -qq update > "$CACHE/last.log" 2>&1
  apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing >> "$CACHE/last.log" 2>&1
}

# ------------------------------------------------------------------ other releases, unpacked

archive() { # the address of the Debian archive that this machine is set to use
  local s
  s=$(. /etc/os-release; [ "$ID" != debian ] || echo "${VERSION_CODENAME:-}")
  cat /etc/apt/sources.list.d/*.sources 2> /dev/null | awk -v s="$s" '
    /^URIs:/ {u = $2}
    /^Suites:/ {for (i = 2; i <= NF; i++) if ($i == s) ok = 1}
    /^$/ {if (ok && u) {print u; exit} u = ""; ok = 0}
    END {if (ok && u) print u}' | head -n 1 | grep . ||
  cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2> /dev/null | awk -v s="$s" '
    s != "" && $1 == "deb" {for (i = 2; i < NF; i++) if ($(i + 1) == s) {print $i; exit}}' | grep . ||
  echo http://deb.debian.org/debian
}
apt_s() { # SUITE apt-get-arguments: apt-get with that release only, and no state but our own
  local a=$CACHE/apt-$1; shift
  apt-get -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$a/sources" \
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
    -o Dir::State::Lists="$a/lists" -o Dir::Cache="$a/cache" -o Dir::State::status="$a/status" \
    -o Dir::State::extended_states="$a/ext" -o APT::Sandbox::User=root -o APT::Install-Recommends=false \
    -o Acquire::Check-Valid-Until=false -o Debug::NoLocking=true -qq "$@"
}
apt_ready() { # SUITE
  local a=$CACHE/apt-$1 key=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -e "$a/ok" ] && return
  mkdir -p "$a/sources" "$a/lists/partial" "$a/cache/archives/partial"; : > "$a/status"
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$(archive)" "$1" $key \
    > "$a/sources/s.sources"
  apt_s "$1" update > "$a/log" 2>&1 && touch "$a/ok"
}
fetch_direct() { # SUITE PACKAGE: unpacked into $CACHE/SUITE/PACKAGE
  local d=$CACHE/$1/$2 t
  [ -s "$d/.ok" ] && return
  apt_ready "$1" || return
  t=$(mktemp -d "$CACHE/t.XXXXXX"); rm -rf "$d"; mkdir -p "$d"
  (cd "$t" && apt_s "$1" download "$2" && dpkg-deb -x ./*.deb "$d" && dpkg-deb -f ./*.deb Version > "$d/.ok") \
    > "$CACHE/last.log" 2>&1
  rm -rf "$t"; [ -s "$d/.ok" ]
}
fetch_root() { # SUITE: podman, buildah, skopeo (and apptainer) with all they depend on, unpacked into $CACHE/SUITE/root
  local r=$CACHE/$1/root a=$CACHE/apt-$1 d more=
  [ -e "$r/.ok" ] && return
  apt_ready "$1" || return
  [ "$1" = sid ] && more=apptainer
  apt_s "$1" -y --download-only install skopeo podman buildah crun busybox-static $more \
    > "$CACHE/last.log" 2>&1 || return
  rm -rf "$r"
  mkdir -p "$r"/usr/{bin,sbin,lib,lib64} "$r"/{proc,sys,dev,run,tmp,root,etc} "$r"/var/{tmp,lib/containers}
  chmod 1777 "$r/tmp" "$r/var/tmp"
  for d in bin sbin lib lib64; do ln -s usr/$d "$r/$d"; done
  for d in "$a"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$d" | tar -C "$r" -x --keep-directory-symlink --exclude='./usr/share/doc/*' \
      --exclude='./usr/share/locale/*' --exclude='./usr/share/man/*' -f - || return
  done
  for d in sh env cat cp rm mkdir ls; do [ -e "$r/usr/bin/$d" ] || ln -s busybox "$r/usr/bin/$d"; done  # for apptainer
  cp /etc/passwd /etc/group /etc/nsswitch.conf /etc/hosts "$r/etc/"; : > "$r/etc/resolv.conf"
  rm -f "$a"/cache/archives/*.deb; touch "$r/.ok"
}
build_go() { # PROGRAM
  local folder
  folder=$(go_folder "$1")
  [ -x "$folder/$1" ] && return
  command -v go > /dev/null || { broken[go/$1]='no go to build it with'; return 1; }
  echo "building: $1" >&2
  mkdir -p "$folder"
  if [ "$1" = stargz ]; then
    (cd "$HERE/stargz" && GOFLAGS= go build -o "$folder/stargz" .) > "$CACHE/last.log" 2>&1
    return
  fi
  (cd "$folder" && GOBIN=$folder GOFLAGS= go install "$(go_module "$1")") > "$CACHE/last.log" 2>&1
}
install_for() { # CLIENT
  local s=${1%/*} p
  case $1 in
    go/*) build_go "${1#*/}"; return;;
    host/dockercli) [ -x /usr/local/bin/docker ] || { broken[$1]='no docker command in /usr/local/bin'; return 1; };;
  esac
  [ -z "$(missing_packages "$1")" ] || return
  case $1 in
    host/*) return;;
    */podman | */buildah | */skopeo | */apptainer) fetch_root "$s"; return;;
    */docker*) p="docker.io docker-cli docker-buildx containerd";;
    */ctr) p=containerd;;
    *) p=${1#*/};;
  esac
  for p in $p; do fetch_direct "$s" "$p" || return; done
}
