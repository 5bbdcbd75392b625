// A small Intel of our own for TDX: root, CA, PCK, quoting enclave, TCB info with levels for platform and
// module, and quotes v4 and v5 over reports that a test makes up. For tests, the fuzz corpus and tools.
#pragma once

#include <array>

#include "attestation/sim_issue.h"
#include "attestation/tcb_json.h"
#include "attestation/verifier.h"
#include "attestation/x509.h"
#include "crypto/sha256.h"
#include "sgx/structures.h"

namespace cloister::attestation {

// What a report says: TD 1.0 in a quote v4 or v5, TD 1.5 in a quote v5, also extended (the rest is 0xee).
struct TestTd {
  uint16_t version = 4;
  uint16_t body_type = 2;      // 2: TD 1.0, 3: TD 1.5, 4: extended
  uint8_t module_version = 1;  // 0: a TDX 1.0 module
  uint8_t module_svn = 3;      // byte 0 of TEE_TCB_SVN
  uint8_t platform_svn = 6;    // bytes 2 to 15
  uint8_t module_svn_now = 3;  // the same of TEE_TCB_SVN2
  uint8_t platform_svn_now = 6;
  // MRTD, RTMR0 to RTMR3, MRSEAM, MRSIGNERSEAM, MRCONFIGID, MROWNER, MROWNERCONFIG, MRSERVICETD: each byte.
  std::array<uint8_t, 11> registers = {0x10, 0xa0, 0xa1, 0xa2, 0xa3, 0x5e, 0, 0xc0, 0xc1, 0xc2, 0};
  uint64_t seam_attributes = 0, td_attributes = 1u << 28, xfam = 0xe7;
  ByteArray<64> report_data{};
};

struct TestLevel {
  unsigned svn = 0;
  TcbStatus status = TcbStatus::UpToDate;
  std::vector<std::string> advisories;
};

// What the provisioning service says. A level without a match refuses.
struct TestTcb {
  std::vector<TestLevel> platform = {{6, TcbStatus::UpToDate, {}}};  // by TestTd::platform_svn
  std::vector<TestLevel> module = {{3, TcbStatus::UpToDate, {}}};    // of TDX_01, by module_svn
  TcbStatus qe = TcbStatus::UpToDate;
  uint32_t evaluation_number = 17;
  const char *info_id = "TDX", *qe_id = "TD_QE";  // of which TEE they are
};

class TdxTestPki {
 public:
  TdxTestPki() {
    CertificateRequest root, ca, pck, signer;
    root.common_name = kRootName;
    ca.common_name = kPlatformCaName;
    root.is_ca = ca.is_ca = true;
    root.path_length = 1;
    ca.path_length = 0;
    signer.common_name = kTcbSigningName;
    pck.common_name = kLeafName;
    SimPckFields fields;
    fields.components.fill(9);
    fields.pce_svn = 13;
    fields.fmspc = {0x00, 0x54, 0x44, 0x58, 0x00, 0x01};
    pck.sgx_extension = encode_sgx_extension(fields);
    root_ = issue_certificate(root, root_key_.public_key(), root_key_, nullptr).value();
    ca_ = issue_certificate(ca, ca_key_.public_key(), root_key_, &root_).value();
    pck_ = issue_certificate(pck, pck_key_.public_key(), ca_key_, &ca_).value();
    signer_ = issue_certificate(signer, signer_key_.public_key(), root_key_, &root_).value();
  }

  TrustAnchor anchor() const { return anchor_from_certificate(as_bytes(root_.pem), true).value(); }
  const std::string& root_pem() const { return root_.pem; }

  Bytes quote(const TestTd& td) const {
    ByteWriter out;
    out.le(td.version).le<uint16_t>(2).le<uint32_t>(0x81).zeros(4).bytes(kVendor).zeros(16).zeros(4);
    const Bytes report = body(td);
    if (td.version == 5) out.le(td.body_type).le(static_cast<uint32_t>(report.size()));
    out.bytes(report);
    const crypto::RawSignature signature = attestation_key_.sign_raw(out.view()).value();
    const crypto::RawPublicKey key = attestation_key_.public_key().raw();
    const Bytes authentication(32, 0x7a);
    const sgx::ReportBody qe = qe_report(key, authentication);
    const std::string chain = pck_.pem + ca_.pem + root_.pem;
    ByteWriter inner;
    inner.bytes(object_bytes(qe)).bytes(pck_key_.sign_raw(object_bytes(qe)).value());
    inner.le(static_cast<uint16_t>(authentication.size())).bytes(authentication);
    inner.le<uint16_t>(5).field(chain);
    ByteWriter tail;
    tail.bytes(signature).bytes(key).le<uint16_t>(6).field(inner.view());
    return out.field(tail.view()).take();
  }

  // Valid from a day before `now` for thirty days.
  CollateralBundle collateral(int64_t now, const TestTcb& tcb = {}) const {
    const int64_t from = now - 86400, to = from + 30 * 86400;
    CollateralBundle out;
    out.pck_crl_issuer_chain = ca_.pem + root_.pem;
    out.tcb_info_issuer_chain = out.qe_identity_issuer_chain = signer_.pem + root_.pem;
    out.root_ca_crl = issue_crl(root_, root_key_, from, to, nullptr).value();
    out.pck_crl = issue_crl(ca_, ca_key_, from, to, nullptr).value();
    out.tcb_info = tcb_info(tcb, from, to);
    out.qe_identity = qe_identity(tcb, from, to);
    out.tcb_info_signature = signed_by_signer(out.tcb_info);
    out.qe_identity_signature = signed_by_signer(out.qe_identity);
    return out;
  }

 private:
  static constexpr uint8_t kVendor[16] = {0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9,
                                          0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07};
  static constexpr uint8_t kQeSigner = 0xdc;

