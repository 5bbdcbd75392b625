#include <cstdlib>

#include "sgx/patch_scan.h"

// Whatever the file, its rows make a table and stand for bytes of the file in front of a `syscall`.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloister;
  const ByteView bytes(data, size);
  const auto file = sgx::parse_elf(bytes, "input");
  if (!file.ok()) return 0;
  const sgx::PatchScan scan = sgx::scan_for_patches(*file);
  for (const sgx::PatchRow& row : scan.rows) {
    if (row.end() > size || data[row.end() - 2] != 0x0f || data[row.end() - 1] != 0x05) std::abort();
  }
  sgx::PatchTable table;
  if (!scan.rows.empty()) table.files.push_back({1, scan.rows});
  if (!sgx::encode_patch_table(table).ok()) std::abort();
  return 0;
}
