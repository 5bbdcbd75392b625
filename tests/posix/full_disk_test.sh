#!/usr/bin/env bash
# A mounted volume on a disk that gets full: whoever writes learns it, nothing that can be kept is lost, and with
# some room everything goes on. Usage: full_disk_test.sh CLOISTER. Exit 77: no /dev/fuse, or not root.
set -euo pipefail
# shellcheck source=tests/support/expect.sh
source "$(dirname "$(realpath "$0")")/../support/expect.sh"
cloister=$(realpath "${1:?usage: full_disk_test.sh CLOISTER}")
work=$(mktemp -d)
cleanup() {
  [ -z "${server:-}" ] || kill -CONT "$server" 2>/dev/null || true
  umount -l "$work/mnt" 2>/dev/null || true
  umount -l "$work/reader" 2>/dev/null || true
  umount -l "$work/disk" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
mkdir mnt reader disk
if [ ! -w /dev/fuse ] || ! mount -t tmpfs -o size=4m none disk 2>/dev/null; then
  echo 'skipped: mounting needs root and /dev/fuse'
  exit 77
fi

key=(--key-file key --tag-file disk/tag)
fill() { dd if=/dev/zero of=disk/filler bs=4096 status=none 2>/dev/null || true; }
# What a failed create leaves is not in the way of the next one.
fill
expect 5 'free some space' "$cloister" volume create disk/new --key-file key --tag-file tag
expect 5 'free some space' "$cloister" volume create new --key-file key --tag-file disk/tag
mkdir kept && expect 5 'free some space' "$cloister" volume create kept --key-file key --tag-file disk/tag
rm -r disk/filler kept
[ -z "$(find disk new key tag -mindepth 0 ! -path disk 2>/dev/null)" ] || fail "left: $(find disk new key tag)"
expect 1 'cannot create' "$cloister" volume create disk/nowhere/vol "${key[@]}"
[ ! -e key ] || fail 'a failed create leaves a key'
"$cloister" volume create disk/vol "${key[@]}"
old=$(cat key)
expect 2 'disk/vol: there is a volume here already' "$cloister" volume create disk/vol --key-file other.key
[ ! -e other.key ] && [ "$(cat key)" = "$old" ] || fail 'create of what is there touches keys'
expect 2 'there is a volume here already' "$cloister" volume create disk/vol "${key[@]}"
[ "$(cat key)" = "$old" ] || fail 'a key that was there is gone'

# unmount: what cannot be committed stays mounted and is there when there is room again.
"$cloister" volume mount disk/vol mnt "${key[@]}" --commit-every 0
echo precious >mnt/file
before=$(cat disk/tag)
fill
expect 5 'the disk is full' "$cloister" volume unmount mnt
[[ $out == *'stays mounted'* ]] || fail "it does not say that it stays mounted: $out"
mountpoint -q mnt || fail 'unmounted although the commit failed'
[ "$(cat disk/tag)" = "$before" ] || fail 'the tag changed although the commit failed'
expect 1 'No space left on device' sync mnt/file
rm disk/filler
sync mnt/file || fail 'fsync fails although there is room again'
echo more >mnt/second
"$cloister" volume unmount mnt
[ "$("$cloister" volume cat disk/vol file "${key[@]}")" = precious ] || fail 'the file is lost'
[ "$("$cloister" volume cat disk/vol second "${key[@]}")" = more ] || fail 'the second file is lost'

# The last commit fails after the kernel let go of the mount: unmount says it. A folder in place of the tag
# file is a failure that waiting would not mend.
"$cloister" volume mount disk/vol mnt "${key[@]}" --commit-every 0
echo third >mnt/third
mv disk/tag saved && mkdir disk/tag
expect 5 'not committed: cannot replace' "$cloister" volume unmount mnt
! mountpoint -q mnt || fail 'still mounted after a failure that stays'
rmdir disk/tag && mv saved disk/tag
[ ! -s disk/vol/volume.lock ] || fail 'the writer has gone and its lock names it'
expect 0 'no faults' "$cloister" volume fsck disk/vol "${key[@]}"

# Nor does anything that lies in the volume's folder decide what unmount says; and a failure that names a file of the
# volume leaves the name nowhere in it.
"$cloister" volume mount disk/vol mnt "${key[@]}" --commit-every 0
head -c 200000 /dev/zero >mnt/patient-file
"$cloister" volume unmount mnt
object=$(find disk/vol/objects -type f -size +100k | head -1)
cp "$object" kept
printf changed-by-the-host | dd of="$object" bs=1 seek=5000 conv=notrunc status=none
"$cloister" volume mount disk/vol mnt "${key[@]}" --commit-every 0
! cat mnt/patient-file >/dev/null 2>&1 || fail 'a changed object is read'
rm disk/vol/volume.lock
# Without that file no second writer comes either: both would report success, and no tag open the volume.
cp disk/tag second.tag
expect 5 'open for writing by another process' "$cloister" volume mount disk/vol reader --key-file key --tag-file second.tag
echo 'failed 4but all is well' >disk/vol/volume.lock
expect 3 'not committed: Verification of file chunk' "$cloister" volume unmount mnt
! grep -rqa patient-file disk/vol || fail 'the name of a file lies in the volume'
cp kept "$object"

# A server that was killed has committed nothing more, and unmount knows it.
"$cloister" volume mount "$work/disk/vol" mnt "${key[@]}" --commit-every 0
server=$(pgrep -f "volume mount $work/disk/vol mnt")
echo lost >mnt/lost
kill -9 "$server"
expect 5 'ended without its last commit' "$cloister" volume unmount mnt
! mountpoint -q mnt || fail 'the mount of a dead server stays'
expect 0 'no faults' "$cloister" volume fsck disk/vol "${key[@]}"

# Nor does it take the word of another mount, whose device number is free before its server has noticed.
"$cloister" volume create other --key-file other.key --tag-file other.tag
"$cloister" volume mount "$work/disk/vol" mnt "${key[@]}" --commit-every 0
server=$(pgrep -f "volume mount $work/disk/vol mnt")
kill -STOP "$server"
umount mnt
"$cloister" volume mount other reader --key-file other.key --tag-file other.tag
echo kept >reader/file
timeout 20 "$cloister" volume unmount reader || fail 'unmount waits for the server of another mount'
kill -CONT "$server"
given_up() { [ ! -s disk/vol/volume.lock ]; }
wait_until given_up
[ "$("$cloister" volume cat other file --key-file other.key --tag-file other.tag)" = kept ] || fail 'not committed'

# A full disk does not keep anybody from opening, not even for writing.
fill
expect 0 'no faults' "$cloister" volume fsck disk/vol "${key[@]}"
"$cloister" volume mount disk/vol mnt "${key[@]}" --commit-every 0
[ "$(cat mnt/file)" = precious ] || fail 'a full disk keeps from reading'
rm disk/filler
echo fourth >mnt/fourth

# A mount that only reads ends at once, whoever writes elsewhere.
"$cloister" volume mount disk/vol reader --key-file key --tag "$(cat disk/tag)" --read-only
begin=$SECONDS
"$cloister" volume unmount reader
[ $((SECONDS - begin)) -lt 20 ] || fail 'unmounting a reader waits for the writer'
"$cloister" volume unmount mnt
[ "$("$cloister" volume cat disk/vol fourth "${key[@]}")" = fourth ] || fail 'the fourth file is lost'
echo 'all checks of a full disk passed'
