// What the compiler, libstdc++'s headers and the crypto libraries expect of a C library, as far as the kernel
// uses it. Everything here works without vector registers.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/result.h"
#include "enclave/arch/log.h"

#define EXPORT extern "C" __attribute__((used))

EXPORT void* memcpy(void* __restrict to, const void* __restrict from, size_t size) {
  void* begin = to;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
  return begin;
}

EXPORT void* memmove(void* to, const void* from, size_t size) {
  auto* d = static_cast<uint8_t*>(to);
  const auto* s = static_cast<const uint8_t*>(from);
  if (reinterpret_cast<uint64_t>(d) - reinterpret_cast<uint64_t>(s) >= size) {
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(size) : : "memory");
  } else {
    while (size >= 8) {
      size -= 8;
      uint64_t word;
      __builtin_memcpy(&word, s + size, 8);
      __builtin_memcpy(d + size, &word, 8);
    }
    while (size > 0) {
      --size;
      d[size] = s[size];
      __asm__ volatile("" : : : "memory");  // or the compiler makes this loop a call of memmove
    }
  }
  return to;
}

EXPORT void* memset(void* to, int value, size_t size) {
  void* begin = to;
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
  return begin;
}

EXPORT int memcmp(const void* a, const void* b, size_t size) {
  const auto* x = static_cast<const uint8_t*>(a);
  const auto* y = static_cast<const uint8_t*>(b);
  size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    uint64_t p, q;
    __builtin_memcpy(&p, x + i, 8);
    __builtin_memcpy(&q, y + i, 8);
    if (p != q) break;
  }
  for (; i < size; ++i) {
    if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
  }
  return 0;
}

// The C++ library declares overloads of memchr, so the symbol gets its name by label.
EXPORT const void* kernel_memchr(const void* text, int wanted, size_t size) __asm__("memchr");
EXPORT const void* kernel_memchr(const void* text, int wanted, size_t size) {
  const auto* p = static_cast<const uint8_t*>(text);
  for (size_t i = 0; i < size; ++i) {
    if (p[i] == static_cast<uint8_t>(wanted)) return p + i;
  }
  return nullptr;
}

EXPORT size_t strlen(const char* text) {
  size_t size = 0;
  while (text[size] != 0) {
    ++size;
    __asm__ volatile("" : : : "memory");
  }
  return size;
}

// ipsec-mb names its errors through this; nobody prints them here.
EXPORT char* strerror(int) {
  static char text[] = "error";
  return text;
}

EXPORT __attribute__((noreturn)) void abort() { cloister::panic("libc", 0, "abort"); }
EXPORT __attribute__((noreturn)) void __stack_chk_fail() { cloister::panic("libc", 0, "stack overrun"); }
EXPORT __attribute__((noreturn)) void __cxa_pure_virtual() { cloister::panic("c++", 0, "pure virtual call"); }
EXPORT int __cxa_atexit(void (*)(void*), void*, void*) { return 0; }  // the kernel never ends normally
EXPORT int atexit(void (*)()) { return 0; }
extern "C" {
void* __dso_handle = nullptr;
}

namespace std {
#define THROWS(name) \
  __attribute__((noreturn)) void name(const char* what) { cloister::panic("libstdc++", 0, what); }
THROWS(__throw_length_error)
THROWS(__throw_logic_error)
THROWS(__throw_out_of_range)
THROWS(__throw_invalid_argument)
__attribute__((noreturn)) void __throw_bad_alloc() { cloister::panic("libstdc++", 0, "bad_alloc"); }
__attribute__((noreturn)) void __throw_bad_array_new_length() {
  cloister::panic("libstdc++", 0, "array length");
}
__attribute__((noreturn)) void __throw_bad_function_call() {
  cloister::panic("libstdc++", 0, "empty function");
}
__attribute__((noreturn)) void __throw_bad_optional_access() {
  cloister::panic("libstdc++", 0, "empty optional");
}
__attribute__((noreturn)) void __throw_out_of_range_fmt(const char* what, ...) {
  cloister::panic("libstdc++", 0, what);
}
__attribute__((noreturn)) void __glibcxx_assert_fail(const char* file, int line, const char*,
                                                     const char* what) noexcept {
  cloister::panic(file, line, what);
}
#undef THROWS
}  // namespace std
