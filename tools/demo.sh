#!/usr/bin/env bash
# The whole tutorial on this machine: an unmodified program runs in an enclave between two encrypted volumes, and three
# attacks are refused. Everything happens in a temporary folder; the services end with this script. Usage: demo.sh BIN_DIR
set -euo pipefail
bin=$(cd "${1:?usage: tools/demo.sh BIN_DIR}" && pwd)
source_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/cloister-demo-XXXXXX")
# shellcheck source=tools/local_services.sh
source "$source_folder/tools/local_services.sh"
finish() {
  stop_services
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PATH=$bin:$PATH
cd "$work"

title() { printf '\n\033[1m%s\033[0m\n' "$*"; }
say() { printf '%s\n' "$*"; }
run() {
  printf '$ %s\n' "$*"
  "$@"
}
step() {  # file for the standard output, command…: shows both
  local out=$1
  shift
  printf '$ %s\n' "$*"
  "$@" >"$out" || { echo "demo: the command above failed with $?" >&2; exit 1; }
  cat "$out"
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
  say "=> refused with exit code $code"
}
hidden() {  # no word of the inputs may be in this folder
  if grep -rqaE 'Hello|world|together|letters' "$1"; then
    echo "demo: plaintext found in $1" >&2
    exit 1
  fi
}
session_of() { sed -nE 's/.*--sessionID ([^ ]*)\/application .*/\1/p' "$1"; }
url_of() { sed -nE 's/.*--url ([^ ]*).*/\1/p' "$1"; }

title 'The owner has two files'
mkdir -p INPUTS/letters KEYS
echo 'Hello world' >INPUTS/hello.txt
echo 'Hello together' >INPUTS/letters/together.txt
run find INPUTS -type f

title 'Three services: quoting (LAS) on the machine that computes, keys (CAS), storage for ciphertext (transfer)'
start_las
start_cas
start_transfer
cat las.log cas.log transfer.log
say "The owner pins the CAS's key once; from now on no other CAS gets a key of theirs."
run cloister cas trust "$cas_api" --key "$cas_key"

title 'A program, compiled as always, becomes an enclave image'
run gcc -O2 -o copy_files "$source_folder/examples/copy_files/copy_files.c"
run cloister build --program ./copy_files:/application --heap 64M --stack 4M --threads 8 --name copy_dapp \
  -o copy_dapp.enclave --template KEYS/copy_dapp.yml
run cloister hash copy_dapp.enclave
say 'Its measurement, MRENCLAVE, stands in the session template: no other program will get the keys.'
run grep -E 'mrenclaves|command|path' KEYS/copy_dapp.yml

push() {  # file for the printed line
  step "$1" encryptedpush --application copy_dapp -t KEYS/copy_dapp.yml --inputDataFolder INPUTS --conf KEYS \
    -s "$cas_api" -r "http://$transfer" --cas-enclave-port "${cas_enclave##*:}"
}
prepare_execute() {  # image, url, file with the line of step 1: the command is in `execute`
  execute=(cloister execute --image "$1" --sessionID "$(session_of "$3")/application"
    --secretManagementService "$cas_enclave" --url "$2" --push "http://$transfer" --las "$las")
}

title 'Step 1, on the owner'"'"'s machine: encrypt, upload, create the session'
push step1.line
session=$(session_of step1.line)
url=$(url_of step1.line)
say 'What left the machine: two volumes of ciphertext. Names, sizes and the tree are inside the encryption.'
run cloister transfer pull "$url" seen --unpack
run find seen -type f -printf '%s bytes  %P\n'
object=seen/encryptedInputs/volume.fspf
say "\$ xxd $object"
xxd "$object" | grep -v ': 0000 0000 0000 0000 0000 0000 0000 0000' | tail -8
hidden seen
say 'None of the words or names of INPUTS occurs in it.'
say 'The tags that the CAS holds before the run:'
step tags.before cloister session volumes "$session" --cas "$cas_api" --conf KEYS

title 'Step 2, on a machine that nobody trusts: pull, attest, run, push'
prepare_execute copy_dapp.enclave "$url" step1.line
step result.url "${execute[@]}"
say 'What the CAS decided, as only the owner of the session can read it:'
step events cloister session events "$session" --cas "$cas_api" --conf KEYS
say 'The tags after the run: the output volume has another one.'
step tags.after cloister session volumes "$session" --cas "$cas_api" --conf KEYS
if cmp -s tags.before tags.after; then
  echo 'demo: the tags did not change' >&2
  exit 1
fi
run cloister transfer pull "$(cat result.url)" seen-result --unpack
hidden seen-result

title 'Step 3, on the owner'"'"'s machine again: verify against the CAS'"'"'s tag and decrypt'
run decrypt --conf KEYS --encryptedOutputs "$(cat result.url)" --decryptedOutputs OUTPUTS
run diff -r INPUTS OUTPUTS
run cat OUTPUTS/hello.txt OUTPUTS/letters/together.txt

title 'Attack 1: a byte of the pulled input volume is changed'
push attack1.line
cloister transfer pull "$(url_of attack1.line)" changed --unpack
object=changed/encryptedInputs/volume.fspf
# the last byte that is not zero: in the newest node of the tree
at=$(xxd -p -c1 "$object" | grep -n -v '^00$' | tail -1 | cut -d: -f1)
at=$((at - 1))
byte=$(xxd -s "$at" -l 1 -p "$object")
printf "\\x$(printf %02x $((0x$byte ^ 1)))" | dd of="$object" bs=1 seek="$at" conv=notrunc status=none
say "byte $at of $object: was 0x$byte"
prepare_execute copy_dapp.enclave changed attack1.line
refused 3 "${execute[@]}"

title 'Attack 2: the output volume is rolled back to its first state'
say 'The machine starts the session once more with the volumes as they were before the first run.'
prepare_execute copy_dapp.enclave "$url" step1.line
refused 3 "${execute[@]}"
say 'And the storage serves the owner the old, empty output volume.'
refused 3 decrypt --conf KEYS --encryptedOutputs "$url" --decryptedOutputs ROLLED_BACK
[ ! -e ROLLED_BACK ]

title 'Attack 3: another program, one that would keep a copy for itself'
push attack3.line
sed 's/copied %lu files/stole %lu files/' "$source_folder/examples/copy_files/copy_files.c" >evil.c
run gcc -O2 -o evil evil.c
run cloister build --program ./evil:/application --heap 64M --stack 4M --threads 8 --name copy_dapp -o evil.enclave
prepare_execute evil.enclave "$(url_of attack3.line)" attack3.line
refused 4 "${execute[@]}"
say 'The enclave only learns that it was refused. The owner sees which program it was:'
run cloister session events "$(session_of attack3.line)" --cas "$cas_api" --conf KEYS

title 'Done'
say "OUTPUTS/hello.txt:            $(cat OUTPUTS/hello.txt)"
say "OUTPUTS/letters/together.txt: $(cat OUTPUTS/letters/together.txt)"
say 'The enclave was a software SGX: the same image, measurement and protocol as on hardware, but no protection from'
say 'the owner of the machine. Nothing here has run on SGX hardware.'
