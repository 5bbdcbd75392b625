#!/usr/bin/env bash
# C with nested functions, which run on the stack: on the first, on a thread's, and with a library that wants it only when it
# is loaded. And a program whose stack is too small, which is told so.
# Usage: c_nested_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
needs gcc
gcc -O1 -DLIBRARY -shared -fPIC -z execstack "$here/c_nested.c" -o nested.so
gcc -O1 -z execstack "$here/c_nested.c" -o nested -pthread
gcc -O1 -DLATE "$here/c_nested.c" -o late -pthread -ldl
build --program ./nested:/nested -o nested.enclave
build --program ./late:/late --copy nested.so:/nested.so -o late.enclave
both 4 nested.enclave ./nested
both 4 late.enclave ./late
printf 'int main(void) { volatile char large[9 << 20]; for (int i = 0; i < 9 << 20; ++i) large[i] = 1; }' >large.c
gcc -O0 large.c -o large
build --program ./large:/large -o large.enclave
CLOISTER_LOG=warning inside large.enclave 2>large.err && fail "large.enclave needs no stack"
grep -q 'larger --stack' large.err || fail "large.enclave does not say that its stack is too small"
build --program ./large:/large --stack 16M -o large.enclave
inside large.enclave 2>/dev/null || fail "large.enclave with a stack that is large enough"
finish
