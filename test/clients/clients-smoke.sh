#!/bin/bash
# Runs real container clients against a registry with plain HTTP. Each client pushes new images or artifacts, pulls them,
# compares them, and deletes what it can delete. Prints one line for each client, then the totals.
#
# usage: clients-smoke.sh HOST:PORT [USER [PASSWORD]]
#
#   NAME-VERSION: ok | NAME-VERSION: FAIL reason | NAME: skipped (reason)
#
# The exit status is 0 if no client failed. Credentials can also be set as REGISTRY_USERNAME and REGISTRY_PASSWORD. Without a
# user, the clients do not log in. Needs Debian and root. Missing clients are installed: those of the host's release by apt-get.
# Clients of newer releases (trixie, sid) are only unpacked into a cache folder, and clients in Go that Debian does not have are
# built there. So nothing on the machine is upgraded. A client that cannot be installed is skipped, or fails with CI=true.
#
# Settings (environment):
#   SMOKE_SUITES  "host trixie sid go"  whose clients to run ("host": what apt-get installs here)
#   SMOKE_ONLY    ""                    run only these, e.g. "docker skopeo sid/crane"; SMOKE_LIST=1 lists the names
#   SMOKE_LAYERS  "64K,256K,1M"         layer sizes (see mkimage.py)
#   SMOKE_PREFIX  "smoke"               first part of every repository's name
#   SMOKE_TIMEOUT 240                   seconds for one client
#   SMOKE_JOBS    2                     how many clients run at the same time
#   SMOKE_CACHE   clients-smoke-cache in the temporary folder: the clients, about 1.8 GB for all
#   SMOKE_LOGS    ""                    keep every client's log in this folder (those of failed ones are kept anyway)
#   SMOKE_KEEP    ""                    1: leave the work folder there
#   SMOKE_NO_DELETE, SMOKE_NO_REFERRERS 1: for a registry without deletion, without the referrers API
# Ends only processes that it started itself.

SELF=$(readlink -f "$0")
HERE=$(dirname "$SELF")
CLIENTS="host/docker host/dockercli host/podman host/buildah host/skopeo host/ctr host/umoci
trixie/docker trixie/podman trixie/buildah trixie/skopeo trixie/ctr trixie/oras trixie/cosign
sid/docker sid/dockerctrd sid/podman sid/buildah sid/skopeo sid/ctr sid/umoci sid/oras sid/crane sid/cosign sid/notation
sid/apptainer go/regctl go/helm go/stargz"
export CACHE=${SMOKE_CACHE:-${TMPDIR:-/tmp}/clients-smoke-cache}
export LAYERS=${SMOKE_LAYERS:-64K,256K,1M} PREFIX=${SMOKE_PREFIX:-smoke} LIMIT=${SMOKE_TIMEOUT:-240} HERE

# ------------------------------------------------------------------ one client (a process of its own)

if [ "$1" = __one ]; then
  NAME=$2 SUITE=${2%/*} KEY=$3 W=$4 LOG=$4/log
  . "$HERE/lib/versions.sh"
  . "$HERE/lib/steps.sh"
  . "$HERE/lib/docker.sh"
  . "$HERE/lib/images.sh"
  . "$HERE/lib/artifacts.sh"
  export HOME=$W/home; mkdir -p "$HOME"; : > "$LOG"
  unset DOCKER_HOST DOCKER_CONFIG DOCKER_CONTEXT REGISTRY_AUTH_FILE STORAGE_DRIVER
  unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY XDG_CONFIG_HOME XDG_CACHE_HOME XDG_DATA_HOME
  AUTH=(); [ -z "$SM_USER" ] || AUTH=(--authfile "$W/auth.json")
  trap stop_daemons EXIT
  trap 'exit 143' TERM INT
  "run_${2#*/}"
  exit 0
fi

# ------------------------------------------------------------------ all of them

if [ -n "${SMOKE_LIST:-}" ]; then tr ' ' '\n' <<< "$CLIENTS"; exit; fi
case ${1:-} in '' | -h | --help) sed -n '2,28p' "$SELF" | sed 's/^# \{0,1\}//'; exit 2;; esac
export REG=$1 SM_USER=${2:-${REGISTRY_USERNAME:-}} SM_PASS=${3:-${REGISTRY_PASSWORD:-}}
RUN=$(date +%s)-$$; export RUN
curl -s -o /dev/null --max-time 10 "http://$REG/v2/" || { echo "no answer from http://$REG/v2/" >&2; exit 2; }
mkdir -p "$CACHE"
. "$HERE/lib/versions.sh"
. "$HERE/lib/install.sh"

