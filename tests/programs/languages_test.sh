#!/usr/bin/env bash
# Runtimes of languages, natively and inside, with equal output. What is not installed is skipped by name.
# Usage: languages_test.sh CLOISTER_BINARY patched|trapped [LANGUAGE…]
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/support.sh"
libraries=/usr/lib/x86_64-linux-gnu

# Image, then the native command; the image gets the same words behind its program.
both() {
  local image=$1 native=0 inside=0 words=()
  shift
  for word in "${@:2}"; do words+=("${word/#$work\///app/}"); done  # /tmp is another one inside
  timeout 120 "$@" >native.out 2>native.err </dev/null || native=$?
  timeout 300 "$cloister" run "${options[@]}" "$image" "${words[@]}" >inside.out 2>inside.err </dev/null || inside=$?
  [ $native -eq $inside ] || fail "$image: exit code $inside in place of $native: $(head -c 600 inside.err)"
  cmp -s native.out inside.out || fail "$image: other output: $(diff native.out inside.out | head -6) $(head -c 300 inside.err)"
}

if has python /usr/bin/python3; then
  version=$(/usr/bin/python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
  cat >all.py <<'SOURCE'
import array, asyncio, collections, concurrent.futures, csv, ctypes, datetime, decimal, functools, hashlib, io, itertools
import json, math, os, pathlib, pickle, queue, random, re, select, signal, socket, sqlite3, struct, tempfile, threading
import time, zlib, mmap, contextlib
print(json.dumps({"list": [1, 2.5, None], "text": "ü"}, sort_keys=True))
print(hashlib.sha256(b"abc").hexdigest(), zlib.crc32(b"abc"), math.sqrt(2), decimal.Decimal(1) / 7)
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "file.txt"
    path.write_text("line\n" * 1000)
    print(len(path.read_text()), sorted(os.listdir(folder)), path.stat().st_size)
    with open(path, "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
        m[0:4] = b"LINE"
    print(path.read_text()[:9])
    base = sqlite3.connect(os.path.join(folder, "base.db"))
    base.execute("create table t(a integer primary key, b text)")
    base.executemany("insert into t values(?,?)", ((i, "x" * i) for i in range(500)))
    base.commit()
    print(base.execute("select sum(a), sum(length(b)) from t").fetchone())
total, lock = 0, threading.Lock()
def add():
    global total
    for _ in range(2000):
        with lock:
            total += 1
threads = [threading.Thread(target=add) for _ in range(6)]
[t.start() for t in threads], [t.join() for t in threads]
print(total)
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(lambda n: n * n, range(200))))
async def ticker(n):
    await asyncio.sleep(0.01 * n)
    return n
async def main():
    print(await asyncio.gather(*(ticker(n) for n in (3, 1, 2))))
    async def serve(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\n")
        answer = await reader.read()
        writer.close()
    print(answer)
    server.close()
    await server.wait_closed()
asyncio.run(main())
signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.02)
time.sleep(0.2)
a, b = socket.socketpair()
a.sendall(b"pair"); print(b.recv(10))
print(re.findall(r"\w+", "some words here"), pickle.loads(pickle.dumps({1: "a"})), os.getcwd() != "")
print(ctypes.CDLL(None).abs(-5), struct.pack("<I", 7), datetime.date(2024, 2, 29).isoformat())
try:
    open("/none/such")
except OSError as e:
    print(e.errno, e.strerror)
print(len(os.urandom(16)), os.cpu_count() > 0)
SOURCE
  extra=()
  for library in libsqlite3.so.0 libffi.so.8 libcrypto.so.3 libssl.so.3 libbz2.so.1.0 liblzma.so.5 libuuid.so.1 libz.so.1; do
    [ -e $libraries/$library ] && extra+=(--copy "$(realpath $libraries/$library):$libraries/$library")
  done
  build --program "$(realpath /usr/bin/python3):/usr/bin/python3" --copy "/usr/lib/$version:/usr/lib/$version" "${extra[@]}" \
    --copy all.py:/app/all.py --heap 512M --threads 24 -o python.enclave
  both python.enclave /usr/bin/python3 "$work/all.py"
  both python.enclave /usr/bin/python3 -c 'import sys; sys.exit(3)'
  cat >children.py <<'SOURCE'
