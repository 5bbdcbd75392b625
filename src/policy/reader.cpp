#include "policy/reader.h"

#include <algorithm>
#include <charconv>

namespace cloister::policy {
namespace {

std::string shortened(std::string_view text) {
  return text.size() <= 64 ? std::string(text) : std::string(text.substr(0, 61)) + "...";
}

std::string described(const Node& node) {
  if (node.kind == Node::Kind::Sequence) return "sequence";
  if (node.kind == Node::Kind::Mapping) return "map";
  switch (node.scalar_type()) {
    case ScalarType::Null:
      return "unit value";
    case ScalarType::Boolean:
      return "boolean `" + node.text + "`";
    case ScalarType::Integer:
      return "integer `" + shortened(node.text) + "`";
    case ScalarType::Float:
      return "floating point `" + shortened(node.text) + "`";
    case ScalarType::String:
      break;
  }
  // The content may be a key that somebody put in the wrong place: it is not shown.
  return "string";
}

Error unknown_field(const Place& key, std::span<const std::string_view> allowed) {
  std::string what = "unknown field `" + shortened(key.node().text) + "`, expected one of ";
  const char* between = "`";
  for (const std::string_view name : allowed) {
    what.append(between).append(name).append("`");
    between = ", `";
  }
  return key.malformed(what);
}

}  // namespace

std::string Place::path() const {
  if (parent_ == nullptr) return {};
  std::string way = parent_->path();
  if (index_ >= 0) return way + "[" + std::to_string(index_) + "]";
  if (!way.empty()) way += ".";
  return way + shortened(key_);
}

Error Place::error(Code code, std::string_view what) const {
  std::string text = path();
  if (!text.empty()) text += ": ";
  return {code, text.append(what).append(" ").append(node_.mark.text())};
}

Error Place::wrong_type(std::string_view expected) const {
  return malformed("invalid type: " + described(node_) + ", expected " + std::string(expected));
}

Result<std::string> Place::string() const {
  if (!node_.is_scalar() || node_.scalar_type() != ScalarType::String) return wrong_type("a string");
  return node_.text;
}

Result<std::string> Place::raw_scalar() const {
  if (!node_.is_scalar() || node_.is_null()) return wrong_type("a string");
  return node_.text;
}

Result<uint64_t> Place::integer(uint64_t maximum) const {
  const std::string expected = "an integer from 0 to " + std::to_string(maximum);
  if (!node_.is_scalar() || node_.is_null()) return wrong_type(expected);
  uint64_t value = 0;
  const char* const end = node_.text.data() + node_.text.size();
  const auto [rest, fault] = std::from_chars(node_.text.data(), end, value);
  if (fault != std::errc() || rest != end || value > maximum) return malformed("expected " + expected);
  return value;
}

Result<bool> Place::boolean() const {
  if (!node_.is_scalar() || node_.scalar_type() != ScalarType::Boolean) return wrong_type("a boolean");
  return node_.text[0] == 't' || node_.text[0] == 'T';
}

Result<size_t> Place::sequence_size(size_t limit) const {
  if (node_.kind != Node::Kind::Sequence) return wrong_type("a sequence");
  if (node_.items.size() > limit) return malformed("more than " + std::to_string(limit) + " entries");
  return node_.items.size();
}

Result<Fields> Fields::of(const Place& place, std::span<const std::string_view> allowed,
                          std::initializer_list<std::string_view> may_be_null) {
  const Node& node = place.node();
  if (node.kind != Node::Kind::Mapping) return place.wrong_type("a map");
  const auto among = [](const auto& names, const Node& key) {
    return std::find(names.begin(), names.end(), key.text) != names.end();
  };
  for (size_t i = 0; i < node.items.size(); i += 2) {
    const Node& key = node.items[i];
    if (!among(allowed, key)) return unknown_field(Place(key, place, key.text), allowed);
    if (node.items[i + 1].is_null() && !among(may_be_null, key)) {
      return Place(node.items[i + 1], place, key.text)
          .malformed("a key without a value would count as absent: give it one, or leave it out");
    }
  }
  return Fields(place);
}

std::optional<Place> Fields::find(std::string_view key) const {
  const std::vector<Node>& items = place_->node().items;
  for (size_t i = 0; i < items.size(); i += 2) {
    if (items[i].text != key) continue;
    if (items[i + 1].is_null()) return std::nullopt;
    return Place(items[i + 1], *place_, items[i].text);
  }
  return std::nullopt;
}

Result<Place> Fields::require(std::string_view key) const {
  const std::optional<Place> found = find(key);
  if (!found) return place_->malformed("missing field `" + std::string(key) + "`");
  return *found;
}

Result<std::string> Fields::string(std::string_view key) const {
  const Place place = TRY(require(key));
  return place.string();
}

Result<std::string> Fields::string_or(std::string_view key, std::string_view fallback) const {
  const std::optional<Place> found = find(key);
  if (!found) return std::string(fallback);
  return found->string();
}

Result<void> Fields::refuse(std::initializer_list<std::string_view> keys, std::string_view why) const {
  for (const std::string_view key : keys) {
    const std::optional<Place> found = find(key);
    if (found) return found->unsupported(why);
  }
  return {};
}

}  // namespace cloister::policy
