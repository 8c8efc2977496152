#!/usr/bin/env bash
# Builds the release binary twice, from copies in two directories whose names differ in length, with two HOMEs, caches, umasks
# and time zones, and compares bit for bit. The toolchain is the same, as it has to be for anyone who repeats a release.
#
#   hack/reproducible.sh [TARGET]     → target/reproducible/lockkeeper and sha256
set -euo pipefail
cd "$(dirname "$0")/.."

[ -z "$(git status --porcelain)" ] || echo "note: only what is committed is built" >&2
LOCKKEEPER_COMMIT=$(git rev-parse --short=12 HEAD)
export LOCKKEEPER_COMMIT RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
# Which Rust it is, where rustup's setting belongs to the HOME that is not used.
RUSTUP_TOOLCHAIN=${RUSTUP_TOOLCHAIN:-$(basename "$(rustc --print sysroot)")}
command -v rustup >/dev/null && export RUSTUP_TOOLCHAIN
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build() ( # NAME UMASK ZONE TARGET…
  umask "$2"
  mkdir -p "$work/$1/home"
  git archive --prefix=source/ HEAD | tar -x -C "$work/$1"
  cd "$work/$1/source"
  # A cache of crates of its own too: their paths are in what is compiled, if anything is.
  env -u CARGO_TARGET_DIR TZ="$3" HOME="$work/$1/home" CARGO_HOME="$work/$1/home/cargo" \
    hack/release.sh "${@:4}" >"$work/$1/path" 2>"$work/$1/log" || { tail -20 "$work/$1/log" >&2; exit 1; }
)

build first 022 UTC "$@" &
other=$!
build the-second-one 077 Asia/Kathmandu "$@"
wait "$other"
first=$work/first/source/$(cat "$work/first/path")
second=$work/the-second-one/source/$(cat "$work/the-second-one/path")
sha256sum "$first" "$second" | sed "s|$work/||"
if ! cmp "$first" "$second"; then
  kept=$(mktemp -d)
  cp "$first" "$kept/first"
  cp "$second" "$kept/second"
  echo "error: the two builds differ: compare $kept/first and $kept/second (diffoscope)" >&2
  exit 1
fi
mkdir -p target/reproducible
cp "$first" target/reproducible/lockkeeper
sha256sum "$first" | cut -d' ' -f1 > target/reproducible/sha256
echo "reproducible: $LOCKKEEPER_COMMIT, $(stat -c %s "$first") bytes, $(rustc --version)"
