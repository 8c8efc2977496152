#!/usr/bin/env bash
# Lines of the engine that its own tests run: one row a file, and the figure; below the wanted percentage it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=90
# Counts what the compiler's instrumentation has written; the toolchain's own component for that, of the same version.
sysroot=$(rustc --print sysroot)
if [ -z "$(find "$sysroot" -name llvm-profdata -print -quit)" ]; then
  command -v rustup >/dev/null || { echo "error: llvm-profdata is missing: install the component llvm-tools of the Rust toolchain" >&2; exit 1; }
  rustup component add llvm-tools
fi
tool=$(hack/tool.sh cargo-llvm-cov)
PATH=$(dirname "$tool"):$PATH
# Nothing but the engine's own code: what tests and other crates run is theirs.
cargo llvm-cov test --package lockkeeper-engine --lib --test decide --summary-only --color never \
  --ignore-filename-regex '/tests(/|\.rs)|src/api/' --fail-under-lines "$wanted"
