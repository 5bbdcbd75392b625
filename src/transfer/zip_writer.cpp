#include <dirent.h>
#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <ctime>

#include "transfer/file.h"
#include "transfer/names.h"
#include "transfer/zip.h"
#include "transfer/zip_format.h"

namespace cloister::transfer {
namespace {

namespace fs = std::filesystem;

struct Item {
  std::string name;  // relative; a folder's ends with '/'
  uint64_t size = 0;
  int64_t modified = 0;
  uint32_t crc = 0;
  uint64_t offset = 0;  // of its local header
  bool needs_zip64_sizes() const { return size >= kMax32; }
};

// An archive that its reader refuses would be found out only by whoever needs it.
Result<void> check_name(const fs::path& path, const std::string& name) {
  if (is_archive_name(name)) return {};
  return Error(Code::Unsupported, path.string() + ": not a name for an archive",
               "without control characters and backslashes, at most " + std::to_string(kMaxArchiveName) +
                   " bytes, at most " + std::to_string(kMaxArchiveDepth) + " folders deep");
}

Result<void> collect(const fs::path& root, const std::string& prefix, std::vector<Item>& items) {
  std::error_code failure;
  fs::directory_iterator entries(root / prefix, failure);
  if (failure) return system_error(root / prefix, "read", failure.value());
  for (; entries != fs::directory_iterator(); entries.increment(failure)) {
    struct stat status = {};
    const fs::path path = entries->path();
    if (::lstat(path.c_str(), &status) != 0) return system_error(path, "look at", errno);
    Item item;
    item.name = prefix + path.filename().string();
    item.modified = status.st_mtime;
    TRY(check_name(path, item.name + (S_ISDIR(status.st_mode) ? "/" : "")));
    if (S_ISDIR(status.st_mode)) {
      item.name += '/';
      const std::string name = item.name;
      items.push_back(std::move(item));
      TRY(collect(root, name, items));
    } else if (S_ISREG(status.st_mode)) {
      item.size = static_cast<uint64_t>(status.st_size);
      items.push_back(std::move(item));
    } else {
      return Error(Code::Unsupported, path.string() + " is neither a file nor a folder",
                   "archives hold only these");
    }
  }
  if (failure) return system_error(root / prefix, "read", failure.value());
  return {};
}

// MS-DOS time, two seconds fine, 1980 to 2107 (4.4.6); read as UTC. The exact one is in the extra field.
uint32_t dos_time(int64_t seconds) {
  std::tm parts = {};
  const std::time_t time = static_cast<std::time_t>(seconds);
  ::gmtime_r(&time, &parts);
  if (parts.tm_year < 80 || parts.tm_year > 207) return (1u << 21) | (1u << 16);
  const auto date =
      static_cast<uint32_t>(((parts.tm_year - 80) << 9) | ((parts.tm_mon + 1) << 5) | parts.tm_mday);
  return date << 16 | static_cast<uint32_t>((parts.tm_hour << 11) | (parts.tm_min << 5) | (parts.tm_sec / 2));
}

void put_time_extra(ByteWriter& out, const Item& item) {
  out.le(kExtraTime).le<uint16_t>(5).le<uint8_t>(1);
  out.le(static_cast<uint32_t>(std::clamp<int64_t>(item.modified, 0, kMax32)));
}
constexpr uint16_t kTimeExtraSize = 9;

void put_common(ByteWriter& out, const Item& item, bool zip64) {
  out.le<uint16_t>(zip64 ? 45 : 20).le(kFlagUtf8).le(kStored).le(dos_time(item.modified)).le(item.crc);
  const bool large = item.needs_zip64_sizes();
  const auto size = large ? kMax32 : static_cast<uint32_t>(item.size);
  out.le(size).le(size).le(static_cast<uint16_t>(item.name.size()));
}

Bytes local_header(const Item& item) {
  const bool large = item.needs_zip64_sizes();
  ByteWriter out;
  out.le(kLocalHeader);
  put_common(out, item, large);
  out.le<uint16_t>(kTimeExtraSize + (large ? 20 : 0)).text(item.name);
  put_time_extra(out, item);
  if (large) out.le(kExtraZip64).le<uint16_t>(16).le(item.size).le(item.size);
  return out.take();
}

Bytes central_header(const Item& item) {
  const bool large = item.needs_zip64_sizes();
  const bool far = item.offset >= kMax32;
  const auto zip64_size = static_cast<uint16_t>((large ? 16 : 0) + (far ? 8 : 0));
  ByteWriter out;
  out.le(kCentralHeader).le<uint16_t>(kMadeByUnix | 45);
  put_common(out, item, large || far);
  out.le<uint16_t>(kTimeExtraSize + (zip64_size > 0 ? 4 + zip64_size : 0));
  out.le<uint16_t>(0).le<uint16_t>(0).le<uint16_t>(0);  // comment, disk, internal attributes
  const uint32_t mode = item.name.ends_with('/') ? S_IFDIR | 0755 : S_IFREG | 0644;
  out.le(mode << 16).le(far ? kMax32 : static_cast<uint32_t>(item.offset)).text(item.name);
  put_time_extra(out, item);
  if (zip64_size > 0) {
    out.le(kExtraZip64).le(zip64_size);
    if (large) out.le(item.size).le(item.size);
    if (far) out.le(item.offset);
  }
  return out.take();
}

class Writer {
 public:
  Writer(const File& file, const Progress& progress, uint64_t total)
      : file_(file), progress_(progress), total_(total), buffer_(1 << 20) {}

