#!/usr/bin/env bash
# Prints the path of a development tool at a pinned version (of wheels, of their directory), and installs it first where it is missing, into a
# cache outside the checkout: $LOCKKEEPER_CACHE, else lockkeeper in $XDG_CACHE_HOME or ~/.cache, as the local cluster does.
#
#   hack/tool.sh cargo-deny
set -euo pipefail

fail() { echo "error: $*" >&2; exit 1; }

tool=${1:?usage: hack/tool.sh NAME}
case $tool in
  cargo-deny) version=0.20.2 crate=cargo-deny ;;
  cargo-audit) version=0.22.2 crate=cargo-audit ;;
  cargo-cyclonedx) version=0.5.9 crate=cargo-cyclonedx ;;
  cargo-mutants) version=27.1.0 crate=cargo-mutants ;;
  cargo-llvm-cov) version=0.9.1 crate=cargo-llvm-cov ;;
  cargo-fuzz) version=0.13.2 crate=cargo-fuzz ;;
  tree-sitter-rust) version=0.24.2 wheels="tree-sitter==0.26.1 tree-sitter-rust==0.24.2" ;;
  actionlint) version=1.7.12 module=github.com/rhysd/actionlint/cmd/actionlint ;;
  helm) version=4.3.1 module=helm.sh/helm/v4/cmd/helm ;;
  kustomize) version=5.8.3 module=sigs.k8s.io/kustomize/kustomize/v5 ;;
  *) fail "no tool $tool is known here: add it with its version" ;;
esac
cache=${LOCKKEEPER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockkeeper}
# The names are those of e2e/tools.rs, which installs helm too.
if [ -n "${crate:-}" ]; then home=$cache/$tool-$version path=bin/$tool
elif [ -n "${wheels:-}" ]; then home=$cache/$tool-$version path=
else home=$cache/$tool-v$version path=$tool; fi

install() {
  if [ -n "${crate:-}" ]; then
    command -v cargo >/dev/null || fail "cargo is missing: install Rust (rustup)"
    # Our flags are not theirs.
    env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS \
      cargo install --quiet --locked --root "$1" --target-dir "$1/build" "$crate@$version"
    rm -r "$1/build"
  elif [ -n "${wheels:-}" ]; then
    python3 -m pip --version >/dev/null || fail "Python with pip is missing: install it (apt-get install python3 python3-pip)"
    # shellcheck disable=SC2086 # several words
    python3 -m pip install --quiet --no-deps --disable-pip-version-check --target "$1" $wheels
  else
    command -v go >/dev/null || fail "Go is missing: install Go 1.26 or newer so that it is on the PATH"
    GOWORK=off GOFLAGS='' GOBIN=$1 go install "$module@v$version"
  fi
}

if [ ! -d "$home" ]; then
  mkdir -p "$cache"
  exec 9>"$home.lock"
  flock 9
  # Another run may have installed it while this one waited.
  if [ ! -d "$home" ]; then
    echo "$tool $version: installing, once (some minutes)" >&2
    rm -rf "$home.partial"
    mkdir "$home.partial"
    install "$home.partial" >&2
    mv "$home.partial" "$home"
  fi
fi
echo "$home/$path"
