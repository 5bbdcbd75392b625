#!/usr/bin/env bash
# kill -9 of a run at random moments, again and again on the same volume: every time it opens at the tag that the CAS holds,
# is completely intact, and lacks nothing that fsync or O_DSYNC had confirmed. Usage: acknowledged_test.sh BIN_DIR [ROUNDS]; 200 rounds with CLOISTER_LONG_TESTS=1.
source "$(dirname "$0")/../integration/tutorial_support.sh"
rounds=${2:-12}
[ "${CLOISTER_LONG_TESTS:-0}" = 1 ] && rounds=200

mkdir -p INPUTS KEYS
echo seed >INPUTS/seed
start_services
gcc -O1 "$source_folder/tests/hostile/churn.c" -o churn
cloister build --program ./churn:/application --name copy_dapp -o copy_dapp.enclave --template copy_dapp.yml >/dev/null
sed -i 's|command: .*|command: "/application @@1"|' copy_dapp.yml
line=$(push_with -t copy_dapp.yml)
session=$(session_of "$line")
cloister transfer pull "$(url_of "$line")" volumes --unpack 2>/dev/null
key=KEYS/sessions/$session/output.key
tag_of() { cloister session volumes "$session" --cas "$cas_api" --conf KEYS | awk '/output/ {print $2}'; }

export CLOISTER_CONFIG_ID=$session/application CLOISTER_CAS_ADDR=$cas_enclave CLOISTER_CAS_KEY=$cas_key CLOISTER_LOG=error
confirmed=-1
for round in $(seq "$rounds"); do
  cloister run --volume /encryptedInputs=volumes/encryptedInputs --volume /encryptedOutputs=volumes/encryptedOutputs \
    copy_dapp.enclave $((confirmed + 1)) >numbers 2>errors &
  run=$!
  # Mostly while it works; now and then while it starts.
  if [ $((round % 4)) -ne 0 ]; then
    for _ in $(seq 600); do [ -s numbers ] && break; sleep 0.05; done
  fi
  sleep "0.$((RANDOM % 8))$((RANDOM % 10))"
  kill -9 $run 2>/dev/null || fail "round $round: the run had ended: $(cat errors)"
  wait $run 2>/dev/null || true
  last=$(tail -1 numbers)
  [ -z "$last" ] || confirmed=$last
  tag=$(tag_of)
  [[ $tag =~ ^[0-9a-f]{32}$ ]] || fail "round $round: the CAS says '$tag'"
  cloister volume verify volumes/encryptedOutputs --key-file "$key" --tag "$tag" >/dev/null 2>verify.err ||
    fail "round $round: the volume does not open at the CAS's tag: $(cat verify.err)"
  [ "$confirmed" -lt 0 ] && continue
  number=$(cloister volume cat volumes/encryptedOutputs number --key-file "$key" --tag "$tag")
  [ "$number" -ge "$confirmed" ] || fail "round $round: $confirmed was confirmed, the volume has $number"
done
[ "$confirmed" -gt 0 ] || fail 'no run got as far as a single record'
echo "kill: $rounds rounds, $confirmed records, nothing confirmed was lost"
