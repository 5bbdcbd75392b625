// TrustedCollateral's inside, shared by collateral.cpp (which makes it) and verify.cpp (which uses it).
#pragma once

#include <map>
#include <mutex>

#include "attestation/pck.h"
#include "attestation/tcb_json.h"
#include "crypto/sha256.h"

namespace cloister::attestation {

// A platform's certificates and its quoting enclave's key, once all their signatures were found good under
// the anchors. Time, revocation and TCB are judged with every quote.
struct Attestor {
  Chain chain;
  PckExtension extension;
  std::optional<PublicKey> attestation_key;
};

// Remembers attestors, so that a known platform's quote costs one signature check. Only what was verified is
// kept: nobody without a genuine platform can fill it. Observably the verifier stays a pure function.
class AttestorCache {
 public:
  std::shared_ptr<const Attestor> find(const crypto::Digest& key) const {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(key);
    return found != entries_.end() ? found->second : nullptr;
  }
  size_t size() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
  }
  void keep(const crypto::Digest& key, std::shared_ptr<const Attestor> attestor) {
    const std::lock_guard lock(mutex_);
    if (entries_.size() >= kLimit) entries_.clear();
    entries_.emplace(key, std::move(attestor));
  }

 private:
  static constexpr size_t kLimit = 1024;
  mutable std::mutex mutex_;
  std::map<crypto::Digest, std::shared_ptr<const Attestor>> entries_;
};

class TrustedCollateral {
 public:
  TrustedCollateral(std::vector<TrustAnchor> trusted, bool simulated, Certificate root_certificate,
                    TcbInfo info, QeIdentity identity)
      : anchors(std::move(trusted)),
        simulation(simulated),
        root(std::move(root_certificate)),
        tcb_info(std::move(info)),
        qe_identity(std::move(identity)) {}

  std::vector<TrustAnchor> anchors;
  bool simulation = false;
  Certificate root;  // of the chains below; their keys are one and the same
  TcbInfo tcb_info;
  QeIdentity qe_identity;
  std::optional<Crl> root_crl, pck_crl;  // absent: the bundle has none
  std::optional<PublicKey> pck_crl_key;  // the CA key under which pck_crl verified
  std::vector<Certificate> pck_chain;    // for quotes that carry none
  std::vector<Window> windows;           // of everything above
  KnownCertificates known;               // of the chains above
  mutable AttestorCache attestors;       // changes nothing that can be observed but time
};

// The parts of trust_collateral, for who keeps artefacts apart (src/collateral).
// Signer "… TCB Signing" issued by a trusted root; adds both to `known`.
Result<Chain> tcb_signer_chain(const std::string& pem, const std::vector<TrustAnchor>& anchors,
                               std::string_view what, KnownCertificates& known);

}  // namespace cloister::attestation
