// SEV-SNP evidence under an AMD of our own: what is genuine is accepted, each single fault is refused by
// name.
#include <gtest/gtest.h>

#include "attestation/snp_test_support.h"

namespace cloister::attestation {
namespace {

constexpr int64_t kNow = 1790000000;  // within the lives of all certificates

const SnpTestPki& pki() {
  static const SnpTestPki made;
  return made;
}

Bytes signed_report(uint32_t version, const SnpLeafRequest& leaf) {
  Bytes report = unsigned_snp_report(version, leaf);
  pki().sign(report);
  return report;
}

SnpLeafRequest turin_leaf() {
  SnpLeafRequest leaf;
  leaf.turin = true;
  leaf.tcb = {3, 7, 1, 22, 0, 0, 0, 200};
  leaf.hwid = Bytes(8, 0x04);
  return leaf;
}

SnpLeafRequest vlek_leaf() {
  SnpLeafRequest leaf;
  leaf.name = "SEV-VLEK";
  leaf.product = "Genoa";
  leaf.csp_id = "CN=cloud.example";
  leaf.hwid.clear();
  return leaf;
}

struct Case {
  Bytes report, leaf;
  std::string chain = pki().chain_pem();
  Bytes crl = pki().crl(false);
  std::optional<ByteArray<64>> expected;
};

Case genuine(const SnpLeafRequest& leaf = {}, uint32_t version = 3) {
  Case out;
  out.report = signed_report(version, leaf);
  out.leaf = pki().leaf(leaf);
  out.chain = pki().chain_pem(leaf.name == "SEV-VLEK");
  return out;
}

Result<Verdict> verify(const Case& c, int64_t now = kNow) {
  return verify_snp({c.report, c.leaf, as_bytes(c.chain), c.crl}, {pki().anchor()}, now, c.expected);
}

// "" when accepted, else what was said.
std::string refusal(const Case& c, int64_t now = kNow) {
  const auto verdict = verify(c, now);
  return verdict.ok() ? "" : verdict.error().message();
}

// A genuine report with another byte at `at`, signed by the firmware.
Case altered(size_t at, uint8_t value, uint32_t version = 3) {
  Case out = genuine({}, version);
  out.report[at] = value;
  pki().sign(out.report);
  return out;
}

TEST(Snp, EveryVersionOfAGenuineReportIsAccepted) {
  for (uint32_t version = 2; version <= 5; ++version) {
    const auto verdict = verify(genuine({}, version));
    ASSERT_TRUE(verdict.ok()) << version << ": " << verdict.error().message();
    EXPECT_EQ(verdict->tee, Tee::Snp);
    EXPECT_EQ(verdict->status, TcbStatus::Unrated);
    EXPECT_TRUE(verdict->simulated) << "not AMD's root";
    EXPECT_TRUE(verdict->revocation_checked);
    EXPECT_EQ(verdict->snp->product_line, "Genoa");
    EXPECT_EQ(verdict->snp->reported_tcb, (SnpTcb{0, 7, 1, 22, 200}));
    EXPECT_EQ(verdict->snp->launch_mitigations, version == 5 ? 1u : 0u);
    EXPECT_EQ(verdict->report_data[63], 0xda);
  }
}

TEST(Snp, TurinOrdersItsTcbBytesInAnotherWay) {
  const auto verdict = verify(genuine(turin_leaf()));
  ASSERT_TRUE(verdict.ok()) << verdict.error().message();
  EXPECT_EQ(verdict->snp->reported_tcb, (SnpTcb{3, 7, 1, 22, 200}));
  Case shorter = genuine(turin_leaf());
  shorter.report[0x1a0 + 8] = 1;
  pki().sign(shorter.report);
  EXPECT_NE(refusal(shorter).find("CHIP_ID"), std::string::npos) << "bytes behind the short chip id";
}

TEST(Snp, AVlekNamesTheProviderAndNoChip) {
  const auto verdict = verify(genuine(vlek_leaf()));
  ASSERT_TRUE(verdict.ok()) << verdict.error().message();
  EXPECT_TRUE(verdict->snp->vlek);
  EXPECT_EQ(verdict->snp->csp_id, "CN=cloud.example");
}

TEST(Snp, TheKindOfKeyMustBeTheCertificates) {
  Case vlek_report = genuine(vlek_leaf());
  vlek_report.leaf = pki().leaf({});
  vlek_report.chain = pki().chain_pem();
  EXPECT_NE(refusal(vlek_report).find("another kind of key"), std::string::npos);
  Case vcek_report = genuine();
  vcek_report.leaf = pki().leaf(vlek_leaf());
  vcek_report.chain = pki().chain_pem(true);
  EXPECT_NE(refusal(vcek_report).find("another kind of key"), std::string::npos);
  Case by_asvk = genuine();
  by_asvk.chain = pki().chain_pem(true);
  EXPECT_NE(refusal(by_asvk).find("issued by another than SEV-Genoa"), std::string::npos);
}

TEST(Snp, RefusesWhatTheCertificateDoesNotSay) {
  EXPECT_NE(refusal(altered(0x180, 8)).find("REPORTED_TCB"), std::string::npos);
  EXPECT_EQ(refusal(altered(0x38, 9)), "") << "CURRENT_TCB is not what the leaf is for";
  EXPECT_NE(refusal(altered(0x1a0, 9)).find("CHIP_ID"), std::string::npos);
  SnpLeafRequest leaf;
  leaf.without_microcode = true;
  EXPECT_NE(refusal(genuine(leaf)).find("no TCB extension"), std::string::npos);
  leaf = {};
  leaf.product = "Genoax";
  EXPECT_NE(refusal(genuine(leaf)).find("product"), std::string::npos);
  leaf = {};
  leaf.hwid.clear();
  EXPECT_NE(refusal(genuine(leaf)).find("without HWID"), std::string::npos);
}

TEST(Snp, UnsignedAndReservedBytesMustBeZero) {
  Case trailing = genuine();
  trailing.report.back() = 1;
  EXPECT_NE(refusal(trailing).find("behind the signature"), std::string::npos);
  Case wide = genuine();
  wide.report[kSnpSignedSize + 48] = 1;
  EXPECT_NE(refusal(wide).find("upper part of the signature"), std::string::npos);
  for (const size_t at : {0x49, 0x4c, 0x18b, 0x1eb, 0x1ef, 0x1f8, 0x29f}) {
    EXPECT_NE(refusal(altered(at, 0x80)), "") << at;
  }
  EXPECT_EQ(refusal(altered(0x1f8, 0x80, 5)), "") << "a field since version 5";
  EXPECT_NE(refusal(altered(0x188, 0x19, 2)), "") << "no CPUID in version 2";
}

TEST(Snp, EveryLengthButTheRightOneIsMalformed) {
  const Bytes report = signed_report(3, {});
  for (size_t size = 0; size < report.size(); ++size) {
    EXPECT_FALSE(parse_snp_report(ByteView(report).first(size)).ok());
  }
  Bytes longer = report;
  longer.push_back(0);
  EXPECT_FALSE(parse_snp_report(longer).ok());
}

TEST(Snp, EveryByteThatIsSignedIsProtected) {
  Case c = genuine();
  for (size_t at = 0; at < kSnpSignedSize + 48; at += 7) {
    c.report[at] ^= 1;
    EXPECT_NE(refusal(c), "") << at;
    c.report[at] ^= 1;
  }
  EXPECT_EQ(refusal(c), "");
}

TEST(Snp, RevocationListsFailClosed) {
  Case c = genuine();
  c.crl.clear();
  EXPECT_EQ(refusal(c), "revocation: the list is missing");
  c.crl = pki().crl(true);
  EXPECT_EQ(refusal(c), "revocation: the ASK is revoked");
  c.crl = pki().crl(false, "20210101000000Z");
  EXPECT_NE(refusal(c).find("has expired"), std::string::npos);
  const SnpTestPki other;
  c.crl = other.crl(false);
  EXPECT_EQ(refusal(c), "revocation: signature of the list");
}

TEST(Snp, TimeIsTheArgument) {
  EXPECT_NE(refusal(genuine(), 1000000000).find("not valid yet"), std::string::npos);
  EXPECT_NE(refusal(genuine(), 3000000000).find("has expired"), std::string::npos);
}

TEST(Snp, RootsAreTrustedByKeyAndLine) {
  const Case c = genuine();
  const auto under = [&](const std::vector<SnpAnchor>& anchors) {
    return verify_snp({c.report, c.leaf, as_bytes(c.chain), c.crl}, anchors, kNow, std::nullopt).ok();
  };
  EXPECT_TRUE(under({pki().anchor()}));
  EXPECT_FALSE(under(amd_roots()));
  EXPECT_FALSE(under({}));
  SnpAnchor other_line = pki().anchor();
  other_line.product_line = "Milan";
  EXPECT_FALSE(under({other_line}));
}

TEST(Snp, OtherReportDataIsDenied) {
  Case c = genuine();
  c.expected.emplace().fill(0xda);
  EXPECT_TRUE(verify(c).ok());
  c.expected->back() = 0;
  EXPECT_EQ(verify(c).error().code(), Code::Denied);
}

TEST(Snp, PolicySeesDebugMigrationAndWhoAsked) {
  const auto debug = verify(altered(0x0a, 0x0f));
  ASSERT_TRUE(debug.ok()) << debug.error().message();
  EXPECT_TRUE(debug->debug);
  EXPECT_TRUE(debug->snp->migration_agent);
  EXPECT_FALSE(verify(genuine())->debug);
  EXPECT_EQ(verify(altered(0x30, 2))->snp->vmpl, 2u);
}

}  // namespace
}  // namespace cloister::attestation
