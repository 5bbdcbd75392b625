#!/usr/bin/env bash
# What an owner can get wrong, or somebody wants them to get wrong, without any enclave: every error says what and where,
# in time, and leaves nothing behind. Usage: owner_errors_test.sh BIN_DIR
source "$(dirname "$0")/tutorial_support.sh"

mkdir -p INPUTS KEYS
echo 'Hello world' >INPUTS/hello.txt
start_services
build_dapp copy_dapp.enclave
cp copy_dapp.yml KEYS/copy_dapp.yml

# Templates: the file, the key, the line.
sed 's/^     pwd: /     pdw: /' copy_dapp.yml >unknown.yml
expect 1 'unknown.yml' push_with -t unknown.yml
[[ $out == *pdw* && $out == *"line "* && $out == *column* ]] || fail "no position: $out"
sed 's/^version: .*/version: 0.3/' copy_dapp.yml >number.yml
expect 1 'number.yml' push_with -t number.yml
[[ $out == *version* && $out == *"line "* ]] || fail "no position: $out"
sed 's/\$OUTPUT_FSPF_TAG/$OUTPUT_TAG/' copy_dapp.yml >variable.yml
expect 2 '$OUTPUT_TAG is missing' push_with -t variable.yml
[[ $out == *"line "* && $out == *column* ]] || fail "no position: $out"
sed 's/\$OUTPUT_FSPF_KEY/$INPUT_FSPF_KEY/' copy_dapp.yml >one-key.yml
expect 2 'no output volume' push_with -t one-key.yml
printf 'name: [' >broken.yml
expect 1 'broken.yml' push_with -t broken.yml
expect 1 'absent.yml' push_with -t absent.yml

# Input folder.
expect 1 'there is no folder NOWHERE' encryptedpush -a copy_dapp --inputDataFolder NOWHERE --conf KEYS -s "$cas_api" -r "http://$transfer"
no_session_left
nothing_stored

# A CAS that is not pinned, that has another key, that is dead.
CLOISTER_CONFIG=$work/stranger expect 4 'not trusted' push_with
[[ $out == *'cloister cas trust'* ]] || fail "no hint: $out"
mkdir -p other && (CLOISTER_CONFIG=$work/other cloister cas trust "$cas_api" --key "$(printf '%064d' 7)" >/dev/null)
CLOISTER_CONFIG=$work/other within 10 4 "$cas_api" push_with
CLOISTER_CONFIG=$work/other within 10 4 "$cas_api" push_with --insecure
cloister cas trust 127.0.0.1:9 --key "$cas_key" >/dev/null
within 10 5 '127.0.0.1:9' encryptedpush -a copy_dapp --inputDataFolder INPUTS --conf KEYS -s 127.0.0.1:9 -r "http://$transfer"
silent_service
cloister cas trust "$silent" --key "$cas_key" >/dev/null
within 10 5 "$silent" encryptedpush -a copy_dapp --inputDataFolder INPUTS --conf KEYS -s "$silent" -r "http://$transfer"
no_session_left
nothing_stored

# A dead or silent transfer server; one that is none.
within 10 5 "$silent" encryptedpush -a copy_dapp --inputDataFolder INPUTS --conf KEYS -s "$cas_api" -r "http://$silent"
within 10 5 '127.0.0.1:9' encryptedpush -a copy_dapp --inputDataFolder INPUTS --conf KEYS -s "$cas_api" -r http://127.0.0.1:9
expect 2 '' encryptedpush -a copy_dapp --inputDataFolder INPUTS --conf KEYS -s "$cas_api" -r nonsense
no_session_left
expect 2 '' encryptedpush --nonsense
expect 0 'sessiontemplate' encryptedpush --help
expect 0 'decryptedOutputs' decrypt --help

# A transfer server with a certificate that nobody knows: refused, unless somebody says that it does not matter.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout tls-key.pem -out tls-cert.pem -days 2 \
  -subj /CN=transfer 2>/dev/null
start_service tls 1 transfer serve --root TLS_STORE --listen 127.0.0.1:0 --tls-cert tls-cert.pem --tls-key tls-key.pem
tls=${addresses[0]}
expect 4 "$tls" encryptedpush -a copy_dapp --inputDataFolder INPUTS --conf KEYS -s "$cas_api" -r "https://$tls"
no_session_left
line=$(encryptedpush -a copy_dapp --inputDataFolder INPUTS --conf KEYS -s "$cas_api" -r "https://$tls" --insecure)
expect 4 "$tls" decrypt --conf KEYS --encryptedOutputs "$(url_of "$line")" --decryptedOutputs OUT
expect 0 '' decrypt --conf KEYS --encryptedOutputs "$(url_of "$line")" --decryptedOutputs EMPTY-OUT --insecure
rm -rf KEYS/sessions

# The CAS refuses the session after the upload: the upload goes away again, and the keys with it.
sed 's/^name: .*/name: a-fixed-name/' copy_dapp.yml >fixed.yml
line=$(push_with -t fixed.yml)
[ "$(session_of "$line")" = a-fixed-name ] || fail "printed $line"
stored=$(find STORE -type f | sort)
sessions=$(ls KEYS/sessions)
expect 2 'deleted again' push_with -t fixed.yml
[ "$(ls KEYS/sessions)" = "$sessions" ] || fail 'keys of a session that does not exist were left'
[ "$(find STORE -type f | sort)" = "$stored" ] || fail 'the upload was left'

