#!/usr/bin/env bash
# Call-site patching changes nothing that a program can see: call_sites.c prints the same lines natively, patched and
# trapped, with four C libraries. And it does happen: the patched run says so, and the other does not.
# Usage: call_sites_test.sh CLOISTER_BINARY
set -euo pipefail
cloister=$(realpath "${1:?usage: call_sites_test.sh CLOISTER_BINARY}")
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export CLOISTER_CONFIG=$work/config CLOISTER_SIM_STATE=$work/sim CLOISTER_LOG=debug
failures=0
fail() {
  echo "FAILED: $*" >&2
  failures=$((failures + 1))
}

gcc -O2 -pthread "$here/call_sites.c" -o sites-glibc
gcc -O2 -pthread -static "$here/call_sites.c" -o sites-glibc-static
musl-gcc -O2 -pthread "$here/call_sites.c" -o sites-musl
musl-gcc -O2 -pthread -static "$here/call_sites.c" -o sites-musl-static
for program in sites-*; do
  "$cloister" build --program "./$program" -o image.enclave >/dev/null
  timeout 60 "./$program" >native
  if grep -v 'at strange places: 0$' native | grep -E ' 0(,|$)' >/dev/null; then fail "$program natively: $(cat native)"; fi
  for way in patched trapped; do
    options=()
    [ $way = patched ] || options=(--no-patch)
    timeout -k 5 120 "$cloister" run "${options[@]}" image.enclave >inside 2>log || fail "$program, $way: exit code $?"
    cmp -s native inside || fail "$program, $way: $(diff native inside)"
    # the program's own five sites, and the C library's, which is the same file when it is static
    patched=$(sed -n 's/.* \([0-9]*\) of \([0-9]*\) system-call sites patched.*/\1 \2/p' log | awk '{a += $1; b += $2} END {print a + 0, b + 0}')
    read -r done seen <<<"$patched"
    if [ $way = patched ] && { [ "$done" -lt 30 ] || [ "$done" -ne "$seen" ]; }; then
      fail "$program: $done of $seen sites patched"
    fi
    if [ $way = trapped ] && [ "$seen" -ne 0 ]; then fail "$program: patched in spite of --no-patch"; fi
  done
done
[ $failures -eq 0 ] || exit 1
echo "call sites: nothing to see"
