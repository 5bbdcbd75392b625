#!/usr/bin/env bash
# kill -9 of `execute` at random moments: every time the volumes that are left open at the tag that the CAS holds, and the
# next run goes on with them. Usage: kill_test.sh BIN_DIR [KILLS]; 200 kills with CLOISTER_LONG_TESTS=1.
source "$(dirname "$0")/tutorial_support.sh"
kills=${2:-12}
[ "${CLOISTER_LONG_TESTS:-0}" = 1 ] && kills=200

mkdir -p INPUTS KEYS
for i in $(seq 40); do head -c $((i * 3000)) /dev/urandom >"INPUTS/file-$i"; done
start_services
build_dapp copy_dapp.enclave
cp copy_dapp.yml KEYS/copy_dapp.yml
state() { cloister session volumes "$session" --cas "$cas_api" --conf KEYS | grep output; }

# How long a run takes here and now, with volumes that need not be pulled.
line=$(push_with)
execute_with "$line" --work-dir timed >/dev/null 2>run.err || fail "a run without a kill: $(cat run.err)"
begin=$(date +%s%N)
execute_with "$line" --work-dir timed >/dev/null 2>run.err || fail "a second run: $(cat run.err)"
whole=$((($(date +%s%N) - begin) / 1000))  # microseconds

line=$(push_with)
session=$(session_of "$line")
killed=0 moved=0 runs=0
while [ "$killed" -lt "$kills" ]; do
  runs=$((runs + 1))
  [ "$runs" -le $((4 * kills)) ] || fail "only $killed of $runs runs could be killed"
  before=$([ -d kept ] && state || true)
  # shellcheck disable=SC2086
  cloister execute --image copy_dapp.enclave $line --las "$las" --push "http://$transfer" --work-dir kept >run.out 2>run.err </dev/null &
  pid=$!
  delay=$(((RANDOM * 32768 + RANDOM) % whole))
  sleep "$(printf '%d.%06d' $((delay / 1000000)) $((delay % 1000000)))"
  kill -9 "$pid" 2>/dev/null && killed=$((killed + 1))
  wait "$pid" 2>/dev/null || true
  [ -n "$(find kept -name volume.fspf 2>/dev/null)" ] || continue
  [ "$before" = "$(state)" ] || moved=$((moved + 1))
  rm -rf RESULT
  decrypt --conf KEYS --encryptedOutputs kept --decryptedOutputs RESULT >decrypt.err 2>&1 || fail "run $runs, killed after $delay µs: $(cat decrypt.err)"
done
[ "$moved" -gt 0 ] || fail 'no run got as far as a commit: the delays are too short'

# And what was interrupted can be finished.
execute_with "$line" --work-dir kept >run.out 2>run.err || fail "the run after the kills: $(cat run.err)"
rm -rf RESULT
decrypt --conf KEYS --encryptedOutputs "$(cat run.out)" --decryptedOutputs RESULT 2>/dev/null
diff -r INPUTS RESULT || fail 'the trees differ'
echo "killed $killed of $runs runs, tags moved in $moved: every state opened"
