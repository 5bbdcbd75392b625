#!/usr/bin/env bash
# add, get, du, fsck, compact and rekey as a user meets them. Usage: volume_care_test.sh CLOISTER_BINARY
set -euo pipefail
# shellcheck source=tests/support/expect.sh
source "$(dirname "$(realpath "$0")")/../support/expect.sh"
cloister=$(realpath "${1:?usage: volume_care_test.sh CLOISTER_BINARY}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

mkdir -p IN/a IN/b
head -c 3000000 /dev/urandom >IN/a/large
head -c 300000 /dev/urandom >IN/b/other
truncate -s 50M IN/b/sparse
echo text >IN/b/small
ln -s small IN/b/link
ln -s "$(printf '%4095s' '' | tr ' ' /)" IN/b/far

key=(--key-file key --tag-file tag)
"$cloister" volume create vol "${key[@]}"
"$cloister" volume add vol IN "${key[@]}" 2>/dev/null
[ "$("$cloister" volume du vol "${key[@]}" | tail -1)" = '     3309577 total' ] ||
  fail "du says $("$cloister" volume du vol "${key[@]}")"
expect 0 'large' "$cloister" volume du vol a "${key[@]}"
expect 1 'no such file' "$cloister" volume du vol nowhere "${key[@]}"
expect 0 'no faults' "$cloister" volume fsck vol "${key[@]}"
expect 0 '3 directories, 2 symbolic links' "$cloister" volume fsck vol "${key[@]}"

# However deep folders lie in one another; with a path of all of them no system call can be made.
python3 -c 'import os
os.mkdir("DEEP")
at = os.open("DEEP", os.O_RDONLY)
for _ in range(5000):
  os.mkdir("d", dir_fd=at)
  below = os.open("d", os.O_RDONLY, dir_fd=at)
  os.close(at)
  at = below'
"$cloister" volume create deep --key-file key --tag-file deeptag
expect 0 '0 files' "$cloister" volume add deep DEEP --key-file key --tag-file deeptag
expect 0 '0 files' "$cloister" volume get deep DEEP.out --key-file key --tag-file deeptag
[ "$(find DEEP.out -mindepth 1 | wc -l)" = 5000 ] || fail 'folders are missing'
[ "$("$cloister" volume ls deep --key-file key --tag-file deeptag | wc -l)" = 5000 ] || fail 'ls does not list all'
expect 0 '0 total' "$cloister" volume du deep --key-file key --tag-file deeptag
"$cloister" volume rekey deep deeper --key-file key --tag-file deeptag --new-key-file deeperkey --new-tag-file deepertag
[ "$("$cloister" volume ls deeper --key-file deeperkey --tag-file deepertag | wc -l)" = 5000 ] || fail 'rekey does not copy all'

# An object that a dead writer left behind is seen and removed; a foreign file is neither.
mkdir -p vol/objects/ab
head -c 8192 /dev/urandom >vol/objects/ab/0123456789abcdef0123456789abcd
echo keep >vol/objects/ab/README
expect 0 '1 that no file uses, 8192 bytes' "$cloister" volume fsck vol "${key[@]}"
before=$(cat tag)
expect 0 '1 unused objects removed' "$cloister" volume compact vol "${key[@]}"
[ ! -e vol/objects/ab/0123456789abcdef0123456789abcd ] || fail 'the unused object is still there'
[ -e vol/objects/ab/README ] || fail 'a foreign file was removed'
[ "$before" != "$(cat tag)" ] || fail 'compact did not write the new tag'
expect 0 'no faults' "$cloister" volume fsck vol "${key[@]}"
"$cloister" volume get vol OUT "${key[@]}"
diff -r --no-dereference IN OUT || fail 'the trees differ after compact'
expect 3 'not fresh' "$cloister" volume fsck vol --key-file key --tag "$before"

# Hard links and attributes go in, under another key and out again; what cannot hold them is told in one line.
mkdir -p LINKS/a LINKS/b
echo text >LINKS/a/one
ln LINKS/a/one LINKS/b/two
attributes() {
  python3 -c 'import os, sys
for path in sys.argv[1:]:
  print([(n, os.getxattr(path, n)) for n in sorted(os.listxattr(path)) if n.startswith("user.")])' "$@"
}
set_attribute() { python3 -c 'import os, sys; os.setxattr(*map(os.fsencode, sys.argv[1:4]))' "$@"; }
if ! set_attribute LINKS/b user.folder 'of b' || ! set_attribute LINKS/a/one user.file one; then
  echo "note: the temporary folder keeps no extended attributes: those are not looked at"
fi
key2=(--key-file key --tag-file linktag)
"$cloister" volume create links "${key2[@]}"
"$cloister" volume add links LINKS "${key2[@]}" 2>said
[ "$(cat said)" = '1 files, 5 bytes' ] || fail "add says $(cat said)"
"$cloister" volume rekey links links2 "${key2[@]}" --new-key-file linkkey --new-tag-file linktag2
"$cloister" volume get links2 LINKS.out --key-file linkkey --tag-file linktag2 2>said
[ "$(cat said)" = '1 files, 5 bytes' ] || fail "get says $(cat said)"
[ LINKS.out/a/one -ef LINKS.out/b/two ] || fail 'a hard link became a copy'
[ "$(attributes LINKS/b LINKS/a/one)" = "$(attributes LINKS.out/b LINKS.out/a/one)" ] || fail 'attributes differ'
mkdir bare
if [ "$(attributes LINKS/b)" != '[]' ] && mount -t ramfs none bare 2>/dev/null; then  # ramfs has no attributes
  trap 'umount bare; rm -rf "$work"' EXIT
  "$cloister" volume get links bare "${key2[@]}" 2>said || fail "get: $(cat said)"
  grep -q '^cloister: 2 extended attributes are not kept, the first is .*: user.*: Operation not supported$' said ||
    fail "get to a file system without attributes says $(cat said)"
  [ "$(wc -l <said)" = 2 ] || fail "that is more than a line: $(cat said)"
  [ bare/a/one -ef bare/b/two ] || fail 'a hard link became a copy'
  umount bare
  trap 'rm -rf "$work"' EXIT
else
  echo "note: no file system without attributes can be mounted here: a copy to one is not looked at"
fi

# Under a new key everything is there and the old key opens nothing.
"$cloister" volume rekey vol new "${key[@]}" --new-key-file newkey --new-tag-file newtag
[ "$(stat -c %a newkey)" = 600 ] || fail 'the new key file can be read by others'
new=(--key-file newkey --tag-file newtag)
expect 0 'no faults' "$cloister" volume fsck new "${new[@]}"
"$cloister" volume get new OUT2 "${new[@]}"
diff -r --no-dereference IN OUT2 || fail 'the trees differ after rekey'
expect 3 'wrong volume key' "$cloister" volume verify new --key-file key --tag-file newtag
expect 0 'verified' "$cloister" volume verify vol "${key[@]}"
expect 2 'new exists' "$cloister" volume rekey vol new "${key[@]}" --new-key-file newkey
mkdir third.partial && echo mine >third.partial/notes
expect 2 'in the way' "$cloister" volume rekey vol third "${key[@]}" --new-key-file newkey
[ -e third.partial/notes ] || fail 'rekey removed a foreign folder'
ln -s vol fifth.partial
expect 2 'in the way' "$cloister" volume rekey vol fifth "${key[@]}" --new-key-file newkey
rm fifth.partial
mkdir other.partial
expect 5 'other.partial: the volume is open for writing' flock other.partial/volume.lock \
  "$cloister" volume rekey vol other "${key[@]}" --new-key-file newkey
[ -e other.partial/volume.lock ] || fail 'rekey removed what another one is writing'

cp key copied-key
expect 2 'key that the volume has now' "$cloister" volume rekey vol fourth "${key[@]}" --new-key-file copied-key
[ ! -e fourth ] && [ ! -e fourth.partial ] || fail 'a rekey that was refused leaves something'

# A killed rekey leaves the old volume and nothing by the new name, or the complete new one; it can be repeated.
for delay in 0.005 0.02 0.05; do
  "$cloister" volume rekey vol again "${key[@]}" --new-key-file newkey --new-tag-file againtag &
  pid=$!
  sleep "$delay"
  kill -9 "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  expect 0 'verified' "$cloister" volume verify vol "${key[@]}"
  if [ ! -e again ]; then
    "$cloister" volume rekey vol again "${key[@]}" --new-key-file newkey --new-tag-file againtag
  fi
  expect 0 'no faults' "$cloister" volume fsck again --key-file newkey --tag-file againtag
  [ ! -e again.partial ] || fail 'a partial folder is left'
  rm -rf again
done

# A killed compact leaves the state whose tag was stored last.
for delay in 0.002 0.01 0.02; do
  rm -rf crash && cp -r vol crash && cp tag crashtag
  "$cloister" volume compact crash --key-file key --tag-file crashtag 2>/dev/null &
  pid=$!
  sleep "$delay"
  kill -9 "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  expect 0 'no faults' "$cloister" volume fsck crash --key-file key --tag-file crashtag
done

# Damage is reported as what it is.
object=$(find vol/objects -type f -name '??????????????????????????????' | head -1)
printf changed-by-the-host | dd of="$object" bs=1 seek=5000 conv=notrunc status=none
expect 3 'Verification of file chunk' "$cloister" volume fsck vol "${key[@]}"

# What is left is kept: chunks that cannot be read become holes, and the report says which. Twice changes nothing.
expect 0 'no faults' "$cloister" volume fsck --repair new "${new[@]}"
cp -r new damaged && cp newtag damagedtag
damaged=(--key-file newkey --tag-file damagedtag)
object=$(find damaged/objects -type f -size +1M)  # of a/large
printf changed-by-the-host | dd of="$object" bs=1 seek=5000 conv=notrunc status=none
cp -r damaged printed && cp -r damaged unheard
# A tag that nobody could read is not one's last.
expect 5 'cannot write to standard output' \
  bash -c '"$0" "$@" >/dev/full' "$cloister" volume fsck --repair unheard --key-file newkey --tag "$(cat newtag)"
expect 3 'Verification of file chunk' "$cloister" volume fsck unheard --key-file newkey --tag "$(cat newtag)"
expect 3 'state: mended, tag ' "$cloister" volume fsck --repair printed --key-file newkey --tag "$(cat newtag)"
[[ $out == *'no faults'*'state: mended'* ]] || fail 'the state before is given up for one that was not looked at'
mended=${out#*mended, tag }
expect 0 'no faults' "$cloister" volume fsck printed --key-file newkey --tag "${mended:0:32}"
expect 3 'Verification of file chunk' "$cloister" volume fsck damaged "${damaged[@]}"
[ "$(cat damagedtag)" = "$(cat newtag)" ] || fail 'fsck changed the tag'
expect 3 'lost: /a/large: bytes 69632 to 73727, which are zeros now' "$cloister" volume fsck --repair damaged "${damaged[@]}"
expect 0 'no faults' "$cloister" volume fsck --repair damaged "${damaged[@]}"
"$cloister" volume get damaged OUT3 "${damaged[@]}" 2>/dev/null
[ "$(cmp -l IN/a/large OUT3/a/large | awk '$1 <= 69632 || $1 > 73728' | wc -l)" = 0 ] || fail 'other bytes changed'
rm OUT3/a/large
diff -r --no-dereference IN OUT3 | grep -v '^Only in IN/a: large$' && fail 'another file changed'
# A node of the metadata: every block is tried, chunks and what is not used are none.
nodes=0
rm -rf damaged
for block in $(seq 8 $(($(stat -c %s new/volume.fspf) / 4096 - 1))); do
  cp -r new damaged && cp newtag damagedtag
  printf xxxx | dd of=damaged/volume.fspf bs=1 seek=$((block * 4096 + 9)) conv=notrunc status=none
  out=$("$cloister" volume fsck damaged "${damaged[@]}" 2>&1) || true
  if [[ $out == *'metadata failed'* ]]; then
    expect 3 "block $block of volume.fspf" "$cloister" volume fsck --repair damaged "${damaged[@]}"
    if [[ $out == *'nothing to mend it from'* ]]; then  # the root: then the volume stays as it is
      [ "$(cat damagedtag)" = "$(cat newtag)" ] || fail 'fsck changed the tag'
    else
      expect 0 'verified' "$cloister" volume verify damaged "${damaged[@]}"
    fi
    nodes=$((nodes + 1))
  fi
  rm -rf damaged
done
[ "$nodes" -ge 2 ] || fail "only $nodes nodes were found"

# A key in a session, and in the environment.
expect 0 'no faults' env CLOISTER_VOLUME_KEY="$(cat newkey)" "$cloister" volume fsck new --tag-file newtag
volume_session "$(cat newkey)" "$(cat newtag)" >session.yml
expect 0 'no faults' "$cloister" volume fsck new --session session.yml
expect 2 'which volume' "$cloister" volume fsck new --session session.yml --session-volume other
for command in create add get ls cat verify tag du fsck compact rekey mount unmount; do
  expect 0 'Example: ' "$cloister" volume "$command" --help
done
echo 'all checks of add, get, du, fsck, compact and rekey passed'
