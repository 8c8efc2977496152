#!/usr/bin/env bash
# Writes the bill of materials of the binary (CycloneDX 1.5, JSON), and checks it against what cargo says is linked in.
#
#   hack/sbom.sh [TARGET]     → target/sbom/lockkeeper-<target>.cdx.json
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-$(rustc -vV | sed -n 's/^host: //p')}
cyclonedx=$(hack/tool.sh cargo-cyclonedx)
bill=target/sbom/lockkeeper-$target.cdx.json
# Only a fixed time makes equal sources give an equal file.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
name=lockkeeper-$target.cdx
trap 'rm -f src/*/"$name.json" e2e/"$name.json"' EXIT
PATH=$(dirname "$cyclonedx"):$PATH cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps \
  --target "$target" --override-filename "$name"
mkdir -p target/sbom
python3 hack/sbom.py "src/cli/$name.json" "$target" "$bill"