chosen=()
for c in $CLIENTS; do
  [[ " ${SMOKE_SUITES:-host trixie sid go} " == *" ${c%/*} "* ]] || continue
  [ -z "${SMOKE_ONLY:-}" ] || [[ " $SMOKE_ONLY " == *" $c "* || " $SMOKE_ONLY " == *" ${c#*/} "* ]] || continue
  chosen+=("$c")
done
declare -A broken=()
install_clients "${chosen[@]}"

WORK=${TMPDIR:-/tmp}/csm.$RUN      # short (socket paths) and lowercase (podman 4 makes a name of a layout's path)
LOGS=${SMOKE_LOGS:-${TMPDIR:-/tmp}/clients-smoke-logs.$RUN}
mkdir -m 700 "$WORK" || exit 2
ended() { while kill -0 "$1" 2> /dev/null; do sleep 0.1; done; }      # in a trap, wait does not wait
finish() {
  local p
  trap '' INT TERM
  for p in $(jobs -p); do kill "$p" 2> /dev/null; done
  for p in $(jobs -p); do ended "$p"; done
  awk -v w="$WORK/" 'index($2, w) == 1 {print $2}' /proc/mounts | tac |
    while read -r m; do umount -l "$m" 2> /dev/null; done
  rmdir "$CACHE"/*/root"$WORK" 2> /dev/null
  [ -n "${SMOKE_KEEP:-}" ] && echo "work folder: $WORK" >&2 || rm -rf "$WORK"
}
trap finish EXIT
trap 'exit 130' INT TERM

verdict() { echo "$1" > "$WORK/$2.verdict"; echo "$3"; }     # pass|fail|skip NUMBER LINE

not_installed() { # NUMBER KEY REASON
  if [ "${CI:-}" = true ]; then verdict fail "$1" "$2: FAIL cannot be installed: $3"
  else verdict skip "$1" "$2: skipped ($3)"; fi
}

run_client() { # NUMBER CLIENT: in the background, so that a signal is passed on to the client at once
  local n=$1 c=$2 key=${2//\//-} w=$WORK/$1 pid='' rc label
  mkdir -p "$w"
  trap '[ -z "$pid" ] || { kill $pid; ended $pid; } 2> /dev/null; exit 143' TERM
  timeout -k 30 "$LIMIT" bash "$SELF" __one "$c" "$key" "$w" &
  pid=$!
  wait $pid; rc=$?
  label=$(cat "$w/label" 2> /dev/null); label=${label:-$key}
  if [ $rc = 0 ]; then verdict pass "$n" "$label: ok"
  else
    [ $rc != 124 ] && [ $rc != 137 ] ||
      echo "timed out after $LIMIT s: $(grep '^+ \[' "$w/log" | tail -n 1 | cut -c1-200)" > "$w/reason"
    [ -s "$w/reason" ] || echo "exit status $rc: $(tail -n 1 "$w/log" | cut -c1-200)" > "$w/reason"
    verdict fail "$n" "$label: FAIL $(cat "$w/reason")"
  fi
  if [ -n "${SMOKE_LOGS:-}" ] || [ $rc != 0 ]; then
    mkdir -p "$LOGS"; cp "$w/log" "$LOGS/$key.log"
    [ ! -e "$w/daemon.log" ] || cp "$w/daemon.log" "$LOGS/$key.daemon.log"
  fi
  [ -n "${SMOKE_KEEP:-}" ] || rm -rf "$w"
}

SECONDS=0 n=0
for c in "${chosen[@]}"; do
  n=$((n + 1))
  if [ -n "${broken[$c]:-}" ]; then not_installed "$n" "${c//\//-}" "${broken[$c]}"; continue; fi
  while [ "$(jobs -rp | wc -l)" -ge "${SMOKE_JOBS:-2}" ]; do wait -n; done
  run_client "$n" "$c" &
done
wait
verdicts() { cat "$WORK"/*.verdict 2> /dev/null | grep -c "^$1$"; }
[ ! -d "$LOGS" ] || echo "logs: $LOGS"
echo "total time: $SECONDS s"
echo "$(verdicts pass) passed, $(verdicts fail) failed, $(verdicts skip) skipped"
[ "$(verdicts fail)" = 0 ] && [ "$(verdicts pass)" -gt 0 ]
