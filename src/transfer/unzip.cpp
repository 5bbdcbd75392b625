#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <unordered_set>

#include "transfer/names.h"
#include "transfer/zip_format.h"
#include "transfer/zip_reader.h"

namespace cloister::transfer {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBufferSize = 256 << 10;

// Names from the archive go into messages: only what is safe on a terminal.
std::string shown(std::string_view name) {
  std::string out = "\"";
  for (const char c : name.substr(0, 200)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return out + "\"";
}

Error malformed(std::string_view what, std::string_view name) {
  std::string text = "the archive is refused: ";
  return Error(Code::Malformed, text.append(what).append(" ").append(shown(name)));
}

Result<void> check_record(const ZipRecord& record) {
  const std::string& name = record.entry.name;
  if (!is_archive_name(name)) return malformed("not a plain relative name", name);
  const uint32_t type = record.mode & S_IFMT;
  if (type != 0 && type != S_IFREG && type != S_IFDIR) return malformed("neither file nor folder", name);
  if ((type == S_IFDIR && !record.entry.is_folder()) || (type == S_IFREG && record.entry.is_folder())) {
    return malformed("file and folder at once", name);
  }
  if ((record.flags & (kFlagEncrypted | kFlagMasked)) != 0) {
    return Error(Code::Unsupported, "the archive has entries that are encrypted by zip: " + shown(name));
  }
  if (record.method != kStored && record.method != kDeflated) {
    return Error(Code::Unsupported,
                 "the archive uses compression method " + std::to_string(record.method) + ": " + shown(name));
  }
  if (record.method == kStored && record.entry.size != record.entry.packed_size) {
    return malformed("two sizes for", name);
  }
  if (record.entry.is_folder() && record.entry.size != 0) return malformed("a folder with bytes", name);
  return {};
}

struct Placed {
  ZipRecord record;
  ZipReader::Extent extent;
};

// All entries, checked one by one and against each other, before a byte is written.
Result<std::vector<Placed>> plan(const File& file, const ZipLimits& limits, uint64_t& total) {
  ZipReader reader = TRY(ZipReader::open(file));
  if (reader.count() > limits.max_entries) {
    return Error(Code::Malformed,
                 "the archive has more than " + std::to_string(limits.max_entries) + " entries");
  }
  std::vector<Placed> out;
  std::unordered_set<std::string> names;
  for (;;) {
    std::optional<ZipRecord> record = TRY(reader.next());
    if (!record) break;
    TRY(check_record(*record));
    std::string name = record->entry.name;
    if (name.ends_with('/')) name.pop_back();
    if (!names.insert(std::move(name)).second) return malformed("twice", record->entry.name);
    if (record->entry.size > limits.max_size - total) {
      return Error(Code::Malformed,
                   "the archive unpacks to more than " + std::to_string(limits.max_size) + " bytes");
    }
    total += record->entry.size;
    const ZipReader::Extent extent = TRY(reader.locate(*record));
    out.push_back({std::move(*record), extent});
  }
  const uint64_t packed = TRY(file.size());
  if (total / limits.max_ratio > packed) {
    return Error(Code::Malformed,
                 "the archive unpacks to more than " + std::to_string(limits.max_ratio) + " times its size");
  }
  std::sort(out.begin(), out.end(),
            [](const Placed& a, const Placed& b) { return a.record.offset < b.record.offset; });
  for (size_t i = 1; i < out.size(); ++i) {  // entries that share bytes are how small archives become huge
    if (out[i - 1].extent.end > out[i].record.offset)
      return malformed("overlapping", out[i].record.entry.name);
  }
  return out;
}

// The bytes of one entry into `out`.
class Extraction {
 public:
  Extraction(const File& archive, const Progress& progress, uint64_t total)
      : archive_(archive), progress_(progress), total_(total), in_(kBufferSize), unpacked_(kBufferSize) {}

  Result<void> run(const Placed& placed, const File& out) {
    const ZipRecord& record = placed.record;
    size_ = 0;
    crc_ = ::crc32(0, nullptr, 0);
    TRY(record.method == kStored ? copy(placed, out) : inflate(placed, out));
    if (size_ != record.entry.size || crc_ != record.crc) return malformed("damaged", record.entry.name);
    return {};
  }

 private:
  Result<void> copy(const Placed& placed, const File& out) {
    for (uint64_t at = placed.extent.begin; at < placed.extent.end;) {
      const size_t room = static_cast<size_t>(std::min<uint64_t>(in_.size(), placed.extent.end - at));
      const MutableByteView part = MutableByteView(in_).first(room);
      TRY(archive_.read_exact_at(at, part));
      TRY(put(part, placed, out));
      at += room;
    }
    return {};
  }

  Result<void> inflate(const Placed& placed, const File& out) {
    struct Stream : z_stream {
      Stream() : z_stream{} {}
      ~Stream() { ::inflateEnd(this); }
    } stream;
    if (::inflateInit2(&stream, -MAX_WBITS) != Z_OK) return Error(Code::Internal, "zlib does not start");
    uint64_t at = placed.extent.begin;
    for (int state = Z_OK; state != Z_STREAM_END;) {
      if (stream.avail_in == 0 && at < placed.extent.end) {
        const size_t room = static_cast<size_t>(std::min<uint64_t>(in_.size(), placed.extent.end - at));
        TRY(archive_.read_exact_at(at, MutableByteView(in_).first(room)));
        at += room;
        stream.next_in = in_.data();
        stream.avail_in = static_cast<uInt>(room);
      }
      stream.next_out = unpacked_.data();
      stream.avail_out = static_cast<uInt>(unpacked_.size());
      state = ::inflate(&stream, Z_NO_FLUSH);
      if (state != Z_OK && state != Z_STREAM_END) return malformed("damaged", placed.record.entry.name);
      TRY(put(ByteView(unpacked_).first(unpacked_.size() - stream.avail_out), placed, out));
    }
    if (at != placed.extent.end || stream.avail_in != 0)
      return malformed("damaged", placed.record.entry.name);
    return {};
  }

  Result<void> put(ByteView part, const Placed& placed, const File& out) {
    if (part.size() > placed.record.entry.size - size_) return malformed("damaged", placed.record.entry.name);
    TRY(out.write_at(size_, part));
    crc_ = ::crc32_z(crc_, part.data(), part.size());
    size_ += part.size();
    done_ += part.size();
    if (progress_) progress_(done_, total_);
    return {};
  }

  const File& archive_;
  const Progress& progress_;
  const uint64_t total_;
  Bytes in_, unpacked_;
  uint64_t size_ = 0, done_ = 0;
  uLong crc_ = 0;
};

Result<void> make_folders(const fs::path& root, std::string_view name) {
  for (size_t slash = name.find('/'); slash != std::string_view::npos; slash = name.find('/', slash + 1)) {
    const fs::path path = root / name.substr(0, slash);
    if (::mkdir(path.c_str(), 0700) == 0) continue;
    struct stat status = {};
    if (errno != EEXIST) return system_error(path, "create", errno);
    if (::lstat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
      return malformed("file and folder at once", name.substr(0, slash));
    }
  }
  return {};
}

}  // namespace

Result<void> unzip(const fs::path& zip, const fs::path& folder, const ZipLimits& limits,
                   const Progress& progress) {
  NewFolder made = TRY(NewFolder::beside(folder));
  const File archive = TRY(File::open_to_read(zip));
  uint64_t total = 0;
  const std::vector<Placed> entries = TRY(plan(archive, limits, total));

  const fs::path& root = made.path();
  Extraction extraction(archive, progress, total);
  for (const Placed& placed : entries) {
    const std::string& name = placed.record.entry.name;
    TRY(make_folders(root, name));
    if (placed.record.entry.is_folder()) continue;
    Result<File> out = File::create(root / name);
    if (!out.ok() && out.error().code() == Code::InvalidArgument)
      return malformed("file and folder at once", name);
    if (!out.ok()) return std::move(out).error();
    TRY(extraction.run(placed, *out));
  }
  return made.finish();
}

}  // namespace cloister::transfer
