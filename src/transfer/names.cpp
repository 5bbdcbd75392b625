#include "transfer/names.h"

#include <cstdio>

namespace cloister::transfer {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

}  // namespace

bool is_upload_name(std::string_view name) {
  if (name.empty() || name.size() > 200 || name == "." || name == "..") return false;
  while (!name.empty()) {
    const size_t length = utf8_length(name);
    if (length == 0 || name[0] == '/' || name[0] == '\\' || is_control(name[0])) return false;
    name.remove_prefix(length);
  }
  return true;
}

bool is_archive_name(std::string_view name) {
  if (name.size() > kMaxArchiveName) return false;
  if (name.ends_with('/')) name.remove_suffix(1);
  for (const char c : name) {
    if (is_control(c) || c == '\\') return false;
  }
  for (size_t depth = 0; depth < kMaxArchiveDepth; ++depth) {
    const size_t slash = name.find('/');
    const std::string_view part = name.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    if (slash == std::string_view::npos) return true;
    name.remove_prefix(slash + 1);
  }
  return false;
}

std::string percent_encode(std::string_view segment) {
  std::string out;
  for (const char c : segment) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    char escaped[4];
    std::snprintf(escaped, sizeof(escaped), "%%%02X", static_cast<unsigned>(static_cast<unsigned char>(c)));
    plain ? out += c : out += escaped;
  }
  return out;
}

std::string html_escape(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    const char c = text[0];
    if (length == 0 || is_control(c)) {
      out += kReplacement;
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    const char c = text[0];
    if (length == 0) {
      out += kReplacement;
    } else if (c == '"' || c == '\\') {
      out.append(1, '\\').append(1, c);
    } else if (is_control(c)) {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\u%04x",
                    static_cast<unsigned>(static_cast<unsigned char>(c)));
      out += escaped;
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out + "\"";
}

std::string scheme_of(std::string_view url) {
  const size_t end = url.find("://");
  return end == std::string_view::npos ? std::string() : std::string(url.substr(0, end));
}

Result<std::string> name_in_url(std::string_view url) {
  const size_t start = url.find("://");
  std::string_view path = start == std::string_view::npos ? url : url.substr(start + 3);
  path = path.substr(0, path.find_first_of("?#"));
  while (path.ends_with('/')) path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return Error(Code::InvalidArgument, "the URL names no file");
  std::string name = TRY(percent_decode(path.substr(slash + 1)));
  if (!is_upload_name(name)) return Error(Code::InvalidArgument, "the URL names no file");
  return name;
}

}  // namespace cloister::transfer
