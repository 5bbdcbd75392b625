// See patch_build.h. Files are named by inode, so hard links and symbolic links need no thought.
#include "sgx/patch_build.h"

#include <algorithm>
#include <map>
#include <set>

namespace cloister::sgx {
namespace {

constexpr uint64_t kLargestFile = uint64_t{2} << 30;  // bytes; larger ones are left to the trap
constexpr size_t kBatch = 256;

Result<Bytes> read_all(volume::Volume& root, volume::InodeId inode, uint64_t size) {
  Bytes bytes(size);
  for (uint64_t done = 0; done < size;) {
    const size_t count = TRY(root.read(inode, done, MutableByteView(bytes).subspan(done)));
    if (count == 0) return Error(Code::Integrity, "root volume: a file is shorter than it says");
    done += count;
  }
  return bytes;
}

// Whether the file begins like an ELF file; most files of an image do not.
Result<bool> looks_like_elf(volume::Volume& root, volume::InodeId inode) {
  uint8_t head[4] = {};
  const size_t count = TRY(root.read(inode, 0, head));
  return is_elf(ByteView(head, count));
}

// Every regular file once, however many names it has.
Result<std::set<volume::InodeId>> regular_files(volume::Volume& root) {
  std::set<volume::InodeId> files;
  std::vector<volume::InodeId> folders{volume::kRootInode};
  while (!folders.empty()) {
    const volume::InodeId folder = folders.back();
    folders.pop_back();
    std::vector<volume::DirectoryEntry> entries;
    uint64_t cookie = 0;
    do {
      cookie = TRY(root.read_directory(folder, cookie, kBatch, entries));
    } while (cookie != 0);
    for (const volume::DirectoryEntry& entry : entries) {
      if (entry.type == volume::FileType::Directory) folders.push_back(entry.inode);
      if (entry.type == volume::FileType::Regular) files.insert(entry.inode);
    }
  }
  return files;
}

Result<void> write_table(volume::Volume& root, const PatchTable& table, volume::Timestamp now) {
  const Bytes bytes = TRY(encode_patch_table(table));
  auto folder = root.lookup(volume::kRootInode, kPatchFolder);
  if (!folder.ok() && folder.error().reason == volume::Reason::NotFound) {
    folder = root.make_directory(volume::kRootInode, kPatchFolder, 0755, 0, 0, now);
  }
  const volume::InodeId parent = TRY(std::move(folder));
  const volume::InodeId file = TRY(root.create_file(parent, kPatchFile, 0444, 0, 0, now));
  TRY(root.write(file, 0, bytes, now));
  return {};
}

}  // namespace

Result<void> add_patch_table(volume::Volume& root, volume::Timestamp now) {
  PatchTable table;
  for (const volume::InodeId inode : TRY(regular_files(root))) {
    const volume::Attributes attributes = TRY(root.attributes(inode));
    if (attributes.size > kLargestFile || !TRY(looks_like_elf(root, inode))) continue;
    const Bytes bytes = TRY(read_all(root, inode, attributes.size));
    const auto elf = parse_elf(bytes, "file");
    if (!elf.ok()) continue;  // for another machine, an object file, or nothing that could be started
    PatchScan scan = scan_for_patches(*elf);
    if (scan.rows.empty()) continue;
    table.files.push_back({inode, std::move(scan.rows)});
  }
  return write_table(root, table, now);
}

}  // namespace cloister::sgx
