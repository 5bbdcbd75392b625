#!/usr/bin/env bash
# fsync in an attested enclave: threads share commits, so the CAS sees fewer tags than there were fsyncs; and what the CAS
# refused is confirmed to nobody, also not to who finds nothing left to commit. Usage: fsync_test.sh BIN_DIR
source "$(dirname "$0")/tutorial_support.sh"

mkdir -p INPUTS KEYS
echo seed >INPUTS/seed
start_services
cas_pid=${service_pids[1]}
gcc -O1 -pthread "$source_folder/tests/integration/fsyncs.c" -o fsyncs
cloister build --program ./fsyncs:/application --name copy_dapp --threads 16 -o copy_dapp.enclave --template copy_dapp.yml >/dev/null
sed -i 's|command: .*|command: "/application @@1 @@2"|' copy_dapp.yml
line=$(push_with -t copy_dapp.yml)
session=$(session_of "$line")
cloister transfer pull "$(url_of "$line")" volumes --unpack 2>/dev/null
export CLOISTER_CONFIG_ID=$session/application CLOISTER_CAS_ADDR=$cas_enclave CLOISTER_CAS_KEY=$cas_key CLOISTER_LOG=error
updates() { cloister session volumes "$session" --cas "$cas_api" --conf KEYS | awk '/output/ {print $3}'; }
run_with() {  # folder of the volumes, words
  local folder=$1
  shift
  cloister run --volume "/encryptedInputs=$folder/encryptedInputs" --volume "/encryptedOutputs=$folder/encryptedOutputs" \
    copy_dapp.enclave "$@"
}

before=$(updates)
fsyncs=$(run_with volumes 8 50)
tags=$(($(updates) - before))
[ "$fsyncs" = 400 ] || fail "the threads made '$fsyncs' fsyncs"
[ "$tags" -gt 0 ] && [ "$tags" -le 200 ] || fail "$fsyncs fsyncs of 8 threads were $tags commits"

# While the CAS has no connection to it, another enclave takes the volume over: the first one's next tag is refused.
mkfifo go
run_with volumes refused - <go >said 2>errors &
first=$!
exec 3>go
until grep -q ready said; do
  kill -0 $first 2>/dev/null || fail "the first run ended: $(cat errors)"
  sleep 0.05
done
cp -r volumes taken
kill "$cas_pid" && wait "$cas_pid" || true
start_cas
run_with taken 1 1 >/dev/null 2>second.errors || fail "the second run: $(cat second.errors)"
echo >&3
code=0
wait $first || code=$?
[ $code = 1 ] || fail "a run whose last commit was refused ended with $code: $(cat errors)"
grep -q 'could not be made durable' errors || fail "it does not say why: $(cat errors)"
grep -q '^-1 -1 -1$' said || fail "a refused tag is confirmed: $(cat said errors)"
echo "fsync: $fsyncs by 8 threads were $tags commits; nothing is confirmed after a refusal"
