// MRENCLAVE: SHA-256 over one 64-byte record per ECREATE, EADD and EEXTEND, each EEXTEND followed by its 256
// bytes (SDM vol. 3D, 39.3 and the instruction pages). The same bytes, written out, are a .sgxs stream, so
// `sha256sum image.sgxs` is an independent check of everything here.
#pragma once

#include <functional>

#include "crypto/sha256.h"
#include "sgx/structures.h"

namespace cloister::sgx {

class Measurer {
 public:
  // When given, `sink` receives every measured byte: the .sgxs stream.
  using Sink = std::function<void(ByteView)>;
  explicit Measurer(Sink sink = {}) : sink_(std::move(sink)) {}

  void ecreate(uint32_t ssa_frame_pages, uint64_t elrange_size);
  void eadd(uint64_t offset, uint64_t secinfo_flags);
  void eextend(uint64_t offset, ByteView bytes);                                   // 256 bytes
  void add_measured_page(uint64_t offset, uint64_t secinfo_flags, ByteView page);  // 4096 bytes
  Measurement finish();

 private:
  void record(ByteView bytes);

  crypto::Sha256 hash_;
  Sink sink_;
};

struct SgxsSummary {
  Measurement mrenclave{};
  uint64_t elrange_size = 0;
  uint32_t ssa_frame_pages = 0;
  uint64_t pages = 0;
  uint64_t extends = 0;
};

// Parses a .sgxs stream strictly: one ECREATE first, pages aligned and inside ELRANGE, EEXTENDs inside an
// added page.
Result<SgxsSummary> read_sgxs(ByteView stream);

}  // namespace cloister::sgx
