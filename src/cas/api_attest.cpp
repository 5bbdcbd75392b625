#include "cas/api_attest.h"

#include <charconv>

#include "crypto/encoding.h"

namespace cloister::cas {
namespace {

Result<uint64_t> seen_of(const http::RequestHead& request) {
  const auto given = request.query.find("seen");
  if (given == request.query.end()) return uint64_t{0};
  uint64_t out = 0;
  const std::string& text = given->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size() || out > INT64_MAX - 1)
    return Error(Code::InvalidArgument, "seen: expected the number of a journal entry");
  return out;
}

Result<attestation::JournalPosition> position_of(Store& store, uint64_t seen) {
  const JournalHead head = store.head();
  attestation::JournalPosition out{head.sequence, head.hash, seen, {}};
  const std::optional<crypto::Digest> hash = TRY(store.entry_hash(seen));
  if (hash) out.seen_hash = *hash;
  return out;
}

}  // namespace

Result<nlohmann::ordered_json> attest_answer(const http::RequestHead& request, const EvidenceSource& source,
                                             const crypto::Digest& service_key, Store& store) {
  const uint64_t seen = TRY(seen_of(request));
  const auto given = request.query.find("nonce");
  const Result<attestation::Nonce> nonce =
      array_from_hex<32>(given == request.query.end() ? "" : given->second);
  if (!nonce.ok()) return Error(Code::InvalidArgument, "nonce: expected 64 hex digits");
  if (!source) {
    return Error(Code::NotFound, "this service has no evidence: it does not run inside an enclave");
  }
  const attestation::JournalPosition position = TRY(position_of(store, seen));
  Result<ServiceEvidence> evidence = source(attestation::service_report_data(*nonce, service_key, position));
  // The text names the LAS's address: the operator's business, and of no use to the client.
  if (!evidence.ok()) return Error(Code::Unavailable, "the service cannot get a quote now");
  nlohmann::ordered_json out;
  out["quote"] = crypto::base64_encode(evidence->quote);
  out["collateral"] = evidence->collateral;
  out["journal"] = {{"sequence", position.sequence}, {"head", to_hex(position.head)}};
  out["journal"]["seen_hash"] = to_hex(position.seen_hash);
  return out;
}

}  // namespace cloister::cas
