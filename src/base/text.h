// Text from strangers and text for people: what may reach a terminal, what an URL hides, sizes as people read
// them. Not for the kernel.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace cloister {

// Length of the UTF-8 sequence at the start of `text`; 0 when there is none (Unicode 15, table 3-7).
size_t utf8_length(std::string_view text);

// For terminals and logs: control characters (those of C1, too), the backslash and what is not UTF-8 become
// "\x0a", so nothing moves the cursor and every text has one spelling.
std::string printable(std::string_view text);

Result<std::string> percent_decode(std::string_view text);  // Malformed for a broken escape; '+' stays

std::string format_size(uint64_t bytes);  // "5.0 MiB"

}  // namespace cloister
