#!/usr/bin/env bash
# The command line as a user meets it: real files, exit codes, texts. Usage: cli_test.sh CLOISTER_BINARY
set -euo pipefail
# shellcheck source=tests/support/expect.sh
source "$(dirname "$(realpath "$0")")/../support/expect.sh"
cloister=$(realpath "${1:?usage: cli_test.sh CLOISTER_BINARY}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# A tree with everything that must survive the trip.
mkdir -p 'IN/deep/a b/ü/ñ' IN/empty-folder
echo 'Hello world' >IN/hello.txt
: >IN/empty
head -c 5000000 /dev/urandom >IN/deep/large.bin
truncate -s 100M IN/sparse
printf 'x' | dd of=IN/sparse bs=1 seek=50000000 conv=notrunc status=none
printf 'text' >"IN/deep/a b/ü/ñ/$(printf 'new\nline')"
ln -s ../hello.txt IN/deep/link
ln -s /nowhere IN/dangling
chmod 750 IN/deep
chmod 640 IN/empty
touch -d '2001-02-03 04:05:06.789' IN/hello.txt
for i in $(seq 1 2000); do echo "$i" >"IN/deep/file-$i"; done

key=(--key-file key)
first=$("$cloister" volume create vol "${key[@]}")
[[ $first =~ ^[0-9a-f]{32}$ ]] || fail "create printed '$first'"
[ "$(stat -c %a key)" = 600 ] || fail 'the key file can be read by others'
second=$("$cloister" volume add vol IN "${key[@]}" --tag "$first" 2>/dev/null)
[ "$first" != "$second" ] || fail 'the tag did not change'
"$cloister" volume verify vol "${key[@]}" --tag "$second" >/dev/null
"$cloister" volume get vol OUT "${key[@]}" --tag "$second"
diff -r --no-dereference IN OUT || fail 'the trees differ'
listing() {
  (cd "$1" && find . -mindepth 1 -type f -printf '%P|%m|%s|%T@\n' -o -type d -printf '%P|%m|%T@\n' | sort)
}
diff <(listing IN) <(listing OUT) || fail 'modes, sizes or times differ'
[ "$("$cloister" volume cat vol hello.txt "${key[@]}" --tag "$second")" = 'Hello world' ] || fail 'cat'
[ "$("$cloister" volume tag vol "${key[@]}" --without-freshness 2>/dev/null)" = "$second" ] || fail 'tag'
expect 0 'new\x0aline' "$cloister" volume ls vol "${key[@]}" --tag "$second"

# Nothing of the content or the names is in the folder; foreign files are not an error.
if grep -rqaE 'Hello world|hello\.txt|file-1999' vol; then fail 'plaintext in the volume'; fi
echo foreign >vol/README
"$cloister" volume verify vol "${key[@]}" --tag "$second" >/dev/null || fail 'a foreign file is an error'

# What must be refused.
expect 3 'The FSPF tag is not fresh - suspected replay attack' "$cloister" volume verify vol "${key[@]}" --tag "$(printf %032d 1)"
printf '%064d\n' 7 >wrong
expect 3 'wrong volume key' "$cloister" volume verify vol --key-file wrong --tag "$second"
expect 2 'not 64 hex digits' env CLOISTER_VOLUME_KEY=abc "$cloister" volume verify vol --tag "$second"
for bad in "$(printf '%063d' 7)=but 63" "$(printf '%065d' 7)=but 65" "$(printf 'xyz%061d' 7)=but 64 characters, not all" \
  "$(printf '\x01secretsecretsecretsecretsecrets')=but 32 raw bytes" '=it is empty'; do
  printf '%s' "${bad%=*}" >bad.key && chmod 600 bad.key
  expect 2 "bad.key: the volume key is not 64 hex digits" "$cloister" volume verify vol --key-file bad.key --tag "$second"
  [[ $out == *"${bad##*=}"* ]] || fail "it does not say what was found (${bad##*=}): $out"
  [ -z "${bad%=*}" ] || [[ $out != *"$(cut -c 4-20 bad.key)"* ]] || fail "the key is shown: $out"
done
chmod 644 "${key[1]}"
expect 0 "other users may read the key in ${key[1]}" "$cloister" volume verify vol "${key[@]}" --tag "$second"
chmod 600 "${key[1]}"
[[ $("$cloister" volume verify vol "${key[@]}" --tag "$second" 2>&1) != *'other users'* ]] || fail 'a warning without a cause'
expect 2 'no volume key' env -u CLOISTER_VOLUME_KEY "$cloister" volume verify vol --tag "$second"
expect 2 'not 32 hex digits' "$cloister" volume verify vol "${key[@]}" --tag 12
expect 1 'there is no volume in nowhere' "$cloister" volume verify nowhere "${key[@]}" --tag "$second"
mkdir empty
expect 1 'there is no volume in empty' "$cloister" volume add empty IN "${key[@]}" --tag "$second"
mkdir no-volume && echo x >no-volume/file
expect 3 'no-volume: there is no volume here' "$cloister" volume verify no-volume "${key[@]}" --tag "$second"
[ -z "$(ls -A empty)" ] || fail 'something was written into a folder without a volume'
expect 2 'no tag: give --tag, --tag-file or --without-freshness' "$cloister" volume verify vol "${key[@]}"
expect 1 'cannot open t.typo: No such file' "$cloister" volume verify vol "${key[@]}" --tag-file t.typo
expect 1 'dir/missing: no such file' "$cloister" volume cat vol dir/missing "${key[@]}" --tag "$second"
expect 2 'vol: there is a volume here already' "$cloister" volume create vol "${key[@]}"
ln -s nowhere/key link.key
expect 1 'cannot open link.key' "$cloister" volume create linked --key-file link.key
[ ! -e linked ] || fail 'a volume without a key is left'
# Two that make one key: whoever fails takes no key away that the other's volume has.
for round in $(seq 20); do
  "$cloister" volume create "fails.$round" --key-file "shared.$round" --tag-file no/such/folder 2>/dev/null &
  made=$("$cloister" volume create "made.$round" --key-file "shared.$round" 2>/dev/null) || made=
  wait $! || true
  [ -z "$made" ] || expect 0 'no faults' "$cloister" volume fsck "made.$round" --key-file "shared.$round" --tag "$made"
  [ ! -e "fails.$round" ] || fail 'what failed is still there'
done
[ "$("$cloister" volume ls vol hello.txt "${key[@]}" --tag "$second" | awk '{print $1, $3}')" = '-0644 hello.txt' ] || fail 'ls of a file'
expect 0 'hard links inside the folder' "$cloister" volume add --help
expect 0 'set-id bits are not restored' "$cloister" volume get --help
mkdir special && mkfifo special/pipe && echo x >special/file
rm -rf other.vol && "$cloister" volume create other.vol "${key[@]}" --tag-file other.tag
expect 0 '1 devices, pipes and sockets skipped' "$cloister" volume add other.vol special "${key[@]}" --tag-file other.tag
expect 0 '1 files, 2 bytes' "$cloister" volume get other.vol special.out "${key[@]}" --tag-file other.tag
# What a tag names and is not there, or is another kind of file, was taken away: damage, not a mistake.
head -c 100000 /dev/urandom >special/large
"$cloister" volume create damaged "${key[@]}" --tag-file damaged.tag
"$cloister" volume add damaged special "${key[@]}" --tag-file damaged.tag 2>/dev/null
mv damaged/volume.fspf saved.fspf
expect 3 'volume.fspf is missing' "$cloister" volume verify damaged "${key[@]}" --tag-file damaged.tag
ln -s ../saved.fspf damaged/volume.fspf
expect 3 'volume.fspf is not a regular file' "$cloister" volume verify damaged "${key[@]}" --tag-file damaged.tag
rm damaged/volume.fspf && mkdir damaged/volume.fspf
rm other.vol/volume.fspf && [ ! -e other.vol/objects ]  # small files only
expect 3 'volume.fspf is missing' "$cloister" volume verify other.vol "${key[@]}" --tag-file other.tag
expect 3 'volume.fspf is not a regular file' "$cloister" volume verify damaged "${key[@]}" --tag-file damaged.tag
rmdir damaged/volume.fspf && mkfifo damaged/volume.fspf
expect 3 'volume.fspf is not a regular file' "$cloister" volume verify damaged "${key[@]}" --tag-file damaged.tag
# Names in a volume are its author's or an attacker's choice: an error is one line that moves no cursor.
name=$(printf 'a\nb\e[2Jc') && shown='a\x0ab\x1b[2Jc'
mkdir named && head -c 100000 /dev/urandom >"named/$name"
"$cloister" volume create named.vol "${key[@]}" --tag-file named.tag
"$cloister" volume add named.vol named "${key[@]}" --tag-file named.tag 2>/dev/null
opening=("${key[@]}" --tag-file named.tag)
printf changed | dd of="$(find named.vol/objects -type f)" bs=1 seek=5000 conv=notrunc status=none
expect 3 "of file /$shown failed" "$cloister" volume verify named.vol "${opening[@]}"
expect 3 "cloister: $shown: Verification of" "$cloister" volume get named.vol named.out "${opening[@]}"
expect 3 "cloister: $shown: Verification of" "$cloister" volume cat named.vol "$name" "${opening[@]}"
[[ $out != *$'\e'* ]] || fail "it reaches the terminal: $out"
expect 1 "cloister: dir/$shown: no such file" "$cloister" volume cat named.vol "dir/$name" "${opening[@]}"
expect 3 "of file /$shown failed" "$cloister" volume fsck named.vol "${opening[@]}"
expect 3 "fault: Verification of" "$cloister" volume fsck --repair named.vol "${opening[@]}"
[[ $out == *"fault: "*"of file /$shown failed"*"lost: /$shown: bytes"* ]] || fail "repair says $out"
expect 2 '' "$cloister" volume nonsense
expect 2 '' "$cloister"
expect 0 'cloister ' "$cloister" version
# Every test here runs enclaves, so the doctor must find that this machine can.
expect 0 'this machine can.' "$cloister" doctor
expect 0 '"runs_software_enclaves": true' "$cloister" doctor --json

# Every object truncated, removed or changed in one byte is noticed (volume.lock carries nothing).
objects=$(cd vol && find objects -type f | sort | head -3)
for object in $objects; do
  rm -rf bad && cp -r vol bad && truncate -s -1 "bad/$object"
  expect 3 '' "$cloister" volume verify bad "${key[@]}" --tag "$second"
  rm -rf bad && cp -r vol bad && rm "bad/$object"
  expect 3 '' "$cloister" volume verify bad "${key[@]}" --tag "$second"
done

# An interrupted writer leaves the old or the new state, never anything else.
mkdir MORE && head -c 30000000 /dev/urandom >MORE/blob
for delay in 0.002 0.01 0.03 0.05 0.08; do
  rm -rf crash && cp -r vol crash
  "$cloister" volume add crash MORE "${key[@]}" --tag "$second" >crash.tag 2>/dev/null &
  pid=$!
  sleep "$delay"
  kill -9 "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  tag=$second
  [ -s crash.tag ] && tag=$(cat crash.tag)
  "$cloister" volume verify crash "${key[@]}" --tag "$tag" >/dev/null || fail "after kill at ${delay}s the volume does not open"
done

# Evidence that is none.
expect 2 '' "$cloister" attestation verify --quote absent --collateral absent
echo '{}' >empty.json
head -c 1000 /dev/zero >zero.bin
expect 4 'reject' "$cloister" attestation verify --quote zero.bin --collateral empty.json --json
echo 'all checks of the command line passed'
