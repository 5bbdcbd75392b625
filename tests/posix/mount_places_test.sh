#!/usr/bin/env bash
# Where a volume may be mounted, and what may lie there already. Usage: mount_places_test.sh CLOISTER. Exit 77: no
# /dev/fuse, or not root.
set -euo pipefail
# shellcheck source=tests/support/expect.sh
source "$(dirname "$(realpath "$0")")/../support/expect.sh"
cloister=$(realpath "${1:?usage: mount_places_test.sh CLOISTER}")
if [ ! -w /dev/fuse ] || [ "$(id -u)" -ne 0 ]; then
  echo 'skipped: mounting needs root and /dev/fuse'
  exit 77
fi
work=$(realpath "$(mktemp -d)")
guest=
cleanup() {
  [ -z "$guest" ] || kill -9 "$guest" 2>/dev/null || true
  for place in mnt vol disk; do
    while umount -l "$work/$place" 2>/dev/null; do :; done
  done
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
mkdir mnt
key=(--key-file key --tag-file tag)
"$cloister" volume create vol "${key[@]}"
served_by() { pgrep -f "^$cloister volume mount .*$work/vol"; }
mounts() { awk -v at="$work/mnt" '$5 == at' /proc/self/mountinfo | wc -l; }

# What the mount needs must not lie in it, by whatever name: it would wait for itself.
ln -s mnt link
ln -s vol also-vol
cp tag mnt/tag
expect 2 'below the mount itself' "$cloister" volume mount vol vol "${key[@]}"
expect 2 'below the mount itself' "$cloister" volume mount vol also-vol "${key[@]}"
expect 2 'below the mount itself' "$cloister" volume mount vol link --key-file key --tag-file mnt/tag
expect 2 'below the mount itself' "$cloister" volume mount vol mnt --key-file key --tag-file link/../mnt/tag
mkdir -p vol/objects
expect 2 'would hide' "$cloister" volume mount also-vol vol/objects "${key[@]}"
rm mnt/tag
"$cloister" volume mount also-vol link "${key[@]}"
[ "$(mounts)" = 1 ] || fail 'not mounted through a link'
stat -f mnt >/dev/null
"$cloister" volume unmount link

# A mount whose server was killed is not mounted on: it would come back.
"$cloister" volume mount "$work/vol" mnt "${key[@]}" --commit-every 0
stat mnt >/dev/null  # the kernel remembers what it looks like
kill -9 "$(served_by)"
expect 0 'the process that served it was killed' "$cloister" volume mount "$work/vol" mnt "${key[@]}"
[ "$(mounts)" = 1 ] || fail "$(mounts) mounts lie on one another"
echo alive >mnt/file
"$cloister" volume unmount mnt
[ "$(mounts)" = 0 ] || fail 'something is left after unmounting'

# And it can be unmounted although a program has its folder there.
"$cloister" volume mount "$work/vol" mnt "${key[@]}" --commit-every 0
(cd mnt && exec sleep 300) &
guest=$!
inside() { [ "$(readlink "/proc/$guest/cwd")" = "$work/mnt" ]; }
wait_until inside
expect 5 'are in use' "$cloister" volume unmount mnt
kill -9 "$(served_by)"
expect 5 'ended without its last commit' "$cloister" volume unmount mnt
[ "$(mounts)" = 0 ] || fail 'the mount of a dead server stays'
[ "$("$cloister" volume cat vol file "${key[@]}")" = alive ] || fail 'the file is lost'
# A folder that cannot be written to.
mkdir disk && mount -t tmpfs none disk && cp -r vol disk/ && mount -o remount,ro none disk
expect 4 'give --read-only' "$cloister" volume mount disk/vol mnt "${key[@]}"
"$cloister" volume mount disk/vol mnt "${key[@]}" --read-only
[ "$(cat mnt/file)" = alive ] || fail 'a read-only mount of a read-only folder'
"$cloister" volume unmount mnt
echo 'all checks of places passed'
