#!/usr/bin/env bash
# Perl: hashes, files, numbers.
# Usage: perl_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
needs /usr/bin/perl
build --program /usr/bin/perl -o perl.enclave
both 4 perl.enclave /usr/bin/perl -e 'my %h; $h{$_ % 7} += $_ for 1..1000; print "$_ $h{$_}\n" for sort keys %h;
  open F, ">", "/tmp/perl-test-file" or die; print F "one\ntwo\n"; close F; open F, "<", "/tmp/perl-test-file"; print scalar(my @l = <F>), "\n";
  unlink "/tmp/perl-test-file"; printf "%.3f %s\n", atan2(1,1)*4, join ",", map { sprintf "%02x", $_ } unpack "C*", "abc"; exit 4'
finish
