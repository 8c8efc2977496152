#!/usr/bin/env bash
# The one way in which a binary that ships is built: `make release`, the Dockerfile and `make reproducible` come here.
#
#   hack/release.sh [TARGET]     x86_64-unknown-linux-gnu or aarch64-unknown-linux-gnu; default: this machine's
#
# LOCKKEEPER_COMMIT names the commit where there is no Git (in the Dockerfile). CARGO_TARGET_DIR is respected. The last line
# of the output is the path of the binary.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "error: $*" >&2; exit 1; }

host=$(rustc -vV | sed -n 's/^host: //p')
target=${1:-$host}
case $target in
  x86_64-unknown-linux-gnu | aarch64-unknown-linux-gnu) ;;
  *) fail "no release is made for $target: give x86_64-unknown-linux-gnu or aarch64-unknown-linux-gnu" ;;
esac
[ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] ||
  fail "Rust's standard library for $target is missing: rustup target add $target"

if [ -z "${LOCKKEEPER_COMMIT:-}" ] && commit=$(git rev-parse --short=12 HEAD 2>/dev/null); then
  [ -z "$(git status --porcelain)" ] || commit=$commit-modified
  export LOCKKEEPER_COMMIT=$commit
fi

# One flag an element. What each is for:
flags=(
  # Static, with glibc: its allocator does not serialise threads as musl's does, and since 2.34 it reads /etc/hosts and asks
  # DNS by itself, so that nothing is loaded at run time. `make image-check` proves it in an empty root.
  -Ctarget-feature=+crt-static
  # Position-independent all the same, with its relocations packed: 40 kB instead of 1.3 MB that each start reads.
  -Clink-arg=-Wl,-z,pack-relative-relocs
  # A panic ends the process (panic = "abort") and names file and line; nothing unwinds.
  -Cforce-unwind-tables=no
  # Where it was built is not in it: panics name /lockkeeper/src/… and /crates/….
  "--remap-path-prefix=$PWD=/lockkeeper"
  "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=/crates"
)
# This variable, unlike RUSTFLAGS, allows spaces in paths; with --target it is not for build scripts and macros.
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; echo "${flags[*]}")
export CARGO_ENCODED_RUSTFLAGS CARGO_INCREMENTAL=0
if [ "$target" != "$host" ]; then
  triple=${target/-unknown/}
  command -v "$triple-gcc" >/dev/null ||
    fail "$triple-gcc is missing: apt-get install gcc-${triple//_/-} libc6-dev-$([[ $target == aarch64* ]] && echo arm64 || echo amd64)-cross"
  variable=${target^^}
  export "CARGO_TARGET_${variable//-/_}_LINKER=$triple-gcc"
fi
cargo build --release --locked --package lockkeeper --target "$target" >&2
echo "${CARGO_TARGET_DIR:-target}/$target/release/lockkeeper"
