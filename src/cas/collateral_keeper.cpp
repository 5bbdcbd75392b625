#include "cas/collateral_keeper.h"

#include "base/files.h"

namespace cloister::cas {

Result<std::unique_ptr<CollateralKeeper>> CollateralKeeper::start(collateral::CacheOptions options,
                                                                  std::chrono::milliseconds interval) {
  TRY(make_private_folder(options.folder));
  return std::unique_ptr<CollateralKeeper>(new CollateralKeeper(std::move(options), interval));
}

CollateralKeeper::CollateralKeeper(collateral::CacheOptions options, std::chrono::milliseconds interval)
    : anchors_(options.anchors), cache_(std::move(options)) {
  thread_ = std::thread([this, interval] { keep_current(interval); });
}

CollateralKeeper::~CollateralKeeper() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void CollateralKeeper::keep_current(std::chrono::milliseconds interval) {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, interval, [this] { return stopping_; })) {
    lock.unlock();
    cache_.refresh_all();
    lock.lock();
  }
}

Result<std::shared_ptr<const attestation::TrustedCollateral>> CollateralKeeper::find(ByteView quote) {
  const collateral::PlatformKey platform = TRY(collateral::platform_of_quote(quote, anchors_));
  return cache_.trusted(platform);
}

}  // namespace cloister::cas
