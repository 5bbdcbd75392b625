#!/usr/bin/env bash
# The CAS inside an enclave: it proves itself, serves the tutorial, keeps through kill -9 under load what it acknowledged, and
# refuses an older state. Usage: cas_enclave_test.sh BIN_DIR [KILLS]; 50 kills with CLOISTER_LONG_TESTS=1.
source "$(dirname "$0")/cas_enclave_support.sh"
kills=${2:-5}
[ "${CLOISTER_LONG_TESTS:-0}" = 1 ] && kills=50
start_enclave() { run_cas cas.enclave SEALED ANCHOR; }
refused() {  # words, image, folder, anchor: a start that must end with 3
  expect 3 "$1" timeout -s KILL 60 cloister run --sealed "$3" --sealed-anchor "$4" "$2" "$cas_api" "$cas_enclave" "$las"
}

start_las
las_pid=$service_pid
start_transfer
"$source_folder/tools/build_cas_enclave.sh" "$bin" cas.enclave LAS/simulation-root.pem >/dev/null
mrenclave=$(cloister hash cas.enclave)

# It proves itself: only the right measurement gets its key pinned.
start_enclave
expect 4 'Enclave hash does not match expectation' attest --mrenclave "${mrenclave//[0-9]/7}"
expect 4 'is not trustworthy' cloister cas attest "$cas_api" --mrenclave "$mrenclave"
expect 2 'say which enclave you expect' attest
expect 2 'go together' attest --mrsigner "$mrenclave"
expect 4 'is not trusted' cloister session read s --cas "$cas_api"
expect 0 "CAS $cas_api at https://$cas_api/ is trustworthy" attest --mrenclave "$mrenclave"
signer=$(cloister inspect cas.enclave --json | sed -nE 's/.*"mrsigner": "([0-9a-f]+)".*/\1/p')
expect 0 'is trustworthy' attest --mrsigner "$signer" --isvprodid 0 --isvsvn 0
expect 4 'isvsvn 0' attest --mrsigner "$signer" --isvprodid 0 --isvsvn 1
first_key=$cas_key

# Neither a session nor another command of the host's.
expect 4 'without a session' env CLOISTER_CONFIG_ID=s/app CLOISTER_CAS_ADDR=127.0.0.1:1 cloister run cas.enclave
expect 1 'wants an argument @@2' cloister run --sealed OTHER --sealed-anchor OTHER-ANCHOR cas.enclave 127.0.0.1:0
if grep -rqaE 'PRIVATE KEY|cas\.db|SQLite format' SEALED ANCHOR; then fail 'plaintext outside'; fi

# The tutorial works through it.
mkdir -p INPUTS KEYS
echo 'Hello world' >INPUTS/hello.txt
build_dapp copy_dapp.enclave
line=$(push_with -t copy_dapp.yml)
url=$(execute_with "$line" 2>execute.err) || fail "execute: $(cat execute.err)"
decrypt --conf KEYS --encryptedOutputs "$url" --decryptedOutputs OUTPUTS 2>/dev/null
diff -r INPUTS OUTPUTS || fail 'the trees differ'

# Killed again and again while owners create sessions and a program, always the same run, makes tags.
gcc -O1 "$source_folder/tests/hostile/churn.c" -o churn
cloister build --program ./churn:/application --name churn -o churn.enclave --template churn.yml >/dev/null
sed -i 's|command: .*|command: "/application @@1"|' churn.yml
line=$(encryptedpush --application churn --inputDataFolder INPUTS --conf KEYS -s "$cas_api" -t churn.yml \
  --cas-enclave-port "${cas_enclave##*:}" -r "http://$transfer")
session=$(session_of "$line")
cloister transfer pull "$(url_of "$line")" volumes --unpack 2>/dev/null
CLOISTER_CONFIG_ID=$session/application CLOISTER_CAS_ADDR=$cas_enclave CLOISTER_CAS_KEY=$cas_key CLOISTER_LOG=error \
  cloister run --volume /encryptedInputs=volumes/encryptedInputs --volume /encryptedOutputs=volumes/encryptedOutputs \
  churn.enclave 0 >numbers 2>churn.err &
