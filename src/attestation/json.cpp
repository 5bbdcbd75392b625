#include "attestation/json.h"

#include <set>

namespace cloister::attestation {
namespace {

constexpr int kMaxDepth = 32;

Error bad(std::string_view what, std::string_view fault) {
  return Error(Code::Malformed, std::string(what) + ": " + std::string(fault));
}

// Before the parser: depth is counted outside strings, iteratively.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if ((c == '{' || c == '[') && ++depth > kMaxDepth) return true;
    if (c == '}' || c == ']') --depth;
  }
  return false;
}

}  // namespace

Result<Json> parse_json_object(std::string_view text, size_t limit, std::string_view what) {
  if (text.size() > limit) return bad(what, "too large");
  if (too_deep(text)) return bad(what, "nested too deeply");
  std::vector<std::set<std::string>> keys;
  bool repeated = false;
  const auto watch = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end && !keys.empty()) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.empty()) {
      repeated |= !keys.back().insert(parsed.get<std::string>()).second;
    }
    return true;
  };
  Json value = Json::parse(text, watch, /*allow_exceptions=*/false);
  if (repeated) return bad(what, "a key is given twice");
  if (value.is_discarded() || !value.is_object()) return bad(what, "not a JSON object");
  return value;
}

Result<std::string> json_string(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return bad(key, "missing or not a string");
  return found->get<std::string>();
}

Result<uint32_t> json_unsigned(const Json& object, const char* key, uint32_t maximum) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned()) return bad(key, "missing or not a number");
  const uint64_t value = found->get<uint64_t>();
  if (value > maximum) return bad(key, "too large");
  return static_cast<uint32_t>(value);
}

Result<const Json*> json_array(const Json& object, const char* key, size_t maximum) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) return bad(key, "missing or not a list");
  if (found->size() > maximum) return bad(key, "too long");
  for (const Json& item : *found) {
    if (!item.is_object()) return bad(key, "holds something that is no object");
  }
  return &*found;
}

}  // namespace cloister::attestation