import subprocess, os
print(subprocess.run(["/usr/bin/cat"], input=b"text through cat", capture_output=True).stdout)
print(subprocess.run(["/usr/bin/sort", "-r"], input="a\nc\nb\n", capture_output=True, text=True).stdout.split())
p = subprocess.Popen(["/usr/bin/sleep", "100"]); p.terminate(); print(p.wait())
a = subprocess.Popen(["/usr/bin/seq", "1000"], stdout=subprocess.PIPE)
b = subprocess.run(["/usr/bin/wc", "-l"], stdin=a.stdout, capture_output=True, text=True)
print(b.stdout.strip(), a.wait(), subprocess.call(["/usr/bin/false"]), os.system("exit 3") >> 8)
try:
    subprocess.run(["/none/such"])
except FileNotFoundError as e:
    print(e)
print(subprocess.check_output("echo $((6*7)); ls -d /usr", shell=True, text=True).split())
pid = os.posix_spawn("/usr/bin/true", ["true"], {}); print(os.waitpid(pid, 0)[1])
print(sum(subprocess.call(["/usr/bin/true"]) for _ in range(30)))
SOURCE
  children=(--program /bin/sh:/bin/sh)
  for program in cat sort sleep seq wc false true ls; do children+=(--program "$(type -P $program)"); done
  build --program "$(realpath /usr/bin/python3):/usr/bin/python3" --copy "/usr/lib/$version:/usr/lib/$version" "${children[@]}" \
    --copy children.py:/app/children.py --threads 16 -o children.enclave
  both children.enclave /usr/bin/python3 "$work/children.py"
  both python.enclave /usr/bin/python3 -c 'raise ValueError("x")'
fi

if [ -d /usr/share/zoneinfo ] && has php /usr/bin/php; then
  build --program "$(realpath /usr/bin/php):/usr/bin/php" --program "$(realpath /bin/sh):/bin/sh" --program "$(command -v tr)" \
    --copy /usr/share/zoneinfo:/usr/share/zoneinfo --heap 256M -o php.enclave
  both php.enclave "$(realpath /usr/bin/php)" -n -r '$a = range(1, 1000); echo array_sum(array_map(fn($x) => $x * $x, $a)), json_encode(["a" => [1, 2.5]]),
    preg_replace("/[0-9]+/", "#", "a1b22"), hash("sha256", "abc"), shell_exec("echo from a shell | tr a-z A-Z"); exit(6);'
fi
if has ruby /usr/bin/ruby; then
  extra=()
  for folder in /var/lib/gems /usr/share/rubygems-integration; do [ -d "$folder" ] && extra+=(--copy "$folder:$folder"); done
  build --program "$(realpath /usr/bin/ruby):/usr/bin/ruby" --program "$(realpath /bin/sh):/bin/sh" --program "$(command -v cat)" \
    --copy /usr/lib/ruby:/usr/lib/ruby --copy "$libraries/ruby:$libraries/ruby" "${extra[@]}" --heap 512M --threads 16 -o ruby.enclave
  both ruby.enclave /usr/bin/ruby -e 'puts (1..1000).map { |x| x * x }.sum; p (1..4).map { |i| Thread.new { sleep 0.01; i * i } }.map(&:value)
    puts `echo sub | cat`; r, w = IO.pipe
    if fork then w.close; puts r.read; Process.wait else r.close; w.puts "from a child"; exit!(0) end
    require "digest"; puts Digest::SHA256.hexdigest("abc"); exit 3'
fi
if has perl /usr/bin/perl; then
  build --program /usr/bin/perl -o perl.enclave
  both perl.enclave /usr/bin/perl -e 'my %h; $h{$_ % 7} += $_ for 1..1000; print "$_ $h{$_}\n" for sort keys %h;
    open F, ">", "/tmp/perl-test-file" or die; print F "one\ntwo\n"; close F; open F, "<", "/tmp/perl-test-file"; print scalar(my @l = <F>), "\n";
    unlink "/tmp/perl-test-file"; printf "%.3f %s\n", atan2(1,1)*4, join ",", map { sprintf "%02x", $_ } unpack "C*", "abc"; exit 4'
fi

