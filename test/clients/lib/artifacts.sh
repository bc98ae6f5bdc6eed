# The clients of artifacts, signatures and referrers: oras, cosign, notation, regctl, helm.

run_oras() {
  local tag=$REG/$PREFIX/$KEY h=--plain-http
  PATH=$(bins oras)$PATH; export DOCKER_CONFIG=$W/dockercfg
  label "oras-$(oras version | ver)"
  image
  cd "$W" || exit 1
  head -c 2000000 /dev/urandom > big.bin; echo '{"a":1}' > a.json
  login oras login $h -u "$SM_USER" --password-stdin "$REG"
  step 'push of an artifact' oras push $h "$tag:art" --artifact-type application/vnd.example.smoke --annotation k=v \
    big.bin:application/octet-stream a.json:application/json
  step 'pull of an artifact' oras pull $h -o out "$tag:art"
  step compare cmp big.bin out/big.bin
  step attach oras attach $h --artifact-type application/vnd.example.sbom "$tag:art" a.json:application/json
  step discover oras discover $h "$tag:art"
  last_output | grep -q vnd.example.sbom || fail 'discover: the attached artifact is not listed'
  no_fallback oras repo tags $h "$tag"
  step 'copy from a layout' oras cp --from-oci-layout --to-plain-http "$W/img:v1" "$tag:v1"
  step 'copy of an index' oras cp --from-oci-layout --to-plain-http "$W/img:multi" "$tag:multi"
  step 'copy to a layout' oras cp --from-plain-http --to-oci-layout "$tag:v1" "$W/out2:v1"
  same 'digest after pull' "$(layout_digest out2)" "$DIG"
  step 'copy of an index to a layout' oras cp --from-plain-http --to-oci-layout "$tag:multi" "$W/out3:multi"
  same 'digest of the index after pull' "$(layout_digest out3)" "$MDIG"
  step 'copy -r to a second repository' oras cp -r --from-plain-http --to-plain-http "$tag:art" "$tag-copy:art"
  step 'discover in the second repository' oras discover $h "$tag-copy:art"
  last_output | grep -q vnd.example.sbom || fail 'discover: the copied referrer is not listed'
  no_fallback oras repo tags $h "$tag-copy"
  step 'blob push' oras blob push $h "$tag" a.json
  step 'blob fetch' oras blob fetch $h -o a2.json "$tag@$(shafile a.json)"
  step 'repo tags' oras repo tags $h "$tag"
  step 'repo ls' oras repo ls $h "$REG"
  step tag oras tag $h "$tag:v1" second
  deletes || return 0
  step 'manifest delete' oras manifest delete $h -f "$tag:multi"
  gone 'manifest that was deleted' oras manifest fetch $h "$tag@$MDIG"
  echo '{"b":2}' > b.json
  step 'blob push' oras blob push $h "$tag" b.json
  step 'blob delete' oras blob delete $h -f "$tag@$(shafile b.json)"
  gone 'blob that was deleted' oras blob fetch $h -o b2.json "$tag@$(shafile b.json)"
}

# prints the tags of this client's repository, one in each line, because the signing clients have no command for that
tags() { skopeo list-tags --tls-verify=false "${AUTH[@]}" "docker://$REG/$PREFIX/$KEY" | tr ',' '\n'; }

