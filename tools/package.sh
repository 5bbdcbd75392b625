#!/usr/bin/env bash
# Packs the binaries of a build folder into cloister-VERSION-linux-x86_64.tar.gz, reproducibly.
set -euo pipefail
build=${1:?usage: tools/package.sh BUILD_DIR}
version=$(sed -n 's/^project(cloister VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
out=build/cloister-$version-linux-x86_64.tar.gz
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$build" -czf "$out" \
  bin/cloister bin/encryptedpush bin/decrypt lib/cloister/kernel.elf lib/cloister/agent.elf
echo "$out"
