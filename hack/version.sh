#!/usr/bin/env bash
# Prints the version of the workspace; with a tag as argument, checks that it is that version's.
#
#   hack/version.sh [v1.2.3]
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
[ -n "$version" ] || { echo "error: Cargo.toml has no version in [workspace.package]" >&2; exit 1; }
if [ $# -gt 0 ] && [ "$1" != "v$version" ]; then
  echo "error: the tag is $1, the workspace is v$version: set version in Cargo.toml, commit, and tag that" >&2
  exit 1
fi
echo "$version"
