// Names and anchors.
#include "attestation/verifier.h"

#include "attestation/x509.h"

namespace cloister::attestation {
namespace {

constexpr std::pair<TcbStatus, std::string_view> kNames[] = {
    {TcbStatus::UpToDate, "UpToDate"},
    {TcbStatus::SWHardeningNeeded, "SWHardeningNeeded"},
    {TcbStatus::ConfigurationNeeded, "ConfigurationNeeded"},
    {TcbStatus::ConfigurationAndSWHardeningNeeded, "ConfigurationAndSWHardeningNeeded"},
    {TcbStatus::OutOfDate, "OutOfDate"},
    {TcbStatus::OutOfDateConfigurationNeeded, "OutOfDateConfigurationNeeded"},
    {TcbStatus::Revoked, "Revoked"},
    {TcbStatus::TDRelaunchAdvised, "TDRelaunchAdvised"},
    {TcbStatus::TDRelaunchAdvisedConfigurationNeeded, "TDRelaunchAdvisedConfigurationNeeded"},
    {TcbStatus::Unrated, "Unrated"},
};
constexpr size_t kNamesInFiles = 7;

// The key of "Intel SGX Root CA", x and y. Its certificate exists in two encodings, so the key is what is
// pinned.
constexpr std::string_view kIntelRoot =
    "0ba9c4c0c0c86193a3fe23d6b02cda10a8bbd4e88e48b4458561a36e705525f5"
    "67918e2edc88e40d860bd0cc4ee26aacc988e505a953558c453f6b0904ae7394";

}  // namespace

std::string_view tcb_status_name(TcbStatus status) {
  for (const auto& [value, name] : kNames) {
    if (value == status) return name;
  }
  return "unknown";
}

std::string hex_bits(uint64_t bits) {
  uint8_t bytes[8];
  store_be(bytes, bits);
  return to_hex(bytes);
}

std::optional<TcbStatus> parse_tcb_status(std::string_view name) {
  for (size_t i = 0; i < kNamesInFiles; ++i) {
    if (kNames[i].second == name) return kNames[i].first;
  }
  return std::nullopt;
}

TrustAnchor intel_sgx_root() {
  TrustAnchor anchor;
  const Bytes point = from_hex(kIntelRoot).value();
  anchor.root_key[0] = 4;
  std::memcpy(anchor.root_key.data() + 1, point.data(), point.size());
  return anchor;
}

Result<TrustAnchor> anchor_from_certificate(ByteView certificate, bool simulation) {
  TrustAnchor anchor;
  anchor.simulation = simulation;
  if (as_text(certificate).find("-----BEGIN CERTIFICATE-----") != std::string_view::npos) {
    const std::vector<Certificate> all = TRY(certificates_from_pem(as_text(certificate)));
    if (all.size() != 1) return Error(Code::Malformed, "a root file must hold exactly one certificate");
    anchor.root_key = all.front().key().point();
    return anchor;
  }
  const Certificate decoded = TRY(Certificate::from_der(certificate));
  anchor.root_key = decoded.key().point();
  return anchor;
}

}  // namespace cloister::attestation
