// The simulated Intel's collateral: TCB info v3 and QE identity v2 as JSON with the provisioning service's
// fields and order, and the two revocation lists. The JSON is written by hand because its exact bytes are
// what is signed.
#include "attestation/sim_pki.h"
#include "attestation/tcb_json.h"

namespace cloister::attestation {
namespace {

constexpr int64_t kHour = 3600, kDay = 24 * kHour;
constexpr int64_t kLifetime = 30 * kDay;

std::string quoted_list(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const std::string& item : items) {
    if (out.size() > 1) out += ',';
    out.append("\"").append(item).append("\"");
  }
  return out + "]";
}

std::string level(unsigned svn, TcbStatus status, const std::vector<std::string>& advisories) {
  std::string components;
  for (int i = 0; i < 16; ++i) {
    components.append(i == 0 ? "" : ",").append("{\"svn\":").append(std::to_string(svn)).append("}");
  }
  std::string out = "{\"tcb\":{\"sgxtcbcomponents\":[" + components + "],\"pcesvn\":13}";
  out += ",\"tcbDate\":\"2024-01-01T00:00:00Z\",\"tcbStatus\":\"";
  out.append(tcb_status_name(status)).append("\"");
  if (!advisories.empty()) out += ",\"advisoryIDs\":" + quoted_list(advisories);
  return out + "}";
}

// Advisory names come from the command line and go into signed JSON.
bool plain(std::string_view text) {
  for (const char c : text) {
    const bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (!letter && c != '-' && c != '_') return false;
  }
  return !text.empty() && text.size() <= 64;
}

}  // namespace

std::string SimPki::tcb_info_json(int64_t from, int64_t to) const {
  std::vector<std::string> advisories = settings_.advisory_ids;
  const bool up_to_date = settings_.tcb_status == TcbStatus::UpToDate;
  if (advisories.empty() && !up_to_date) advisories.push_back("INTEL-SA-00615");
  // A platform that is not up to date has a level above its own, which it does not reach.
  std::string levels;
  const unsigned own = platform_.cpu_svn()[0];
  if (!up_to_date) levels += level(own + 1, TcbStatus::UpToDate, {}) + ",";
  levels += level(own, settings_.tcb_status, advisories);
  levels += "," + level(0, TcbStatus::Revoked, {"INTEL-SA-00289"});
  std::string out = "{\"id\":\"SGX\",\"version\":3,\"issueDate\":\"" + format_rfc3339(from);
  out += "\",\"nextUpdate\":\"" + format_rfc3339(to) +
         "\",\"fmspc\":\"0053494D0001\",\"pceId\":\"0000\",\"tcbType\":0";
  out.append(",\"tcbEvaluationDataNumber\":").append(std::to_string(settings_.tcb_evaluation_number));
  return out + ",\"tcbLevels\":[" + levels + "]}";
}

std::string SimPki::qe_identity_json(int64_t from, int64_t to) const {
  const sgx::Secs qe = quoting_enclave();
  std::string out = "{\"id\":\"QE\",\"version\":2,\"issueDate\":\"" + format_rfc3339(from);
  out += "\",\"nextUpdate\":\"" + format_rfc3339(to);
  out.append("\",\"tcbEvaluationDataNumber\":").append(std::to_string(settings_.tcb_evaluation_number));
  out += ",\"miscselect\":\"00000000\",\"miscselectMask\":\"FFFFFFFF\"";
  // Everything but MODE64BIT is fixed, so DEBUG is refused.
  out += ",\"attributes\":\"11000000000000000000000000000000\"";
  out += ",\"attributesMask\":\"FBFFFFFFFFFFFFFF0000000000000000\"";
  out += ",\"mrsigner\":\"" + to_hex(qe.mrsigner) + "\",\"isvprodid\":" + std::to_string(qe.isv_prod_id);
  out += ",\"tcbLevels\":[{\"tcb\":{\"isvsvn\":" + std::to_string(qe.isv_svn);
  return out + "},\"tcbDate\":\"2024-01-01T00:00:00Z\",\"tcbStatus\":\"UpToDate\"}]}";
}

Result<CollateralBundle> SimPki::collateral(int64_t now) const {
  for (const std::string& id : settings_.advisory_ids) {
    if (!plain(id)) return Error(Code::InvalidArgument, "not an advisory's name: " + id.substr(0, 64));
  }
  // An hour back, so that a verifier whose clock is a little behind accepts it.
  const int64_t from = settings_.expired_collateral ? now - 2 * kLifetime : now - kHour;
  const int64_t to = from + kLifetime;
  CollateralBundle bundle;
  bundle.pck_crl_issuer_chain = ca_certificate_.pem + root_certificate_.pem;
  bundle.tcb_info_issuer_chain = signer_certificate_.pem + root_certificate_.pem;
  bundle.qe_identity_issuer_chain = bundle.tcb_info_issuer_chain;
  bundle.root_ca_crl = TRY(issue_crl(root_certificate_, *root_, from, to, nullptr));
  const IssuedCertificate* revoked = settings_.revoke_pck ? &pck_certificate_ : nullptr;
  bundle.pck_crl = TRY(issue_crl(ca_certificate_, *ca_, from, to, revoked));
  bundle.tcb_info = tcb_info_json(from, to);
  bundle.qe_identity = qe_identity_json(from, to);
  const crypto::RawSignature tcb = TRY(signer_->sign_raw(as_bytes(bundle.tcb_info)));
  const crypto::RawSignature qe = TRY(signer_->sign_raw(as_bytes(bundle.qe_identity)));
  bundle.tcb_info_signature.assign(tcb.begin(), tcb.end());
  bundle.qe_identity_signature.assign(qe.begin(), qe.end());
  return bundle;
}

}  // namespace cloister::attestation
