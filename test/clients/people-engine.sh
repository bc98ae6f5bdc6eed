#!/bin/bash
# The docker engine of people.ts. Installs docker and skopeo if they are missing, as clients-smoke.sh does. Starts an engine of
# its own, and makes the images mkimage:one, :two and :three, also as an OCI layout in FOLDER/img. Prints "ready", or the error.
# Stops the engine, removes FOLDER and ends when its standard input ends.
#
# usage: people-engine.sh HOST:PORT FOLDER [dockerd flags]

HERE=$(dirname "$(readlink -f "$0")")
REG=$1 W=$2 SUITE=host LOG=$2/log SM_PASS=''
CACHE=${SMOKE_CACHE:-${TMPDIR:-/tmp}/clients-smoke-cache}
PATH=/usr/sbin:/usr/bin:$PATH
mkdir -p "$CACHE"
. "$HERE/lib/versions.sh"
. "$HERE/lib/install.sh"
. "$HERE/lib/steps.sh"
. "$HERE/lib/docker.sh"
fail() { echo "$*"; exit 1; }

declare -A broken=()
install_clients host/docker host/skopeo > /dev/null
for c in "${!broken[@]}"; do fail "$c cannot be installed: ${broken[$c]}"; done

trap 'stop_daemons; rm -rf "$W"' EXIT
trap 'exit 143' TERM INT
for tag in one two three; do
  step image python3 "$HERE/mkimage.py" "$W/img" --layers 2K,3K --seed "people-$tag" --tag "$tag" --append
done
tar -C "$W/img" -cf "$W/img.tar" .
start_dockerd docker --storage-driver=vfs "${@:3}"
step load docker load -i "$W/img.tar"
echo ready
cat > /dev/null
