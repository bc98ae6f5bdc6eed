# The clients of images except docker: podman, buildah, skopeo, ctr, umoci, crane, apptainer.

run_podman() {
  local tag=$REG/$PREFIX/$KEY id p t=--tls-verify=false; into
  label "podman-$("${IN[@]}" podman --version 2>> "$LOG" | ver)"
  p=("${IN[@]}" podman --storage-driver=vfs --root "$W/root" --runroot "$W/run" --tmpdir "$W/tmp"
    --cgroup-manager=cgroupfs --events-backend=none)
  export PODMAN_IGNORE_CGROUPSV1_WARNING=1
  image
  step load "${p[@]}" pull -q "oci:$W/img:v1"
  id=$("${p[@]}" images -q --no-trunc 2>> "$LOG" | head -n 1)
  same 'image id' "$id" "$CFG"
  step tag "${p[@]}" tag "${id#sha256:}" "$tag:v1"
  login "${p[@]}" login $t --authfile "$W/auth.json" -u "$SM_USER" --password-stdin "$REG"
  step push "${p[@]}" push -q $t "${AUTH[@]}" "$tag:v1"
  step 'push v2s2' "${p[@]}" push -q $t "${AUTH[@]}" --format v2s2 "$tag:v1" "docker://$tag:v2s2"
  step rmi "${p[@]}" rmi -a -f
  step pull "${p[@]}" pull -q $t "${AUTH[@]}" "$tag:v1"
  same 'image id after pull' "$("${p[@]}" images -q --no-trunc 2>> "$LOG" | head -n 1)" "$CFG"
  step 'manifest create' "${p[@]}" manifest create localhost/list
  step 'manifest add' "${p[@]}" manifest add $t "${AUTH[@]}" localhost/list "docker://$tag:v2s2"
  step 'manifest add of 2 platforms' "${p[@]}" manifest add --all localhost/list "oci:$W/img:multi"
  step 'manifest push' "${p[@]}" manifest push -q --all $t "${AUTH[@]}" localhost/list "docker://$tag:list"
  step rmi "${p[@]}" rmi -a -f
  step 'pull through a list' "${p[@]}" pull -q $t "${AUTH[@]}" "$tag:list"
  step 'pull of another platform' "${p[@]}" pull -q $t "${AUTH[@]}" --platform linux/arm64/v8 "$tag:list"
}

run_buildah() {
  local tag=$REG/$PREFIX/$KEY b c id f t=--tls-verify=false; into
  label "buildah-$("${IN[@]}" buildah --version 2>> "$LOG" | ver)"
  b=("${IN[@]}" buildah --storage-driver vfs --root "$W/root" --runroot "$W/run")
  head -c 100000 /dev/urandom > "$W/f1"; head -c 300000 /dev/urandom > "$W/f2"
  image
  login "${b[@]}" login $t --authfile "$W/auth.json" -u "$SM_USER" --password-stdin "$REG"
  c=$("${b[@]}" from scratch 2>> "$LOG") || fail "from scratch: $(reason)"
  step add "${b[@]}" add -q "$c" "$W/f1" /f1
  step commit "${b[@]}" commit -q --rm "$c" localhost/base
  c=$("${b[@]}" from localhost/base 2>> "$LOG") || fail "from base: $(reason)"
  step add "${b[@]}" add -q "$c" "$W/f2" /f2
  step config "${b[@]}" config --label a=b --cmd /f1 "$c"
  step commit "${b[@]}" commit -q --rm "$c" localhost/two
  id=$("${b[@]}" images -q --no-trunc localhost/two 2>> "$LOG")
  for f in v2s2 oci; do
    step "push $f" "${b[@]}" push -q $t "${AUTH[@]}" --format $f localhost/two "docker://$tag:$f"
  done
  step rmi "${b[@]}" rmi -a -f
  step pull "${b[@]}" pull -q $t "${AUTH[@]}" "docker://$tag:oci"
  same 'image id after pull' "$("${b[@]}" images -q --no-trunc 2>> "$LOG")" "$id"
  step 'manifest create' "${b[@]}" manifest create localhost/list
  step 'manifest add of 2 platforms' "${b[@]}" manifest add --all localhost/list "oci:$W/img:multi"
  step 'manifest push' "${b[@]}" manifest push -q --all $t "${AUTH[@]}" localhost/list "docker://$tag:list"
  step rmi "${b[@]}" rmi -a -f
  step 'pull through a list' "${b[@]}" pull -q $t "${AUTH[@]}" "docker://$tag:list"
}

