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

void Measurer::eadd(uint64_t offset, uint64_t secinfo_flags) {
  static_assert(16 + kHashedSecinfo == kRecordSize);
  auto bytes = tagged("EADD");
  store_le(bytes.data() + 8, offset);
  store_le(bytes.data() + 16, secinfo_flags);
  record(bytes);
}

void Measurer::eextend(uint64_t offset, ByteView bytes) {
  CLOISTER_CHECK(bytes.size() == kExtendSize);
  auto header = tagged("EEXTEND");
  store_le(header.data() + 8, offset);
  record(header);
  record(bytes);
}

void Measurer::add_measured_page(uint64_t offset, uint64_t secinfo_flags, ByteView page) {
  CLOISTER_CHECK(page.size() == kPageSize);
  eadd(offset, secinfo_flags);
  for (size_t at = 0; at < kPageSize; at += kExtendSize) eextend(offset + at, page.subspan(at, kExtendSize));
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
