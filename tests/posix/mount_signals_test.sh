#!/usr/bin/env bash
# Signals at bad moments, and where the key of a mounted volume must not be seen.
# Usage: mount_signals_test.sh CLOISTER EARLY_SIGNAL_LIBRARY. Exit 77: no /dev/fuse, or not root.
set -euo pipefail
# shellcheck source=tests/support/expect.sh
source "$(dirname "$(realpath "$0")")/../support/expect.sh"
cloister=$(realpath "${1:?usage: mount_signals_test.sh CLOISTER EARLY_SIGNAL_LIBRARY}")
early_signal=$(realpath "${2:?usage: mount_signals_test.sh CLOISTER EARLY_SIGNAL_LIBRARY}")
[ -e "$early_signal" ] || fail "there is no $early_signal: without it this would wait for a signal for ever"
if [ ! -w /dev/fuse ] || [ "$(id -u)" -ne 0 ]; then
  echo 'skipped: mounting needs root and /dev/fuse'
  exit 77
fi
work=$(mktemp -d)
cleanup() {
  while umount -l "$work/mnt" 2>/dev/null; do :; done
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"

type_on_top() { awk -v at="$work/mnt" '$5 == at { for (i = 7; i <= NF; ++i) if ($i == "-") type = $(i + 1) } END { print type }' /proc/self/mountinfo; }
wait_for() {  # the type that must be mounted on top of mnt
  for _ in $(seq 6000); do  # a busy machine takes its time
    [ "$(type_on_top)" = "$1" ] && return
    sleep 0.01
  done
  fail "'$(type_on_top)' is mounted, not '$1'"
}

mkdir mnt
"$cloister" volume create vol --key-file key --tag-file tag
key=$(tr -d '\n' <key)
mount_volume() { exec "$cloister" volume mount vol mnt --tag-file tag --foreground "$@"; }

# SIGTERM in the moment of mounting leaves no dead mount behind.
code=0
LD_PRELOAD=$early_signal "$cloister" volume mount vol mnt --key-file key --tag-file tag --foreground || code=$?
[ "$code" -eq 0 ] || fail "exit code $code after an early SIGTERM"
[ -z "$(type_on_top)" ] || fail 'an early SIGTERM leaves a mount behind'

# A second SIGTERM, while a file is still open, takes nothing else out of the tree.
mount -t tmpfs none mnt
(mount_volume --key-file key) &
server=$!
wait_for fuse.cloister
exec 9>mnt/open
kill -TERM "$server"
wait_for tmpfs
echo more >&9
kill -TERM "$server"
sleep 0.5
[ "$(type_on_top)" = tmpfs ] || fail 'the second SIGTERM unmounted what is not ours'
exec 9>&-
wait "$server" || fail 'SIGTERM is not a failure'
umount mnt
[ "$("$cloister" volume cat vol open --key-file key --tag-file tag)" = more ] || fail 'a file that stayed open is lost'

# A key from the environment is not left there for programs that the mount starts, nor for /proc; also if it is not used.
volume_session "$key" "$(cat tag)" >session.yml
taken_off() { umount mnt 2>/dev/null; }  # its server looks at the mount, too, for a moment
for source in '' '--key-file key' '--session session.yml'; do
  # shellcheck disable=SC2086
  (export CLOISTER_VOLUME_KEY=$key; mount_volume $source) &
  server=$!
  wait_for fuse.cloister
  if tr '\0' '\n' <"/proc/$server/environ" | grep "$key" >/dev/null; then
    fail "the key stands in /proc/PID/environ with '$source'"
  fi
  wait_until taken_off
  wait "$server" || fail "the mount with a key from the environment failed with '$source'"
  wait_for ''
done
echo 'all checks of signals and secrets passed'