run_skopeo() {
  local tag=docker://$REG/$PREFIX/$KEY s to from; into
  s=("${IN[@]}" skopeo)
  to=(--dest-tls-verify=false "${AUTH[@]}") from=(--src-tls-verify=false "${AUTH[@]}")
  label "skopeo-$("${s[@]}" --version 2>> "$LOG" | ver)"
  image
  login "${s[@]}" login --tls-verify=false --authfile "$W/auth.json" -u "$SM_USER" --password-stdin "$REG"
  step 'push (oci: to docker://)' "${s[@]}" copy --preserve-digests "${to[@]}" "oci:$W/img:v1" "$tag:v1"
  step 'push --all' "${s[@]}" copy --all --preserve-digests "${to[@]}" "oci:$W/img:multi" "$tag:multi"
  step 'pull (docker:// to dir:)' "${s[@]}" copy --preserve-digests "${from[@]}" "$tag:v1" "dir:$W/dir"
  same 'manifest after pull' "$(shafile "$W/dir/manifest.json")" "$DIG"
  step 'pull --all' "${s[@]}" copy --all --preserve-digests "${from[@]}" "$tag:multi" "dir:$W/dirm"
  same 'index after pull' "$(shafile "$W/dirm/manifest.json")" "$MDIG"
  step 'pull to oci:' "${s[@]}" copy "${from[@]}" "$tag:v1" "oci:$W/out:v1"
  step 'push dir:' "${s[@]}" copy "${to[@]}" "dir:$W/dir" "$tag:dir"
  step 'registry to registry' "${s[@]}" copy --all --src-tls-verify=false "${to[@]}" "$tag:multi" "$tag-copy:multi"
  step 'push --format v2s2' "${s[@]}" copy --format v2s2 "${to[@]}" "oci:$W/img:v1" "$tag:v2s2"
  step inspect "${s[@]}" inspect --tls-verify=false "${AUTH[@]}" "$tag@$DIG"
  step 'list-tags' "${s[@]}" list-tags --tls-verify=false "${AUTH[@]}" "$tag"
  last_output | grep -q '"v2s2"' || fail 'list-tags: the tag v2s2 is not in the list'
  deletes || return 0
  step delete "${s[@]}" delete --tls-verify=false "${AUTH[@]}" "$tag:v2s2"
  gone 'inspect of what was deleted' "${s[@]}" inspect --tls-verify=false "${AUTH[@]}" "$tag:v2s2"
  step 'inspect of what was not' "${s[@]}" inspect --tls-verify=false "${AUTH[@]}" "$tag:v1"
}

run_ctr() {
  local tag=$REG/$PREFIX/$KEY c u=() name digest
  [ "$SUITE" = host ] && PATH=/usr/sbin:/usr/bin:$PATH || PATH=$(bins containerd)$PATH
  label "ctr-$(ctr --version | ver)"
  ctr_config > "$W/config.toml"
  c=(ctr -a "$W/c.sock")
  daemon "$W/containerd.pid" "ctr -a $W/c.sock version" -- containerd -c "$W/config.toml"
  [ -z "$SM_USER" ] || u=(-u "$SM_USER:$SM_PASS")
  image
  step import "${c[@]}" images import --all-platforms "$W/img.tar"
  for name in v1 multi; do
    step "tag $name" "${c[@]}" images tag docker.io/library/mkimage:$name "$tag:$name"
    step "push $name" "${c[@]}" images push --plain-http "${u[@]}" "$tag:$name"
  done
  step 'images rm' "${c[@]}" images rm --sync $("${c[@]}" images ls -q)
  same 'blobs left after rm' "$("${c[@]}" content ls -q | wc -l)" 0
  for name in v1 multi; do
    digest=$DIG; [ $name = v1 ] || digest=$MDIG
    step "pull $name" "${c[@]}" images pull --all-platforms --plain-http "${u[@]}" "$tag:$name"
    same "digest of $name after pull" "$("${c[@]}" images ls "name==$tag:$name" | awk 'NR == 2 {print $3}')" "$digest"
    "${c[@]}" images check 2>> "$LOG" | grep -F "$tag:$name" | grep -q complete ||
      fail "images check: $name is not complete"
  done
}
ctr_config() {
  cat << END
version = 2
root = "$W/root"
state = "$W/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.nri.v1.nri"]
[grpc]
  address = "$W/c.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$W/opt"
END
}

