#!/usr/bin/env bash
# Ruby: threads, a child through a pipe, fork, a digest.
# Usage: ruby_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
needs /usr/bin/ruby
extra=()
for folder in /var/lib/gems /usr/share/rubygems-integration; do [ -d "$folder" ] && extra+=(--copy "$folder:$folder"); done
build --program "$(realpath /usr/bin/ruby):/usr/bin/ruby" --program "$(realpath /bin/sh):/bin/sh" --program "$(command -v cat)" \
  --copy /usr/lib/ruby:/usr/lib/ruby --copy "$libraries/ruby:$libraries/ruby" "${extra[@]}" --heap 512M --threads 16 -o ruby.enclave
both 3 ruby.enclave /usr/bin/ruby -e 'puts (1..1000).map { |x| x * x }.sum; p (1..4).map { |i| Thread.new { sleep 0.01; i * i } }.map(&:value)
  puts `echo sub | cat`; r, w = IO.pipe
  if fork then w.close; puts r.read; Process.wait else r.close; w.puts "from a child"; exit!(0) end
  require "digest"; puts Digest::SHA256.hexdigest("abc"); exit 3'
finish
