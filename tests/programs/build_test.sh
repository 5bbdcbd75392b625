#!/usr/bin/env bash
# Building images: the same program gives the same MRENCLAVE wherever and whenever it is built, anything else another
# one, and bad input is named. Usage: build_test.sh CLOISTER_BINARY
set -euo pipefail
# shellcheck source=tests/support/expect.sh
source "$(dirname "$(realpath "$0")")/../support/expect.sh"
cloister=$(realpath "${1:?usage: build_test.sh CLOISTER_BINARY}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export CLOISTER_CONFIG=$work/config CLOISTER_SIM_STATE=$work/sim CLOISTER_LOG=error

hash_of() {  # build options… ; prints the MRENCLAVE
  rm -rf image
  "$cloister" build "$@" -o image >/dev/null
  "$cloister" hash image
}

cat >hello.c <<'SOURCE'
#include <stdio.h>
int main(void) { return puts("hello") < 0; }
SOURCE
gcc hello.c -o hello
limits=(--heap 32M --stack 1M --threads 4 --name hello)
first=$(hash_of --program ./hello:/hello "${limits[@]}")
[[ $first =~ ^[0-9a-f]{64}$ ]] || fail "hash printed '$first'"

# ---- the same on another path, day and user; another signer changes nothing
mkdir -p elsewhere/deeper
cp hello elsewhere/deeper/program
touch -d '2001-02-03' elsewhere/deeper/program
[ "$(hash_of --program elsewhere/deeper/program:/hello "${limits[@]}")" = "$first" ] || fail 'path or time changes MRENCLAVE'
[ "$(umask 077 && CLOISTER_CONFIG=$work/other hash_of --program ./hello:/hello "${limits[@]}")" = "$first" ] ||
  fail 'umask or signer changes MRENCLAVE'
[ "$(SCONE_HASH=1 "$cloister" run image)" = "$first" ] || fail 'SCONE_HASH=1 prints another value'
[ "$("$cloister" run image)" = hello ] || fail 'the program does not run'
# Where the machine lacks something for hardware, that is said, and nothing runs.
if ! "$cloister" doctor --json | grep -q '"runs_hardware_enclaves": true'; then
  expect 1 'cloister doctor' env SCONE_MODE=hw "$cloister" run image
  for mode in '' auto sim SIM; do
    [ "$(SCONE_MODE=$mode "$cloister" run image)" = hello ] || fail "SCONE_MODE=$mode does not run"
  done
fi

# ---- everything that matters changes it
different() {
  [ "$(hash_of "$@")" != "$first" ] || fail "the same MRENCLAVE for: $*"
}
different --program ./hello:/hello --heap 33M --stack 1M --threads 4 --name hello
different --program ./hello:/hello --heap 32M --stack 2M --threads 4 --name hello
different --program ./hello:/hello --heap 32M --stack 1M --threads 5 --name hello
different --program ./hello:/hello "${limits[@]}" --debug
sed 's/hello/hellO/' hello >changed
chmod +x changed
different --program ./changed:/hello "${limits[@]}"
cp /lib/x86_64-linux-gnu/libc.so.6 libc
printf 'x' >>libc
different --program ./hello:/hello --copy libc:/usr/lib/x86_64-linux-gnu/libc.so.6 "${limits[@]}"
different --program ./hello:/hello --copy hello.c:/etc/extra "${limits[@]}"

# ---- what is measured is what runs
hash_of --program ./hello:/hello "${limits[@]}" --sgxs image.sgxs >/dev/null || true
"$cloister" build --program ./hello:/hello "${limits[@]}" -o image --sgxs image.sgxs --template hello.yml >/dev/null
[ "$(sha256sum <image.sgxs | cut -d' ' -f1)" = "$first" ] || fail 'the .sgxs stream has another hash'
grep -q "mrenclaves: \[$first\]" hello.yml || fail 'the template names another MRENCLAVE'
cp -r image tampered
# Far inside the code: what lies between segments is not loaded, so nobody need measure it.
byte=$(od -An -tu1 -j300000 -N1 image/kernel.elf)
# shellcheck disable=SC2059
printf "\\x$(printf %x $((byte ^ 1)))" | dd of=tampered/kernel.elf bs=1 seek=300000 conv=notrunc status=none
expect 3 'changed after it was signed' "$cloister" run tampered
rm -r tampered && cp -r image tampered
object=$(find tampered/root/objects -type f -size +100k | head -1)
[ -n "$object" ] || object=$(find tampered/root -type f -size +100k | head -1)
printf '\xff\xfe\xfd' | dd of="$object" bs=1 seek=5000 conv=notrunc status=none
expect 3 '' "$cloister" run tampered
rm -r tampered && cp -r image tampered
printf 'x' >>tampered/agent.elf
[ "$("$cloister" hash tampered)" = "$first" ] || fail 'the agent is measured twice'

# ---- other ways to say what is inside
mkdir -p rootfs/usr/bin rootfs/etc
cp /bin/busybox rootfs/usr/bin/
echo mine >rootfs/etc/passwd
hash_of --root rootfs --entry /usr/bin/busybox >/dev/null
[ "$("$cloister" run image cat /etc/passwd)" = mine ] || fail '--root is not the root'
printf '#!/bin/sh\necho "script $1"\n' >script
chmod +x script
hash_of --program ./script:/script >/dev/null
[ "$("$cloister" run image word)" = 'script word' ] || fail 'a script does not bring its interpreter'

# ---- bad input is named
expect 1 'no program at' "$cloister" build --program ./missing -o bad
expect 1 'not an ELF program' "$cloister" build --program ./hello.c -o bad
head -c 100 hello >short
expect 1 'short' "$cloister" build --program ./short -o bad
printf '\xb7\x00' | cat <(head -c 18 hello) - <(tail -c +21 hello) >arm
expect 1 'AArch64' "$cloister" build --program ./arm -o bad
sed 's|/lib64/ld-linux-x86-64.so.2|/lib64/ld-linux-x86-64.so.9|' hello >lonely
expect 1 'interpreter /lib64/ld-linux-x86-64.so.9' "$cloister" build --program ./lonely -o bad
sed 's|libc.so.6|libq.so.6|' hello >needy
expect 1 'libq.so.6' "$cloister" build --program ./needy -o bad
expect 2 'no program to start' "$cloister" build -o bad
expect 2 '--heap' "$cloister" build --program ./hello --heap lots -o bad
expect 1 'heap size' "$cloister" build --program ./hello --heap 4K -o bad
mkdir occupied
expect 2 'no enclave image' "$cloister" build --program ./hello -o occupied
[ ! -e bad ] || fail 'something was left behind'
[ -z "$(find . -maxdepth 1 -name 'bad*')" ] || fail 'a half-made image was left behind'
expect 1 'no enclave image' "$cloister" run nowhere
expect 2 'CLOISTER_HEAP' env CLOISTER_HEAP=1G "$cloister" run image
echo 'build: all as expected'
