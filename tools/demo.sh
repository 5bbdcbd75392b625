#!/usr/bin/env bash
# The data owner's half of the tutorial on real files: encrypt, look at what leaves the machine, verify, decrypt, and
# attacks on the ciphertext that are refused. Ends by itself, leaves no process and no file behind.
set -euo pipefail
bin=$(cd "${1:?usage: tools/demo.sh BIN_DIR}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() {
  printf '$ %s\n' "$*"
  "$@"
}
refused() {  # wanted exit code, then the command
  local want=$1 code=0
  shift
  printf '$ %s\n' "$*"
  "$@" || code=$?
  if [ "$code" -ne "$want" ]; then
    echo "demo: expected exit code $want, got $code" >&2
    exit 1
  fi
  echo "  refused with exit code $code"
}

say '1. The owner has two files'
mkdir -p INPUTS/letters
echo 'Hello world' >INPUTS/hello.txt
echo 'Hello together' >INPUTS/letters/together.txt
run find INPUTS -type f

say '2. A volume: the key stays in a file that only the owner can read, the tag names its exact state'
run "$bin/cloister" volume create input-volume --key-file volume.key | tee empty.tag
run "$bin/cloister" volume add input-volume INPUTS --key-file volume.key --tag "$(tail -1 empty.tag)" | tee full.tag
empty=$(tail -1 empty.tag) full=$(tail -1 full.tag)
echo "tag before: $empty"
echo "tag after:  $full"

say '3. What would leave the machine: no names, no content'
run find input-volume -type f -printf '%s bytes  %P\n'
object=input-volume/volume.fspf
echo "$ xxd $object"
xxd "$object" | grep -v ': 0000 0000 0000 0000 0000 0000 0000 0000' | sed -n 1,8p
if grep -rqaE 'Hello|letters|together' input-volume; then
  echo 'demo: plaintext found in the volume' >&2
  exit 1
fi
echo 'none of the names or words of INPUTS occurs in it'

say '4. With key and tag everything is verified and comes back'
run "$bin/cloister" volume verify input-volume --key-file volume.key --tag "$full"
run "$bin/cloister" volume get input-volume OUTPUTS --key-file volume.key --tag "$full"
run diff -r INPUTS OUTPUTS
run cat OUTPUTS/hello.txt OUTPUTS/letters/together.txt

say '5. Attack: changed bytes in the ciphertext'
cp -r input-volume changed
object=changed/volume.fspf
size=$(stat -c %s "$object")
for ((at = size / 2; at < size; at += 512)); do  # past the superblocks: metadata and small files
  byte=$(xxd -s "$at" -l 1 -p "$object")
  printf "\\x$(printf %02x $((0x$byte ^ 1)))" | dd of="$object" bs=1 seek="$at" conv=notrunc status=none
done
refused 3 "$bin/cloister" volume verify changed --key-file volume.key --tag "$full"

say '6. Attack: the whole volume rolled back to an older state'
cp -r input-volume newer
echo 'A third file' >third.txt && mkdir MORE && mv third.txt MORE/
newest=$("$bin/cloister" volume add newer MORE --key-file volume.key --tag "$full" 2>/dev/null)
echo "the owner now holds tag $newest; the storage still serves the old folder"
refused 3 "$bin/cloister" volume get input-volume STOLEN --key-file volume.key --tag "$newest"

say '7. Attack: another key'
printf '%064d\n' 7 >other.key
refused 3 "$bin/cloister" volume verify input-volume --key-file other.key --tag "$full"

say 'Done. Running the program between these two volumes inside an attested enclave is not part of this version.'
