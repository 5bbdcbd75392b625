#!/usr/bin/env bash
# Size and number: a large file, many small ones and a deep tree through all three steps. Short here; 5 GiB and 10 000 files
# with CLOISTER_LONG_TESTS=1. Usage: trip_test.sh BIN_DIR
source "$(dirname "$0")/tutorial_support.sh"
large=$((96 << 20)) many=1000 depth=60
if [ "${CLOISTER_LONG_TESTS:-0}" = 1 ]; then large=$((5 << 30)) many=10000 depth=200; fi

mkdir -p INPUTS/many KEYS
openssl enc -aes-128-ctr -nosalt -K 00112233445566778899aabbccddeeff -iv 0 </dev/zero 2>/dev/null | head -c "$large" >INPUTS/large || true
[ "$(stat -c %s INPUTS/large)" -eq "$large" ] || fail 'the large file was not made'
for i in $(seq "$many"); do echo "$i" >"INPUTS/many/file $i"; done
deep=INPUTS
for i in $(seq "$depth"); do deep=$deep/$i; done
mkdir -p "$deep"
echo bottom >"$deep/end"

start_services
build_dapp copy_dapp.enclave
line=$(push_with -t copy_dapp.yml)
url=$(execute_with "$line" 2>execute.err) || fail "execute: $(cat execute.err)"
input=$(url_of "$line")
input=STORE/files/$(basename "$(dirname "$input")")
[ -s "$input/content" ] || fail "the upload is not in $input"
rm -r "$input"  # nobody needs it any more, least of all decrypt
decrypt --conf KEYS --encryptedOutputs "$url" --decryptedOutputs OUTPUTS 2>/dev/null
diff -r INPUTS OUTPUTS || fail 'the trees differ'
echo "trip: $((large >> 20)) MiB, $many files, $depth folders deep"