# Interrupted while it encrypts: no keys and no ciphertext stay.
mkdir LARGE && head -c 400000000 /dev/zero >LARGE/file
encryptedpush -a copy_dapp --inputDataFolder LARGE --conf KEYS -s "$cas_api" -r "http://$transfer" >push.out 2>push.err </dev/null &
pid=$!
for _ in $(seq 200); do
  [ "$(ls KEYS/sessions)" != "$sessions" ] && break
  sleep 0.02
done
[ "$(ls KEYS/sessions)" != "$sessions" ] || fail "it did not begin: $(cat push.err)"
kill -TERM "$pid"
code=0
wait "$pid" || code=$?
[ "$code" -eq 143 ] || fail "interrupted: exit code $code: $(cat push.err)"
[ "$(ls KEYS/sessions)" = "$sessions" ] || fail 'keys of an interrupted run were left'
nothing_temporary
rm -rf LARGE

# Interrupted while it decrypts: what was there stays, and nothing else.
mkdir LARGE && head -c 300000000 /dev/urandom >LARGE/file
large_line=$(encryptedpush -a copy_dapp -t copy_dapp.yml --inputDataFolder LARGE --conf LARGE-KEYS -s "$cas_api" -r "http://$transfer")
cloister transfer pull "$(url_of "$large_line")" large --unpack
for record in LARGE-KEYS/sessions/*/session.json; do  # the input volume in the place of the result
  python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); r["output"] = r["input"]; json.dump(r, open(sys.argv[1], "w"))' "$record"
  cp "${record%session.json}input.key" "${record%session.json}output.key"
done
mkdir SOME && echo mine >SOME/mine
for target in NEW SOME; do
  decrypt --conf LARGE-KEYS --encryptedOutputs large --decryptedOutputs "$target" 2>decrypt.err </dev/null &
  pid=$!
  for _ in $(seq 2000); do
    [ -s "$target/file" ] && break
    sleep 0.01
  done
  kill -TERM "$pid" 2>/dev/null || fail "decrypt ended before it could be interrupted: $(cat decrypt.err)"
  code=0
  wait "$pid" || code=$?
  [ "$code" -eq 143 ] || fail "interrupted: exit code $code: $(cat decrypt.err)"
done
[ ! -e NEW ] || fail 'half a result was left'
[ "$(ls -A SOME)" = mine ] || fail "half a result was left: $(ls -A SOME)"
rm -rf LARGE large LARGE-KEYS

# Keys: none, the wrong one, a missing file, a damaged one.
url=$(url_of "$line")
expect 1 '--conf' decrypt --conf NOKEYS --encryptedOutputs "$url" --decryptedOutputs OUT
cp -r KEYS OTHER && rm -rf OTHER/sessions && mkdir OTHER/sessions
expect 1 'no session' decrypt --conf OTHER --encryptedOutputs "$url" --decryptedOutputs OUT
cp -r KEYS WRONG
printf '%064d\n' 7 >"$(echo WRONG/sessions/*/output.key)"
expect 3 'wrong volume key' decrypt --conf WRONG --encryptedOutputs "$url" --decryptedOutputs OUT
rm WRONG/sessions/*/output.key
expect 1 'output.key' decrypt --conf WRONG --encryptedOutputs "$url" --decryptedOutputs OUT
echo nonsense >"$(echo WRONG/sessions/*)/output.key"
expect 2 '64 hex digits' decrypt --conf WRONG --encryptedOutputs "$url" --decryptedOutputs OUT

# Places that hold no volume; a volume of somebody else.
mkdir -p EMPTY
expect 1 'no volume' decrypt --conf KEYS --encryptedOutputs EMPTY --decryptedOutputs OUT
expect 1 'does not exist' decrypt --conf KEYS --encryptedOutputs ABSENT --decryptedOutputs OUT
cloister volume create foreign --key-file foreign.key >/dev/null
expect 1 'belongs to a session' decrypt --conf KEYS --encryptedOutputs foreign --decryptedOutputs OUT

# A folder of somebody else's files as the target, a file as the target.
: >FILE
expect 2 'not a folder' decrypt --conf KEYS --encryptedOutputs "$url" --decryptedOutputs FILE

# Another owner cannot ask for the tags of this session, not even whether it exists.
cp -r KEYS THIEF && rm -f THIEF/identity-key.pem THIEF/identity-cert.pem
expect 1 'Session not found' decrypt --conf THIEF --encryptedOutputs "$url" --decryptedOutputs OUT
[ ! -e OUT ] || fail 'something was written'

# Dead CAS at the last step.
kill "${service_pids[1]}" && wait "${service_pids[1]}" 2>/dev/null || true
within 10 5 "$cas_api" decrypt --conf KEYS --encryptedOutputs "$url" --decryptedOutputs OUT
[ ! -e OUT ] || fail 'something was written'
nothing_temporary
echo 'all errors of owners are clear'
