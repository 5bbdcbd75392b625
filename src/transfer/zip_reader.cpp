#include "transfer/zip_reader.h"

#include <algorithm>
#include <ctime>

#include "transfer/names.h"
#include "transfer/zip_format.h"

namespace cloister::transfer {
namespace {

constexpr size_t kBufferSize = 64 << 10;
constexpr size_t kMaxShownNames = 256 << 10;  // bytes; a page escapes each into up to six

Error malformed(std::string_view what) {
  return Error(Code::Malformed, std::string("not a sound zip archive: ").append(what));
}

int64_t time_from_dos(uint32_t value) {
  std::tm parts = {};
  parts.tm_year = static_cast<int>(value >> 25) + 80;
  parts.tm_mon = static_cast<int>(value >> 21 & 15) - 1;
  parts.tm_mday = static_cast<int>(value >> 16 & 31);
  parts.tm_hour = static_cast<int>(value >> 11 & 31);
  parts.tm_min = static_cast<int>(value >> 5 & 63);
  parts.tm_sec = static_cast<int>(value & 31) * 2;
  return static_cast<int64_t>(::timegm(&parts));
}

// The zip64 field holds, in this order, only those values that are all ones in the record (4.5.3).
Result<void> apply_extra(ByteView extra, ZipRecord& record, uint32_t size, uint32_t packed, uint32_t offset) {
  ByteReader fields(extra, "zip extra field");
  bool has_zip64 = false;
  while (fields.remaining() >= 4) {
    const uint16_t id = TRY(fields.le<uint16_t>());
    const uint16_t length = TRY(fields.le<uint16_t>());
    ByteReader field(TRY(fields.take(length)), "zip extra field");
    if (id == kExtraZip64 && !has_zip64) {
      has_zip64 = true;
      if (size == kMax32) record.entry.size = TRY(field.le<uint64_t>());
      if (packed == kMax32) record.entry.packed_size = TRY(field.le<uint64_t>());
      if (offset == kMax32) record.offset = TRY(field.le<uint64_t>());
    } else if (id == kExtraTime && length >= 5 && (TRY(field.le<uint8_t>()) & 1) != 0) {
      record.entry.modified = TRY(field.le<uint32_t>());
    }
  }
  if (!has_zip64 && (size == kMax32 || packed == kMax32 || offset == kMax32))
    return malformed("a size is missing");
  return {};
}

}  // namespace

Result<ZipReader> ZipReader::open(const File& file) {
  ZipReader reader(file);
  TRY(reader.find_directory());
  reader.at_ = reader.start_;
  // No record is smaller: the count cannot make anybody reserve more than the file is large.
  if (reader.count_ > (reader.end_ - reader.start_) / kCentralHeaderSize)
    return malformed("too many entries");
  return reader;
}

Result<void> ZipReader::find_directory() {
  const uint64_t size = TRY(file_->size());
  if (size < kEndSize) return malformed("too short");
  Bytes tail(static_cast<size_t>(std::min<uint64_t>(size, kEndSize + kMax16)));
  TRY(file_->read_exact_at(size - tail.size(), tail));
  // The last signature whose comment ends exactly with the file.
  for (size_t at = tail.size() - kEndSize + 1; at-- > 0;) {
    if (load_le<uint32_t>(&tail[at]) != kEndOfDirectory) continue;
    if (load_le<uint16_t>(&tail[at + 20]) != tail.size() - at - kEndSize) continue;
    const uint64_t position = size - tail.size() + at;
    const uint16_t count = load_le<uint16_t>(&tail[at + 10]);
    const uint32_t directory_size = load_le<uint32_t>(&tail[at + 12]);
    const uint32_t offset = load_le<uint32_t>(&tail[at + 16]);
    if (load_le<uint32_t>(&tail[at + 4]) != 0 || load_le<uint16_t>(&tail[at + 8]) != count) {
      return malformed("it has several parts");
    }
    if (count == kMax16 || directory_size == kMax32 || offset == kMax32) {
      if (position < kZip64LocatorSize) return malformed("no zip64 record");
      return read_zip64_end(position - kZip64LocatorSize);
    }
    count_ = count;
    start_ = offset;
    end_ = start_ + directory_size;
    if (end_ != position) return malformed("the directory is not where it must be");
    return {};
  }
  return malformed("no directory at its end");
}

Result<void> ZipReader::read_zip64_end(uint64_t locator) {
  ByteArray<kZip64LocatorSize> where;
  TRY(file_->read_exact_at(locator, where));
  if (load_le<uint32_t>(&where[0]) != kZip64Locator || load_le<uint32_t>(&where[4]) != 0 ||
      load_le<uint32_t>(&where[16]) > 1) {
    return malformed("no zip64 record");
  }
  const uint64_t position = load_le<uint64_t>(&where[8]);
  if (position > locator || locator - position < kZip64EndSize) return malformed("no zip64 record");
  ByteArray<kZip64EndSize> end;
  TRY(file_->read_exact_at(position, end));
  if (load_le<uint32_t>(&end[0]) != kZip64End || load_le<uint64_t>(&end[4]) != locator - position - 12) {
    return malformed("a broken zip64 record");
  }
  count_ = load_le<uint64_t>(&end[32]);
  const uint64_t size = load_le<uint64_t>(&end[40]);
  start_ = load_le<uint64_t>(&end[48]);
  end_ = position;
  if (load_le<uint64_t>(&end[16]) != 0 || load_le<uint64_t>(&end[24]) != count_) {
    return malformed("it has several parts");
  }
  if (start_ > end_ || end_ - start_ != size) return malformed("the directory is not where it must be");
  return {};
}

Result<void> ZipReader::take(MutableByteView out) {
  if (out.size() > end_ - at_) return malformed("the directory ends early");
  const bool inside = at_ >= buffer_at_ && at_ + out.size() <= buffer_at_ + buffer_.size();
  if (!inside) {
    buffer_.resize(static_cast<size_t>(std::min<uint64_t>(end_ - at_, std::max(kBufferSize, out.size()))));
    buffer_at_ = at_;
    TRY(file_->read_exact_at(at_, buffer_));
  }
  std::copy_n(buffer_.begin() + static_cast<ptrdiff_t>(at_ - buffer_at_), out.size(), out.begin());
  at_ += out.size();
  return {};
}

Result<std::optional<ZipRecord>> ZipReader::next() {
  if (seen_ == count_) {
    if (at_ != end_) return malformed("its directory is longer than it says");
    return std::optional<ZipRecord>();
  }
  ByteArray<kCentralHeaderSize> header;
  TRY(take(header));
  if (load_le<uint32_t>(&header[0]) != kCentralHeader) return malformed("a broken directory");
  ZipRecord record;
  record.flags = load_le<uint16_t>(&header[8]);
  record.method = load_le<uint16_t>(&header[10]);
  record.crc = load_le<uint32_t>(&header[16]);
  const uint32_t packed = load_le<uint32_t>(&header[20]);
  const uint32_t size = load_le<uint32_t>(&header[24]);
  const uint32_t offset = load_le<uint32_t>(&header[42]);
  if (load_le<uint16_t>(&header[4]) >> 8 == 3) record.mode = load_le<uint32_t>(&header[38]) >> 16;
  record.entry.modified = time_from_dos(load_le<uint32_t>(&header[12]));
  record.entry.packed_size = packed;
  record.entry.size = size;
  record.offset = offset;
  Bytes name(load_le<uint16_t>(&header[28]));
  if (name.size() > kMaxArchiveName) return malformed("a name is too long");
  Bytes extra(load_le<uint16_t>(&header[30]));
  Bytes comment(load_le<uint16_t>(&header[32]));
  TRY(take(name));
  TRY(take(extra));
  TRY(take(comment));
  record.entry.name = as_text(name);
  TRY(apply_extra(extra, record, size, packed, offset));
  ++seen_;
  return std::optional<ZipRecord>(std::move(record));
}

Result<ZipReader::Extent> ZipReader::locate(const ZipRecord& record) const {
  if (record.offset > start_ || start_ - record.offset < kLocalHeaderSize)
    return malformed("an entry lies outside");
  ByteArray<kLocalHeaderSize> header;
  TRY(file_->read_exact_at(record.offset, header));
  Bytes name(load_le<uint16_t>(&header[26]));
  const uint64_t begin = record.offset + kLocalHeaderSize + name.size() + load_le<uint16_t>(&header[28]);
  if (begin > start_ || record.entry.packed_size > start_ - begin) return malformed("an entry lies outside");
  TRY(file_->read_exact_at(record.offset + kLocalHeaderSize, name));
  // A reader that trusts the local headers must not see another archive than one that trusts the directory.
  if (load_le<uint32_t>(&header[0]) != kLocalHeader || load_le<uint16_t>(&header[8]) != record.method ||
      as_text(name) != record.entry.name) {
    return malformed("an entry contradicts the directory");
  }
  return Extent{begin, begin + record.entry.packed_size};
}

Result<ZipListing> list_zip(const std::filesystem::path& zip, size_t max_shown) {
  const File file = TRY(File::open_to_read(zip));
  ZipReader reader = TRY(ZipReader::open(file));
  ZipListing listing;
  listing.count = reader.count();
  size_t names = 0;
  while (listing.entries.size() < max_shown) {
    std::optional<ZipRecord> record = TRY(reader.next());
    if (!record) break;
    names += record->entry.name.size();
    if (names > kMaxShownNames) break;
    listing.entries.push_back(std::move(record->entry));
  }
  return listing;
}

}  // namespace cloister::transfer