run_umoci() { # umoci makes and unpacks layouts; the transfer is skopeo's
  local tag=docker://$REG/$PREFIX/$KEY
  [ "$SUITE" = host ] || PATH=$(bins umoci)$PATH
  label "umoci-$(umoci --version | ver)"
  step init umoci init --layout "$W/u"
  step new umoci new --image "$W/u:v1"
  step unpack umoci unpack --image "$W/u:v1" "$W/b"
  head -c 100000 /dev/urandom > "$W/b/rootfs/f1"; step repack umoci repack --refresh-bundle --image "$W/u:v1" "$W/b"
  head -c 300000 /dev/urandom > "$W/b/rootfs/f2"; step repack umoci repack --refresh-bundle --image "$W/u:v1" "$W/b"
  step config umoci config --image "$W/u:v1" --config.cmd /f1
  login skopeo login --tls-verify=false --authfile "$W/auth.json" -u "$SM_USER" --password-stdin "$REG"
  step push skopeo copy --dest-tls-verify=false "${AUTH[@]}" "oci:$W/u:v1" "$tag:v1"
  step pull skopeo copy --src-tls-verify=false "${AUTH[@]}" "$tag:v1" "oci:$W/u2:v1"
  step 'unpack after pull' umoci unpack --image "$W/u2:v1" "$W/b2"
  step compare diff -r "$W/b/rootfs" "$W/b2/rootfs"
}

run_crane() {
  local tag=$REG/$PREFIX/$KEY
  PATH=$(bins crane)$PATH; export DOCKER_CONFIG=$W/dockercfg
  label "crane-$(ver < "$CACHE/$SUITE/crane/.ok")"
  image
  step 'one-image layout' python3 "$HERE/mkimage.py" "$W/one" --layers "$LAYERS" --seed "$RUN-$NAME" --tag v1
  login crane auth login "$REG" -u "$SM_USER" --password-stdin
  step push crane push --insecure "$W/one" "$tag:v1"
  step 'push --index' crane push --insecure --index "$W/img" "$tag:all"
  same 'digest' "$(crane digest --insecure "$tag:v1" 2>> "$LOG")" "$DIG"
  same 'digest of the index' "$(crane digest --insecure "$tag:all" 2>> "$LOG")" "$(shafile "$W/img/index.json")"
  step pull crane pull --insecure --format=oci "$tag:v1" "$W/out"
  same 'digest after pull' "$(layout_digest "$W/out")" "$DIG"
  step 'pull of the index' crane pull --insecure --format=oci "$tag@$MDIG" "$W/outm"
  same 'digest of the index after pull' "$(layout_digest "$W/outm")" "$MDIG"
  step 'pull of a tarball' crane pull --insecure "$tag:v1" "$W/out.tar"
  step validate crane validate --insecure --remote "$tag:v1"
  tar -C "$W/img" -cf "$W/more.tar" oci-layout
  step append crane append --insecure -b "$tag:v1" -f "$W/more.tar" -t "$tag:more"
  step 'copy to a second repository' crane copy --insecure "$tag:v1" "$tag-copy:v1"
  step 'index append' crane index append --insecure -m "$tag:v1" -m "$tag:more" -t "$tag:list"
  step tag crane tag --insecure "$tag:v1" second
  step ls crane ls --insecure "$tag"
  step catalog crane catalog --insecure "$REG"
  last_output | grep -qx "$PREFIX/$KEY" || fail 'catalog: the repository is not listed'
  deletes || return 0
  step 'delete of a tag' crane delete --insecure "$tag:second"
  gone 'manifest of the deleted tag' crane manifest --insecure "$tag:second"
  step 'manifest of the tag beside it' crane manifest --insecure "$tag:v1"
  step 'delete of a manifest' crane delete --insecure "$tag-copy@$DIG"
  gone 'manifest that was deleted' crane manifest --insecure "$tag-copy@$DIG"
}

run_apptainer() { # pulls the docker:// image into a SIF file, pushes and pulls that as an ORAS artifact
  local x; into
  x=("${IN[@]}" apptainer)
  label "apptainer-$("${x[@]}" --version 2>> "$LOG" | ver)"
  export APPTAINER_TMPDIR=$W APPTAINER_CACHEDIR=$W/appcache
  pushed --file /bin/busybox=bin/sh --cmd /bin/sh
  [ -z "$SM_USER" ] || export APPTAINER_DOCKER_USERNAME=$SM_USER APPTAINER_DOCKER_PASSWORD=$SM_PASS
  step 'pull docker://' "${x[@]}" pull --no-https "$W/x.sif" "docker://$REG/$PREFIX/$KEY:v1"
  step 'push oras://' "${x[@]}" push --no-https -U "$W/x.sif" "oras://$REG/$PREFIX/$KEY-sif:v1"
  step 'pull oras://' "${x[@]}" pull --no-https "$W/y.sif" "oras://$REG/$PREFIX/$KEY-sif:v1"
  step compare cmp "$W/x.sif" "$W/y.sif"
}
