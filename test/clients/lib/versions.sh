# The clients that are built with Go: the module to build, with its version, and where the program is put.

go_module() {
  case $1 in
    regctl) echo github.com/regclient/regclient/cmd/regctl@v0.11.7;;
    helm) echo helm.sh/helm/v4/cmd/helm@v4.3.1;;
  esac
}
go_version() { local m; m=$(go_module "$1"); echo "${m##*@v}"; }
go_folder() { echo "$CACHE/go/$1-$(go_version "$1")"; }