  static void add_svn(ByteWriter& out, uint8_t module_svn, uint8_t module_version, uint8_t platform_svn) {
    out.le(module_svn).le(module_version);
    for (int i = 2; i < 16; ++i) out.le(platform_svn);
  }
  static Bytes body(const TestTd& td) {
    const auto filled = [&](size_t i) { return Bytes(48, td.registers[i]); };
    ByteWriter out;
    add_svn(out, td.module_svn, td.module_version, td.platform_svn);
    out.bytes(filled(5)).bytes(filled(6)).le(td.seam_attributes).le(td.td_attributes).le(td.xfam);
    out.bytes(filled(0)).bytes(filled(7)).bytes(filled(8)).bytes(filled(9));
    for (size_t i = 1; i <= 4; ++i) out.bytes(filled(i));
    out.bytes(td.report_data);
    if (td.body_type < 3) return out.take();
    add_svn(out, td.module_svn_now, td.module_version, td.platform_svn_now);
    out.bytes(filled(10));
    if (td.body_type == 4) out.bytes(Bytes(237, 0xee));
    return out.take();
  }
  static sgx::ReportBody qe_report(ByteView key, ByteView authentication) {
    sgx::ReportBody qe{};
    qe.attributes.flags = sgx::kFlagInit | sgx::kFlagMode64 | sgx::kFlagProvisionKey;
    qe.attributes.xfrm = sgx::kXfrmLegacy;
    std::fill(std::begin(qe.mrsigner), std::end(qe.mrsigner), kQeSigner);
    qe.isv_prod_id = 2;
    qe.isv_svn = 4;
    const crypto::Digest bound = crypto::sha256({key, authentication});
    std::copy(bound.begin(), bound.end(), qe.report_data);
    return qe;
  }

  Bytes signed_by_signer(const std::string& text) const {
    const crypto::RawSignature signature = signer_key_.sign_raw(as_bytes(text)).value();
    return {signature.begin(), signature.end()};
  }
  static std::string components(unsigned svn, unsigned first_two) {
    std::string out;
    for (unsigned i = 0; i < 16; ++i)
      out += std::string(i == 0 ? "" : ",") + "{\"svn\":" + std::to_string(i < 2 ? first_two : svn) + "}";
    return "[" + out + "]";
  }
  static std::string judged(const TestLevel& level) {
    std::string out = "\"tcbDate\":\"2024-03-13T00:00:00Z\",\"tcbStatus\":\"";
    out.append(tcb_status_name(level.status)).append("\",\"advisoryIDs\":[");
    for (const std::string& id : level.advisories)
      out += std::string(&id == &level.advisories.front() ? "" : ",") + "\"" + id + "\"";
    return out + "]}";
  }
  static std::string isv_levels(const std::vector<TestLevel>& levels) {
    std::string out;
    for (const TestLevel& level : levels) {
      out += std::string(out.empty() ? "" : ",") + "{\"tcb\":{\"isvsvn\":" + std::to_string(level.svn) +
             "}," + judged(level);
    }
    return "\"tcbLevels\":[" + out + "]";
  }
  static std::string dates(const TestTcb& tcb, int64_t from, int64_t to) {
    return "\"issueDate\":\"" + format_rfc3339(from) + "\",\"nextUpdate\":\"" + format_rfc3339(to) +
           "\",\"tcbEvaluationDataNumber\":" + std::to_string(tcb.evaluation_number);
  }
  static std::string tcb_info(const TestTcb& tcb, int64_t from, int64_t to) {
    const std::string seam = "\"mrsigner\":\"" + std::string(96, '0') +
                             "\",\"attributes\":\"0000000000000000\",\"attributesMask\":\"FFFFFFFFFFFFFFFF\"";
    std::string levels;
    for (const TestLevel& level : tcb.platform) {
      levels += std::string(levels.empty() ? "" : ",") +
                "{\"tcb\":{\"sgxtcbcomponents\":" + components(9, 9) +
                ",\"pcesvn\":13,\"tdxtcbcomponents\":" + components(level.svn, 0) + "}," + judged(level);
    }
    return "{\"id\":\"" + std::string(tcb.info_id) + "\",\"version\":3," + dates(tcb, from, to) +
           ",\"fmspc\":\"005444580001\",\"pceId\":\"0000\",\"tcbType\":0,\"tdxModule\":{" + seam +
           "},\"tdxModuleIdentities\":[{\"id\":\"TDX_01\"," + seam + "," + isv_levels(tcb.module) +
           "}],\"tcbLevels\":[" + levels + "]}";
  }
  static std::string qe_identity(const TestTcb& tcb, int64_t from, int64_t to) {
    const Bytes signer(32, kQeSigner);
    return "{\"id\":\"" + std::string(tcb.qe_id) + "\",\"version\":2," + dates(tcb, from, to) +
           ",\"miscselect\":\"00000000\",\"miscselectMask\":\"FFFFFFFF\","
           "\"attributes\":\"11000000000000000000000000000000\","
           "\"attributesMask\":\"FBFFFFFFFFFFFFFF0000000000000000\",\"mrsigner\":\"" +
           to_hex(signer) + "\",\"isvprodid\":2," + isv_levels({{4, tcb.qe, {}}}) + "}";
  }

  crypto::KeyPair root_key_ = crypto::KeyPair::generate().value(),
                  ca_key_ = crypto::KeyPair::generate().value(),
                  pck_key_ = crypto::KeyPair::generate().value(),
                  signer_key_ = crypto::KeyPair::generate().value(),
                  attestation_key_ = crypto::KeyPair::generate().value();
  IssuedCertificate root_, ca_, pck_, signer_;
};

}  // namespace cloister::attestation
