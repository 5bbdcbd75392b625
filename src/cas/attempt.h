// One enclave's attempt to be a service of a session, while it is judged. Inside of Service:
// service_attest.cpp, service_factors.cpp; service_tags.cpp for the names of services.
#pragma once

#include "attestation/verifier.h"
#include "cas/service.h"

namespace cloister::cas {

// A stranger chooses it, and its session's owner reads it beside our own words: only what could be a name.
inline std::string shown_service(std::string_view name) {
  return "service " + (policy::is_session_name(name) ? std::string(name) : "(of no possible name)");
}

struct Service::Attempt {
  const attestation::Verdict& verdict;
  const attestation::AttestRequest& request;
  const attestation::Peer& peer;
  std::string name;
  std::string service_name;
  Current current;
  const policy::Service* service = nullptr;
  std::map<std::string, SecretRecord> secrets;  // as far as they were asked for
  boundary::EnclaveConfig config;
  SecretBytes encoded;
  std::optional<crypto::Digest> access_proof;  // to be shown to the enclave
  std::optional<SecretBytes> password_secret;  // present: a one-time password is needed
  std::string password_fault;                  // of the last run of the transaction; for the owner
  bool password_counted = false;               // as wrong, and written down
  std::shared_ptr<InstanceRecord> instance = std::make_shared<InstanceRecord>();

  // For the journal.
  std::string subject() const { return subject_of(name, current.record.creator); }
  std::string about(const std::string& what) const {
    return shown_service(service_name) + " from " + peer.address + ": " + what;
  }
};

// What the enclave is told: the rules that refused it, and nothing of what they want.
inline Error untrusted(const std::string& rules) {
  return {Code::Denied, "The program enclave is not trustworthy (" + rules + ")"};
}

}  // namespace cloister::cas
