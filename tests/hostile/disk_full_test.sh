#!/usr/bin/env bash
# The disk under the output volume is full: the program is told (ENOSPC), and the state that the CAS holds still opens.
# Needs to mount a small tmpfs, that is, root. Usage: disk_full_test.sh BIN_DIR
source "$(dirname "$0")/../integration/tutorial_support.sh"
if ! { mkdir -p small && mount -t tmpfs -o size=6M tmpfs small 2>/dev/null; }; then
  echo 'skipped: this user may not mount a small file system, which is the disk that gets full here; run it as root'
  exit 77
fi
trap 'umount -l "$work/small"; finish' EXIT

mkdir -p INPUTS KEYS
echo kept >INPUTS/kept
start_services
cloister build --program "$(type -P env)" --program "$(type -P cp)" --program "$(type -P dd)" --name copy_dapp \
  -o copy_dapp.enclave --template copy_dapp.yml >/dev/null
sed -i 's|command: .*|command: ["env", "-S", "@@1"]|' copy_dapp.yml
line=$(push_with -t copy_dapp.yml)
session=$(session_of "$line")
cloister transfer pull "$(url_of "$line")" volumes --unpack 2>/dev/null
cp -r volumes/encryptedOutputs small/
export CLOISTER_CONFIG_ID=$session/application CLOISTER_CAS_ADDR=$cas_enclave CLOISTER_CAS_KEY=$cas_key CLOISTER_LOG=error
inside() {
  cloister run --volume /encryptedInputs=volumes/encryptedInputs --volume /encryptedOutputs=small/encryptedOutputs \
    copy_dapp.enclave "$1"
}
inside 'cp /encryptedInputs/kept /encryptedOutputs/kept'
tag_of() { cloister session volumes "$session" --cas "$cas_api" --conf KEYS | awk '/output/ {print $2}'; }
out=$(inside 'dd if=/dev/zero of=/encryptedOutputs/large bs=64K count=400 conv=fsync' 2>&1) && fail 'dd had room'
[[ $out == *'No space left'* ]] || fail "the program was not told: $out"
key=KEYS/sessions/$session/output.key
cloister volume verify small/encryptedOutputs --key-file "$key" --tag "$(tag_of)" >/dev/null
[ "$(cloister volume cat small/encryptedOutputs kept --key-file "$key" --tag "$(tag_of)")" = kept ] || fail 'an old file is lost'
echo 'disk full: said, and the old state opens'
