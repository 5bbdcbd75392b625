#!/usr/bin/env bash
# Programs that fork: shells with their pipelines, make, Perl, Python's multiprocessing. Natively and inside, with equal output.
# Usage: shells_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/support.sh"
export LC_ALL=C
needs /usr/bin/python3 /usr/bin/perl /usr/bin/make busybox

# Name, then the command: the same words natively and inside, where /tmp is another one.
both() {
  local name=$1 native=0 inside=0 words=()
  shift
  for word in "$@"; do words+=("${word//$work/}"); done
  timeout 120 "$@" >native.out 2>native.err </dev/null || native=$?
  timeout 300 "$cloister" run "${options[@]}" all.enclave "${words[@]}" >inside.out 2>inside.err </dev/null || inside=$?
  if [ "$native" -ne 0 ] || [ "$inside" -ne 0 ] || ! cmp -s native.out inside.out; then
    fail "$name: exit codes $native and $inside: $(diff native.out inside.out | head -6) $(head -c 400 inside.err)"
  fi
}
mkdir app
cat >app/script.sh <<'SOURCE'
set -e
echo one two three | tr ' ' '\n' | sort | head -2
sum=$(seq 1 1000 | { s=0; while read -r n; do s=$((s + n)); done; echo $s; })
echo "sum $sum"
(cd /usr && pwd)
seq 1 20000 | gzip | gunzip | sha256sum
for i in 1 2 3; do
  (
    n=0
    while [ $n -lt 2000 ]; do n=$((n + 1)); done
    exit $i
  ) &
  wait $! || echo "ended with $?"
done
cat <<TEXT | while read -r line; do echo "<$line>"; done
here
documents
TEXT
yes | head -5 | wc -l
sleep 0.3 &
while read -r line; do
  case $line in
    *sleep*) echo "maps: of another program: $line" ;;
    *sh) found=yes ;;
  esac
done </proc/self/maps
echo "maps: $found"
wait
trap 'echo caught' USR1
kill -USR1 $$
(sleep 0.05; kill -TERM $$) &
trap 'echo "ended by TERM"; exit 0' TERM
while :; do sleep 1 & wait $! || true; done
SOURCE
cat >app/loop.sh <<'SOURCE'
i=0
while [ $i -lt 100 ]; do
  [ "$(echo $i | cat)" = $i ] || echo "not $i"
  i=$((i + 1))
done
echo "counted to $i"
SOURCE
printf 'all: a b\n\t@cat $^ | tr a-z A-Z\na:\n\t@echo from a >$@\nb: a\n\t@sort <$< | sed s/a/b/ >$@\n' >app/Makefile
cat >app/forks.pl <<'SOURCE'
$| = 1;
my @children;
for my $i (1 .. 5) {
  my $pid = fork();
  die unless defined $pid;
  if (!$pid) { my $sum = 0; $sum += $_ for 1 .. 100000; exit($sum == 5000050000 ? $i : 99); }
  push @children, $pid;
}
print join(" ", map { waitpid($_, 0); $? >> 8 } @children), "\n";
open(my $out, "|-", "cat") or die;
print $out "to a child\n";
close $out;
print `echo from a child | tr a-z A-Z`;
SOURCE
cat >app/processes.py <<'SOURCE'
import multiprocessing, os, subprocess

def square(x):
    return x * x

if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    with multiprocessing.Pool(3) as pool:
        print(pool.map(square, range(20)))
    queue = multiprocessing.Queue()
    child = multiprocessing.Process(target=lambda: queue.put(os.getpid() != os.getppid()))
    child.start()
    print(queue.get(), child.join(), child.exitcode)
    counter = multiprocessing.Value("i", 0)
    def count():
        for _ in range(500):
            with counter.get_lock():
                counter.value += 1
    children = [multiprocessing.Process(target=count) for _ in range(3)]
    [c.start() for c in children]
    [c.join() for c in children]
    print(counter.value)
    print(subprocess.run(["sh", "-c", "echo text | cat; exit 3"], capture_output=True, preexec_fn=lambda: None))
    print(os.popen("echo a b | wc -w").read())
SOURCE
cat >app/jobs.sh <<'SOURCE'
set -m
sleep 30 &
sleeper=$!
kill -STOP %1
until jobs -s | grep -q Stopped; do sleep 0.01; done
jobs
kill -CONT %1
until jobs -r | grep -q Running; do sleep 0.01; done
jobs
kill $sleeper
wait $sleeper
echo $?
(trap 'echo got' USR1; kill -TSTP $BASHPID; echo resumed) &
until jobs -s | grep -q Stopped; do sleep 0.01; done
kill -USR1 %%
fg %%
echo done $?
ulimit -n 77
bash -c 'ulimit -n'
SOURCE

programs=(bash dash grep tr sort head seq gzip gunzip sha256sum cat wc yes sleep sed)
image=(--copy app:/app --heap 1G --threads 48)
for program in "${programs[@]}"; do image+=(--program "$(realpath "$(command -v "$program")"):/usr/bin/$program"); done
image+=(--program "$(realpath /bin/busybox):/usr/bin/busybox")
image+=(--program /usr/bin/make:/usr/bin/make)
image+=(--program "$(realpath /usr/bin/perl):/usr/bin/perl" --copy $libraries/perl-base:$libraries/perl-base)
version=$(/usr/bin/python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
image+=(--program "$(realpath /usr/bin/python3):/usr/bin/python3" --copy "/usr/lib/$version:/usr/lib/$version" --copy $libraries/libffi.so.8)
# The entry runs whatever command it is given.
"$cloister" build --program "$(realpath /usr/bin/env):/usr/bin/env" "${image[@]}" -o all.enclave >/dev/null

both dash dash "$work/app/script.sh"
both bash bash "$work/app/script.sh"
both dash-loop dash "$work/app/loop.sh"
both bash-loop bash "$work/app/loop.sh"
both bash-jobs bash "$work/app/jobs.sh"
# A static program with fixed addresses that starts itself.
both busybox busybox sh -c 'busybox seq 50 | busybox sort -r | busybox head -3; echo $(busybox echo a | busybox tr a b)'
both make bash -c "cd \$(mktemp -d 2>/dev/null || echo /tmp); make -s -j2 -f $work/app/Makefile"
both perl perl "$work/app/forks.pl"
both python /usr/bin/python3 "$work/app/processes.py"

# A program that has stopped itself goes on when somebody outside sends SIGCONT.
: >stopped.out
"$cloister" run "${options[@]}" all.enclave bash -c 'echo stops; kill -STOP $$; echo goes on' >stopped.out 2>/dev/null </dev/null &
for ((i = 0; i < 300; ++i)); do
  grep -q stops stopped.out && break
  sleep 0.1
done
sleep 0.3
kill -0 $! || fail "the program did not stop"
kill -CONT $!
wait $! || fail "a stopped program ended with exit code $?"
[ "$(cat stopped.out)" = $'stops\ngoes on' ] || fail "a stopped program did not go on: $(cat stopped.out)"

finish
