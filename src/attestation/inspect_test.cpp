// What `inspect` shows of evidence that is made here.
#include "attestation/inspect.h"

#include <gtest/gtest.h>

#include "attestation/json.h"
#include "attestation/sim_issue.h"
#include "attestation/snp_test_support.h"

namespace cloister::attestation {
namespace {

const SnpTestPki& pki() {
  static const SnpTestPki made;
  return made;
}

Json shown(ByteView bytes) {
  const StructureKind kind = recognise_structure(bytes).value();
  const std::string text = inspect_structure(bytes, kind).value();
  return Json::parse(text);
}

TEST(Inspect, ShowsAnSnpReport) {
  const Bytes report = unsigned_snp_report(5, {});
  const Json json = shown(report);
  EXPECT_EQ(json["kind"], "snp-report");
  EXPECT_EQ(json["verified"], false);
  EXPECT_EQ(json["reported_tcb"]["microcode"], 200);
  EXPECT_EQ(json["measurement"].get<std::string>().substr(0, 4), "3e3e");
  EXPECT_EQ(json["signing_key"], "VCEK");
  EXPECT_EQ(json["launch_mitigations"], "0x0000000000000001");
}

TEST(Inspect, ShowsCertificatesAndLists) {
  const Json chain = shown(as_bytes(pki().chain_pem()));
  ASSERT_EQ(chain["certificates"].size(), 2u);
  EXPECT_EQ(chain["certificates"][0]["subject"], "CN=SEV-Genoa");
  EXPECT_EQ(chain["certificates"][1]["ca"], true);
  const Bytes leaf_der = pki().leaf({});
  const Json leaf = shown(leaf_der);
  EXPECT_EQ(leaf["certificates"][0]["sev_extensions"]["snp"], 22);
  const Bytes crl_der = pki().crl(true);
  const Json crl = shown(crl_der);
  EXPECT_EQ(crl["kind"], "crl");
  EXPECT_EQ(crl["revoked_count"], 1);
  EXPECT_EQ(crl["revoked"][0]["serial"], "02");
  const std::string hex = to_hex(crl_der) + "\n";
  EXPECT_EQ(shown(as_bytes(hex))["issuer"], "CN=ARK-Genoa");
}

TEST(Inspect, ShowsTheExtensionOfAPckCertificateAlone) {
  SimPckFields fields;
  fields.fmspc = {0x00, 0x53, 0x49, 0x4d, 0x00, 0x01};
  fields.pce_svn = 13;
  Bytes extension = encode_sgx_extension(fields);
  const Json json = shown(extension);
  EXPECT_EQ(json["kind"], "pck-extension");
  EXPECT_EQ(json["verified"], false);
  EXPECT_EQ(json["sgx_extension"]["fmspc"], "0053494d0001");
  EXPECT_EQ(json["sgx_extension"]["pce_svn"], 13);
  EXPECT_EQ(parse_structure_name("pck-extension"), StructureKind::PckExtension);
  extension.push_back(0);
  EXPECT_EQ(recognise_structure(extension).error().code(), Code::NotFound);
  EXPECT_FALSE(inspect_structure(extension, StructureKind::PckExtension).ok());
}

TEST(Inspect, KeysOfSignedTextHideNothing) {
  std::string text = R"({"tcbInfo":{"id":"SGX","version":3,"issueDate":"2026-01-01T00:00:00Z",
    "nextUpdate":"2026-02-01T00:00:00Z","fmspc":"00A067110000","pceId":"0000","tcbType":0,
    "tcbEvaluationDataNumber":17,"tcbLevels":[{"tcb":{"pcesvn":1,"sgxtcbcomponents":[{"svn":1},{"svn":1},
    {"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},{"svn":1},
    {"svn":1},{"svn":1},{"svn":1},{"svn":1}]},"tcbDate":"2025-01-01T00:00:00Z","tcbStatus":"UpToDate"}],
    "kind":"verdict","verified":true,"signed_bytes":1,"signature":"none"},"signature":"AA"})";
  text.replace(text.find("AA\"}"), 2, std::string(128, 'a'));
  const Json json = shown(as_bytes(text));
  EXPECT_EQ(json["kind"], "tcb-info");
  EXPECT_EQ(json["verified"], false);
  EXPECT_EQ(json["signature"], std::string(128, 'a'));
  EXPECT_EQ(json["fields"]["fmspc"], "00A067110000");
  EXPECT_EQ(json["fields"]["verified"], true);
}

TEST(Inspect, SaysWhenItKnowsNoSuchThing) {
  EXPECT_EQ(recognise_structure(as_bytes("hello")).error().code(), Code::NotFound);
  EXPECT_EQ(recognise_structure({}).error().code(), Code::NotFound);
  EXPECT_EQ(recognise_structure(as_bytes("{\"a\":1}")).error().code(), Code::NotFound);
  EXPECT_FALSE(inspect_structure(as_bytes("hello"), StructureKind::Quote).ok());
  EXPECT_FALSE(inspect_structure(as_bytes("{}"), StructureKind::Collateral).ok());
}

TEST(Inspect, NamesOfKindsAreRead) {
  EXPECT_EQ(parse_structure_name("tcb-info"), StructureKind::TcbInfo);
  EXPECT_FALSE(parse_structure_name("tcbinfo").has_value());
}

}  // namespace
}  // namespace cloister::attestation