run_cosign() {
  local sign=(--tlog-upload=false) verify=() three= v
  PATH=$(bins cosign)$PATH; export DOCKER_CONFIG=$W/dockercfg COSIGN_PASSWORD=
  label "cosign-$(ver < "$CACHE/$SUITE/cosign/.ok")"
  pushed
  cd "$W" || exit 1
  [ -z "$SM_USER" ] || step login cosign login -u "$SM_USER" -p "$SM_PASS" "$REG"
  step 'generate-key-pair' cosign generate-key-pair
  if cosign signing-config create --out sc.json >> "$LOG" 2>&1; then      # 3.x: empty ones keep it off the network
    step 'trusted-root create' cosign trusted-root create --out tr.json
    three=1 sign=(--signing-config sc.json --trusted-root tr.json) verify=(--trusted-root tr.json)
  fi
  v=(cosign verify --insecure-ignore-tlog=true --allow-http-registry --key cosign.pub "${verify[@]}")
  step sign cosign sign --yes --allow-http-registry --key cosign.key "${sign[@]}" "$REF"
  step verify "${v[@]}" "$REF"
  step tree cosign tree --allow-http-registry "$REF"
  if [ -n "$three" ]; then no_fallback tags; else cosign_two "${v[@]}"; fi
}
# cosign 2 stores a signature under a tag (sha256-DIGEST.sig). It stores a referrer only with an option
cosign_two() { # VERIFY-COMMAND...
  if deletes; then
    step clean cosign clean -f --allow-http-registry --type=signature "$REF"
    gone 'verify after clean' "$@" "$REF"
  fi
  [ -z "${SMOKE_NO_REFERRERS:-}" ] || return 0
  export COSIGN_EXPERIMENTAL=1
  step 'sign as a referrer' cosign sign --yes --allow-http-registry --key cosign.key --tlog-upload=false \
    --registry-referrers-mode=oci-1-1 "$REF"
  step 'verify as a referrer' "$@" --experimental-oci11 "$REF"
  no_fallback tags
}

run_notation() {
  PATH=$(bins notation)$PATH; export DOCKER_CONFIG=$W/dockercfg XDG_CONFIG_HOME=$W/xdg
  [ -z "$SM_USER" ] || export NOTATION_USERNAME=$SM_USER NOTATION_PASSWORD=$SM_PASS
  label "notation-$(notation version | ver)"
  pushed
  step 'cert generate-test' notation cert generate-test --default smoke.test
  step sign notation sign --insecure-registry --force-referrers-tag=false "$REF"
  cat > "$W/tp.json" << 'END'
{"version": "1.0", "trustPolicies": [{"name": "p", "registryScopes": ["*"], "trustStores": ["ca:smoke.test"],
  "signatureVerification": {"level": "strict"}, "trustedIdentities": ["*"]}]}
END
  step 'policy import' notation policy import --force "$W/tp.json"
  step verify notation verify --insecure-registry "$REF"
  step list notation list --insecure-registry "$REF"
  no_fallback tags
  # by default it stores signatures under the fallback tag, even if the registry has the referrers API
  step 'sign with the fallback tag' notation sign --insecure-registry "$REF"
  step 'verify again' notation verify --insecure-registry "$REF"
}

