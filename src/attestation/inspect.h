// Any structure of attestation, field by field, for people: quotes, SNP reports, certificates with their SGX
// or SEV extensions, such an SGX extension alone, revocation lists, TCB info, QE identities, collateral
// bundles. Nothing is verified here, and the output says so.
#pragma once

#include <optional>
#include <string>

#include "base/bytes.h"

namespace cloister::attestation {

enum class StructureKind : uint8_t {
  Quote,
  SnpReport,
  Certificate,  // one or a chain; PEM or DER
  Crl,
  TcbInfo,
  QeIdentity,
  Collateral,
  PckExtension,  // the SGX extension of a PCK certificate, without the certificate
};
inline constexpr size_t kStructureKinds = 8;
std::string_view structure_name(StructureKind kind);  // "quote", "snp-report", …
std::optional<StructureKind> parse_structure_name(std::string_view name);
// By its first bytes or keys; NotFound when it is none of them.
Result<StructureKind> recognise_structure(ByteView bytes);

// A JSON object whose first keys are "kind" and "verified"; what has keys of its own stands below "fields".
// At most 8 MiB of input; Malformed names the field.
Result<std::string> inspect_structure(ByteView bytes, StructureKind kind);

}  // namespace cloister::attestation
