#!/usr/bin/env bash
# Fuzzes all that is parsed (fuzz/lib.rs says what each target asserts), each target for so many seconds. What is found new is kept in
# the target directory, so that the next run goes on from there; the small corpus in git is where a fresh clone begins.
#
#   hack/fuzz.sh [TARGET...]     (BUDGET=60: seconds a target; KEEP=1: adds what reached new code to fuzz/corpus, for git)
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "error: $*" >&2; exit 1; }

budget=${BUDGET:-60}
[[ $budget =~ ^[1-9][0-9]*$ ]] || fail "BUDGET=$budget: give whole seconds for each target, like 60"
all=$(cd fuzz/corpus && echo *)
targets=${*:-$all}
for target in $targets; do [ -d "fuzz/corpus/$target" ] || fail "there is no target $target: there are $all"; done

# Apart from what nothing else builds with: instrumented code.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/fuzz
# The fuzzer's own flags are of the nightly toolchain, which then is not needed.
export RUSTC_BOOTSTRAP=1
tool=$(hack/tool.sh cargo-fuzz)
PATH=$(dirname "$tool"):$PATH
# Our code has no unsafe: a sanitizer would find nothing, and halve the speed.
cargo fuzz build --sanitizer none --fuzz-dir fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
kept=$(cd "$CARGO_TARGET_DIR" && pwd)

# Words of our kinds, for targets whose inputs have them.
grep -ohE '^ *-? ?[a-zA-Z]+:' charts/lockkeeper/files/crds/*.yaml | tr -d ' :-' | sort -u | sed 's/.*/"&"/' >"$kept/words"

failed=()
for target in $targets; do
  mkdir -p "$kept/corpus/$target" "$kept/artifacts/$target"
  program=$kept/$host/release/$target
  options=(-timeout=10 -rss_limit_mb=1024 -max_len=4096 -print_final_stats=1 "-artifact_prefix=$kept/artifacts/$target/")
  case $target in decide | kind | manifest | scenario | watched) options+=("-dict=$kept/words" -max_len=16384) ;; esac
  log=$kept/$target.log
  if "$program" "${options[@]}" "-max_total_time=$budget" "$kept/corpus/$target" "fuzz/corpus/$target" >"$log" 2>&1; then
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, $(grep -oE 'cov: [0-9]+' "$log" | tail -n1)"
  else
    failed+=("$target")
    artifact=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n1)
    grep -aE "panicked at|assertion|ERROR|^SUMMARY" -A2 "$log" | head -n 12
    echo "$target: failed; replay: $program ${artifact:-$log}"
    echo "  smaller: $program -minimize_crash=1 -max_total_time=60 ${artifact:-FILE}"
    echo "  once mended, as a test: cp ${artifact:-FILE} fuzz/corpus/$target/ and cargo test -p lockkeeper-simulator --test corpus"
  fi
  if [ -n "${KEEP:-}" ]; then
    "$program" -merge=1 -max_len=1024 "fuzz/corpus/$target" "$kept/corpus/$target" >/dev/null 2>&1
  fi
done
echo "targets=$(wc -w <<<"$targets") seconds=$budget failures=${#failed[@]}"
[ ${#failed[@]} = 0 ] || fail "these found something: ${failed[*]}"
