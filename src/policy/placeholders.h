// What stands for something else inside strings of a session: `$$SCONE::NAME[:FORMAT]$$` for a secret and, in
// commands, `@@N` for the N-th argument that the host gives. One scanner, used to check a session when it
// comes and to fill it in when an enclave asks.
#pragma once

#include <functional>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"

namespace cloister::policy {

enum class SecretFormat : uint8_t { Default, Binary, Hex, Base64, Base64Url, Base32, Base32NoPad };

struct SecretReference {
  std::string name;
  SecretFormat format = SecretFormat::Default;
};

// What a reference becomes. Called once for each occurrence.
using SecretLookup = std::function<Result<std::string>(const SecretReference&)>;

// What stands outside of references becomes.
using TextLookup = std::function<Result<std::string>(std::string_view)>;

// Replaces every reference, and with `outside` also the text between them. Malformed for one that is broken
// ("$$SCONE::" without its end, an unknown format); errors of `lookup` and `outside` are passed on. `$$`
// before anything else stays as it is.
Result<std::string> expand_secrets(std::string_view text, const SecretLookup& lookup,
                                   const TextLookup& outside = {});

// The text of a secret in a format. Ascii secrets only have the default one.
Result<std::string> format_secret(ByteView value, bool ascii, SecretFormat format);

// The whole text is one reference: which. Otherwise empty.
std::optional<SecretReference> whole_reference(std::string_view text);

// Replaces @@N (N from 1) by arguments[N - 1]. InvalidArgument when the host gave fewer.
Result<std::string> expand_arguments(std::string_view text, const std::vector<std::string>& arguments);
// The numbers N in a text, in order. Malformed for @@0 and numbers above 1024.
Result<std::vector<uint32_t>> argument_numbers(std::string_view text);

// Splits at white space; '…' and "…" keep it, \ keeps the next character outside of '…'. Malformed when a
// quotation does not end.
Result<std::vector<std::string>> split_command(std::string_view text);

}  // namespace cloister::policy
