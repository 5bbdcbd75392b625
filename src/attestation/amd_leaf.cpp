// What a VCEK or VLEK says about the firmware and the chip it stands for.
#include "attestation/amd_x509.h"
#include "attestation/der.h"

namespace cloister::attestation {
namespace {

constexpr uint8_t kIa5String = 0x16;

Error bad(std::string_view what) { return Error(Code::Malformed, "AMD leaf: " + std::string(what)); }

// Absent: nothing; there: an INTEGER of one byte's range.
Result<std::optional<uint8_t>> level(const AmdCertificate& leaf, const char* oid) {
  const auto content = leaf.extension(oid);
  if (!content.ok() && content.error().code() == Code::NotFound) return std::optional<uint8_t>();
  if (!content.ok()) return content.error();
  DerReader reader(*content);
  const uint32_t value = TRY(reader.next_unsigned(DerReader::kInteger));
  if (value > 0xff || !reader.at_end()) return bad(std::string("extension ") + oid);
  return std::optional<uint8_t>(static_cast<uint8_t>(value));
}

Result<uint8_t> required_level(const AmdCertificate& leaf, const char* oid, std::string_view name) {
  const std::optional<uint8_t> value = TRY(level(leaf, oid));
  if (!value) return bad("no TCB extension for " + std::string(name));
  return *value;
}

Result<std::string> text(const AmdCertificate& leaf, const char* oid) {
  const auto content = leaf.extension(oid);
  if (!content.ok() && content.error().code() == Code::NotFound) return std::string();
  if (!content.ok()) return content.error();
  DerReader reader(*content);
  const ByteView value = TRY(reader.next(kIa5String));
  if (!reader.at_end() || value.empty() || value.size() > 256) return bad(std::string("extension ") + oid);
  for (const uint8_t c : value) {
    if (c < 0x20 || c > 0x7e) return bad(std::string("extension ") + oid + " is not plain text");
  }
  return std::string(as_text(value));
}

}  // namespace

Result<AmdLeafFields> amd_leaf_fields(const AmdCertificate& leaf) {
  AmdLeafFields out;
  out.product = TRY(text(leaf, "1.3.6.1.4.1.3704.1.2"));
  if (out.product.empty()) return bad("no product name");
  out.boot_loader = TRY(required_level(leaf, "1.3.6.1.4.1.3704.1.3.1", "the boot loader"));
  out.tee = TRY(required_level(leaf, "1.3.6.1.4.1.3704.1.3.2", "the TEE"));
  out.snp = TRY(required_level(leaf, "1.3.6.1.4.1.3704.1.3.3", "SNP"));
  out.spl4_to_7[0] = TRY(level(leaf, "1.3.6.1.4.1.3704.1.3.4"));
  out.spl4_to_7[1] = TRY(level(leaf, "1.3.6.1.4.1.3704.1.3.5"));
  out.spl4_to_7[2] = TRY(level(leaf, "1.3.6.1.4.1.3704.1.3.6"));
  out.spl4_to_7[3] = TRY(level(leaf, "1.3.6.1.4.1.3704.1.3.7"));
  out.microcode = TRY(required_level(leaf, "1.3.6.1.4.1.3704.1.3.8", "the microcode"));
  out.fmc = TRY(level(leaf, "1.3.6.1.4.1.3704.1.3.9"));
  // The one extension without DER inside: a first byte of 02 or 04 is part of the id, not a tag.
  auto hwid = leaf.extension("1.3.6.1.4.1.3704.1.4");
  if (!hwid.ok() && hwid.error().code() != Code::NotFound) return hwid.error();
  if (hwid.ok()) out.hwid = std::move(hwid).value();
  out.csp_id = TRY(text(leaf, "1.3.6.1.4.1.3704.1.5"));
  return out;
}

}  // namespace cloister::attestation
