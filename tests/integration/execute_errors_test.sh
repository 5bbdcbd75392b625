#!/usr/bin/env bash
# What the machine that computes may do to volumes, programs and services, and what goes wrong there by itself. Attacks
# are refused with their reason, nothing is pushed, and the owner sees why. Usage: execute_errors_test.sh BIN_DIR
source "$(dirname "$0")/tutorial_support.sh"

mkdir -p INPUTS KEYS
echo 'Hello world' >INPUTS/hello.txt
head -c 300000 /dev/urandom >INPUTS/large.bin
start_services
build_dapp copy_dapp.enclave
cp copy_dapp.yml KEYS/copy_dapp.yml
flip() {  # file, offset
  local byte
  byte=$(xxd -s "$2" -l 1 -p "$1")
  printf "\\x$(printf %02x $((0x$byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
last_byte() { echo $(($(xxd -p -c1 "$1" | grep -n -v '^00$' | tail -1 | cut -d: -f1) - 1)); }
uploads() { find STORE -type f | wc -l; }
events() { cloister session events "$1" --cas "$cas_api" --conf KEYS; }

line=$(push_with)
session=$(session_of "$line")
cloister transfer pull "$(url_of "$line")" volumes --unpack
count=$(uploads)

# Arguments.
expect 2 'SESSION/SERVICE' cloister execute --image copy_dapp.enclave --sessionID nothing -s "$cas_enclave" --url volumes --push "http://$transfer" --las "$las"
expect 2 'result would be lost' cloister execute --image copy_dapp.enclave --sessionID a/b -s "$cas_enclave" --url volumes --las "$las"
expect 1 'nowhere.enclave' cloister execute --image nowhere.enclave --sessionID a/b -s "$cas_enclave" --url volumes --push "http://$transfer" --las "$las"

# Services that are absent are named, in time.
las=127.0.0.1:9 within 10 5 'Unable to connect to LAS at 127.0.0.1:9' execute_with "$line"
within 10 5 'Unable to connect to CAS at 127.0.0.1:9' cloister execute --image copy_dapp.enclave --sessionID "$session/application" -s 127.0.0.1:9 --url volumes --push "http://$transfer" --las "$las"
within 10 5 '127.0.0.1:9' execute_with "${line% --url *} --url http://127.0.0.1:9/x/y.zip"
expect 4 '' execute_with "${line% --url *} --url volumes" --cas-key "$(printf '%064d' 7)"

within 10 5 '127.0.0.1:9' cloister execute --image copy_dapp.enclave $line --las "$las" --push http://127.0.0.1:9
[[ $out != *copied* ]] || fail 'the program ran although its result could not be pushed'
silent_service
within 10 5 "$silent" execute_with "${line% --url *} --url http://$silent/x/y.zip"
within 10 5 "$silent" cloister execute --image copy_dapp.enclave $line --las "$las" --push "http://$silent"
[[ $out != *copied* ]] || fail 'the program ran although its result could not be pushed'
within 10 5 "$silent" cloister execute --image copy_dapp.enclave --sessionID "$session/application" -s "$silent" --url volumes --push "http://$transfer" --las "$las"
within 10 5 "$silent" cloister execute --image copy_dapp.enclave --sessionID "$session/application" -s "$cas_enclave" --url volumes --push "http://$transfer" --las "$silent"
within 10 5 "$silent" decrypt --conf KEYS --encryptedOutputs "http://$silent/x/y.zip" --decryptedOutputs OUT
nothing_temporary

# The pinned key: the client API is what people pin, and a pin that cannot be read is not the same as none.
mkdir pins
(CLOISTER_CONFIG=$work/pins cloister cas trust 127.0.0.1 --key "$(printf '%064d' 7)" >/dev/null)
CLOISTER_CONFIG=$work/pins expect 4 '' execute_with "${line% --url *} --url volumes"
[[ $out != *copied* ]] || fail 'another CAS than the pinned one was believed'
echo nonsense >pins/cas.json
CLOISTER_CONFIG=$work/pins expect 1 'cas.json' execute_with "${line% --url *} --url volumes"

# A session or service that does not exist.
expect 4 '' execute_with "--sessionID 11111111111111111111111111/application -s $cas_enclave --url volumes"
expect 4 '' execute_with "--sessionID $session/other -s $cas_enclave --url volumes"

# The right program in a debug enclave, whose memory anybody may read: refused, although the session names its measurement.
cloister build --program ./copy_files:/application --heap 64M --stack 4M --threads 8 --name copy_dapp --debug -o debug.enclave \
  --template KEYS/debug_dapp.yml >/dev/null
debug_line=$(push_with -t KEYS/debug_dapp.yml)
# shellcheck disable=SC2086
expect 4 'debug-mode' cloister execute --image debug.enclave $debug_line --las "$las" --push "http://$transfer"
[[ $(events "$(session_of "$debug_line")") == *debug-mode* ]] || fail 'the owner does not see that a debug enclave asked'
count=$(uploads)

# Another program: refused, and the owner sees which.
sed 's/copied %lu files/stole %lu files/' "$source_folder/examples/copy_files/copy_files.c" >evil.c
gcc -O2 -o evil evil.c
cloister build --program ./evil:/application --heap 64M --stack 4M --threads 8 --name copy_dapp -o evil.enclave >/dev/null
expect 4 '' cloister execute --image evil.enclave $line --las "$las" --push "http://$transfer"
[[ $out != *stole* ]] || fail 'another program ran'
listing=$(events "$session")
[[ $listing == *"$(cloister hash evil.enclave)"* ]] || fail "the owner does not see what was got: $listing"
[[ $listing == *"$(cloister hash copy_dapp.enclave)"* ]] || fail "the owner does not see what was wanted: $listing"

# Changed, truncated and missing objects of the input volume.
for attack in last-byte truncated missing object; do
  rm -rf bad && cp -r volumes bad
  main=bad/encryptedInputs/volume.fspf
  case $attack in
    last-byte) flip "$main" "$(last_byte "$main")" ;;
    truncated) truncate -s $(($(stat -c %s "$main") / 2)) "$main" ;;
    missing) rm "$main" ;;
    object) object=$(find bad/encryptedInputs/objects -type f | head -1) && flip "$object" 5000 ;;
  esac
  code=0
  out=$(execute_with "${line% --url *} --url bad" 2>&1 </dev/null) || code=$?
  [ "$code" -ne 0 ] || fail "$attack: the run succeeded"
  if [ "$attack" = last-byte ] || [ "$attack" = truncated ]; then [ "$code" -eq 3 ] || fail "$attack: exit code $code: $out"; fi
  [[ $out != *http://* ]] || fail "$attack: something was pushed: $out"
  [ "$attack" = object ] || nothing_temporary
  rm -rf "${TMPDIR:?}"/*  # the copy of the files before the damaged one was committed
done
[ "$(uploads)" = "$count" ] || fail 'something was pushed'

# Foreign files beside a volume are not seen; a foreign folder is not either.
line=$(push_with)
session=$(session_of "$line")
cloister transfer pull "$(url_of "$line")" first --unpack
cp -r first foreign
echo planted >foreign/encryptedInputs/planted.txt
mkdir foreign/else && echo planted >foreign/else/planted.txt
expect 0 'http://' execute_with "${line% --url *} --url foreign"
url=$(tail -1 <<<"$out")
decrypt --conf KEYS --encryptedOutputs "$url" --decryptedOutputs OUT 2>/dev/null
diff -r INPUTS OUT || fail 'a foreign file came through'

# The output volume rolled back: for the enclave, and for the owner. The same folder once more is a rollback, too.
expect 3 'The FSPF tag is not fresh' execute_with "$line"
expect 3 'The FSPF tag is not fresh' decrypt --conf KEYS --encryptedOutputs first --decryptedOutputs OLD
[ ! -e OLD ] || fail 'something was written'
cloister transfer pull "$url" result --unpack
flip result/encryptedOutputs/volume.fspf "$(last_byte result/encryptedOutputs/volume.fspf)"
expect 3 '' decrypt --conf KEYS --encryptedOutputs result --decryptedOutputs OLD
[ ! -e OLD ] || fail 'something was written'

# A program that fails: its status is said, nothing is pushed.
count=$(uploads)
printf 'int main(void) { return 7; }' >seven.c && gcc -o seven seven.c
cloister build --program ./seven:/application --heap 64M --name copy_dapp -o seven.enclave --template seven.yml >/dev/null
line=$(push_with -t seven.yml)
count=$((count + $(uploads) - count))
expect 1 'ended with status 7' cloister execute --image seven.enclave $line --las "$las" --push "http://$transfer"
[ "$(uploads)" = "$count" ] || fail 'the result of a failed program was pushed'

# The CAS holds a tag from the first commit on, so what was committed and not pushed stays, and its place is said.
kept_result() {  # of the output in `out`: its folder
  local folder
  folder=$(sed -nE 's/.*the result is in ([^ ]*) and was not pushed.*/\1/p' <<<"$out")
  [ -n "$folder" ] && [ -n "$(find "$folder" -name volume.fspf)" ] || fail "no result is left: $out"
  echo "$folder"
}
sed '/^int main/,$s/^  return 0;/  return 7;/' "$source_folder/examples/copy_files/copy_files.c" >late.c
grep -q 'return 7' late.c || fail 'the program that fails late is the usual one'
gcc -O2 -o late late.c
cloister build --program ./late:/application --heap 64M --name copy_dapp -o late.enclave --template late.yml >/dev/null
line=$(push_with -t late.yml)
expect 1 'ended with status 7' cloister execute --image late.enclave $line --las "$las" --push "http://$transfer"
folder=$(kept_result)
rm -rf OUT && decrypt --conf KEYS --encryptedOutputs "$folder" --decryptedOutputs OUT 2>/dev/null
diff -r INPUTS OUT || fail 'what was left is not the result'
rm -rf "$(dirname "$folder")"
cat >full.py <<'SERVER'
import http.server, os, time
class Full(http.server.BaseHTTPRequestHandler):  # takes no upload, which nobody knows before
    def do_HEAD(self):
        self.send_response(200), self.end_headers()
    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        while os.path.exists("slow"):
            open("asked", "w").close()
            time.sleep(0.05)
        self.send_response(507), self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Full)
