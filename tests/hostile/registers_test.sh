#!/usr/bin/env bash
# A program fills its vector registers, masks and x87 and leaves the enclave in every way that a system call can; the
# host finds none of it. Usage: registers_test.sh CLOISTER REGISTER_HOST
set -euo pipefail
cloister=$(realpath "${1:?usage: registers_test.sh CLOISTER REGISTER_HOST}") host=$(realpath "$2")
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export CLOISTER_CONFIG=$work/config CLOISTER_SIM_STATE=$work/sim CLOISTER_LOG=error
gcc -std=gnu17 -O1 -static -D_GNU_SOURCE -I "$here/../syscalls" -o filled "$here/../syscalls/vector_state.c"
"$cloister" build --program ./filled --heap 64M -o filled.enclave >/dev/null
./filled >native
"$host" filled.enclave /filled >inside 2>seen || { cat seen; exit 1; }
cmp native inside
cat seen
