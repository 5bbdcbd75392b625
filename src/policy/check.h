// May this enclave, on this machine, be this service of the session? A pure decision over a verified verdict.
#pragma once

#include <string>
#include <vector>

#include "attestation/verifier.h"
#include "policy/session.h"

namespace cloister::policy {

// One reason to refuse, for the session's owner. The enclave only learns that it was refused.
struct Denial {
  std::string rule;  // "mrenclave", "signer", "debug-mode", "simulation-mode", "tcb-status", "advisories"…
  std::string expected;    // what the session allows
  std::string actual;      // what the evidence says
  std::string suggestion;  // YAML that would allow it; empty when nothing can
  // Where that is to tolerate something: what, all of it. Else both are empty.
  std::vector<Toleration> tolerations = {};
  std::vector<std::string> advisories = {};
  std::string text() const;  // one line: "rule: actual - expected …"
};

// Every reason, not only the first; empty: allowed. That the verdict's root is one that the service trusts
// (Intel's, or a simulation root it was told to trust) is settled before: verification fails otherwise.
//
//   measurement        one variant of `attestation` must hold completely
//   debug              needs debug-mode
//   simulated          needs simulation-mode, and no `SCONE_MODE: hw` in the service's environment
//   TCB status         SWHardeningNeeded → software-hardening-needed; ConfigurationNeeded →
//                      insecure-configuration; OutOfDate and TDRelaunchAdvised → outdated-tcb; combined ones
//                      need both; Revoked is refused whatever is tolerated
//   advisories         each in ignore_advisories, or "*", or covered by hyperthreading (INTEL-SA-00233),
//                      insecure-igpu (INTEL-SA-00219), aepic-leak (INTEL-SA-00657)
//   hyperthreading     needs hyperthreading when it is on or the platform does not say
//   platforms          the quoting enclave's id is in the list
//   revocation         lists were checked
//
// Of an SEV-SNP machine, in place of measurement and TCB status (check_snp.h): its measurement is in a
// variant, and so are host data, key digests and guest policy where the variant names them; it asked itself,
// at the variant's `vmpl` or a more privileged one; its firmware is at least the variant's `minimum_tcb`, or
// outdated-tcb is tolerated, and reported <= committed <= current; bit 17 of its policy is set; a migration
// agent needs insecure-configuration.
//
// Of a TDX machine, in place of measurement (check_tdx.h): each register that a variant names; TD attributes;
// a machine that may migrate needs insecure-configuration, or the variant's `mrservicetd`. When none holds,
// the reasons are those of the nearest variant.
std::vector<Denial> check(const Session& session, const Service& service,
                          const attestation::Verdict& verdict);

}  // namespace cloister::policy
