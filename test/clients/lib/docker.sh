# docker: four engines, each with its own daemon, data and socket; the classic builder, BuildKit and manifest lists.

run_docker() { # host, trixie, sid
  local cli=docker
  case $SUITE in
    host) PATH=/usr/sbin:/usr/bin:$PATH cli=/usr/bin/docker;;
    *) PATH=$(bins docker.io containerd docker-cli)$PATH;;
  esac
  label "docker-$(dockerd --version | ver)"
  do_docker "$cli" --storage-driver=vfs
  [ "$SUITE" != sid ] || buildx_steps
}
run_dockercli() { # the docker command that the machine came with, against the host's dockerd
  PATH=/usr/sbin:/usr/bin:$PATH
  label "dockercli-$(/usr/local/bin/docker --version | ver)+dockerd-$(dockerd --version | ver)"
  do_docker /usr/local/bin/docker --storage-driver=vfs
}
run_dockerctrd() { # the containerd image store: pushes what it has, OCI types, indexes, attestations
  PATH=$(bins docker.io containerd docker-cli)$PATH
  label "docker-$(dockerd --version | ver)-containerd-store"
  do_docker docker --feature containerd-snapshotter=true --storage-driver=native
  buildx_steps cache
}

# start_dockerd CLI [dockerd flags]: PATH already leads to the wanted dockerd and containerd
start_dockerd() {
  local cli=$1; shift
  export DOCKER_HOST=unix://$W/d.sock DOCKER_CONFIG=$W/dockercfg
  mkdir -p "$DOCKER_CONFIG"
  daemon "$W/dockerd.pid" "$cli version" -- dockerd --iptables=false --ip6tables=false --bridge=none \
    --data-root="$W/data" --exec-root="$W/exec" --pidfile="$W/docker.pid" --host "$DOCKER_HOST" \
    --insecure-registry "$REG" "$@"
}
# do_docker CLI [dockerd flags]
do_docker() {
  local cli=$1 id tag=$REG/$PREFIX/$KEY repo
  start_dockerd "$@"
  image
  step load "$cli" load -i "$W/img.tar"
  step tag "$cli" tag mkimage:v1 "$tag:v1"
  login "$cli" login -u "$SM_USER" --password-stdin "$REG"
  id=$($cli image inspect --format '{{.Id}}' "$tag:v1")
  step push "$cli" push "$tag:v1"
  repo=$($cli image inspect --format '{{index .RepoDigests 0}}' "$tag:v1")
  no_images "$cli"
  step pull "$cli" pull "$tag:v1"
  same 'image id after pull' "$($cli image inspect --format '{{.Id}}' "$tag:v1")" "$id"
  [[ $repo != *@sha256:* ]] || step 'pull by digest' "$cli" pull "$tag@${repo#*@}"
  docker_build "$cli" "$tag"
  docker_list "$cli" "$tag"
}
# builds on the pulled image with the classic builder and pushes to a second repository, where the layers of the base image
# are mounted or exist
docker_build() { # CLI TAG
  mkdir -p "$W/ctx"; head -c 20000 /dev/urandom > "$W/ctx/added"
  printf 'FROM %s\nCOPY added /added\n' "$2:v1" > "$W/ctx/Dockerfile"
  DOCKER_BUILDKIT=0 step build "$1" build -t "$2-built:v1" "$W/ctx"
  step 'push of a build' "$1" push "$2-built:v1"
  no_images "$1"
  step 'pull of a build' "$1" pull "$2-built:v1"
}
# makes a manifest list of two images, one of them in the other repository, with the command line program alone
docker_list() { # CLI TAG
  step 'manifest create' "$1" manifest create --insecure "$2:list" "$2:v1" "$2-built:v1"
  step 'manifest annotate' "$1" manifest annotate --arch arm64 --variant v8 "$2:list" "$2-built:v1"
  step 'manifest push' "$1" manifest push --insecure --purge "$2:list"
  step 'manifest inspect' "$1" manifest inspect --insecure "$2:list"
  no_images "$1"
  step 'pull through a list' "$1" pull "$2:list"
}
no_images() { # prune -a, not rmi: rmi refuses an image that another one was built on, whatever the order in -q
  step 'image prune' "$1" image prune -af
  same 'images left' "$("$1" images -aq | wc -l)" 0
}

# with the daemon of do_docker: build --push, imagetools; "cache": also 2 platforms and the registry cache, which the
# containerd store alone can do
buildx_steps() {
  local tag=$REG/$PREFIX/$KEY-bx plugin=$CACHE/$SUITE/docker-buildx/usr/libexec/docker/cli-plugins/docker-buildx
  mkdir -p "$DOCKER_CONFIG/cli-plugins"; ln -sf "$plugin" "$DOCKER_CONFIG/cli-plugins/docker-buildx"
  printf 'FROM scratch\nCOPY added /added\n' > "$W/ctx/Dockerfile"
  step 'buildx build --push' docker buildx build --progress=plain -t "$tag:v1" --push "$W/ctx"
  [ "$1" != cache ] || buildx_cache_steps "$tag"
  step 'buildx imagetools create' docker buildx imagetools create -t "$tag:list" "$tag:v1" "$REG/$PREFIX/$KEY:v1"
  step 'buildx imagetools inspect' docker buildx imagetools inspect "$tag:list"
}
buildx_cache_steps() { # TAG
  local b=(docker buildx build --progress=plain --push) cache=type=registry,ref=$1:cache
  step 'buildx build --push of 2 platforms' "${b[@]}" --platform linux/amd64,linux/arm64 -t "$1:multi" "$W/ctx"
  no_images docker
  step 'pull of another platform' docker pull --platform linux/arm64 "$1:multi"
  step 'buildx --cache-to registry' "${b[@]}" --cache-to "$cache,mode=max" -t "$1:v2" "$W/ctx"
  step prune docker builder prune -af
  step 'buildx --cache-from registry' "${b[@]}" --cache-from "$cache" -t "$1:v3" "$W/ctx"
}
