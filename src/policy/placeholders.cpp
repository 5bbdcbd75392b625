#include "policy/placeholders.h"

#include "crypto/encoding.h"

namespace cloister::policy {
namespace {

constexpr std::string_view kOpen = "$$SCONE::";
constexpr std::string_view kClose = "$$";
constexpr uint32_t kMaxArgument = 1024;

Result<SecretReference> parse_reference(std::string_view inside) {
  SecretReference reference;
  // ".hex" is how the language's early versions wrote ":hex".
  size_t at = inside.find(':');
  if (at == std::string_view::npos && inside.ends_with(".hex")) at = inside.size() - 4;
  reference.name = std::string(inside.substr(0, at));
  if (reference.name.empty()) return Error(Code::Malformed, "a reference to a secret without a name");
  if (at == std::string_view::npos) return reference;
  const std::string_view format = inside.substr(at + 1);
  if (format == "bin")
    reference.format = SecretFormat::Binary;
  else if (format == "hex")
    reference.format = SecretFormat::Hex;
  else if (format == "base64")
    reference.format = SecretFormat::Base64;
  else if (format == "base64url")
    reference.format = SecretFormat::Base64Url;
  else if (format == "base32")
    reference.format = SecretFormat::Base32;
  else if (format == "base32nopad")
    reference.format = SecretFormat::Base32NoPad;
  else
    return Error(Code::Unsupported, "secret format `" + std::string(format.substr(0, 32)) + "`");
  return reference;
}

// Calls `text` for what stands outside of @@N and `number` for each N.
template <class Text, class Number>
Result<void> scan_arguments(std::string_view input, const Text& text, const Number& number) {
  while (!input.empty()) {
    const size_t at = input.find("@@");
    size_t digits = at == std::string_view::npos ? 0 : at + 2;
    while (digits != 0 && digits < input.size() && input[digits] >= '0' && input[digits] <= '9') ++digits;
    if (at == std::string_view::npos) {
      text(input);
      return {};
    }
    text(input.substr(0, at));
    if (digits == at + 2) {
      text(input.substr(at, 2));
    } else {
      uint32_t value = 0;
      for (const char c : input.substr(at + 2, digits - at - 2)) {
        value = value * 10 + static_cast<uint32_t>(c - '0');
        if (value > kMaxArgument) break;
      }
      if (value == 0 || value > kMaxArgument) {
        return Error(Code::Malformed, "host arguments are @@1 to @@" + std::to_string(kMaxArgument));
      }
      TRY(number(value));
    }
    input.remove_prefix(digits);
  }
  return {};
}

}  // namespace

Result<std::string> expand_secrets(std::string_view text, const SecretLookup& lookup,
                                   const TextLookup& outside) {
  std::string out;
  for (;;) {
    const size_t begin = text.find(kOpen);
    const std::string_view before = text.substr(0, begin);
    if (outside) {
      out.append(TRY(outside(before)));
    } else {
      out.append(before);
    }
    if (begin == std::string_view::npos) return out;
    text.remove_prefix(begin + kOpen.size());
    const size_t end = text.find(kClose);
    if (end == std::string_view::npos) {
      return Error(Code::Malformed, "a reference to a secret does not end with $$");
    }
    const SecretReference reference = TRY(parse_reference(text.substr(0, end)));
    out.append(TRY(lookup(reference)));
    text.remove_prefix(end + kClose.size());
  }
}

Result<std::string> format_secret(ByteView value, bool ascii, SecretFormat format) {
  if (ascii && format != SecretFormat::Default) {
    return Error(Code::Malformed, "an ascii secret has no formats");
  }
  switch (format) {
    case SecretFormat::Default:
    case SecretFormat::Binary:
      return std::string(as_text(value));
    case SecretFormat::Hex:
      return to_hex(value);
    case SecretFormat::Base64:
      return crypto::base64_encode(value);
    case SecretFormat::Base64Url:
      return crypto::base64url_encode(value);
    case SecretFormat::Base32:
      return crypto::base32_encode(value, true);
    case SecretFormat::Base32NoPad:
      return crypto::base32_encode(value, false);
  }
  return Error(Code::Internal, "secret format");
}

std::optional<SecretReference> whole_reference(std::string_view text) {
  if (!text.starts_with(kOpen) || !text.ends_with(kClose) || text.size() <= kOpen.size() + kClose.size()) {
    return std::nullopt;
  }
  const std::string_view inside = text.substr(kOpen.size(), text.size() - kOpen.size() - kClose.size());
  if (inside.find(kClose) != std::string_view::npos) return std::nullopt;
  Result<SecretReference> reference = parse_reference(inside);
  if (!reference.ok()) return std::nullopt;
  return std::move(*reference);
}

Result<std::string> expand_arguments(std::string_view text, const std::vector<std::string>& arguments) {
  std::string out;
  const auto number = [&](uint32_t value) -> Result<void> {
    if (value > arguments.size()) {
      return Error(Code::InvalidArgument, "host argument @@" + std::to_string(value) + " is missing");
    }
    out += arguments[value - 1];
    return {};
  };
  TRY(scan_arguments(
      text, [&](std::string_view part) { out.append(part); }, number));
  return out;
}

Result<std::vector<uint32_t>> argument_numbers(std::string_view text) {
  std::vector<uint32_t> numbers;
  const auto number = [&](uint32_t value) -> Result<void> {
    numbers.push_back(value);
    return {};
  };
  TRY(scan_arguments(
      text, [](std::string_view) {}, number));
  return numbers;
}

Result<std::vector<std::string>> split_command(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool inside = false;  // of a word
  char quote = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != 0 && c == quote) {
      quote = 0;
    } else if (c == '\\' && quote != '\'' && i + 1 < text.size()) {
      word += text[++i];
      inside = true;
    } else if (quote != 0) {
      word += c;
    } else if (c == '\'' || c == '"') {
      quote = c;
      inside = true;
    } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      if (inside) words.push_back(std::exchange(word, {}));
      inside = false;
    } else {
      word += c;
      inside = true;
    }
  }
  if (quote != 0) return Error(Code::Malformed, "a quotation in the command does not end");
  if (inside) words.push_back(std::move(word));
  return words;
}

}  // namespace cloister::policy
