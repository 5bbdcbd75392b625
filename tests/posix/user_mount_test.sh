#!/usr/bin/env bash
# A volume mounted by an ordinary user. Usage: user_mount_test.sh CLOISTER. Exit 77: neither such a user with
# /dev/fuse, nor root who may play one.
set -euo pipefail
# shellcheck source=tests/support/expect.sh
source "$(dirname "$(realpath "$0")")/../support/expect.sh"
cloister=$(realpath "${1:?usage: user_mount_test.sh CLOISTER}")
self=$(realpath "$0")
skip() {
  echo "skipped: $1"
  exit 77
}
[ -e /dev/fuse ] && command -v fusermount3 >/dev/null || skip 'no /dev/fuse, or no fusermount3'
if [ "$(id -u)" -eq 0 ]; then
  # The node of the machine may be root's alone: here is another, which nobody else sees.
  if [ -z "${CLOISTER_TEST_HOUSE:-}" ]; then
    unshare --mount true 2>/dev/null || skip 'the right to mount is missing'
    house=$(mktemp -d)
    chmod 711 "$house"
    status=0
    CLOISTER_TEST_HOUSE=$house unshare --mount "$self" "$cloister" || status=$?
    rm -rf "$house"
    exit "$status"
  fi
  cd "$CLOISTER_TEST_HOUSE"
  mknod -m 666 fuse c 10 229 && mount --bind fuse /dev/fuse || skip 'no second /dev/fuse can be made'
  mkdir tmp posix support && chmod 1777 tmp
  chmod 755 posix support
  # The folders of the build and of the sources may be root's alone, too.
  cp "$cloister" cloister
  cp "$self" posix/test.sh
  cp "$(dirname "$self")/../support/expect.sh" support/
  status=0
  TMPDIR=$PWD/tmp setpriv --reuid 65534 --regid 65534 --clear-groups posix/test.sh "$PWD/cloister" || status=$?
  umount /dev/fuse
  exit "$status"
fi
[ -w /dev/fuse ] || skip '/dev/fuse is not for this user'

work=$(realpath "$(mktemp -d)")
cleanup() {
  fusermount3 -uzq "$work/mnt" || true
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
mkdir mnt IN OUT
key=(--key-file key --tag-file tag)
me=$(id -u):$(id -g)
echo from-outside >IN/given
"$cloister" volume create vol "${key[@]}"
"$cloister" volume add vol IN "${key[@]}" 2>/dev/null
"$cloister" volume mount vol mnt "${key[@]}"
[ "$(cat mnt/given)" = from-outside ] || fail 'what the owner put in cannot be read'
echo more >>mnt/given
mkdir -p mnt/folder/below
echo mine >mnt/folder/file
ln -s file mnt/folder/link
chmod 640 mnt/folder/file
chown "$me" mnt/folder/file
for path in . given folder folder/below folder/file folder/link; do
  [ "$(stat -c %u:%g "mnt/$path")" = "$me" ] || fail "$path belongs to $(stat -c %u:%g "mnt/$path")"
done
expect 1 'not permitted' chown 0 mnt/folder/file
expect 1 'not permitted' chown "$(($(id -u) - 1))" mnt/folder/file
"$cloister" volume unmount mnt
[ "$(ls -A mnt)" = '' ] || fail 'still mounted'
"$cloister" volume get vol OUT/all "${key[@]}"
[ "$(cat OUT/all/given OUT/all/folder/link)" = $'from-outside\nmore\nmine' ] || fail 'what was written is not there'

# Who lets others in needs the machine's leave.
if ! grep -qs '^user_allow_other' /etc/fuse.conf; then
  expect 5 'user_allow_other' "$cloister" volume mount vol mnt "${key[@]}" --allow-other
fi
expect 0 'no faults' "$cloister" volume fsck vol "${key[@]}"
echo 'an ordinary user: everything as it must be'
