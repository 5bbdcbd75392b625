// Who turns reports into quotes for the LAS: the simulated quoting enclave, or the machine's through AESM.
#pragma once

#include <memory>
#include <string>

#include "attestation/las_messages.h"
#include "attestation/sim_pki.h"
#include "base/bytes.h"
#include "sgx/structures.h"

namespace cloister::las {

// Thread-safe.
class Quoter {
 public:
  virtual ~Quoter() = default;
  virtual attestation::LasMode mode() const = 0;
  virtual std::string describe() const = 0;  // for people, at most kMaxLasText bytes
  // What reports are to be made for. Unavailable.
  virtual Result<sgx::TargetInfo> target_info() const = 0;
  // Denied: the report was not made on this machine for that target. Unavailable, Malformed: whoever quotes
  // is absent, or does not speak the protocol.
  virtual Result<Bytes> quote(const sgx::Report& report) const = 0;
  // A bundle in JSON for `now` (seconds since 1970); empty: verifiers bring their own.
  virtual Result<Bytes> collateral(int64_t now) const = 0;
};

std::unique_ptr<Quoter> simulated_quoter(attestation::SimPki pki);

}  // namespace cloister::las
