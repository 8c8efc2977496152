#!/usr/bin/env bash
# Mutation tests of the engine: changes it in small ways, one at a time, and counts the changes that its own tests notice.
# What was caught is kept: a run that was broken off, or one after new tests, only tries what is left. The names of mutants carry
# line and column, so that a file that was edited is tried again from its first edited line on.
#
#   hack/mutants.sh DIR     (DIR keeps copies of the sources, builds and outcomes; without it a run starts anew; JOBS=2 at once)
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:?usage: hack/mutants.sh DIR} jobs=${JOBS:-2} wanted=95
mutants=$(hack/tool.sh cargo-mutants)
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
touch "$dir"/{caught,unviable}
exec 9>"$dir/lock"
flock --nonblock 9 || { echo "error: another run works in $dir: wait for it, or name another directory" >&2; exit 1; }

# Nothing but the profile and what is mutated is ours to choose: no debug information, quick links. The flag is for libtest's --fail-fast.
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=1 RUSTC_BOOTSTRAP=1
unset CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR

harvest() {
  cat "$dir/caught" "$dir"/job-*/out/mutants.out/caught.txt 2>/dev/null | sort -u >"$dir/caught.new" || true
  cat "$dir/unviable" "$dir"/job-*/out/mutants.out/unviable.txt 2>/dev/null | sort -u >"$dir/unviable.new" || true
  mv "$dir/caught.new" "$dir/caught"
  mv "$dir/unviable.new" "$dir/unviable"
}

# A copy of the sources for each job, with a build of its own that stays warm. Dependencies are built once.
prepare() {
  local job here
  for ((job = 0; job < jobs; job++)); do
    here=$dir/job-$job
    mkdir -p "$here/tree"
    # Always all of them: a run that was killed leaves a mutant in the copy.
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$here/tree"
    if [ ! -d "$here/tree/target" ]; then
      if [ "$job" = 0 ]; then
        (cd "$here/tree" && cargo test --quiet -p lockkeeper-engine --tests --no-run)
      else
        # No links: cargo's locks and time stamps are files of it, too.
        cp -a "$dir/job-0/tree/target" "$here/tree/"
      fi
    fi
  done
}

# One share of the mutants that are left.
share() {
  local job=$1 here=$dir/job-$1
  shift
  rm -rf "$here/out"
  mkdir -p "$here/out/mutants.out"
  cat "$dir/caught" "$dir/unviable" >"$here/out/mutants.out/caught.txt"
  local code=0
  # First without a mutant: tests that fail anyway would catch everything.
  (cd "$here/tree" && "$mutants" mutants --in-place -p lockkeeper-engine --iterate --output "$here/out" --shard "$job/$jobs" \
    --sharding round-robin --minimum-test-timeout 120 --no-times --colors never "$@") >"$here/log" 2>&1 || code=$?
  case $code in
    0 | 2 | 3) ;; # all caught, some missed, some that ran for ever
    *) echo "error: cargo-mutants ended with code $code: $here/log says why" >&2; return 1 ;;
  esac
}

pass() {
  harvest
  echo "$(($("$mutants" mutants -p lockkeeper-engine --list | grep -vxFc -f "$dir/caught" -f "$dir/unviable" || true))) mutants left: $1" >&2
  shift
  local job shares=() broken=0
  for ((job = 0; job < jobs; job++)); do
    share "$job" "$@" 9>&- &
    shares+=($!)
  done
  for job in "${shares[@]}"; do wait "$job" || broken=1; done
  harvest
  return "$broken"
}

quick=(-Zunstable-options --fail-fast --skip properties)
# The cheapest tests first, so that the dear ones only see what those have missed.
own=()
for file in analysis window digest traffic contest revision sharing; do own+=(--file "src/engine/$file.rs" --file "src/engine/$file/**"); done
prepare
export PROPTEST_CASES=16 PROPTEST_MAX_SHRINK_ITERS=0
pass "tests beside the code" "${own[@]}" --cargo-arg=--lib -- -- "${quick[@]}"
pass "sentences" --cargo-arg=--test=decide -- -- "${quick[@]}" --skip no_data_never_promotes
unset PROPTEST_CASES
pass "all tests" --cargo-arg=--tests -- -- -Zunstable-options --fail-fast

# One that runs for ever is noticed too.
cat "$dir"/job-*/out/mutants.out/timeout.txt | sort -u >"$dir/timeouts"
"$mutants" mutants -p lockkeeper-engine --list | sort >"$dir/all"
comm -23 "$dir/all" <(sort "$dir/unviable") >"$dir/viable"
comm -23 "$dir/viable" <(sort "$dir/caught" "$dir/timeouts") >"$dir/survivors"
cat "$dir/survivors"
viable=$(wc -l <"$dir/viable") missed=$(wc -l <"$dir/survivors")
score=$(awk -v v="$viable" -v m="$missed" 'BEGIN { printf "%.1f", 100 * (v - m) / v }')
echo "mutants=$(wc -l <"$dir/all") viable=$viable caught=$((viable - missed)) survivors=$missed score=$score%"
awk -v s="$score" -v w=$wanted 'BEGIN { exit s < w }' ||
  { echo "error: less than $wanted % are caught: write the test that a survivor above asks for, or remove the code that makes no difference" >&2; exit 1; }
