#include "cas/api_attest.h"

#include "crypto/encoding.h"

namespace cloister::cas {

Result<nlohmann::ordered_json> attest_answer(const http::RequestHead& request, const EvidenceSource& source,
                                             const crypto::Digest& service_key) {
  const auto given = request.query.find("nonce");
  const Result<attestation::Nonce> nonce =
      array_from_hex<32>(given == request.query.end() ? "" : given->second);
  if (!nonce.ok()) return Error(Code::InvalidArgument, "nonce: expected 64 hex digits");
  if (!source) {
    return Error(Code::NotFound, "this service has no evidence: it does not run inside an enclave");
  }
  Result<ServiceEvidence> evidence = source(attestation::service_report_data(*nonce, service_key));
  // The text names the LAS's address: the operator's business, and of no use to the client.
  if (!evidence.ok()) return Error(Code::Unavailable, "the service cannot get a quote now");
  nlohmann::ordered_json out;
  out["quote"] = crypto::base64_encode(evidence->quote);
  out["collateral"] = evidence->collateral;
  return out;
}

}  // namespace cloister::cas
