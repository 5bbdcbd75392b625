#include "policy/substitute.h"

#include <algorithm>

#include "policy/reader.h"
#include "policy/session.h"

namespace cloister::policy {
namespace {

struct Edit {
  uint32_t begin = 0;  // in characters
  uint32_t end = 0;
  std::string text;
};

bool begins_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool continues_name(char c) { return begins_name(c) || (c >= '0' && c <= '9'); }

std::string quoted(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out = "\"";
  for (const char c : text) {
    const uint8_t byte = static_cast<uint8_t>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out.append("\\x");
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out += '"';
}

class Substitution {
 public:
  explicit Substitution(const Variables& variables) : variables_(variables) {}

  Result<void> walk(const Place& place) {
    const Node& node = place.node();
    if (node.is_scalar()) return scalar(place);
    const bool mapping = node.kind == Node::Kind::Mapping;
    for (size_t i = 0; i < node.items.size(); i += mapping ? 2 : 1) {
      const Place item =
          mapping ? Place(node.items[i + 1], place, node.items[i].text) : Place(node.items[i], place, i);
      TRY(walk(item));
    }
    return {};
  }

  // What an alias repeats is edited once, where it stands.
  std::vector<Edit> take_edits() {
    std::sort(edits_.begin(), edits_.end(), [](const Edit& a, const Edit& b) { return a.begin < b.begin; });
    edits_.erase(std::unique(edits_.begin(), edits_.end(),
                             [](const Edit& a, const Edit& b) { return a.begin == b.begin; }),
                 edits_.end());
    return std::move(edits_);
  }

 private:
  Result<void> scalar(const Place& place) {
    const Node& node = place.node();
    const std::string_view text = node.text;
    std::string out;
    bool replaced = false;
    for (size_t at = 0; at < text.size();) {
      if (text[at] != '$') {
        out += text[at++];
        continue;
      }
      if (text.substr(at).starts_with("$$")) {  // a reference to a secret: the service's business
        const size_t end = text.find("$$", at + 2);
        const size_t stop = end == std::string_view::npos ? text.size() : end + 2;
        out.append(text.substr(at, stop - at));
        at = stop;
        continue;
      }
      const bool braces = at + 1 < text.size() && text[at + 1] == '{';
      const size_t begin = at + (braces ? 2 : 1);
      size_t end = begin;
      if (end < text.size() && begins_name(text[end])) {
        while (end < text.size() && continues_name(text[end])) ++end;
      }
      const bool closed = !braces || (end < text.size() && text[end] == '}');
      if (end == begin || !closed) {
        out += text[at++];
        continue;
      }
      const std::string_view name = text.substr(begin, end - begin);
      const auto found = variables_.find(name);
      if (found == variables_.end()) return missing(place, name);
      out.append(found->second);
      replaced = true;
      at = end + (braces ? 1 : 0);
    }
    if (replaced) edits_.push_back({node.begin, node.end, out == "~" ? out : quoted(out)});
    return {};
  }

  static Error missing(const Place& place, std::string_view name) {
    const Error located = place.malformed("Value for variable $" + std::string(name) + " is missing");
    return {Code::InvalidArgument, located.message()};
  }

  const Variables& variables_;
  std::vector<Edit> edits_;
};

bool continues_character(char c) { return (static_cast<uint8_t>(c) & 0xc0) == 0x80; }

}  // namespace

Result<std::string> substitute(std::string_view text, const Variables& variables) {
  const Node tree = TRY(parse_yaml(text));
  Substitution substitution(variables);
  TRY(substitution.walk(Place(tree)));
  const std::vector<Edit> edits = substitution.take_edits();
  std::string out;
  uint32_t character = 0;
  size_t at = 0;
  // The library does not count a byte order mark.
  if (text.starts_with("\xef\xbb\xbf")) at = 3;
  const auto copy_until = [&](uint32_t stop, bool keep) {
    while (at < text.size() && character < stop) {
      do {
        if (keep) out += text[at];
        ++at;
      } while (at < text.size() && continues_character(text[at]));
      ++character;
    }
  };
  for (const Edit& edit : edits) {
    copy_until(edit.begin, true);
    const size_t from = at;
    copy_until(edit.end, false);
    out.append(edit.text);
    // A block scalar (| or >) ends after its last line.
    if (at > from && text[at - 1] == '\n') out += '\n';
  }
  out.append(text.substr(at));
  return out;
}

}  // namespace cloister::policy
