#include "policy/canonical.h"

#include <algorithm>

#include "crypto/sha256.h"
#include "policy/session.h"

namespace cloister::policy {
namespace {

constexpr std::string_view kHashLabel = "cloister-session-v1";

void write_string(std::string_view text, std::string& out) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<uint8_t>(c) < 0x20) {
      out.append("\\u00");
      out += kHex[static_cast<uint8_t>(c) >> 4];
      out += kHex[c & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

void write(const Node& node, std::string& out) {
  if (node.is_scalar()) {
    if (node.is_null()) {
      out += "null";
    } else {
      write_string(node.text, out);
    }
    return;
  }
  const bool mapping = node.kind == Node::Kind::Mapping;
  std::vector<size_t> order;
  for (size_t i = 0; i < node.items.size(); i += mapping ? 2 : 1) order.push_back(i);
  if (mapping) {
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return node.items[a].text < node.items[b].text; });
  }
  out += mapping ? '{' : '[';
  bool first = true;
  for (const size_t i : order) {
    if (!first) out += ',';
    first = false;
    if (mapping) {
      write_string(node.items[i].text, out);
      out += ':';
    }
    write(node.items[mapping ? i + 1 : i], out);
  }
  out += mapping ? '}' : ']';
}

}  // namespace

std::string canonical_form(const Node& tree) {
  std::string out;
  write(tree, out);
  return out;
}

crypto::Digest session_hash(const Session& session, const crypto::Digest& creator) {
  const uint8_t zero[1] = {0};
  const std::string by = session.names_creator ? to_hex(creator) : std::string();
  return crypto::sha256({as_bytes(kHashLabel), zero, as_bytes(by), zero, as_bytes(session.canonical)});
}

}  // namespace cloister::policy
