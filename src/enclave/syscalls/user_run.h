// The program's buffers as one run of bytes, and the kernel's buffer that they go through in pieces.
#pragma once

#include <algorithm>
#include <span>

#include "base/bytes.h"
#include "enclave/arch/user_copy.h"
#include "enclave/syscalls/file_calls.h"

namespace cloister::enclave {

// Small transfers stay on the stack.
class PieceBuffer {
 public:
  static constexpr size_t kMost = 256 << 10;

  explicit PieceBuffer(uint64_t size) {
    if (size > kSmall) large_.resize(std::min<uint64_t>(size, kMost));
  }
  // For what is left.
  MutableByteView piece(uint64_t left) {
    const MutableByteView all = large_.empty() ? MutableByteView(small_) : MutableByteView(large_);
    return all.first(std::min<uint64_t>(all.size(), left));
  }

 private:
  static constexpr size_t kSmall = 4096;
  uint8_t small_[kSmall];
  Bytes large_;
};

class UserRun {
 public:
  explicit UserRun(std::span<const UserVector> parts) : parts_(parts) {
    for (const UserVector& part : parts_) left_ += part.size;
  }
  uint64_t left() const { return left_; }
  bool ranges_ok() const {
    return std::all_of(parts_.begin(), parts_.end(), [](const UserVector& part) {
      return part.size == 0 || user_range_ok(part.base, part.size);
    });
  }
  // How much was copied: all before the first byte that faults.
  size_t take(MutableByteView out) {
    return move(out.size(), [&](uint64_t address, size_t done, size_t size) {
      return copy_part_from_user(out.data() + done, address, size);
    });
  }
  size_t give(ByteView data) {
    return move(data.size(), [&](uint64_t address, size_t done, size_t size) {
      return copy_part_to_user(address, data.data() + done, size);
    });
  }

 private:
  template <class Copy>
  size_t move(size_t size, Copy copy) {
    size_t done = 0;
    while (done < size) {
      const UserVector& part = parts_.front();
      const size_t count = std::min<uint64_t>(size - done, part.size - at_);
      const size_t copied = count == 0 ? 0 : copy(part.base + at_, done, count);
      done += copied;
      at_ += copied;
      if (copied < count) break;
      if (at_ == part.size) {
        parts_ = parts_.subspan(1);
        at_ = 0;
      }
    }
    left_ -= done;
    return done;
  }
  std::span<const UserVector> parts_;
  uint64_t at_ = 0, left_ = 0;  // at_: in the first part
};

}  // namespace cloister::enclave