  Result<void> add(const fs::path& root, Item& item) {
    item.offset = at_;
    const size_t header_size = local_header(item).size();
    if (item.name.ends_with('/')) return append(local_header(item));
    // The checksum stands before the bytes: leave room, come back.
    at_ += header_size;
    const File source = TRY(File::open_to_read(root / item.name));
    uLong crc = ::crc32(0, nullptr, 0);
    uint64_t done = 0;
    for (;;) {
      const size_t count = TRY(source.read_at(done, buffer_));
      if (count == 0) break;
      const ByteView part = ByteView(buffer_).first(count);
      crc = ::crc32_z(crc, part.data(), part.size());
      TRY(append(part));
      done += count;
      written_ += count;
      if (done > item.size) break;
      if (progress_) progress_(written_, std::max(total_, written_));
    }
    if (done != item.size) {
      return Error(Code::Unavailable, (root / item.name).string() + " changed while it was read");
    }
    item.crc = static_cast<uint32_t>(crc);
    return file_.write_at(item.offset, local_header(item));
  }

  Result<void> finish(const std::vector<Item>& items) {
    const uint64_t start = at_;
    ByteWriter out;
    for (const Item& item : items) {
      out.bytes(central_header(item));
      if (out.size() < buffer_.size()) continue;
      TRY(append(out.take()));
      out = ByteWriter();
    }
    TRY(append(out.take()));
    const uint64_t size = at_ - start;
    ByteWriter end;
    if (items.size() >= kMax16 || start >= kMax32 || size >= kMax32) {
      const uint64_t zip64_end = at_;
      end.le(kZip64End).le<uint64_t>(kZip64EndSize - 12).le<uint16_t>(kMadeByUnix | 45).le<uint16_t>(45);
      end.le<uint32_t>(0).le<uint32_t>(0).le<uint64_t>(items.size()).le<uint64_t>(items.size());
      end.le(size).le(start);
      end.le(kZip64Locator).le<uint32_t>(0).le(zip64_end).le<uint32_t>(1);
    }
    const auto count = static_cast<uint16_t>(std::min<size_t>(items.size(), kMax16));
    end.le(kEndOfDirectory).le<uint16_t>(0).le<uint16_t>(0).le(count).le(count);
    end.le(static_cast<uint32_t>(std::min<uint64_t>(size, kMax32)));
    end.le(static_cast<uint32_t>(std::min<uint64_t>(start, kMax32))).le<uint16_t>(0);
    return append(end.take());
  }

 private:
  Result<void> append(ByteView data) {
    TRY(file_.write_at(at_, data));
    at_ += data.size();
    return {};
  }

  const File& file_;
  const Progress& progress_;
  const uint64_t total_;
  Bytes buffer_;
  uint64_t at_ = 0, written_ = 0;
};

}  // namespace

Result<void> zip_folder(const fs::path& folder, const fs::path& zip, const Progress& progress) {
  std::vector<Item> items;
  TRY(collect(folder, "", items));
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.name < b.name; });
  uint64_t total = 0;
  for (const Item& item : items) total += item.size;

  const File file = TRY(File::create_temporary(parent_of(zip)));
  RemoveOnExit temporary(file.path());
  Writer writer(file, progress, total);
  for (Item& item : items) TRY(writer.add(folder, item));
  TRY(writer.finish(items));
  TRY(file.sync());
  TRY(rename_durably(file.path(), zip));
  temporary.keep();
  return {};
}

}  // namespace cloister::transfer
