#include "sgx/measurement.h"

#include <set>

namespace cloister::sgx {
namespace {

constexpr size_t kRecordSize = 64;
constexpr size_t kHashedSecinfo = 48;  // EADD hashes only the first 48 bytes of SECINFO

ByteArray<kRecordSize> tagged(std::string_view tag) {
  ByteArray<kRecordSize> record{};
  std::memcpy(record.data(), tag.data(), tag.size());
  return record;
}

}  // namespace

void Measurer::record(ByteView bytes) {
  hash_.update(bytes);
  if (sink_) sink_(bytes);
}

void Measurer::ecreate(uint32_t ssa_frame_pages, uint64_t elrange_size) {
  auto bytes = tagged("ECREATE");
  store_le(bytes.data() + 8, ssa_frame_pages);
  store_le(bytes.data() + 12, elrange_size);
  record(bytes);
}

namespace {

static_assert(16 + kHashedSecinfo == kRecordSize);
void put_eadd(uint8_t* out, uint64_t offset, uint64_t secinfo_flags) {
  auto bytes = tagged("EADD");
  store_le(bytes.data() + 8, offset);
  store_le(bytes.data() + 16, secinfo_flags);
  std::memcpy(out, bytes.data(), bytes.size());
}

void put_eextend(uint8_t* out, uint64_t offset, const uint8_t* content) {
  auto bytes = tagged("EEXTEND");
  store_le(bytes.data() + 8, offset);
  std::memcpy(out, bytes.data(), bytes.size());
  std::memcpy(out + kRecordSize, content, kExtendSize);
}

}  // namespace

void Measurer::eadd(uint64_t offset, uint64_t secinfo_flags) {
  uint8_t bytes[kRecordSize];
  put_eadd(bytes, offset, secinfo_flags);
  record(bytes);
}

void Measurer::eextend(uint64_t offset, ByteView bytes) {
  CLOISTER_CHECK(bytes.size() == kExtendSize);
  uint8_t both[kRecordSize + kExtendSize];
  put_eextend(both, offset, bytes.data());
  record(both);
}

// At once, because hashing 33 pieces of a page costs half as much again.
void Measurer::add_measured_page(uint64_t offset, uint64_t secinfo_flags, ByteView page) {
  CLOISTER_CHECK(page.size() == kPageSize);
  constexpr size_t kStep = kRecordSize + kExtendSize;
  uint8_t all[kRecordSize + kPageSize / kExtendSize * kStep];
  put_eadd(all, offset, secinfo_flags);
  uint8_t* out = all + kRecordSize;
  for (size_t at = 0; at < kPageSize; at += kExtendSize, out += kStep)
    put_eextend(out, offset + at, page.data() + at);
  record(all);
}

Measurement Measurer::finish() { return hash_.finish(); }

namespace {

Error bad(std::string_view what) { return Error(Code::Malformed, "sgxs stream: " + std::string(what)); }

Result<void> read_create(ByteReader& reader, SgxsSummary& summary) {
  const ByteView record = TRY(reader.take(kRecordSize));
  if (as_text(record.first(8)) != std::string_view("ECREATE\0", 8)) return bad("does not begin with ECREATE");
  summary.ssa_frame_pages = load_le<uint32_t>(record.data() + 8);
  summary.elrange_size = load_le<uint64_t>(record.data() + 12);
  const uint64_t size = summary.elrange_size;
  if (size < 2 * kPageSize || (size & (size - 1)) != 0) return bad("ELRANGE is not a power of two");
  return {};
}

}  // namespace

Result<SgxsSummary> read_sgxs(ByteView stream) {
  ByteReader reader(stream, "sgxs stream");
  SgxsSummary summary;
  TRY(read_create(reader, summary));
  std::set<uint64_t> pages;
  while (!reader.at_end()) {
    const ByteView record = TRY(reader.take(kRecordSize));
    const uint64_t offset = load_le<uint64_t>(record.data() + 8);
    if (as_text(record.first(8)) == std::string_view("EADD\0\0\0\0", 8)) {
      if (offset % kPageSize != 0 || offset > summary.elrange_size - kPageSize)
        return bad("page outside ELRANGE");
      if (!pages.insert(offset).second) return bad("a page is added twice");
    } else if (as_text(record.first(8)) == std::string_view("EEXTEND\0", 8)) {
      if (offset % kExtendSize != 0 || !pages.contains(offset - offset % kPageSize)) {
        return bad("EEXTEND of a page that was not added");
      }
      TRY(reader.take(kExtendSize));
      ++summary.extends;
    } else {
      return bad("unknown record");
    }
  }
  summary.pages = pages.size();
  summary.mrenclave = crypto::sha256(stream);
  return summary;
}

}  // namespace cloister::sgx
