// Collateral that is there before it is needed. Artefacts are kept by name, in memory and (when a folder is
// given) on disk, each as long as its signed content says; refreshed some time before that ends; fetched once
// however many ask (single flight); after a failure the service is left alone for a growing while.
//
// What is never done: hand out expired material, take a lower evaluation number or an older issue than what
// is already here (a service could choose the oldest that is still valid), or believe the disk. Files are
// verified like answers; one that does not verify is reported and replaced, not used.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "collateral/pcs_client.h"

namespace cloister::collateral {

struct CacheOptions {
  PcsOptions service;  // without base_url: only what is imported
  std::vector<attestation::TrustAnchor> anchors = {attestation::intel_sgx_root()};
  std::filesystem::path folder;    // empty: memory only; else it must exist
  std::function<int64_t()> clock;  // seconds since 1970; empty: the system's
  uint32_t minimum_evaluation_number = 0;
  int64_t refresh_before = 86400;                      // seconds before the end: a day
  int64_t first_back_off = 5, longest_back_off = 900;  // seconds
};

// What a platform needs: from its PCK certificate.
struct PlatformKey {
  attestation::Tee tee = attestation::Tee::Sgx;
  std::string fmspc;  // lower case
  std::string ca;     // platform, processor
  auto operator<=>(const PlatformKey&) const = default;
};
// Of a quote that carries its certificates.
Result<PlatformKey> platform_of_quote(ByteView quote);
// The same, when the certificates lead to one of the anchors: what strangers make up must not decide what a
// service asks for and keeps. NotFound: they lead to another root.
Result<PlatformKey> platform_of_quote(ByteView quote, const std::vector<attestation::TrustAnchor>& anchors);

struct ArtefactStatus {
  std::string name;
  int64_t issued = 0, expires = 0;
  uint32_t evaluation_number = 0;
  std::string fault;           // of the last attempt, or of the file
  bool below_minimum = false;  // not handed out: its evaluation number is too low
};

class Cache {
 public:
  explicit Cache(CacheOptions options);

  // All thread-safe. Unavailable: not here and the service does not answer; Integrity: what came or lies on
  // disk must not be used; both name the artefact.
  Result<std::shared_ptr<const Artefact>> get(const ArtefactKey& key);
  Result<attestation::CollateralBundle> bundle(const PlatformKey& platform);
  // Keeps the result for the same artefacts, so that keys stay decoded.
  Result<std::shared_ptr<const attestation::TrustedCollateral>> trusted(const PlatformKey& platform);

  // Every artefact of the bundle, or none when one is refused or the disk does not take all; the same rules
  // as for answers. A crash may leave a part of them: each is whole and verified by itself.
  Result<std::vector<std::string>> import_bundle(const attestation::CollateralBundle& bundle);
  // For whoever keeps a cache for long: takes newer files that somebody else stored in the folder meanwhile
  // (same rules as for an import), and asks the service for what ends soon.
  void refresh_all();
  // Everything in memory and on disk, by name.
  std::vector<ArtefactStatus> status();

 private:
  struct Entry {
    std::shared_ptr<const Artefact> artefact;
    bool loaded = false, fetching = false;
    uint32_t failures = 0;
    int64_t next_attempt = 0;
    std::string fault, file_fault;
  };
  using Parts = std::vector<std::shared_ptr<const Artefact>>;
  struct Made {
    Parts parts;
    std::shared_ptr<const attestation::TrustedCollateral> trusted;
  };

  int64_t now() const;
  std::filesystem::path file_of(const ArtefactKey& key) const;
  Result<std::shared_ptr<const Artefact>> read_stored(const ArtefactKey& key) const;
  void load(const ArtefactKey& key, Entry& entry);
  void reload(const ArtefactKey& key);
  std::vector<ArtefactKey> known_keys();
  Result<void> check_new(const Artefact& fresh, const Entry& entry) const;
  Result<std::shared_ptr<const Artefact>> refresh(const ArtefactKey& key, Entry& entry,
                                                  std::unique_lock<std::mutex>& lock);
  Result<void> keep(Entry& entry, std::shared_ptr<const Artefact> fresh);
  void hold(Entry& entry, std::shared_ptr<const Artefact> fresh);  // in memory
  Result<void> store(const std::vector<Artefact>& artefacts);
  bool is_low(const Artefact& artefact) const;
  Result<Parts> parts_of(const PlatformKey& platform);
  static attestation::CollateralBundle joined(const Parts& parts);

  const CacheOptions options_;
  std::mutex mutex_;
  std::condition_variable fetched_;
  std::map<ArtefactKey, Entry> entries_;
  std::map<PlatformKey, Made> made_;
};

}  // namespace cloister::collateral
