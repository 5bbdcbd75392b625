#!/usr/bin/env bash
# Compressors, zstd and xz with several threads; what is packed inside is unpacked outside, and the other way round.
# Usage: compressors_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
needs zstd xz gzip bzip2

{ seq 1 300000 && head -c 2000000 /dev/urandom; } >input
for tool in 'zstd -T4 -q' 'xz -T2 -1' 'gzip -6' 'bzip2 -2'; do
  read -ra words <<<"$tool"
  build --program "$(command -v "${words[0]}")" --copy input:/input --heap 512M --threads 12 -o tool.enclave
  inside tool.enclave "${words[@]:1}" -c /input >packed || fail "$tool: ends with $?"
  "${words[0]}" -dc packed | cmp - input || fail "$tool: what was packed inside is not the input"
  "${words[@]}" -c input >input.packed
  build --program "$(command -v "${words[0]}")" --copy input.packed:/packed --heap 512M --threads 12 -o tool.enclave
  inside tool.enclave -dc /packed | cmp - input || fail "$tool: what was unpacked inside is not the input"
done
finish
