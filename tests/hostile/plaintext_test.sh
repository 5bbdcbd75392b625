#!/usr/bin/env bash
# While a program works on a secret, nobody outside the enclave may see it: the host process's memory outside ELRANGE (the
# arena of host calls among it) and every file of the machine that the run touches are searched for the plaintext. That the
# same search finds it inside ELRANGE, which the simulation cannot hide, shows that the search works. Usage: plaintext_test.sh BIN_DIR
source "$(dirname "$0")/../integration/tutorial_support.sh"

secret=$(head -c 24 /dev/urandom | base64 -w0 | tr '+/' 'xy')
mkdir -p INPUTS KEYS
for _ in $(seq 2000); do echo "$secret"; done >INPUTS/confidential-name
printf '%s' "$secret" >pattern
start_services
gcc -O1 "$source_folder/tests/hostile/steady.c" -o steady
cloister build --program ./steady:/application --name copy_dapp -o copy_dapp.enclave --template copy_dapp.yml >/dev/null
line=$(push_with -t copy_dapp.yml)
rm -r INPUTS
mkdir scratch
# shellcheck disable=SC2086
TMPDIR=$work/scratch cloister execute --image copy_dapp.enclave $line --las "$las" --push "http://$transfer" >url 2>execute.log &
execute=$!
for _ in $(seq 300); do
  grep -q ready execute.log && break
  kill -0 $execute 2>/dev/null || fail "execute ended: $(cat execute.log)"
  sleep 0.1
done
grep -q ready execute.log || fail "the program did not start: $(cat execute.log)"

# Memory: of `execute` and everything it started.
python3 - $execute pattern <<'SCAN' || fail 'plaintext outside the enclave'
import os, re, sys

secret = open(sys.argv[2], "rb").read()
needles = [secret, b"confidential-name", b"confidential-copy"]
elrange_end = 64 << 30


def descendants(pid):
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as f:
            for child in f.read().split():
                found += descendants(int(child))
    return found


inside, outside, bytes_outside = set(), [], 0
for pid in descendants(int(sys.argv[1])):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            begin, end, rights = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()
            begin, end = int(begin, 16), int(end, 16)
            if rights[0] != "r" or "[v" in line:
                continue
            memory.seek(begin)
            content = memory.read(end - begin)
            for needle in needles:
                if needle not in content:
                    continue
                if end <= elrange_end:
                    inside.add(needle)
                else:
                    outside.append((pid, line.strip(), needle))
            if begin >= elrange_end:
                bytes_outside += len(content)
for pid, area, needle in outside:
    print(f"process {pid}: {needle[:8]!r}… in {area}", file=sys.stderr)
if secret not in inside or b"confidential-copy" not in inside:
    sys.exit("the search finds nothing inside the enclave either: it proves nothing")
print(f"searched {bytes_outside >> 20} MiB outside the enclave")
sys.exit(1 if outside else 0)
SCAN

# Files: what came, what will go, what services and image hold.
for place in scratch STORE LAS machine execute.log; do
  if grep -rqaF -e "$secret" -e confidential-name -e confidential-copy "$place"; then fail "plaintext in $place"; fi
done
if grep -rqaF "$secret" copy_dapp.enclave; then fail 'plaintext in the image'; fi  # its program names the files
# The CAS holds keys, and not even those in the clear.
no_key_in CAS scratch STORE LAS machine execute.log

kill -TERM $execute
wait $execute || fail "execute ended with $?: $(cat execute.log)"
decrypt --conf KEYS --encryptedOutputs "$(cat url)" --decryptedOutputs OUTPUTS 2>/dev/null
[ "$(head -1 OUTPUTS/confidential-copy)" = "$secret" ] || fail 'the copy is not the secret'
echo 'plaintext: only inside'
