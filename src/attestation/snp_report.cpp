#include "attestation/snp_report.h"

#include <algorithm>

namespace cloister::attestation {
namespace {

constexpr uint32_t kMinVersion = 2, kMaxVersion = 5;
constexpr uint32_t kEcdsaP384 = 1;
constexpr size_t kSignatureField = 72;  // of R, of S; P-384 fills 48

Error bad(std::string_view what) { return Error(Code::Malformed, "SNP report: " + std::string(what)); }

Result<void> expect_zero(ByteReader& reader, size_t size, std::string_view what) {
  const ByteView bytes = TRY(reader.take(size));
  if (std::any_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b != 0; })) {
    return bad(std::string(what) + " is not zero");
  }
  return {};
}

Result<void> read_key_info(ByteReader& reader, SnpReport& report) {
  const uint32_t info = TRY(reader.le<uint32_t>());
  if (info >> 5 != 0) return bad("KEY_INFO has unknown bits");
  report.facts.author_key_enabled = (info & 1) != 0;
  report.facts.chip_id_masked = (info & 2) != 0;
  report.signing_key = static_cast<uint8_t>(info >> 2 & 7);
  return expect_zero(reader, 4, "the word behind KEY_INFO");
}

// 0x00 to 0x50.
Result<void> read_head(ByteReader& reader, SnpReport& report) {
  report.version = TRY(reader.le<uint32_t>());
  if (report.version < kMinVersion || report.version > kMaxVersion) {
    return bad("version " + std::to_string(report.version) + ", known are 2 to 5");
  }
  SnpFacts& facts = report.facts;
  facts.guest_svn = TRY(reader.le<uint32_t>());
  facts.policy = TRY(reader.le<uint64_t>());
  facts.migration_agent = (facts.policy >> 18 & 1) != 0;
  facts.family_id = TRY(reader.array<16>());
  facts.image_id = TRY(reader.array<16>());
  facts.vmpl = TRY(reader.le<uint32_t>());
  const uint32_t algorithm = TRY(reader.le<uint32_t>());
  if (algorithm != kEcdsaP384) return bad("signature algorithm " + std::to_string(algorithm));
  report.current_tcb = TRY(reader.array<8>());
  facts.platform_info = TRY(reader.le<uint64_t>());
  return read_key_info(reader, report);
}

// 0x50 to 0x180.
Result<void> read_identity(ByteReader& reader, SnpReport& report) {
  SnpFacts& facts = report.facts;
  report.report_data = TRY(reader.array<64>());
  facts.measurement = TRY(reader.array<48>());
  facts.host_data = TRY(reader.array<32>());
  facts.id_key_digest = TRY(reader.array<48>());
  facts.author_key_digest = TRY(reader.array<48>());
  facts.report_id = TRY(reader.array<32>());
  facts.report_id_ma = TRY(reader.array<32>());
  return {};
}

Result<SnpFirmware> read_firmware(ByteReader& reader) {
  const ByteArray<3> version = TRY(reader.array<3>());
  TRY(expect_zero(reader, 1, "a byte behind a firmware version"));
  return SnpFirmware{version[2], version[1], version[0]};
}

// 0x180 to 0x2a0.
Result<void> read_platform(ByteReader& reader, SnpReport& report) {
  SnpFacts& facts = report.facts;
  report.reported_tcb = TRY(reader.array<8>());
  report.has_cpuid = report.version >= 3;
  if (report.has_cpuid) {
    report.cpu_family = TRY(reader.le<uint8_t>());
    report.cpu_model = TRY(reader.le<uint8_t>());
    report.cpu_stepping = TRY(reader.le<uint8_t>());
  }
  TRY(expect_zero(reader, report.has_cpuid ? 21 : 24, "the part before CHIP_ID"));
  facts.chip_id = TRY(reader.array<64>());
  report.committed_tcb = TRY(reader.array<8>());
  facts.current_firmware = TRY(read_firmware(reader));
  facts.committed_firmware = TRY(read_firmware(reader));
  report.launch_tcb = TRY(reader.array<8>());
  size_t reserved = 168;
  if (report.version >= 5) {
    facts.launch_mitigations = TRY(reader.le<uint64_t>());
    facts.current_mitigations = TRY(reader.le<uint64_t>());
    reserved -= 16;
  }
  return expect_zero(reader, reserved, "the part before the signature");
}

Result<ByteArray<48>> read_number(ByteReader& reader) {
  ByteArray<48> number = TRY(reader.array<48>());
  TRY(expect_zero(reader, kSignatureField - number.size(), "the upper part of the signature"));
  std::reverse(number.begin(), number.end());
  return number;
}

}  // namespace

Result<SnpReport> parse_snp_report(ByteView bytes) {
  if (bytes.size() != kSnpReportSize) {
    return bad(std::to_string(bytes.size()) + " bytes in place of 1184");
  }
  ByteReader reader(bytes, "SNP report");
  SnpReport report;
  TRY(read_head(reader, report));
  TRY(read_identity(reader, report));
  TRY(read_platform(reader, report));
  report.signed_part = bytes.first(kSnpSignedSize);
  report.r = TRY(read_number(reader));
  report.s = TRY(read_number(reader));
  TRY(expect_zero(reader, reader.remaining(), "the part behind the signature"));
  return report;
}

SnpTcb decode_snp_tcb(const ByteArray<8>& raw, bool turin) {
  if (turin) return {raw[0], raw[1], raw[2], raw[3], raw[7]};
  return {0, raw[0], raw[1], raw[6], raw[7]};
}

}  // namespace cloister::attestation
