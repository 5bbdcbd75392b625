// TrustedCollateral's inside, shared by collateral.cpp (which makes it) and verify.cpp (which uses it).
#pragma once

#include "attestation/tcb_json.h"
#include "attestation/x509.h"

namespace cloister::attestation {

class TrustedCollateral {
 public:
  std::vector<TrustAnchor> anchors;
  bool simulation = false;
  Certificate root;  // of the chains below; their keys are one and the same
  TcbInfo tcb_info;
  QeIdentity qe_identity;
  std::optional<Crl> root_crl, pck_crl;  // absent: the bundle has none
  std::optional<PublicKey> pck_crl_key;  // the CA key under which pck_crl verified
  std::vector<Certificate> pck_chain;    // for quotes that carry none
  std::vector<Window> windows;           // of everything above
};

}  // namespace cloister::attestation