churn_pid=$!
cat >small.yml <<'END'
name: $SESSION
version: "0.3"
services: [{name: app, mrenclaves: [aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa], command: app}]
END
create_for_ever() {  # prefix: writes down what was acknowledged
  local i hash
  for ((i = 0; ; i++)); do
    hash=$(cloister session create small.yml -e SESSION="$1-$i" --cas "$cas_api" --conf KEYS 2>/dev/null) || continue
    echo "$1-$i $hash" >>acknowledged
  done
}
: >acknowledged
create_for_ever one &
creators=$!
create_for_ever two &
creators="$creators $!"
for round in $(seq "$kills"); do
  before=$(wc -l <acknowledged)
  numbers=$(wc -l <numbers)
  for _ in $(seq 600); do
    [ "$(wc -l <acknowledged)" -gt "$before" ] && [ "$(wc -l <numbers)" -gt "$numbers" ] && break
    sleep 0.05
  done
  [ "$(wc -l <acknowledged)" -gt "$before" ] || fail "round $round: no session was acknowledged"
  kill -0 "$churn_pid" 2>/dev/null || fail "round $round: the program ended: $(cat churn.err)"
  [ "$(wc -l <numbers)" -gt "$numbers" ] || fail "round $round: no tag was acknowledged: $(cat churn.err)"
  sleep "0.$((RANDOM % 10))$((RANDOM % 10))"
  if [ "$round" = 1 ]; then  # the host goes down: its LAS too
    kill -9 "$las_pid" "$cas_pid"
    wait "$las_pid" 2>/dev/null || true
    stop_cas
    start_las
  fi
  stop_cas
  start_enclave
  [ "$cas_key" = "$first_key" ] || fail "round $round: the key changed"
  [ "$round" != 1 ] || expect 0 'is trustworthy' attest --mrenclave "$mrenclave"
done
# shellcheck disable=SC2086
kill -9 $creators "$churn_pid"
# shellcheck disable=SC2086
wait $creators "$churn_pid" 2>/dev/null || true
count=0
while read -r name hash; do
  cloister session read "$name" --hash "$hash" --cas "$cas_api" --conf KEYS >/dev/null 2>read.err ||
    fail "the acknowledged session $name is lost: $(cat read.err)"
  count=$((count + 1))
done <acknowledged
tag=$(cloister session volumes "$session" --cas "$cas_api" --conf KEYS | awk '/output/ {print $2}')
number=$(cloister volume cat volumes/encryptedOutputs number --key-file "KEYS/sessions/$session/output.key" --tag "$tag") ||
  fail "the volume does not open at the CAS's tag $tag"
confirmed=$(grep -E '^[0-9]+$' numbers | tail -1)
[ "$number" -ge "$confirmed" ] || fail "$confirmed was confirmed, the volume has $number"

# An older state alone, a lost anchor, another image, a debug enclave: refused by name.
stop_cas
cp -r SEALED OLD
start_enclave
cloister session create small.yml -e SESSION=after --cas "$cas_api" --conf KEYS >/dev/null
stop_cas
refused 'suspected replay attack' cas.enclave OLD ANCHOR
refused 'its anchor is missing' cas.enclave SEALED NONE
CAS_BUILD_OPTIONS='--stack 16M' "$source_folder/tools/build_cas_enclave.sh" "$bin" other.enclave LAS/simulation-root.pem >/dev/null
refused 'of another enclave, signer or machine' other.enclave SEALED ANCHOR
CAS_BUILD_OPTIONS='--debug' "$source_folder/tools/build_cas_enclave.sh" "$bin" debug.enclave LAS/simulation-root.pem >/dev/null
refused 'of another enclave, signer or machine' debug.enclave SEALED ANCHOR
start_enclave
cloister session read after --cas "$cas_api" --conf KEYS >/dev/null || fail 'the newest state was lost'
stop_cas

# SIGTERM ends it in order, whichever of its threads the host gives it to.
for _ in 1 2 3 4; do
  start_enclave
  kill -TERM "$cas_pid"
  for _ in $(seq 200); do
    kill -0 "$cas_pid" 2>/dev/null || break
    sleep 0.05
  done
  ! kill -0 "$cas_pid" 2>/dev/null || fail 'SIGTERM does not end it'
  wait "$cas_pid" || fail "SIGTERM ended it with $?"
  cas_pid=
done

# Sealed for its signer: a newer image opens it, one with a lower ISVSVN does not.
unset cas_api cas_enclave
for svn in 1 2; do
  CAS_BUILD_OPTIONS="--seal-policy mrsigner --isvsvn $svn" "$source_folder/tools/build_cas_enclave.sh" "$bin" "signer-$svn.enclave" \
    LAS/simulation-root.pem >/dev/null
done
run_cas signer-1.enclave BY-SIGNER BY-SIGNER-ANCHOR
key=$cas_key
stop_cas
run_cas signer-2.enclave BY-SIGNER BY-SIGNER-ANCHOR
[ "$cas_key" = "$key" ] || fail 'the newer image made another key'
stop_cas
run_cas signer-2.enclave NEWER NEWER-ANCHOR
stop_cas
refused 'of another enclave, signer or machine' signer-1.enclave NEWER NEWER-ANCHOR
echo "cas.enclave: killed $kills times, $count sessions and $confirmed tags acknowledged, nothing lost"
