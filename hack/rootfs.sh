#!/usr/bin/env bash
# Puts together the files of the image: the program, whom it runs as, and whom it trusts.
#
#   hack/rootfs.sh BINARY DIRECTORY
set -euo pipefail
binary=$1 root=$2
authorities=/etc/ssl/certs/ca-certificates.crt
[ -s "$authorities" ] || { echo "error: $authorities is missing: apt-get install ca-certificates" >&2; exit 1; }
here=$(cd "$(dirname "$0")/.." && pwd)

rm -rf "$root"
install -D -m 0755 "$binary" "$root/lockkeeper"
# For services outside the cluster over https; the API server's authority comes with the service account.
install -D -m 0644 "$authorities" "$root$authorities"
install -D -m 0644 "$here/LICENSE" "$root/licenses/LICENSE"
printf '%s\n' 'root:x:0:0:root:/:/lockkeeper' 'nonroot:x:65532:65532:nonroot:/:/lockkeeper' | install -D -m 0644 /dev/stdin "$root/etc/passwd"
printf '%s\n' 'root:x:0:' 'nonroot:x:65532:' | install -D -m 0644 /dev/stdin "$root/etc/group"
