// Letters as HTTP compares them: ASCII only, whatever the process's locale says.
#pragma once

#include <string>
#include <string_view>

namespace cloister::http {

inline std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

}  // namespace cloister::http