print(server.server_port, flush=True)
server.serve_forever()
SERVER
python3 full.py >full.port &
service_pids+=($!)
until [ -s full.port ]; do sleep 0.05; done
line=$(push_with)
expect 5 '507' cloister execute --image copy_dapp.enclave $line --las "$las" --push "http://127.0.0.1:$(cat full.port)"
folder=$(kept_result)
rm -rf OUT && decrypt --conf KEYS --encryptedOutputs "$(cloister transfer push "http://$transfer" "$folder")" --decryptedOutputs OUT 2>/dev/null
diff -r INPUTS OUT || fail 'what was left is not the result'
rm -rf "$(dirname "$folder")"
nothing_temporary

line=$(push_with)
: >slow
# shellcheck disable=SC2086
cloister execute --image copy_dapp.enclave $line --las "$las" --push "http://127.0.0.1:$(cat full.port)" >push.out 2>push.err </dev/null &
pid=$!
for _ in $(seq 300); do
  [ -e asked ] && break
  sleep 0.1
done
[ -e asked ] || fail "nothing is pushed: $(cat push.err)"
kill -TERM "$pid"
code=0
wait "$pid" || code=$?
[ "$code" -eq 143 ] || fail "interrupted while pushing: exit code $code: $(cat push.err)"
out=$(cat push.err)
folder=$(kept_result)
rm slow
rm -rf OUT && decrypt --conf KEYS --encryptedOutputs "$folder" --decryptedOutputs OUT 2>/dev/null
diff -r INPUTS OUT || fail 'what an interruption left is not the result'
[ -z "$(find "$(dirname "$folder")" -name '.cloister-*')" ] || fail 'half an archive was left'
rm -rf "$(dirname "$folder")"
nothing_temporary

