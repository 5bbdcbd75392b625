// The simulated CPU's secrets: one random machine secret in a file, and the keys that EREPORT and EGETKEY
// derive from it. Shared by the software back-end (which makes reports) and the simulated quoting enclave
// (which checks them): both must run on the same "machine", that is, with the same secret.
//
// Keys follow the SDM's scheme (vol. 3D, EGETKEY): AES-128-CMAC under a root key over a block of all the
// inputs that the key depends on. The block's order is ours, since Intel does not publish its own.
#pragma once

#include <filesystem>

#include "base/bytes.h"
#include "base/result.h"
#include "base/secret.h"
#include "sgx/structures.h"

namespace cloister::sgx {

using Key128Bytes = ByteArray<16>;

class SimPlatform {
 public:
  // Reads `folder`/machine-secret, creating folder (0700) and file (0600) when absent. An empty path means
  // $CLOISTER_SIM_STATE, else $XDG_STATE_HOME/cloister/sim, else ~/.local/state/cloister/sim.
  // Errors: Malformed when the file has another size, Denied when others may read it, Unavailable.
  static Result<SimPlatform> open(const std::filesystem::path& folder = {});
  static std::filesystem::path default_folder();

  // The key with which a report for `target` is MACed.
  Key128Bytes report_key(const TargetInfo& target, const ByteArray<32>& key_id) const;
  // True when `report` was made on this machine for the enclave that `target` describes. Constant time.
  bool check_report(const Report& report, const TargetInfo& target) const;
  // EREPORT by the enclave `self` for `target`.
  Report make_report(const Secs& self, const TargetInfo& target, const ByteArray<64>& report_data) const;
  // EGETKEY by the enclave `self`. Denied/Malformed as the SDM's error codes: the caller maps them.
  Result<Key128Bytes> get_key(const Secs& self, const KeyRequest& request) const;

  // Stable for the machine; not secret: what a PPID or platform id is derived from. `label` separates uses.
  ByteArray<32> derive(std::string_view label) const;

  ByteArray<16> cpu_svn() const;

 private:
  explicit SimPlatform(const ByteArray<32>& secret);
  Key128Bytes derive_key(ByteView dependencies) const;

  Secret<ByteArray<32>> secret_;
};

// AES-128-CMAC (RFC 4493).
Key128Bytes aes_cmac(const Key128Bytes& key, ByteView data);

}  // namespace cloister::sgx