if has lua /usr/bin/lua5.4; then
  build --program /usr/bin/lua5.4 -o lua.enclave
  both lua.enclave /usr/bin/lua5.4 -e 'local t = {} for i = 1, 1000 do t[#t + 1] = i * i end table.sort(t, function(a, b) return a > b end)
    print(t[1], #t, string.format("%5.2f", math.pi), ("x"):rep(5)); print(pcall(error, "caught")); os.exit(2)'
fi

if has c++ g++; then
  cat >plugin.cpp <<'SOURCE'
#include <string>
extern "C" std::string* greet(const char* name) { return new std::string(std::string("hello ") + name); }
SOURCE
  cat >main.cpp <<'SOURCE'
#include <dlfcn.h>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <map>
#include <random>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>
int main() {
  try {
    throw std::runtime_error("thrown");
  } catch (const std::exception& e) {
    std::cout << e.what() << '\n';
  }
  std::mutex mutex;
  std::condition_variable changed;
  int turn = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i)
    threads.emplace_back([&, i] {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return turn == i; });
      std::cout << "thread " << i << '\n';
      ++turn;
      changed.notify_all();
    });
  for (auto& t : threads) t.join();
  auto f = std::async(std::launch::async, [] {
    throw std::logic_error("from a thread");
    return 1;
  });
  try {
    f.get();
  } catch (const std::logic_error& e) {
    std::cout << e.what() << '\n';
  }
  const auto folder = std::filesystem::temp_directory_path() / "cloister-c++-test";
  std::filesystem::create_directories(folder / "a/b");
  std::ofstream(folder / "a/file") << 3.25 << ' ' << 42;
  double d = 0;
  int n = 0;
  std::ifstream(folder / "a/file") >> d >> n;
  std::cout << d << ' ' << n << ' ' << std::filesystem::file_size(folder / "a/file") << '\n';
  std::filesystem::remove_all(folder);
  std::cout << std::regex_replace("a1b22", std::regex("[0-9]+"), "#") << '\n';
  void* plugin = dlopen("/plugin.so", RTLD_NOW);
  if (plugin == nullptr) plugin = dlopen("./plugin.so", RTLD_NOW);
  if (plugin == nullptr) return std::cout << dlerror() << '\n', 1;
  auto* greet = reinterpret_cast<std::string* (*)(const char*)>(dlsym(plugin, "greet"));
  std::cout << *greet("plugin") << '\n';
  std::mt19937_64 r(7);
  std::cout << r() << '\n';
  return 9;
}
SOURCE
  g++ -O1 -std=c++20 -shared -fPIC plugin.cpp -o plugin.so
  g++ -O1 -std=c++20 main.cpp -o cpp -pthread -ldl
  build --program ./cpp:/cpp --copy plugin.so:/plugin.so --threads 12 -o cpp.enclave
  both cpp.enclave ./cpp
fi

if has fortran gfortran; then
  cat >sum.f90 <<'SOURCE'
program sum_up
  implicit none
  real(8) :: a(200,200), b(200,200), c(200,200)
  integer :: i, j
  do j = 1, 200
    do i = 1, 200
      a(i,j) = i + j
      b(i,j) = i - j
    end do
  end do
  c = matmul(a, b)
  print '(F14.2)', sum(c)
  open(unit=10, file='/tmp/fortran-test-file', status='replace')
  write(10,*) 17
  rewind(10)
  read(10,*) i
  close(10, status='delete')
  print *, i
  print *, applied(plus_i, 4)  ! an internal procedure as an argument is code on the stack
contains
  integer function plus_i(n)
    integer, intent(in) :: n
    plus_i = n + i
  end function
  integer function applied(f, n)
    interface
      integer function f(n)
        integer, intent(in) :: n
      end function
    end interface
    integer, intent(in) :: n
    applied = f(n)
  end function
end program
SOURCE
  gfortran -O1 sum.f90 -o fortran
  build --program ./fortran:/fortran -o fortran.enclave
  both fortran.enclave ./fortran
fi

# Nested functions whose address is taken run on the stack: on the first, on a thread's, and with a library that wants it
# only when it is loaded.
if has "nested functions of C" gcc; then
  cat >nested.c <<'SOURCE'
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
__attribute__((noinline)) static int twice(int (*f)(int), int n) { return f(f(n)); }
void* count(void* step) {
  int total = 0;
  int add(int n) { return n + (total += *(int*)step); }
  printf("%d %d\n", twice(add, 10), total);
  return NULL;
}
#ifndef LIBRARY
int main(void) {
  pthread_t thread;
  int step = 3;
#ifdef LATE
  void* library = dlopen("/nested.so", RTLD_NOW);
  if (library == NULL) library = dlopen("./nested.so", RTLD_NOW);
  void* (*count)(void*) = (void* (*)(void*))dlsym(library, "count");
#endif
  count(&step);
  pthread_create(&thread, NULL, count, &step);
  pthread_join(thread, NULL);
  return 4;
}
#endif
SOURCE
  gcc -O1 -DLIBRARY -shared -fPIC -z execstack nested.c -o nested.so
  gcc -O1 -z execstack nested.c -o nested -pthread
  sed '/^void\* count/,/^}/d' nested.c >late.c
  gcc -O1 -w -DLATE late.c -o late -pthread -ldl
  build --program ./nested:/nested -o nested.enclave
  build --program ./late:/late --copy nested.so:/nested.so -o late.enclave
  both nested.enclave ./nested
  both late.enclave ./late
  printf 'int main(void) { char large[9 << 20]; for (int i = 0; i < sizeof large; ++i) ((volatile char*)large)[i] = 1; }' >large.c
  gcc -O0 -w large.c -o large
  build --program ./large:/large -o large.enclave
  CLOISTER_LOG=warning "$cloister" run large.enclave 2>large.err || true
  grep -q 'larger --stack' large.err || fail "large.enclave does not say that its stack is too small"
  build --program ./large:/large --stack 16M -o large.enclave
  "$cloister" run large.enclave 2>/dev/null || fail "large.enclave with a stack that is large enough"
