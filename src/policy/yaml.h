// YAML text as a tree that remembers where everything stood. The only place that knows the YAML library.
//
// Sessions are written by strangers, so the tree is bounded while it grows: size of the text, depth, number
// of nodes and bytes after aliases are copied out. libyaml rather than yaml-cpp, because it reads a session
// of 1 MiB in 12 ms where the other needs 100 (measured), throws nothing, and gives a position for every
// event.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace cloister::policy {

inline constexpr size_t kMaxYamlSize = 1u << 20;   // bytes of text
inline constexpr size_t kMaxYamlDepth = 32;        // nested collections
inline constexpr size_t kMaxYamlNodes = 1u << 18;  // with aliases copied out
inline constexpr size_t kMaxYamlBytes = 4u << 20;  // of scalars, with aliases copied out

// Both count from 1; columns count characters, not bytes.
struct Mark {
  uint32_t line = 1;
  uint32_t column = 1;
  std::string text() const;  // "at line 3 column 7"
};

// What a plain (unquoted) scalar means, by the core schema of YAML 1.2. A quoted one is a String.
enum class ScalarType : uint8_t { String, Null, Boolean, Integer, Float };

struct Node {
  enum class Kind : uint8_t { Scalar, Sequence, Mapping };
  Kind kind = Kind::Scalar;
  bool plain = false;  // a scalar without quotes
  Mark mark;
  uint32_t begin = 0;  // where the scalar stands in the text, in characters
  uint32_t end = 0;
  std::string text;         // Scalar: its content
  std::vector<Node> items;  // Sequence: the elements. Mapping: key, value, key, value…

  bool is_scalar() const { return kind == Kind::Scalar; }
  ScalarType scalar_type() const;
  bool is_null() const { return is_scalar() && scalar_type() == ScalarType::Null; }
  bool mentions(std::string_view word) const;  // some scalar below is exactly this
};

// Exactly one document, UTF-8, no tags, no key twice in a mapping, keys are scalars, no NUL anywhere.
// Malformed with line and column otherwise.
Result<Node> parse_yaml(std::string_view text);

}  // namespace cloister::policy
