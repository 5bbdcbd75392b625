// A simulated Intel and a simulated quoting enclave: quotes and collateral that the verifier takes through
// the very same code path as Intel's, under a root of our own that proves nothing about hardware.
//
// Keys and certificates live in a state folder and are stable over restarts; revocation lists, TCB info and
// QE identity are signed anew for whatever time is asked, so they never expire under a running service.
// Reports are accepted only from the simulated machine with the same secret (sgx/sim_platform.h).
#pragma once

#include <filesystem>

#include "attestation/sim_issue.h"
#include "attestation/verifier.h"
#include "sgx/sim_platform.h"

namespace cloister::attestation {

// What the simulated Intel says about this platform.
struct SimSettings {
  TcbStatus tcb_status = TcbStatus::UpToDate;  // one of the seven of TCB info
  // Of the platform's TCB level. Empty and a status other than UpToDate: one of Intel's, as real levels have.
  std::vector<std::string> advisory_ids;
  bool revoke_pck = false;  // the PCK certificate is on the revocation list
  bool debug_qe = false;    // the quoting enclave itself can be read by the host
  uint32_t tcb_evaluation_number = 17;
  bool expired_collateral = false;  // everything dated 60 days back, and 30 days of life
};

class SimPki {
 public:
  // Opens or creates the PKI in `state` (0700; keys 0600; simulation-root.pem is public). A PCK certificate
  // made for another machine than `platform` is replaced. Malformed or Integrity: files in `state` do not
  // belong together; InvalidArgument: a status that TCB info cannot have.
  static Result<SimPki> open(const std::filesystem::path& state, const sgx::SimPlatform& platform,
                             const SimSettings& settings = {});

  // Thread-safe below: nothing is changed.

  // What reports for the simulated quoting enclave are to be made for.
  sgx::TargetInfo target_info() const;
  // A quote v3 over `report`. Denied when the report was not made on this machine for `target_info`.
  Result<Bytes> quote(const sgx::Report& report) const;
  // Fresh at `now` (seconds since 1970), valid for 30 days (unless the settings say expired).
  Result<CollateralBundle> collateral(int64_t now) const;

  TrustAnchor anchor() const;
  const std::string& root_pem() const { return root_certificate_.pem; }
  const SimSettings& settings() const { return settings_; }

 private:
  SimPki(const sgx::SimPlatform& platform, const SimSettings& settings)
      : platform_(platform), settings_(settings) {}
  Result<void> load(const std::filesystem::path& state);
  sgx::Secs quoting_enclave() const;
  std::string tcb_info_json(int64_t from, int64_t to) const;
  std::string qe_identity_json(int64_t from, int64_t to) const;

  sgx::SimPlatform platform_;
  SimSettings settings_;
  std::optional<crypto::KeyPair> root_, ca_, pck_, signer_, attestation_;
  IssuedCertificate root_certificate_, ca_certificate_, pck_certificate_, signer_certificate_;
};

}  // namespace cloister::attestation