fi

if has rust rustc; then
  cat >main.rs <<'SOURCE'
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{mpsc, Arc, Mutex};
fn main() {
    let total = Arc::new(Mutex::new(0u64));
    let threads: Vec<_> = (0..6u64).map(|i| { let t = total.clone(); std::thread::spawn(move || for k in 0..1000 { *t.lock().unwrap() += i * k; }) }).collect();
    for t in threads { t.join().unwrap(); }
    println!("{}", total.lock().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || { for s in listener.incoming().take(20) { let mut s = s.unwrap(); let mut b = [0; 5]; s.read_exact(&mut b).unwrap(); s.write_all(&b).unwrap(); } });
    for _ in 0..20 { let mut s = TcpStream::connect(address).unwrap(); s.write_all(b"hello").unwrap(); let mut text = String::new(); s.read_to_string(&mut text).unwrap(); assert_eq!(text, "hello"); }
    server.join().unwrap();
    let (tx, rx) = mpsc::channel(); std::thread::spawn(move || for i in 0..5 { tx.send(i).unwrap(); }); println!("{:?}", rx.iter().collect::<Vec<i32>>());
    let mut map = BTreeMap::new(); for w in "a b a c".split(' ') { *map.entry(w).or_insert(0) += 1; } println!("{:?}", map);
    std::fs::write("/tmp/rust-test-file", "text").unwrap(); println!("{}", std::fs::read_to_string("/tmp/rust-test-file").unwrap()); std::fs::remove_file("/tmp/rust-test-file").unwrap();
    println!("{:?}", std::panic::catch_unwind(|| { panic!("caught"); }).is_err());
    std::process::exit(6);
}
SOURCE
  rustc -O main.rs -o rust 2>/dev/null
  build --program ./rust:/rust --threads 16 -o rust.enclave
  both rust.enclave ./rust
fi

if has go go; then
  cat >main.go <<'SOURCE'
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sync"
)

func main() {
	var wait sync.WaitGroup
	var mutex sync.Mutex
	total := 0
	for i := 0; i < 200; i++ {
		wait.Add(1)
		go func(n int) { defer wait.Done(); b := make([]byte, 100000); mutex.Lock(); total += n + len(b); mutex.Unlock() }(i)
	}
	wait.Wait()
	runtime.GC()
	fmt.Println(total)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) }))
	for i := 0; i < 50; i++ {
		answer, err := http.Get(server.URL + "/path")
		if err != nil { fmt.Println(err); os.Exit(1) }
		body, _ := io.ReadAll(answer.Body)
		if string(body) != "/path" { os.Exit(2) }
	}
	fmt.Println("served")
	os.Exit(5)
}
SOURCE
  CGO_ENABLED=0 GOCACHE=$work/go GOFLAGS=-mod=mod GO111MODULE=off go build -o gohttp main.go
  build --program ./gohttp:/gohttp --heap 512M --threads 32 -o go.enclave
  both go.enclave ./gohttp
fi

if has node /usr/bin/node; then
  cat >all.js <<'SOURCE'
