// Secret<T>: a value that wipes itself and that no log, printf or == can touch by accident.
// Read it with expose(); compare with equal_constant_time.
#pragma once

#include <utility>

#include "base/bytes.h"

namespace cloister {

// Overwrites memory in a way the compiler may not remove.
inline void wipe(void* data, size_t size) {
  if (size == 0) return;
  std::memset(data, 0, size);
  __asm__ __volatile__("" : : "r"(data) : "memory");
}

template <class T>
class Secret {
  static_assert(std::is_trivially_copyable_v<T>, "a Secret holds plain bytes; for a buffer use SecretBytes");

 public:
  Secret() : value_{} {}
  explicit Secret(const T& value) : value_(value) {}
  Secret(const Secret& other) : value_(other.value_) {}
  Secret& operator=(const Secret& other) {
    value_ = other.value_;
    return *this;
  }
  ~Secret() { wipe(&value_, sizeof(value_)); }

  const T& expose() const { return value_; }
  T& expose() { return value_; }

  bool operator==(const Secret&) const = delete;

 private:
  T value_;
};

using Key256 = Secret<ByteArray<32>>;

// A secret of run-time size (PEM keys, tokens). Wiped on destruction; move-only, so copies are deliberate.
class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(Bytes bytes) : bytes_(std::move(bytes)) {}
  SecretBytes(SecretBytes&& other) noexcept : bytes_(std::move(other.bytes_)) {}
  SecretBytes& operator=(SecretBytes&& other) noexcept {
    if (this != &other) {
      wipe(bytes_.data(), bytes_.size());
      bytes_ = std::move(other.bytes_);
    }
    return *this;
  }
  ~SecretBytes() { wipe(bytes_.data(), bytes_.size()); }

  const Bytes& expose() const { return bytes_; }
  SecretBytes copy() const { return SecretBytes(bytes_); }

 private:
  Bytes bytes_;
};

}  // namespace cloister
