#!/usr/bin/env bash
# Every case of this folder runs natively, then in an enclave; what it prints and its exit code must be equal.
# Usage: syscalls_test.sh CLOISTER_BINARY patched|trapped|exact [CASE…]
set -euo pipefail
cloister=$(realpath "${1:?usage: syscalls_test.sh CLOISTER_BINARY patched|trapped|exact [CASE…]}")
way=${2:-patched}
options=()
case $way in
  patched) ;;
  trapped) options=(--no-patch) ;;
  exact) export CLOISTER_SIM_EXACT=1 ;;
  *) echo "FAILED: no such way: $way" >&2; exit 1 ;;
esac
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export CLOISTER_CONFIG=$work/config CLOISTER_SIM_STATE=$work/sim CLOISTER_LOG=error LC_ALL=C.UTF-8 TZ=UTC

"$here/build_cases.sh" >names
mapfile -t names <names
[ $# -gt 2 ] && names=("${@:3}")
"$cloister" build --program ./cases:/cases --heap 128M --threads 32 -o cases.enclave >/dev/null

# A case that fails equally on both sides has tested nothing. Only this one ends otherwise, by exit_group.
expected_exit() { [ "$1" = threads_futex ] && echo 7 || echo 0; }

failures=0
for name in "${names[@]}"; do
  native=0 inside=0
  TMPDIR=$work timeout 30 ./cases "$name" >native.out 2>native.err </dev/null || native=$?
  timeout 60 "$cloister" run "${options[@]}" cases.enclave "$name" >inside.out 2>inside.err </dev/null || inside=$?
  if [ "$native" -ne "$(expected_exit "$name")" ]; then
    echo "FAILED: $name: exit code $native natively" >&2
    failures=$((failures + 1))
  elif [ "$native" -ne "$inside" ] || ! cmp -s native.out inside.out; then
    echo "FAILED: $name ($way): exit code $inside in place of $native" >&2
    diff native.out inside.out | head -20 >&2 || true
    head -3 inside.err >&2
    failures=$((failures + 1))
  fi
done
[ $failures -eq 0 ] || exit 1
echo "syscalls: ${#names[@]} cases equal ($way)"