const fs = require('fs'), http = require('http'), crypto = require('crypto'), os = require('os'), path = require('path');
const { Worker, isMainThread, parentPort } = require('worker_threads');
if (!isMainThread) {
  parentPort.on('message', n => { let s = 0; for (let i = 0; i < n; ++i) s += i; parentPort.postMessage(s); parentPort.close(); });
} else (async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'node-'));
  await fs.promises.writeFile(path.join(folder, 'f'), 'x'.repeat(100000));
  console.log((await fs.promises.readFile(path.join(folder, 'f'))).length, fs.readdirSync(folder));
  const seen = [], watcher = fs.watch(folder);
  const enough = new Promise(good => watcher.on('change', (kind, name) => { if (seen.push(kind + ' ' + name) === 4) good(); }));
  fs.writeFileSync(path.join(folder, 'g'), 'new');
  fs.renameSync(path.join(folder, 'g'), path.join(folder, 'h'));
  await enough;
  watcher.close();
  console.log(seen.slice(0, 4));
  fs.rmSync(folder, { recursive: true });
  console.log(crypto.createHash('sha256').update('abc').digest('hex'));
  let hot = 0; for (let i = 0; i < 3e6; ++i) hot = (hot * 31 + i) | 0; console.log(hot);
  const w = new Worker(__filename); w.postMessage(1000000);
  console.log(await new Promise((good, bad) => { w.on('message', good); w.on('error', bad); }));
  const server = http.createServer((q, a) => a.end('path ' + q.url)).listen(0, '127.0.0.1', async () => {
    let last;
    for (let i = 0; i < 100; ++i) last = await new Promise((good, bad) => http.get({ port: server.address().port, host: '127.0.0.1', path: '/' + i },
      r => { let b = ''; r.on('data', d => b += d); r.on('end', () => good(b)); }).on('error', bad));
    console.log(last);
    server.close();
    setTimeout(() => { console.log('timer'); process.exit(7); }, 20);
  });
})();
SOURCE
  build --program /usr/bin/node --copy all.js:/app/all.js --heap 4G --threads 48 -o node.enclave
  NODE_EXTRA_CA_CERTS='' both node.enclave /usr/bin/node "$work/all.js"
fi

java_home=$(dirname "$(dirname "$(realpath /usr/bin/java 2>/dev/null || echo /none/none/none)")")
if has java "$java_home/bin/java" javac; then
  mkdir -p classes
  cat >Main.java <<'SOURCE'
import java.io.*;
import java.net.*;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
public class Main {
  public static void main(String[] words) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(4);
    List<Future<Long>> list = new ArrayList<>();
    for (int i = 0; i < 20; ++i) { final int n = i; list.add(pool.submit(() -> { long s = 0; for (int k = 0; k < 100000; ++k) s += k % (n + 1); return s; })); }
    long sum = 0; for (Future<Long> f : list) sum += f.get();
    System.out.println(sum);
    List<byte[]> garbage = new ArrayList<>();
    for (int i = 0; i < 2000; ++i) { garbage.add(new byte[100000]); if (garbage.size() > 50) garbage.clear(); }
    System.gc();
    Path p = Files.createTempFile("java", "test"); Files.writeString(p, "text"); System.out.println(Files.readString(p)); Files.delete(p);
    ServerSocket server = new ServerSocket(0, 10, InetAddress.getLoopbackAddress());
    Thread t = new Thread(() -> { try { for (int i = 0; i < 20; ++i) { Socket s = server.accept(); s.getOutputStream().write(s.getInputStream().read()); s.close(); } } catch (IOException e) { e.printStackTrace(); } });
    t.start();
    for (int i = 0; i < 20; ++i) { Socket s = new Socket(InetAddress.getLoopbackAddress(), server.getLocalPort()); s.getOutputStream().write(i); if (s.getInputStream().read() != i) throw new Error(); s.close(); }
    t.join();
    try { Object o = null; o.toString(); } catch (NullPointerException e) { System.out.println("null pointer caught"); }
    pool.shutdown();
    System.exit(4);
  }
}
SOURCE
  javac -d classes Main.java
  printf 'Main-Class: Main\n' >manifest
  (cd classes && "$java_home/bin/jar" cfm ../main.jar ../manifest .) 2>/dev/null || jar cfm main.jar manifest -C classes .
  extra=()
  for library in "$java_home"/lib/server/libjvm.so "$java_home"/lib/lib{net,nio,zip}.so; do
    while read -r path; do extra+=(--copy "$(realpath "$path"):$path"); done \
      < <(ldd "$library" | grep -o '/lib/x86_64-linux-gnu/[^ ]*' | sed 's|^/lib|/usr/lib|' | grep -v '/libc\.so\|libjvm')
  done
  mapfile -t extra < <(printf '%s\n' "${extra[@]}" | grep -v '^--copy$' | sort -u | sed 's/^/--copy\n/')
  build --program "$java_home/bin/java" "${extra[@]}" --copy "$java_home:$java_home" --copy /etc/java-17-openjdk:/etc/java-17-openjdk \
    --copy main.jar:/app/main.jar --heap 2G --threads 64 -o java.enclave
  both java.enclave "$java_home/bin/java" -jar "$work/main.jar"
fi

finish languages: "${ran[*]}" equal
