// Names of uploads and the URLs that carry them.
#pragma once

#include <string>
#include <string_view>

#include "base/text.h"

namespace cloister::transfer {

// What may be uploaded as a name: 1 to 200 bytes of UTF-8, no '/', no control characters, not "." or "..".
bool is_upload_name(std::string_view name);

// What an archive may hold as a name, and what ours do: relative, inside, one spelling for each file, nothing
// that only some systems read as a separator; a folder's ends with '/'. At most this many bytes in at most
// this many parts.
inline constexpr size_t kMaxArchiveName = 4096;
inline constexpr size_t kMaxArchiveDepth = 64;
bool is_archive_name(std::string_view name);

std::string percent_encode(std::string_view segment);  // all but unreserved characters (RFC 3986, 2.3)
std::string html_escape(std::string_view text);        // for text and attribute values in quotes
std::string json_string(std::string_view text);        // with the quotes; what is not UTF-8 becomes U+FFFD
std::string scheme_of(std::string_view url);           // "https", "" when there is none
// The last part of an URL's path, decoded; InvalidArgument when that is no upload name.
Result<std::string> name_in_url(std::string_view url);

}  // namespace cloister::transfer
