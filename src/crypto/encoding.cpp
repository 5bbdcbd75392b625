#include "crypto/encoding.h"

#include <array>

namespace cloister::crypto {
namespace {

constexpr std::string_view kStandard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kUrl = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kBase32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

constexpr std::array<int8_t, 256> reverse(std::string_view alphabet) {
  std::array<int8_t, 256> table = {};
  for (int8_t& entry : table) entry = -1;
  for (size_t i = 0; i < alphabet.size(); ++i) {
    table[static_cast<uint8_t>(alphabet[i])] = static_cast<int8_t>(i);
  }
  return table;
}
constexpr std::array<int8_t, 256> kStandardValues = reverse(kStandard);
constexpr std::array<int8_t, 256> kUrlValues = reverse(kUrl);
constexpr std::array<int8_t, 256> kBase32Values = reverse(kBase32);

std::string encode(ByteView bytes, std::string_view alphabet, bool pad) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = static_cast<uint32_t>(bytes[i]) << 16;
    if (count > 1) group |= static_cast<uint32_t>(bytes[i + 1]) << 8;
    if (count > 2) group |= bytes[i + 2];
    for (size_t k = 0; k <= count; ++k) out.push_back(alphabet[(group >> (18 - 6 * k)) & 63]);
    if (pad) out.append(3 - count, '=');
  }
  return out;
}

// `text` without padding.
Result<Bytes> decode(std::string_view text, const std::array<int8_t, 256>& values) {
  if (text.size() % 4 == 1) return Error(Code::Malformed, "base64: truncated");
  Bytes out;
  out.reserve(text.size() * 3 / 4);
  uint32_t group = 0;
  unsigned bits = 0;
  for (const char character : text) {
    const int8_t value = values[static_cast<uint8_t>(character)];
    if (value < 0) return Error(Code::Malformed, "base64: a character outside the alphabet");
    group = (group << 6) | static_cast<uint32_t>(value);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out.push_back(static_cast<uint8_t>(group >> bits));
      group &= (1u << bits) - 1;
    }
  }
  if (group != 0) return Error(Code::Malformed, "base64: unused bits are not zero");
  return out;
}

Result<Bytes> decode_pem_body(std::string_view body) {
  std::string compact;
  compact.reserve(body.size());
  for (const char character : body) {
    if (character != '\n' && character != '\r' && character != ' ' && character != '\t') {
      compact.push_back(character);
    }
  }
  return base64_decode(compact);
}

}  // namespace

std::string base64_encode(ByteView bytes) { return encode(bytes, kStandard, true); }
std::string base64url_encode(ByteView bytes) { return encode(bytes, kUrl, false); }

Result<Bytes> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return Error(Code::Malformed, "base64: the length is not a multiple of four");
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  return decode(text, kStandardValues);
}

Result<Bytes> base64url_decode(std::string_view text) { return decode(text, kUrlValues); }

std::string base32_encode(ByteView bytes, bool pad) {
  std::string out;
  uint32_t group = 0;
  unsigned bits = 0;
  for (const uint8_t byte : bytes) {
    group = (group << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) out.push_back(kBase32[(group >> (bits - 5)) & 31]);
    group &= (1u << bits) - 1;
  }
  if (bits > 0) out.push_back(kBase32[(group << (5 - bits)) & 31]);
  while (pad && out.size() % 8 != 0) out.push_back('=');
  return out;
}

Result<Bytes> base32_decode(std::string_view text) {
  const size_t whole = text.size();
  while (text.ends_with('=')) text.remove_suffix(1);
  // The characters that the last bytes need: 2, 4, 5, 7 or 8 of eight.
  const size_t last = text.size() % 8;
  const size_t padded = (text.size() + 7) / 8 * 8;
  if (last == 1 || last == 3 || last == 6 || (whole != text.size() && whole != padded)) {
    return Error(Code::Malformed, "base32: truncated");
  }
  Bytes out;
  uint32_t group = 0;
  unsigned bits = 0;
  for (const char character : text) {
    const bool lower = character >= 'a' && character <= 'z';
    const int8_t value = kBase32Values[static_cast<uint8_t>(lower ? character - 'a' + 'A' : character)];
    if (value < 0) return Error(Code::Malformed, "base32: a character outside the alphabet");
    group = (group << 5) | static_cast<uint32_t>(value);
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    out.push_back(static_cast<uint8_t>(group >> bits));
    group &= (1u << bits) - 1;
  }
  if (group != 0) return Error(Code::Malformed, "base32: unused bits are not zero");
  return out;
}

std::string pem_encode(std::string_view label, ByteView content) {
  const std::string body = base64_encode(content);
  std::string out = std::string("-----BEGIN ").append(label).append("-----\n");
  for (size_t i = 0; i < body.size(); i += 64) out.append(body, i, 64).push_back('\n');
  return out.append("-----END ").append(label).append("-----\n");
}

Result<std::vector<PemBlock>> pem_decode(std::string_view text, size_t max_blocks) {
  constexpr std::string_view kBegin = "-----BEGIN ";
  constexpr std::string_view kDashes = "-----";
  std::vector<PemBlock> blocks;
  for (;;) {
    const size_t begin = text.find(kBegin);
    if (begin == std::string_view::npos) return blocks;
    if (blocks.size() == max_blocks) return Error(Code::Malformed, "PEM: too many blocks");
    text.remove_prefix(begin + kBegin.size());

    const size_t label_size = text.find(kDashes);
    if (label_size == std::string_view::npos || label_size > 64) {
      return Error(Code::Malformed, "PEM: the BEGIN line is broken");
    }
    const std::string label(text.substr(0, label_size));
    text.remove_prefix(label_size + kDashes.size());

    const std::string end_line = "-----END " + label + "-----";
    const size_t body_size = text.find(end_line);
    if (body_size == std::string_view::npos) return Error(Code::Malformed, "PEM: no END line for " + label);
    Bytes content = TRY(decode_pem_body(text.substr(0, body_size)));
    text.remove_prefix(body_size + end_line.size());
    blocks.push_back(PemBlock{label, std::move(content)});
  }
}

}  // namespace cloister::crypto
