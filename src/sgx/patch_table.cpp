// See patch_table.h. Also compiled for the kernel.
#include "sgx/patch_table.h"

#include <algorithm>

namespace cloister::sgx {
namespace {

constexpr std::string_view kMagic = "CSTPATCH";
constexpr size_t kFileHeader = 8 + 4;                   // inode, number of rows
constexpr size_t kSmallestRow = 8 + 1 + kMinDisplaced;  // offset, length, bytes

// nullptr: in order.
const char* fault_of(const PatchRow& row, uint64_t free_from) {
  if (row.length < kMinDisplaced || row.length > kMaxDisplaced) return "a displaced instruction's length";
  if (row.offset > kMaxPatchOffset) return "an offset out of bounds";
  if (row.length == kToPad && row.pad_offset() > kMaxPatchOffset) return "a pad out of bounds";
  if (row.offset < free_from) return "rows out of order or overlapping";
  return nullptr;
}

// Nothing of the file is written twice: not by two rows, not by a row and a pad, not by two pads.
bool overlaps(const std::vector<PatchRow>& rows) {
  std::vector<std::pair<uint64_t, uint64_t>> parts;
  for (const PatchRow& row : rows) {
    parts.emplace_back(row.offset, row.end());
    if (row.length == kToPad) parts.emplace_back(row.pad_offset(), row.pad_offset() + kPadSize);
  }
  std::sort(parts.begin(), parts.end());
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i].first < parts[i - 1].second) return true;
  }
  return false;
}

Error malformed(const char* what) { return Error(Code::Malformed, std::string("patch table: ") + what); }

Result<PatchRow> read_row(ByteReader& in, uint64_t free_from) {
  PatchRow row;
  row.offset = TRY(in.le<uint64_t>());
  row.length = TRY(in.le<uint8_t>());
  if (row.length < kMinDisplaced || row.length > kMaxDisplaced)
    return malformed("a displaced instruction's length");
  const ByteView bytes = TRY(in.take(row.length));
  std::copy(bytes.begin(), bytes.end(), row.displaced.begin());
  if (row.length == kToPad) {
    row.pad_distance = static_cast<int8_t>(TRY(in.le<uint8_t>()));
    const ByteView pad = TRY(in.take(kPadSize));
    std::copy(pad.begin(), pad.end(), row.pad.begin());
  }
  if (const char* fault = fault_of(row, free_from); fault != nullptr) return malformed(fault);
  return row;
}

}  // namespace

const PatchedFile* PatchTable::find(uint64_t inode) const {
  const auto it = std::lower_bound(files.begin(), files.end(), inode,
                                   [](const PatchedFile& file, uint64_t id) { return file.inode < id; });
  return it != files.end() && it->inode == inode ? &*it : nullptr;
}

Result<Bytes> encode_patch_table(const PatchTable& table) {
  const auto refuse = [](const char* what) {
    return Error(Code::InvalidArgument, std::string("patch table: ") + what);
  };
  ByteWriter out;
  out.text(kMagic).le(kPatchVersion).le(static_cast<uint32_t>(table.files.size()));
  uint64_t previous = 0;
  for (const PatchedFile& file : table.files) {
    if (file.inode <= previous) return refuse("files out of order");
    if (file.rows.empty()) return refuse("a file without rows");
    previous = file.inode;
    out.le(file.inode).le(static_cast<uint32_t>(file.rows.size()));
    uint64_t free_from = 0;
    for (const PatchRow& row : file.rows) {
      if (const char* fault = fault_of(row, free_from); fault != nullptr) return refuse(fault);
      free_from = row.end();
      out.le(row.offset).le(row.length).bytes(ByteView(row.displaced).first(row.length));
      if (row.length == kToPad) out.le(static_cast<uint8_t>(row.pad_distance)).bytes(row.pad);
    }
    if (overlaps(file.rows)) return refuse("overlapping pads");
    if (out.size() > kMaxPatchTable) return refuse("too large");
  }
  return out.take();
}

Result<PatchTable> decode_patch_table(ByteView bytes) {
  if (bytes.size() > kMaxPatchTable) return malformed("too large");
  ByteReader in(bytes, "patch table");
  if (as_text(TRY(in.take(kMagic.size()))) != kMagic) return malformed("not one");
  if (TRY(in.le<uint32_t>()) != kPatchVersion) return malformed("unknown version");
  const uint32_t files = TRY(in.le<uint32_t>());
  if (files > in.remaining() / (kFileHeader + kSmallestRow)) return malformed("too many files");
  PatchTable table;
  table.files.reserve(files);
  uint64_t previous = 0;
  for (uint32_t i = 0; i < files; ++i) {
    PatchedFile file;
    file.inode = TRY(in.le<uint64_t>());
    const uint32_t rows = TRY(in.le<uint32_t>());
    if (file.inode <= previous) return malformed("files out of order");
    if (rows == 0 || rows > in.remaining() / kSmallestRow) return malformed("impossible number of rows");
    previous = file.inode;
    file.rows.reserve(rows);
    uint64_t free_from = 0;
    for (uint32_t n = 0; n < rows; ++n) {
      file.rows.push_back(TRY(read_row(in, free_from)));
      free_from = file.rows.back().end();
    }
    if (overlaps(file.rows)) return malformed("overlapping pads");
    table.files.push_back(std::move(file));
  }
  TRY(in.expect_end());
  return table;
}

}  // namespace cloister::sgx
