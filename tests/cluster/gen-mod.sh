#!/usr/bin/env bash
# Writes versions/v1.NN.mod and .sum: this module's dependencies for one Kubernetes minor.
#
#   ./gen-mod.sh                      both supported minors
#   ./gen-mod.sh v1.36.3 [go1.26]     another one; the second word is its GODEBUG default
#
# Why a script: k8s.io/kubernetes requires its staging modules at v0.0.0 and replaces them by local
# directories. Consumers inherit the requirement and not the replacement, so each staging module is
# replaced here by its published version (v1.Y.Z of Kubernetes is v0.Y.Z of staging). The list is read
# from the go.mod of that very version, so a module that appears or goes needs no edit.
# go.mod and go.sum are symlinks to the newest minor, for editors and `go test`; it is generated first, since go wants
# a go.mod also where -modfile names another.
set -euo pipefail
cd "$(dirname "$0")"
export GOTOOLCHAIN=local GOWORK=off

# Kubernetes builds with the GODEBUG defaults of the Go release it was written for; only the main module can set them.
godebug_of() {
    case $1 in
    v1.34.*) echo go1.24 ;;
    v1.35.*) echo go1.25 ;;
    *) echo go1.26 ;;
    esac
}

generate() {
    local kubernetes=$1 godebug=$2 staging=v0.${1#v1.} mod=versions/${1%.*}.mod upstream name
    mkdir -p versions
    # Outside this module: only the upstream go.mod is wanted here.
    upstream=$(cd /tmp && go mod download -json "k8s.io/kubernetes@$kubernetes" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
    cp go.mod.in "$mod"
    go mod edit -godebug="default=$godebug" -require="k8s.io/kubernetes@$kubernetes" "$mod"
    for name in $(sed -n 's|^\s*\(k8s.io/[a-z0-9-]*\) => ./staging/.*|\1|p' "$upstream"); do
        go mod edit -replace="$name=$name@$staging" "$mod"
    done
    # Imported here directly: require them at the right version, or tidy would look for the newest.
    for name in api apimachinery client-go component-base component-helpers kubectl; do
        go mod edit -require="k8s.io/$name@$staging" "$mod"
    done
    go mod tidy -modfile="$mod"
}

if [ $# -gt 0 ]; then
    generate "$1" "${2:-$(godebug_of "$1")}"
else
    for version in v1.37.2 v1.34.4; do generate "$version" "$(godebug_of "$version")"; done
fi
