// The collateral that the service's owner lets it use for quotes of real platforms: the cache of
// src/collateral, and a thread that keeps it current, so that an enclave waits for the network only when it
// is the first of its platform, and an outage shorter than a day is not noticed. What ends is not replaced by
// anything that an enclave's host brings along (docs/adr/0005).
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "collateral/cache.h"

namespace cloister::cas {

// Thread-safe.
class CollateralKeeper {
 public:
  // Makes the options' folder when it is absent. `interval`: between two looks at what ends soon.
  static Result<std::unique_ptr<CollateralKeeper>> start(collateral::CacheOptions options,
                                                         std::chrono::milliseconds interval);
  ~CollateralKeeper();
  CollateralKeeper(const CollateralKeeper&) = delete;
  CollateralKeeper& operator=(const CollateralKeeper&) = delete;

  // For QuoteVerifierOptions::find_collateral. NotFound: no platform under the cache's roots.
  Result<std::shared_ptr<const attestation::TrustedCollateral>> find(ByteView quote);

 private:
  CollateralKeeper(collateral::CacheOptions options, std::chrono::milliseconds interval);
  void keep_current(std::chrono::milliseconds interval);

  const std::vector<attestation::TrustAnchor> anchors_;
  collateral::Cache cache_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;  // last: uses everything above
};

}  // namespace cloister::cas
