#!/usr/bin/env bash
# A mounted volume on a disk that gets full: whoever writes learns it, nothing that can be kept is lost, and with
# some room everything goes on. Usage: full_disk_test.sh CLOISTER. Exit 77: no /dev/fuse, or not root.
set -euo pipefail
# shellcheck source=tests/support/expect.sh
source "$(dirname "$(realpath "$0")")/../support/expect.sh"
cloister=$(realpath "${1:?usage: full_disk_test.sh CLOISTER}")
work=$(mktemp -d)
cleanup() {
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
"$cloister" volume create disk/vol "${key[@]}"

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
expect 0 'no faults' "$cloister" volume fsck disk/vol "${key[@]}"
[ ! -s disk/vol/volume.lock ] || fail 'the next writer did not remove the failure'

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
