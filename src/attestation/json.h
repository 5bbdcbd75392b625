// nlohmann-json behind our rules: bounded size and depth, no duplicate keys, no exceptions across this
// border. Include only in .cpp files.
#pragma once

#include <nlohmann/json.hpp>

#include "base/bytes.h"

namespace cloister::attestation {

using Json = nlohmann::json;

// Malformed when the text is longer than `limit`, nests deeper than 32, repeats a key or is no JSON object.
Result<Json> parse_json_object(std::string_view text, size_t limit, std::string_view what);

Result<std::string> json_string(const Json& object, const char* key);
Result<uint32_t> json_unsigned(const Json& object, const char* key, uint32_t maximum);
Result<const Json*> json_array(const Json& object, const char* key, size_t maximum);

}  // namespace cloister::attestation
