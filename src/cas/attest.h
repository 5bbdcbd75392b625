// An owner's check of a CAS before trusting it: which enclave, on which platform, holds the key that the
// server presents.
#pragma once

#include "attestation/evidence_verifier.h"
#include "cas/trust.h"
#include "policy/check.h"

namespace cloister::cas {

struct AttestOptions {
  attestation::QuoteVerifierOptions evidence;  // roots and collateral
  policy::AttestationVariant wanted;           // no factor: any enclave, for tests only
  policy::Security security;                   // what is tolerated of the platform
  std::optional<KnownCas> known;               // what an earlier check found at this address
  // What to do about a refusal for these reasons, for the error's hint; empty: nothing is said.
  std::function<std::string(const std::vector<policy::Denial>&)> hint;
};

struct AttestedCas {
  crypto::Digest key{};  // to be pinned
  std::string version;
  JournalHead journal;
  attestation::Verdict verdict;
};

// Integrity: it has the known key, but its journal lacks what was known of it: it was put back, or is one of
// two. Denied: it has no evidence, the evidence is not genuine, not for this key and nonce, or names another
// enclave or platform than wanted; the message says which. Unavailable: the server or its LAS.
// InvalidArgument: the address.
Result<AttestedCas> attest_cas(const std::string& address, const AttestOptions& options);

}  // namespace cloister::cas
