#!/usr/bin/env bash
# A mounted volume under the exerciser for an hour, then SQLite on one through 500 kills. Exit 77: not asked for with
# CLOISTER_LONG_TESTS=1, or no /dev/fuse. Usage: long_test.sh CLOISTER EXERCISER
set -euo pipefail
cloister=$(realpath "${1:?usage: long_test.sh CLOISTER EXERCISER}")
exerciser=$(realpath "${2:?usage: long_test.sh CLOISTER EXERCISER}")
here=$(dirname "$(realpath "$0")")
if [ "${CLOISTER_LONG_TESTS:-0}" != 1 ]; then
  # shellcheck disable=SC2016  # for the reader
  echo 'skipped: takes two hours: `./dev test --long` runs it (CLOISTER_LONG_TESTS=1)'
  exit 77
fi
if [ ! -w /dev/fuse ] || [ "$(id -u)" -ne 0 ]; then
  echo 'skipped: a mount needs root and /dev/fuse'
  exit 77
fi
work=$(mktemp -d)
cleanup() {
  mountpoint -q "$work/mnt" && umount -l "$work/mnt"
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
mkdir mnt
key=(--key-file key --tag-file tag)
"$cloister" volume create vol "${key[@]}"
"$cloister" volume mount vol mnt "${key[@]}"
"$exerciser" mnt --long
"$cloister" volume unmount mnt
"$cloister" volume fsck vol "${key[@]}"
python3 "$here/sqlite_kill.py" "$cloister" --rounds 500
