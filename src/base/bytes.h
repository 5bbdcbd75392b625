// Bytes as they stand in files, quotes and packets: views, little- and big-endian loads and stores, a
// bounds-checked reader and an appending writer. Everything that parses outside bytes goes through
// ByteReader, so no parser does its own pointer arithmetic.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace cloister {

using Bytes = std::vector<uint8_t>;
using ByteView = std::span<const uint8_t>;
using MutableByteView = std::span<uint8_t>;
template <size_t N>
using ByteArray = std::array<uint8_t, N>;

inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
template <class T>
requires std::is_trivially_copyable_v<T> ByteView object_bytes(const T& object) {
  return {reinterpret_cast<const uint8_t*>(&object), sizeof(T)};
}

// One access each, which compilers do not always make of a loop over bytes.
static_assert(std::endian::native == std::endian::little);
template <class Int>
Int load_le(const uint8_t* p) {
  Int value;
  std::memcpy(&value, p, sizeof(Int));
  return value;
}
template <class Int>
void store_le(uint8_t* p, Int value) {
  std::memcpy(p, &value, sizeof(Int));
}
template <class Int>
Int load_be(const uint8_t* p) {
  Int value = 0;
  for (size_t i = 0; i < sizeof(Int); ++i)
    value = static_cast<Int>((value << (sizeof(Int) > 1 ? 8 : 0)) | p[i]);
  return value;
}
template <class Int>
void store_be(uint8_t* p, Int value) {
  for (size_t i = 0; i < sizeof(Int); ++i) p[i] = static_cast<uint8_t>(value >> (8 * (sizeof(Int) - 1 - i)));
}

// True when both are equal; takes the same time whatever they hold. Lengths are not secret.
bool equal_constant_time(ByteView a, ByteView b);

// Reads forward and never past the end; every failure is Malformed and names `what`.
class ByteReader {
 public:
  explicit ByteReader(ByteView bytes, std::string_view what = "input") : rest_(bytes), what_(what) {}

  size_t remaining() const { return rest_.size(); }
  bool at_end() const { return rest_.empty(); }
  ByteView rest() const { return rest_; }

  Result<ByteView> take(uint64_t size) {
    if (size > rest_.size()) return truncated(size);
    const ByteView head = rest_.first(static_cast<size_t>(size));
    rest_ = rest_.subspan(static_cast<size_t>(size));
    return head;
  }
  template <size_t N>
  Result<ByteArray<N>> array() {
    const ByteView view = TRY(take(N));
    ByteArray<N> out;
    std::memcpy(out.data(), view.data(), N);
    return out;
  }
  template <class Int>
  Result<Int> le() {
    return load_le<Int>(TRY(take(sizeof(Int))).data());
  }
  template <class Int>
  Result<Int> be() {
    return load_be<Int>(TRY(take(sizeof(Int))).data());
  }
  // A length-prefixed field (u32 little-endian) of at most `limit` bytes.
  Result<ByteView> field(uint32_t limit);
  Result<void> expect_end() const;

 private:
  Error truncated(uint64_t wanted) const;

  ByteView rest_;
  std::string_view what_;
};

class ByteWriter {
 public:
  ByteWriter& bytes(ByteView view) {
    out_.insert(out_.end(), view.begin(), view.end());
    return *this;
  }
  ByteWriter& text(std::string_view view) { return bytes(as_bytes(view)); }
  template <class Int>
  ByteWriter& le(Int value) {
    uint8_t buffer[sizeof(Int)];
    store_le(buffer, value);
    return bytes(buffer);
  }
  template <class Int>
  ByteWriter& be(Int value) {
    uint8_t buffer[sizeof(Int)];
    store_be(buffer, value);
    return bytes(buffer);
  }
  ByteWriter& zeros(size_t count) {
    out_.resize(out_.size() + count);
    return *this;
  }
  // The counterpart of ByteReader::field.
  ByteWriter& field(ByteView view) { return le(static_cast<uint32_t>(view.size())).bytes(view); }
  ByteWriter& field(std::string_view view) { return field(as_bytes(view)); }

  const Bytes& view() const { return out_; }
  Bytes take() { return std::move(out_); }
  size_t size() const { return out_.size(); }

 private:
  Bytes out_;
};

std::string to_hex(ByteView bytes);             // lower case
Result<Bytes> from_hex(std::string_view text);  // either case; odd length or another character: Malformed
template <size_t N>
Result<ByteArray<N>> array_from_hex(std::string_view text) {
  const Bytes bytes = TRY(from_hex(text));
  if (bytes.size() != N) {
    return Error(Code::Malformed,
                 "expected " + std::to_string(2 * N) + " hex digits, got " + std::to_string(text.size()));
  }
  ByteArray<N> out;
  std::memcpy(out.data(), bytes.data(), N);
  return out;
}

}  // namespace cloister
