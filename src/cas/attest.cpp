#include "cas/attest.h"

#include "attestation/json.h"
#include "cas/trust.h"
#include "crypto/encoding.h"
#include "crypto/random.h"
#include "http/client.h"

namespace cloister::cas {
namespace {

using attestation::Json;

constexpr size_t kMaxAnswer = size_t{4} << 20;
constexpr std::string_view kWhat = "the CAS's answer";

Error refused(const std::string& address, const std::string& reason, std::string hint = {}) {
  return Error(Code::Denied, "CAS " + address + " is not trustworthy: " + reason, std::move(hint));
}

class Attestation {
 public:
  Attestation(std::string address, const crypto::Digest& key, const AttestOptions& options)
      : address_(std::move(address)), key_(key), options_(options) {
    http_.expected_key = key;
  }

  Result<AttestedCas> run() {
    const attestation::Nonce nonce = crypto::random_array<32>();
    // Of another key's journal nothing is known.
    if (options_.known && options_.known->key == key_) seen_ = options_.known->journal;
    const http::ClientResponse answer =
        TRY(get("/v1/attest?nonce=" + to_hex(nonce) + "&seen=" + std::to_string(seen_.sequence)));
    if (answer.status == 503 || answer.status == 429)
      return Error(Code::Unavailable, "CAS " + address_ + " cannot get a quote now",
                   "its operator finds the reason at its LAS");
    if (answer.status == 404)
      return refused(address_, "it has no evidence, so it does not run inside an enclave",
                     "a key that its operator told you can be pinned with: cloister cas trust");
    if (answer.status != 200)
      return refused(address_, "it answers with status " + std::to_string(answer.status));
    AttestedCas out;
    out.key = key_;
    out.verdict = TRY(verified(answer.body, nonce));
    TRY(check(out.verdict));
    TRY(check_history());
    out.journal = {position_.sequence, position_.head};
    out.version = TRY(version());
    return out;
  }

 private:
  Result<http::ClientResponse> get(const std::string& path) {
    Result<http::ClientResponse> answer =
        http::fetch("GET", "https://" + address_ + path, {}, {}, http_, kMaxAnswer);
    if (answer.ok() || !answer.error().hint().empty()) return answer;
    return Error(answer.error().code(), answer.error().message(), std::string(kWhichPort));
  }

  Result<attestation::Verdict> verified(const std::string& body, const attestation::Nonce& nonce) {
    const Json json = TRY(attestation::parse_json_object(body, kMaxAnswer, kWhat));
    const std::string text = TRY(attestation::json_string(json, "quote"));
    const std::string collateral = TRY(attestation::json_string(json, "collateral"));
    const Bytes quote = TRY(crypto::base64_decode(text));
    TRY(read_position(json));
    attestation::QuoteVerifier verifier(options_.evidence);
    const auto verdict = verifier.verify(attestation::EvidenceKind::SgxDcapQuote, quote, as_bytes(collateral),
                                         attestation::service_report_data(nonce, key_, position_));
    if (verdict.ok()) return attestation::Verdict(**verdict);
    const bool binding = verdict.error().code() == Code::Denied;
    return refused(
        address_, binding ? "its evidence is not bound to its key and our nonce" : verdict.error().message(),
        binding ? "somebody relays or replays another service's evidence" : verdict.error().hint());
  }

  Result<void> read_position(const Json& json) {
    const auto journal = json.find("journal");
    if (journal == json.end() || !journal->is_object() || !journal->contains("sequence") ||
        !(*journal)["sequence"].is_number_unsigned()) {
      return refused(address_, "its answer does not say where its journal stands");
    }
    position_.sequence = (*journal)["sequence"];
    position_.seen = seen_.sequence;
    const std::string head = TRY(attestation::json_string(*journal, "head"));
    const std::string hash = TRY(attestation::json_string(*journal, "seen_hash"));
    position_.head = TRY(array_from_hex<32>(head));
    position_.seen_hash = TRY(array_from_hex<32>(hash));
    return {};
  }

  // The entry that an earlier check saw must still be there: a journal only grows.
  Result<void> check_history() const {
    if (position_.seen_hash == seen_.hash && position_.sequence >= seen_.sequence) return {};
    return Error(Code::Integrity,
                 "CAS " + address_ +
                     " was put back to an earlier state, or is one of two: its journal lacks entry " +
                     std::to_string(seen_.sequence) + " as it was attested before",
                 "do not use it: tags and access rules may be older ones");
  }

  Result<void> check(const attestation::Verdict& verdict) {
    policy::Session session;
    session.security = options_.security;
    // What the simulated platform says of its threads means nothing, and that it is simulated was accepted.
    if (verdict.simulated) session.security.tolerate.push_back(policy::Toleration::Hyperthreading);
    policy::Service service;
    service.name = "cas";
    service.attestation.push_back(options_.wanted);
    const std::vector<policy::Denial> denials = policy::check(session, service, verdict);
    std::string reasons;
    for (const policy::Denial& denial : denials) {
      const bool hash = denial.rule == "mrenclave";
      reasons += (reasons.empty() ? "" : "; ") + (hash ? "Enclave hash does not match expectation: " +
                                                             denial.actual + " - Expected " + denial.expected
                                                       : denial.text());
    }
    if (reasons.empty()) return {};
    return refused(address_, reasons, options_.hint ? options_.hint(denials) : std::string());
  }

  Result<std::string> version() {
    const http::ClientResponse answer = TRY(get("/v1/version"));
    if (answer.status != 200)
      return refused(address_, "it answers with status " + std::to_string(answer.status));
    const Json json = TRY(attestation::parse_json_object(answer.body, kMaxAnswer, kWhat));
    return attestation::json_string(json, "version");
  }

  const std::string address_;
  const crypto::Digest key_;
  const AttestOptions& options_;
  http::ClientOptions http_;
  JournalHead seen_;
  attestation::JournalPosition position_;
};

}  // namespace

Result<AttestedCas> attest_cas(const std::string& address, const AttestOptions& options) {
  const std::string full = TRY(full_address(address));
  // Every later connection insists on the key of this one; the evidence must name it.
  const crypto::Digest key = TRY(presented_key(full));
  Result<AttestedCas> out = Attestation(full, key, options).run();
  // Whatever does not decode came from there: whoever decodes above only passes the fault on.
  if (!out.ok() && out.error().code() == Code::Malformed)
    return refused(full, out.error().message(), out.error().hint());
  return out;
}

}  // namespace cloister::cas
