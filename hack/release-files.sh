#!/usr/bin/env bash
# Gathers the files of a release in target/release-files: programs (from the images: make image-files), bills of materials,
# kinds, the installation without Helm, the chart, and the checksums of all.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "error: $*" >&2; exit 1; }
version=$(hack/version.sh)
files=target/release-files
helm=$(hack/tool.sh helm)
kustomize=$(hack/tool.sh kustomize)
rm -rf "$files"
mkdir -p "$files"

for architecture in amd64:x86_64 arm64:aarch64; do
  binary=target/image/linux_${architecture%:*}/lockkeeper
  [ -x "$binary" ] || fail "$binary is missing: make image-files"
  # Names and times that do not depend on who packs it.
  tar --create --directory "$(dirname "$binary")" --sort=name --owner=0 --group=0 --numeric-owner --mode=0755 \
    --mtime="@$(git log -1 --format=%ct)" lockkeeper | gzip --no-name > "$files/lockkeeper-$version-linux-${architecture%:*}.tar.gz"
  target=${architecture#*:}-unknown-linux-gnu
  hack/sbom.sh "$target"
  cp "target/sbom/lockkeeper-$target.cdx.json" "$files/"
done
"$kustomize" build --load-restrictor LoadRestrictionsNone charts/lockkeeper/files/crds > "$files/crds.yaml"
"$kustomize" build --load-restrictor LoadRestrictionsNone config/default > "$files/install.yaml"
"$kustomize" build --load-restrictor LoadRestrictionsNone config/default/validating > "$files/install-before-1.36.yaml"
"$helm" package charts/lockkeeper --version "$version" --app-version "$version" --destination "$files"
(cd "$files" && sha256sum -- * > SHA256SUMS)
echo "in $files:" && ls "$files"
