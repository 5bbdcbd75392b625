// The patch table: where in the root volume's files a `syscall` may be replaced by a jump, as bytes that the
// builder writes into the volume (kPatchFolder/kPatchFile) and the kernel reads from it. Format:
// docs/formats/image.md, "Patch table".
//
// A row names the instruction in front of a `syscall` (0f 05) by its place in the file and its bytes. It is
// the kernel that turns a row into a jump, and only where memory holds exactly these bytes followed by 0f 05.
// Where the instruction has two bytes, a short jump goes to a pad, bytes nearby that only align what follows,
// and the long jump stands there.
#pragma once

#include <vector>

#include "base/bytes.h"

namespace cloister::sgx {

inline constexpr std::string_view kPatchFolder = ".cloister";  // in the root folder of the root volume
inline constexpr std::string_view kPatchFile = "patches";
inline constexpr uint32_t kPatchVersion = 2;
inline constexpr size_t kMaxPatchTable = size_t{16} << 20;  // bytes
inline constexpr uint64_t kMaxPatchOffset = uint64_t{1} << 40;

// A jump takes five bytes. In front of a `syscall` four or three are enough: the missing ones of its
// displacement are then 0f and 05, which stay where they are and fix the distance to the target.
// Two are enough for a jump to a pad.
inline constexpr uint8_t kMinDisplaced = 2;
inline constexpr uint8_t kToPad = 2;
inline constexpr uint8_t kPadSize = 5;
inline constexpr uint8_t kMaxDisplaced = 15;  // the longest instruction

struct PatchRow {
  uint64_t offset = 0;  // of the displaced instruction in the file; the `syscall` is at offset + length
  uint8_t length = 0;   // of the displaced instruction, bytes
  ByteArray<kMaxDisplaced> displaced{};  // its bytes; behind `length` zeros

  // Only of a row of length kToPad: how far behind the displaced instruction its pad begins (or, negative, in
  // front of there), and what is there.
  int8_t pad_distance = 0;
  ByteArray<kPadSize> pad{};

  uint64_t end() const { return offset + length + 2; }  // behind the `syscall`
  uint64_t pad_offset() const { return offset + length + static_cast<uint64_t>(int64_t{pad_distance}); }
  bool operator==(const PatchRow&) const = default;
};

struct PatchedFile {
  uint64_t inode = 0;          // in the root volume
  std::vector<PatchRow> rows;  // ascending, not empty; no two overlap, pads included
  bool operator==(const PatchedFile&) const = default;
};

struct PatchTable {
  std::vector<PatchedFile> files;  // ascending inodes
  const PatchedFile* find(uint64_t inode) const;
  bool operator==(const PatchTable&) const = default;
};

// InvalidArgument when the table breaks one of the rules above or becomes too large.
Result<Bytes> encode_patch_table(const PatchTable& table);
// Malformed: truncated, another version, out of order, out of bounds. One table has exactly one encoding.
Result<PatchTable> decode_patch_table(ByteView bytes);

}  // namespace cloister::sgx
