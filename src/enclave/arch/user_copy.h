// Access to the program's memory. A bad address is the program's error (EFAULT), never a crash of the kernel:
// the copy instruction's faults are caught (exceptions.cpp) after the memory manager had its chance to supply
// the page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "enclave/sys_result.h"

namespace cloister::enclave {

// [address, address + size) lies wholly in the user arena. Says nothing about what is mapped there.
bool user_range_ok(uint64_t address, uint64_t size);

// Copies that survive faults; either side may be user memory and is NOT range-checked here.
// Returns how many bytes were NOT copied.
extern "C" size_t copy_bytes_catching(void* to, const void* from, size_t size);
extern "C" size_t zero_bytes_catching(void* to, size_t size);

SysResult<void> copy_from_user(void* to, uint64_t from, size_t size);
SysResult<void> copy_to_user(uint64_t to, const void* from, size_t size);
// The same, as far as it goes: how much was copied.
size_t copy_part_from_user(void* to, uint64_t from, size_t size);
size_t copy_part_to_user(uint64_t to, const void* from, size_t size);
SysResult<void> zero_user(uint64_t to, size_t size);
// A NUL-terminated string of at most `limit` bytes without the NUL. Errors: Fault, NameTooLong.
SysResult<std::string> string_from_user(uint64_t from, size_t limit = 4095);

template <class T>
SysResult<T> load_user(uint64_t from) {
  T value;
  if (auto copied = copy_from_user(&value, from, sizeof(T)); !copied.ok()) return copied.error();
  return value;
}
template <class T>
SysResult<void> store_user(uint64_t to, const T& value) {
  return copy_to_user(to, &value, sizeof(T));
}

}  // namespace cloister::enclave
