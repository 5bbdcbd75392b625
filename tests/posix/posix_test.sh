#!/usr/bin/env bash
# The same cases on a folder of the host and on a mounted volume, then the exerciser, and what only a mount has
# to show: tags, crashes, damage, a second writer. Usage: posix_test.sh CLOISTER EXERCISER. Exit 77: no /dev/fuse.
set -euo pipefail
# shellcheck source=tests/support/expect.sh
source "$(dirname "$(realpath "$0")")/../support/expect.sh"
cloister=$(realpath "${1:?usage: posix_test.sh CLOISTER EXERCISER}")
exerciser=$(realpath "${2:?usage: posix_test.sh CLOISTER EXERCISER}")
here=$(dirname "$(realpath "$0")")
if [ ! -w /dev/fuse ] || [ "$(id -u)" -ne 0 ]; then
  echo 'skipped: posix cases on a mount need root and /dev/fuse'
  exit 77
fi
work=$(mktemp -d)
chmod 755 "$work"  # the cases act as other users
cleanup() {
  mountpoint -q "$work/mnt" && umount -l "$work/mnt"
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"

key=(--key-file key --tag-file tag)
mount_volume() { "$cloister" volume mount vol mnt "${key[@]}" "$@"; }
mkdir mnt plain
"$cloister" volume create vol "${key[@]}"

# One list of cases, two file systems, equal results.
python3 "$here/cases.py" plain >plain.out || fail "a case fails on the host: $(grep FAILED plain.out)"
mount_volume --allow-other
mkdir mnt/cases
python3 "$here/cases.py" mnt/cases >volume.out || fail "a case fails: $(grep FAILED volume.out)"
diff plain.out volume.out || fail 'a mounted volume behaves differently'
rmdir mnt/cases

# What differs on purpose, so that it does not change unnoticed.
expect 1 'Operation not permitted' mkfifo mnt/pipe
expect 1 'Operation not supported' fallocate -l 1M mnt/space

"$exerciser" mnt --steps 1500
expect 5 'open for writing by cloister volume' "$cloister" volume mount vol mnt "${key[@]}"
expect 5 'open for writing by cloister volume' "$cloister" volume fsck vol "${key[@]}"
echo kept >mnt/kept
before=$(cat tag)
exec 3<mnt/kept
expect 5 'are in use' "$cloister" volume unmount mnt
sleep 0.3 &  # has the file open, too: no more than a look
exec 3<&-
"$cloister" volume unmount mnt
wait $!
[ "$before" != "$(cat tag)" ] || fail 'unmounting did not write the new tag'
[ "$("$cloister" volume cat vol kept "${key[@]}")" = kept ] || fail 'what was written before unmounting is gone'
expect 0 'no faults' "$cloister" volume fsck vol "${key[@]}"
expect 1 'no volume is mounted' "$cloister" volume unmount mnt
expect 2 'nobody would learn' "$cloister" volume mount vol mnt --key-file key --tag "$(cat tag)"
expect 2 'below the mount itself' "$cloister" volume mount vol mnt --key-file key --tag-file mnt/tag
expect 1 'no folder to mount on' "$cloister" volume mount vol nowhere "${key[@]}"
expect 3 'not fresh' "$cloister" volume mount vol mnt --key-file key --tag "$(printf %032d 1)" --read-only

# The tag file is overwritten in place, unless somebody put another one there, spoiled it or took it away.
mount_volume --commit-every 0
newest_opens() {
  sync_number=$((${sync_number:-0} + 1))
  echo "$sync_number" >mnt/number
  sync mnt/number
  "$cloister" volume cat vol number "${key[@]}" >seen || fail "$1: the tag there opens nothing"
  [ "$(cat seen)" = $sync_number ] || fail "$1: the tag there is not the newest"
}
newest_opens 'the first tag'
written=$(stat -c %i tag)
newest_opens 'in place'
[ "$(stat -c %i tag)" = "$written" ] || fail 'the tag file was made anew'
echo 'a remark' >>tag
newest_opens 'after a remark'
printf %033d 0 >other && mv other tag
newest_opens 'after another file was put there'
rm tag
newest_opens 'after it was removed'
"$cloister" volume unmount mnt

# Read-only, in the background and with a tag in place of a file.
"$cloister" volume mount vol mnt --key-file key --tag "$(cat tag)" --read-only
expect 1 'Read-only file system' touch mnt/x
[ "$(cat mnt/kept)" = kept ] || fail 'reading a read-only mount'
"$cloister" volume unmount mnt

# fsync is a promise: the server dies at once afterwards, and nothing is lost. Foreground prints every tag.
"$cloister" volume mount vol mnt --key-file key --tag "$(cat tag)" --foreground --commit-every 0 >tags &
server=$!
wait_until mountpoint -q mnt
for i in 1 2 3; do
  echo "$i" >"mnt/synced-$i"
  sync "mnt/synced-$i"
done
echo lost >mnt/not-synced
kill -9 "$server"
wait "$server" 2>/dev/null || true
umount -l mnt
[ "$(wc -l <tags)" -eq 3 ] || fail "three commits printed $(wc -l <tags) tags"
tail -1 tags >tag
for i in 1 2 3; do
  [ "$("$cloister" volume cat vol "synced-$i" "${key[@]}")" = "$i" ] || fail "synced file $i is lost"
done
expect 1 'no such file' "$cloister" volume cat vol not-synced "${key[@]}"

# SIGTERM writes back what the kernel holds, commits and unmounts.
"$cloister" volume mount vol mnt "${key[@]}" --foreground --commit-every 0 &
server=$!
wait_until mountpoint -q mnt
echo terminated >mnt/at-the-end
kill -TERM "$server"
wait "$server" || fail 'SIGTERM is not a failure'
! mountpoint -q mnt || fail 'SIGTERM did not unmount'
[ "$("$cloister" volume cat vol at-the-end "${key[@]}")" = terminated ] || fail 'SIGTERM lost a file'

# Without fsync the timer commits.
mount_volume --commit-every 1
before=$(cat tag)
echo timed >mnt/timed
timer_committed() { [ "$before" != "$(cat tag)" ]; }
wait_until timer_committed
head -c 4000000 /dev/urandom >mnt/large
"$cloister" volume unmount mnt

# Damage is EIO; afterwards the mount refuses everything, writes nothing, and ends with exit code 3.
object=$(find vol/objects -type f -size +3M | head -1)
printf changed-by-the-host | dd of="$object" bs=1 seek=2000000 conv=notrunc status=none
before=$(cat tag)
"$cloister" volume mount vol mnt "${key[@]}" --foreground 2>log &
server=$!
wait_until mountpoint -q mnt
expect 1 'Input/output error' cp mnt/large /dev/null
expect 1 'Input/output error' touch mnt/anything
expect 1 'Input/output error' cat mnt/kept
umount mnt
code=0
wait "$server" || code=$?
[ "$code" -eq 3 ] || fail "exit code $code after damage"
grep -q 'Verification of file chunk' log || fail 'the log does not say what failed'
[ "$before" = "$(cat tag)" ] || fail 'a damaged volume was committed'
echo 'all checks of mounted volumes passed'
