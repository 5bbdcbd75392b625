#!/usr/bin/env bash
# Fortran: matrices, files, internal procedures.
# Usage: fortran_test.sh CLOISTER_BINARY patched|trapped
# shellcheck source=tests/programs/support.sh
source "$(dirname "$(realpath "$0")")/../support.sh"
needs gfortran
gfortran -O1 "$here/fortran_main.f90" -o fortran
build --program ./fortran:/fortran -o fortran.enclave
both 0 fortran.enclave ./fortran
finish
