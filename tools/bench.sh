#!/usr/bin/env bash
# Runs the benchmarks of a build folder; docs/benchmarks.md says what the numbers mean. Usage: tools/bench.sh BIN_DIR
set -euo pipefail
bin=${1:?usage: tools/bench.sh BIN_DIR}
for program in "$bin"/*_bench; do
  echo "== $(basename "$program")"
  "$program"
done