# regctl is the only client that uploads in chunks (Content-Range). These sizes are multiples of no other block size
run_regctl() {
  local tag=$REG/$PREFIX/$KEY d
  PATH=$(go_folder regctl):$PATH; export DOCKER_CONFIG=$W/dockercfg REGCTL_CONFIG=$W/regctl.json
  label "regctl-$(go_version regctl)"
  image
  cd "$W" || exit 1
  head -c 17000003 /dev/urandom > big.bin; head -c 15000001 /dev/urandom > other.bin; echo '{"a":1}' > a.json
  step 'registry set' regctl registry set --skip-check --tls disabled --blob-chunk 100003 --blob-max 50000 \
    "$REG"
  login regctl registry login "$REG" -u "$SM_USER" --pass-stdin
  step 'image copy from a layout' regctl image copy "ocidir://$W/img:v1" "$tag:v1"
  step 'image copy of an index' regctl image copy "ocidir://$W/img:multi" "$tag:multi"
  same 'digest' "$(regctl image digest "$tag:v1" 2>> "$LOG")" "$DIG"
  same 'digest of the index' "$(regctl image digest "$tag:multi" 2>> "$LOG")" "$MDIG"
  step 'image copy to a layout' regctl image copy "$tag:multi" "ocidir://$W/out:multi"
  same 'digest of the index after pull' "$(layout_digest out)" "$MDIG"
  step 'image copy to a second repository' regctl image copy "$tag:v1" "$tag-copy:v1"
  step 'blob put in chunks' from big.bin regctl blob put "$tag"
  d=$(shafile big.bin)
  regctl blob get "$tag" "$d" > big2.bin 2>> "$LOG" || fail "blob get: $(reason)"
  step compare cmp big.bin big2.bin
  step 'registry set' regctl registry set --skip-check --blob-chunk 7000001 "$REG"
  step 'blob put in large chunks' from other.bin regctl blob put --digest "$(shafile other.bin)" "$tag"
  regctl_artifacts "$tag"
  deletes || return 0
  step 'image copy to a tag' regctl image copy "$tag:v1" "$tag:second"
  step 'tag delete' regctl tag delete "$tag:second"
  gone 'tag that was deleted' regctl manifest head "$tag:second"
  step 'manifest beside it' regctl manifest head "$tag:v1"
  step 'manifest delete' regctl manifest delete "$tag@$MDIG"
  gone 'manifest that was deleted' regctl manifest head "$tag@$MDIG"
  step 'blob delete' regctl blob delete "$tag" "$(shafile other.bin)"
  gone 'blob that was deleted' regctl blob head "$tag" "$(shafile other.bin)"
}
regctl_artifacts() { # TAG
  local type=application/vnd.example
  mkdir art
  step 'artifact put' from a.json regctl artifact put --artifact-type $type.sbom --subject "$1:v1"
  step 'artifact put by tag' regctl artifact put --artifact-type $type.smoke \
    -f a.json -m $type.one -f big.bin -m $type.two "$1:art"
  step 'artifact get' regctl artifact get --output art "$1:art"
  step 'artifact list' regctl artifact list "$1:v1"
  last_output | grep -q vnd.example.sbom || fail 'artifact list: the referrer is not listed'
  step 'artifact list by type' regctl artifact list --filter-artifact-type $type.none "$1:v1"
  ! last_output | grep -q vnd.example.sbom || fail 'artifact list by type: one of another type is listed'
  no_fallback regctl tag ls "$1"
  step 'repo ls' regctl repo ls "$REG"
}

run_helm() {
  local repo=oci://$REG/$PREFIX/$KEY h=--plain-http v
  PATH=$(go_folder helm):$PATH
  label "helm-$(go_version helm)"
  cd "$W" || exit 1
  mkdir out-0.1.0 out-0.2.0+build.7 newest
  step create helm create chart
  head -c 300000 /dev/urandom | base64 > chart/files.txt
  login helm registry login "$REG" $h -u "$SM_USER" --password-stdin
  for v in 0.1.0 0.2.0+build.7; do      # a + cannot be in a tag: helm pushes 0.2.0_build.7
    step "package $v" helm package chart --version "$v"
    step "push $v" helm push "chart-$v.tgz" "$repo" $h
    step "pull $v" helm pull "$repo/chart" --version "$v" $h -d "out-$v"
    step "compare $v" cmp "chart-$v.tgz" "out-$v/chart-$v.tgz"
  done
  step 'pull of the newest' helm pull "$repo/chart" $h -d newest
  step 'compare the newest' cmp chart-0.2.0+build.7.tgz newest/chart-0.2.0+build.7.tgz
  step 'show chart' helm show chart "$repo/chart" --version 0.1.0 $h
  step template helm template "$repo/chart" --version 0.1.0 $h
}

# Reads of several ranges at once, as lazy pulls of eStargz and zstd:chunked layers ask for them.
run_stargz() {
  label "stargz-$(go_version stargz)"
  cd "$W" || exit 1
  head -c 1000003 /dev/urandom > layer.bin
  export REGISTRY_USERNAME=$SM_USER REGISTRY_PASSWORD=$SM_PASS
  step 'lazy reads' "$(go_folder stargz)/stargz" "$REG" "$PREFIX/$KEY" layer.bin
}
