# The clients that are built with Go: the module with its version, and the folder of the program. `stargz` is a program of this
# repository that uses the reader of the snapshotter. It has a module of its own.

go_module() {
  case $1 in
    regctl) echo github.com/regclient/regclient/cmd/regctl@v0.11.7;;
    helm) echo helm.sh/helm/v4/cmd/helm@v4.3.1;;
  esac
}
stargz_version() { awk '$1 == "github.com/containerd/stargz-snapshotter" { print substr($2, 2) }' "$HERE/stargz/go.mod"; }
go_version() { [ "$1" != stargz ] || { stargz_version; return; }; local m; m=$(go_module "$1"); echo "${m##*@v}"; }
go_folder() { echo "$CACHE/go/$1-$(go_version "$1")"; }