# A third volume, that the service makes itself.
sed -e 's/^images:/   - name: own\nimages:/' -e 's/^security:/        - name: own\n          path: \/own\nsecurity:/' copy_dapp.yml >third.yml
line=$(push_with -t third.yml)
expect 0 'http://' execute_with "$line"
url=$(tail -1 <<<"$out")
rm -rf OUT third && decrypt --conf KEYS --encryptedOutputs "$url" --decryptedOutputs OUT 2>/dev/null
diff -r INPUTS OUT || fail 'with a third volume the result is another one'
cloister transfer pull "$url" third --unpack
[ -e third/own/volume.fspf ] || fail 'the volume that the service made was not pushed'

# Interrupted: the program gets the signal, and nothing stays behind.
printf '#include <stdio.h>\n#include <unistd.h>\nint main(void) { puts("waiting"); fflush(stdout); pause(); return 0; }\n' >wait.c
gcc -o wait_for_ever wait.c
cloister build --program ./wait_for_ever:/application --heap 64M --name copy_dapp -o wait.enclave --template wait.yml >/dev/null
line=$(push_with -t wait.yml)
# shellcheck disable=SC2086
cloister execute --image wait.enclave $line --las "$las" --push "http://$transfer" >wait.out 2>wait.err </dev/null &
pid=$!
for _ in $(seq 300); do
  grep -q waiting wait.err && break
  sleep 0.1
done
grep -q waiting wait.err || fail "the program did not start: $(cat wait.err)"
kill -TERM "$pid"
code=0
wait "$pid" || code=$?
[ "$code" -ne 0 ] || fail 'an interrupted run ended with 0'
[ ! -s wait.out ] || fail "an interrupted run printed $(cat wait.out)"
nothing_temporary

# The addresses from the environment.
line=$(push_with)
SCONE_CAS_ADDR=$cas_enclave SCONE_LAS_ADDR=$las expect 0 'http://' cloister execute --image copy_dapp.enclave \
  --sessionID "$(session_of "$line")/application" --url "$(url_of "$line")" --push

# A platform that lacks updates: refused unless the session tolerates that, and then accepted.
kill "${service_pids[0]}"
wait "${service_pids[0]}" || true
las=$las start_las --tcb-status OutOfDate
expect 0 'OutOfDate' cloister las probe "$las" --state LAS
expect 0 '"status": "OutOfDate"' cloister las probe "$las" --state LAS --json
expect 0 '"refused": 0,' cloister las status "$las" --json
line=$(push_with)
expect 4 'not trustworthy' execute_with "$line"
listing=$(events "$(session_of "$line")")
[[ $listing == *outdated-tcb* ]] || fail "the owner does not see why: $listing"
sed 's/tolerate: \[/tolerate: [outdated-tcb, /; /tolerate:/a \    ignore_advisories: [INTEL-SA-00615]' copy_dapp.yml >tolerant.yml
line=$(push_with -t tolerant.yml)
expect 0 'http://' execute_with "$line"
echo 'all attacks are refused'
