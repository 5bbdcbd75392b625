#!/usr/bin/env bash
# The tutorial on a tree with everything that must survive the trip: what comes back is what went in, and nobody on the
# way sees any of it. Usage: tutorial_test.sh BIN_DIR
source "$(dirname "$0")/tutorial_support.sh"

mkdir -p 'INPUTS/deep/a b/ü/ñ' INPUTS/empty-folder INPUTS/many KEYS
echo 'Hello world' >INPUTS/hello.txt
: >INPUTS/empty
head -c 3000000 /dev/urandom >INPUTS/deep/large.bin
printf 'a-very-secret-sentence' >"INPUTS/deep/a b/ü/ñ/$(printf 'new\nline')"
ln -s ../hello.txt INPUTS/deep/link
ln -s /nowhere INPUTS/dangling
for i in $(seq 1 300); do echo "a-very-secret-number $i" >"INPUTS/many/file-$i"; done
chmod 640 INPUTS/empty
chmod 750 INPUTS/deep
touch -d '2001-02-03 04:05:06.789' INPUTS/hello.txt

start_services
build_dapp copy_dapp.enclave
[ "$(cloister hash copy_dapp.enclave)" = "$(grep -oE '[0-9a-f]{64}' copy_dapp.yml)" ] || fail 'the template has another MRENCLAVE'

# Step 1: exactly one line, as other people's scripts parse it.
line=$(push_with -t copy_dapp.yml)
pattern='^ --sessionID [1-9][0-9]{25}/application --secretManagementService 127\.0\.0\.1(:[0-9]+)? --url http://[^ ]+$'
[[ $line =~ $pattern ]] ||
  fail "step 1 printed '$line'"
session=$(session_of "$line")
[ "$(stat -c %a "KEYS/sessions/$session")" = 700 ] || fail 'others can see the session folder'
while read -r mode; do [ "$mode" = 600 ] || fail "a file of the session has mode $mode"; done < <(stat -c %a "KEYS/sessions/$session"/*)
nothing_temporary
before=$(cloister session volumes "$session" --cas "$cas_api" --conf KEYS)

# Step 2: only the URL on standard output, with carriage returns as a terminal's copy has them.
# shellcheck disable=SC2086
url=$(cloister execute --image copy_dapp.enclave $line$'\r' --las "$las"$'\r' --push "http://$transfer"$'\r' 2>execute.err) ||
  fail "execute: $(cat execute.err)"
[[ $url =~ ^http://[^[:space:]]+$ ]] || fail "execute printed '$url'"
grep -q 'copied 304 files' execute.err || fail "the program's output is not on standard error: $(cat execute.err)"
after=$(cloister session volumes "$session" --cas "$cas_api" --conf KEYS)
[ "$before" != "$after" ] || fail 'the tags did not change'

# Step 3, from the URL, from the zip and from a folder.
decrypt --conf KEYS --encryptedOutputs "$url" --decryptedOutputs OUTPUTS 2>/dev/null
diff -r --no-dereference INPUTS OUTPUTS || fail 'the trees differ'
listing() { (cd "$1" && find . -mindepth 1 \( -type f -printf '%P|%m|%s|%T@\n' -o -type d -printf '%P|%m|%T@\n' -o -type l -printf '%P|%l\n' \) | sort); }
diff <(listing INPUTS) <(listing OUTPUTS) || fail 'modes, sizes or times differ'
curl -sS -o result.zip "$url"
decrypt --conf KEYS --encryptedOutputs result.zip --decryptedOutputs new/OUTPUTS-2 2>/dev/null
diff -r --no-dereference INPUTS new/OUTPUTS-2 || fail 'the trees differ (zip)'
cloister transfer pull "$url" result --unpack
decrypt --conf KEYS --encryptedOutputs result --decryptedOutputs OUTPUTS-3 2>/dev/null
diff -r --no-dereference INPUTS OUTPUTS-3 || fail 'the trees differ (folder)'
decrypt --conf KEYS --encryptedOutputs result/encryptedOutputs --decryptedOutputs OUTPUTS-4 2>/dev/null
[ ! -e result/encryptedInputs ] || fail 'the unchanged input volume was pushed, too'

# Nothing is overwritten, not even partly.
echo mine >OUTPUTS-4/hello.txt
rm -rf OUTPUTS-4/many
expect 2 'OUTPUTS-4/' decrypt --conf KEYS --encryptedOutputs result --decryptedOutputs OUTPUTS-4
[ "$(cat OUTPUTS-4/hello.txt)" = mine ] || fail 'a file was overwritten'
[ ! -e OUTPUTS-4/many ] || fail 'something was written'

# Nobody on the way has a name, a word or a key: storage, the CAS's state, what was pulled.
if grep -rqaE 'a-very-secret|Hello world|hello\.txt|large\.bin|file-299' STORE CAS result; then fail 'plaintext outside'; fi
no_key_in STORE CAS LAS result ./*.log ./*.err

# A second session of the same folder is another one.
second=$(push_with -t copy_dapp.yml)
[ "$(session_of "$second")" != "$session" ] || fail 'a session number came twice'
echo 'the tutorial works'
