#!/usr/bin/env bash
# C++: exceptions, threads, futures, files, regular expressions, a library loaded by dlopen.
# Usage: cpp_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
needs g++
g++ -O1 -std=c++20 -shared -fPIC "$here/cpp_plugin.cpp" -o plugin.so
g++ -O1 -std=c++20 "$here/cpp_main.cpp" -o cpp -pthread -ldl
build --program ./cpp:/cpp --copy plugin.so:/plugin.so --threads 12 -o cpp.enclave
both 9 cpp.enclave ./cpp
finish
