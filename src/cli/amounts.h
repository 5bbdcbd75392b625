// Sizes and times as people type them.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace cloister::cli {

// "64M", "1g", "4096": bytes, with K, M, G or T in either case. InvalidArgument names `what`.
Result<uint64_t> parse_size(const std::string& text, std::string_view what);
// "14d", "90": seconds, with s, m, h or d.
Result<uint64_t> parse_age(const std::string& text, std::string_view what);
// A time in any form of RFC 3339, section 5.6: "2025-07-04T12:28:44.5+02:00", letters in either case; seconds
// since 1970, a fraction is cut off.
Result<int64_t> parse_time(const std::string& text, std::string_view what);

}  // namespace cloister::cli
