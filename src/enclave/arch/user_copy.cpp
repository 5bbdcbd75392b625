#include "enclave/arch/user_copy.h"

#include <algorithm>

#include "enclave/arch/boot.h"

namespace cloister::enclave {

bool user_range_ok(uint64_t address, uint64_t size) {
  const sgx::BootInfo& boot = boot_info();
  return address >= boot.user_begin && address <= boot.user_end && size <= boot.user_end - address;
}

SysResult<void> copy_from_user(void* to, uint64_t from, size_t size) {
  if (size == 0) return {};
  if (!user_range_ok(from, size)) return Errno::Fault;
  if (copy_bytes_catching(to, reinterpret_cast<const void*>(from), size) != 0) return Errno::Fault;
  return {};
}

SysResult<void> copy_to_user(uint64_t to, const void* from, size_t size) {
  if (size == 0) return {};
  if (!user_range_ok(to, size)) return Errno::Fault;
  if (copy_bytes_catching(reinterpret_cast<void*>(to), from, size) != 0) return Errno::Fault;
  return {};
}

size_t copy_part_from_user(void* to, uint64_t from, size_t size) {
  if (!user_range_ok(from, size)) return 0;
  return size - copy_bytes_catching(to, reinterpret_cast<const void*>(from), size);
}

size_t copy_part_to_user(uint64_t to, const void* from, size_t size) {
  if (!user_range_ok(to, size)) return 0;
  return size - copy_bytes_catching(reinterpret_cast<void*>(to), from, size);
}

SysResult<void> zero_user(uint64_t to, size_t size) {
  if (size == 0) return {};
  if (!user_range_ok(to, size)) return Errno::Fault;
  if (zero_bytes_catching(reinterpret_cast<void*>(to), size) != 0) return Errno::Fault;
  return {};
}

SysResult<std::string> string_from_user(uint64_t from, size_t limit) {
  std::string text;
  char part[256];
  for (;;) {
    // Up to the page's end, so that a string that ends just before an unmapped page is read whole.
    const size_t room = std::min<size_t>(sizeof(part), 4096 - from % 4096);
    TRY(copy_from_user(part, from, room));
    for (size_t i = 0; i < room; ++i) {
      if (part[i] == 0) {
        text.append(part, i);
        if (text.size() > limit) return Errno::NameTooLong;
        return text;
      }
    }
    text.append(part, room);
    if (text.size() > limit) return Errno::NameTooLong;
    from += room;
  }
}

}  // namespace cloister::enclave
