#!/usr/bin/env bash
# Java 17, `java -jar`: a thread pool, files, sockets, a trapped null pointer, and the collectors of several threads that it
# offers, each with the garbage of several collections.
# Usage: java_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
java_home=$(dirname "$(dirname "$(realpath /usr/bin/java 2>/dev/null || echo /none/none/none)")")
needs "$java_home/bin/java" javac
mkdir classes
javac -d classes "$here/Main.java"
printf 'Main-Class: Main\n' >manifest
(cd classes && "$java_home/bin/jar" cfm ../main.jar ../manifest .) 2>/dev/null || jar cfm main.jar manifest -C classes .
copies_of "$java_home"/lib/server/libjvm.so "$java_home"/lib/lib{net,nio,zip,management}.so
build --program "$java_home/bin/java" "${copies[@]}" --copy "$java_home:$java_home" --copy /etc/java-17-openjdk:/etc/java-17-openjdk \
  --copy main.jar:/app/main.jar --heap 2G --threads 64 -o java.enclave
for collector in Parallel G1; do
  both 4 java.enclave "$java_home/bin/java" -XX:+Use${collector}GC -XX:ParallelGCThreads=4 -XX:-UseDynamicNumberOfGCThreads -Xmx64m \
    -Xlog:gc+init,gc+task=debug:stderr:tags -jar "$work/main.jar"
  grep -q 'several collections' inside.out || fail "$collector: $(cat inside.out)"
  grep -q 'Parallel Workers: 4' inside.err || fail "$collector: not four threads: $(grep -i work inside.err | head -5)"
done
grep -q 'G1 Young' inside.out && [ "$(grep -c 'Using 4 workers of 4 for evacuation' inside.err)" -ge 5 ] || fail "G1: $(cat inside.err)"
finish
