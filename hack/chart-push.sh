#!/usr/bin/env bash
# Pushes the chart that `make release-files` has packed; its digest into target/image/chart-digest.
set -euo pipefail
cd "$(dirname "$0")/.."

chart=target/release-files/lockkeeper-$(hack/version.sh).tgz
[ -f "$chart" ] || { echo "error: $chart is missing: make release-files" >&2; exit 1; }
mkdir -p target/image
"$(hack/tool.sh helm)" push "$chart" oci://ghcr.io/lockkeeper/charts 2>&1 | tee target/image/chart-push.log
sed -n 's/^Digest: *\(sha256:[0-9a-f]*\)$/\1/p' target/image/chart-push.log > target/image/chart-digest
[ -s target/image/chart-digest ] || { echo "error: helm did not say which digest it pushed" >&2; exit 1; }
