#!/usr/bin/env bash
# Builds the release binary twice, from copies in two directories whose names differ in length, with two HOMEs, umasks and
# time zones, and compares bit for bit. The toolchain is the same, as it has to be for anyone who wants to repeat a release.
#
#   hack/reproducible.sh [TARGET]     → target/reproducible/lockkeeper and sha256
set -euo pipefail
cd "$(dirname "$0")/.."

[ -z "$(git status --porcelain)" ] || echo "note: what is not committed is not built" >&2
LOCKKEEPER_COMMIT=$(git rev-parse --short=12 HEAD)
export LOCKKEEPER_COMMIT RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build() { # NAME UMASK ZONE TARGET…: prints the path of the binary
  local directory=$work/$1
  mkdir -p "$directory/home"
  git archive --prefix=source/ HEAD | tar -x -C "$directory"
  # Its own CARGO_HOME too: the crates' paths differ, and each is downloaded and checked anew.
  (umask "$2" && cd "$directory/source" && env -u CARGO_TARGET_DIR TZ="$3" HOME="$directory/home" \
    CARGO_HOME="$directory/home/cargo" hack/release.sh "${@:4}" 2>"$directory/log") ||
    { tail -20 "$directory/log" >&2; exit 1; }
}

first=$work/first/source/$(build first 022 UTC "$@")
second=$work/the-second-one/source/$(build the-second-one 077 Asia/Kathmandu "$@")
sha256sum "$first" "$second" | sed "s|$work/||"
if cmp "$first" "$second"; then
  mkdir -p target/reproducible
  cp "$first" target/reproducible/lockkeeper
  sha256sum "$first" | cut -d' ' -f1 > target/reproducible/sha256
  echo "reproducible: $LOCKKEEPER_COMMIT, $(stat -c %s "$first") bytes, $(rustc --version)"
else
  kept=$(mktemp -d)
  cp "$first" "$kept/first"
  cp "$second" "$kept/second"
  echo "error: the two builds differ: compare $kept/first and $kept/second (diffoscope)" >&2
  exit 1
fi
