#!/usr/bin/env bash
# What is linked in: licences, duplicates, sources (deny.toml), and known vulnerabilities.
#
#   hack/audit.sh            all of it
#   hack/audit.sh offline    without the database of advisories, which is a Git repository on github.com
set -euo pipefail
cd "$(dirname "$0")/.."

deny=$(hack/tool.sh cargo-deny)
case ${1:-} in
  offline)
    "$deny" --locked check bans licenses sources
    echo "not checked: advisories (make audit does, and needs github.com)" ;;
  '')
    audit=$(hack/tool.sh cargo-audit)
    "$deny" --locked check bans licenses sources advisories
    # Beside cargo-deny for its second opinion on what was yanked and what is unmaintained.
    "$audit" audit --deny warnings ;;
  *) echo "usage: hack/audit.sh [offline]" >&2; exit 2 ;;
esac
