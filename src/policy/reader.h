// Typed reading of a YAML tree. A Place is a node and the way to it; the way is only written out when
// something is wrong there, so that reading thousands of entries costs no strings. Texts of errors are those
// that users of the language know: "services[0].environment.N: invalid type: integer `0`, expected a string
// at line 9 column 10".
#pragma once

#include <initializer_list>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "policy/yaml.h"

namespace cloister::policy {

// Lives on the stack of whoever reads; a child must not outlive its parent.
class Place {
 public:
  explicit Place(const Node& root) : node_(root) {}
  Place(const Node& node, const Place& parent, std::string_view key)
      : node_(node), parent_(&parent), key_(key) {}
  Place(const Node& node, const Place& parent, size_t index)
      : node_(node), parent_(&parent), index_(static_cast<int64_t>(index)) {}

  const Node& node() const { return node_; }
  std::string path() const;  // "services[0].environment", empty for the root
  // "path: what at line … column …"
  Error malformed(std::string_view what) const { return error(Code::Malformed, what); }
  Error unsupported(std::string_view what) const { return error(Code::Unsupported, what); }
  Error wrong_type(std::string_view expected) const;  // "invalid type: …, expected …"

  Result<std::string> string() const;      // not null, not an unquoted number or boolean
  Result<std::string> raw_scalar() const;  // any scalar but null: for hex digits, which may look like numbers
  Result<uint64_t> integer(uint64_t maximum) const;  // decimal, also quoted (a substituted variable)
  Result<bool> boolean() const;
  template <size_t N>
  Result<ByteArray<N>> hex() const {
    const std::string text = TRY(raw_scalar());
    Result<ByteArray<N>> bytes = array_from_hex<N>(text);
    if (!bytes.ok()) return malformed("expected " + std::to_string(2 * N) + " hex digits");
    return bytes;
  }
  // The elements; at most `limit`.
  Result<size_t> sequence_size(size_t limit) const;
  Place element(size_t index) const { return {node_.items[index], *this, index}; }

 private:
  Error error(Code code, std::string_view what) const;

  const Node& node_;
  const Place* parent_ = nullptr;
  std::string_view key_;
  int64_t index_ = -1;
};

// A mapping with known keys. A key without a value (`~`, `null`, nothing) is refused, because most keys say
// what must hold, and would then say nothing without anybody noticing: the value was forgotten, or a variable
// was `~`. `may_be_null` are those whose absence gives and allows less: lists whose entries may all be
// commented out.
class Fields {
 public:
  // Malformed when it is no mapping, has another key ("unknown field `x`, expected one of `a`, `b`") or one
  // without a value.
  static Result<Fields> of(const Place& place, std::span<const std::string_view> allowed,
                           std::initializer_list<std::string_view> may_be_null = {});
  static Result<Fields> of(const Place& place, std::initializer_list<std::string_view> allowed,
                           std::initializer_list<std::string_view> may_be_null = {}) {
    return of(place, std::span(allowed.begin(), allowed.size()), may_be_null);
  }

  // Absent and null are the same.
  std::optional<Place> find(std::string_view key) const;
  bool has(std::string_view key) const { return find(key).has_value(); }
  Result<Place> require(std::string_view key) const;  // Malformed "missing field `x`"
  Result<std::string> string(std::string_view key) const;
  Result<std::string> string_or(std::string_view key, std::string_view fallback) const;
  // Unsupported when one of them is there.
  Result<void> refuse(std::initializer_list<std::string_view> keys, std::string_view why) const;
  const Place& place() const { return *place_; }

 private:
  explicit Fields(const Place& place) : place_(&place) {}
  const Place* place_;
};

}  // namespace cloister::policy
