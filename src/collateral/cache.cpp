#include "collateral/cache.h"

#include <algorithm>
#include <ctime>

#include "attestation/pck.h"
#include "attestation/quote.h"
#include "attestation/tcb_json.h"
#include "attestation/x509.h"
#include "base/files.h"

namespace cloister::collateral {
namespace {

using namespace attestation;

constexpr size_t kMaxFile = 8 << 20;
constexpr const char* kSuffix = ".json";

bool valid(const std::shared_ptr<const Artefact>& artefact, int64_t now) {
  return artefact && artefact->issued <= now && now <= artefact->expires;
}

}  // namespace

namespace {

struct QuotedPlatform {
  Tee tee = Tee::Sgx;
  std::vector<Certificate> chain;  // unverified
};

Result<QuotedPlatform> read_quote(ByteView bytes) {
  const Quote quote = TRY(parse_quote(bytes));
  if (quote.certification_type != 5) {
    return Error(Code::Unsupported, "the quote carries no PCK certificate chain");
  }
  QuotedPlatform out;
  out.tee = quote.tee;
  out.chain = TRY(certificates_from_pem(as_text(quote.certification_data)));
  return out;
}

Result<PlatformKey> platform_of(Tee tee, const std::vector<Certificate>& chain) {
  PlatformKey out;
  out.tee = tee;
  for (const Certificate& certificate : chain) {
    if (certificate.common_name() == kPlatformCaName) out.ca = "platform";
    if (certificate.common_name() == kProcessorCaName) out.ca = "processor";
    if (certificate.common_name() != kLeafName) continue;
    const Bytes extension = TRY(certificate.extension("1.2.840.113741.1.13.1"));
    const PckExtension pck = TRY(parse_pck_extension(extension));
    out.fmspc = to_hex(pck.fmspc);
  }
  if (out.fmspc.empty() || out.ca.empty())
    return Error(Code::Malformed, "the quote's chain has no PCK or CA");
  return out;
}

bool is_anchor(const Certificate& certificate, const std::vector<TrustAnchor>& anchors) {
  return std::any_of(anchors.begin(), anchors.end(),
                     [&](const TrustAnchor& anchor) { return anchor.root_key == certificate.key().point(); });
}

}  // namespace

Result<PlatformKey> platform_of_quote(ByteView bytes) {
  const QuotedPlatform quoted = TRY(read_quote(bytes));
  return platform_of(quoted.tee, quoted.chain);
}

Result<PlatformKey> platform_of_quote(ByteView bytes, const std::vector<TrustAnchor>& anchors) {
  QuotedPlatform quoted = TRY(read_quote(bytes));
  const bool ours = std::any_of(quoted.chain.begin(), quoted.chain.end(),
                                [&](const Certificate& one) { return is_anchor(one, anchors); });
  if (!ours) return Error(Code::NotFound, "the quote's certificates lead to another root");
  const Chain chain = TRY(build_chain(std::move(quoted.chain), anchors, "PCK chain"));
  return platform_of(quoted.tee, chain.certificates);
}

Cache::Cache(CacheOptions options) : options_(std::move(options)) {}

int64_t Cache::now() const {
  return options_.clock ? options_.clock() : static_cast<int64_t>(std::time(nullptr));
}

std::filesystem::path Cache::file_of(const ArtefactKey& key) const {
  return options_.folder / (key.name() + kSuffix);
}

Result<std::shared_ptr<const Artefact>> Cache::read_stored(const ArtefactKey& key) const {
  const Bytes content = TRY(read_file(file_of(key), kMaxFile));
  RawArtefact raw = TRY(decode_artefact(as_text(content)));
  return std::make_shared<const Artefact>(TRY(verify_artefact(key, std::move(raw), options_.anchors)));
}

// From disk, once; an entry that is there already keeps what it has.
void Cache::load(const ArtefactKey& key, Entry& entry) {
  if (entry.loaded) return;
  entry.loaded = true;
  if (options_.folder.empty() || entry.artefact) return;
  auto artefact = read_stored(key);
  if (artefact.ok()) {
    entry.artefact = std::move(*artefact);
  } else if (artefact.error().code() != Code::NotFound) {
    entry.file_fault = "the stored file is not used: " + artefact.error().message();
  }
}

// Lists have no number.
bool Cache::is_low(const Artefact& artefact) const {
  const ArtefactKind kind = artefact.key.kind;
  const bool numbered = kind == ArtefactKind::TcbInfo || kind == ArtefactKind::QeIdentity;
  return numbered && artefact.evaluation_number < options_.minimum_evaluation_number;
}

// Whether `fresh` may take the place of what is here.
Result<void> Cache::check_new(const Artefact& fresh, const Entry& entry) const {
  const std::string name = fresh.key.name();
  const int64_t time = now();
  if (fresh.issued > time || fresh.expires < time) {
    return Error(Code::Integrity, name + ": what came is not valid now");
  }
  if (is_low(fresh)) {
    return Error(Code::Integrity, name + ": TCB evaluation number " +
                                      std::to_string(fresh.evaluation_number) + " is below the required " +
                                      std::to_string(options_.minimum_evaluation_number));
  }
  if (!entry.artefact) return {};
  if (fresh.evaluation_number < entry.artefact->evaluation_number) {
    return Error(Code::Integrity, name + ": rolled back from TCB evaluation number " +
                                      std::to_string(entry.artefact->evaluation_number) + " to " +
                                      std::to_string(fresh.evaluation_number));
  }
  const bool same_number = fresh.evaluation_number == entry.artefact->evaluation_number;
  if (same_number && fresh.issued < entry.artefact->issued) {
    return Error(Code::Integrity, name + ": rolled back to an older issue");
  }
  return {};
}

void Cache::hold(Entry& entry, std::shared_ptr<const Artefact> fresh) {
  entry.artefact = std::move(fresh);
  entry.failures = 0;
  // A piece that already ends soon is the service's newest: asked for again later, not with every call.
  const int64_t time = now(), end = entry.artefact->expires;
  const bool ends_soon = time >= end - options_.refresh_before;
  entry.next_attempt = ends_soon ? std::min(time + options_.longest_back_off, end + 1) : 0;
  entry.fault.clear();
  entry.file_fault.clear();
}

Result<void> Cache::keep(Entry& entry, std::shared_ptr<const Artefact> fresh) {
  hold(entry, std::move(fresh));
  if (options_.folder.empty()) return {};
  return write_private_file(file_of(entry.artefact->key), as_bytes(encode_artefact(*entry.artefact)));
}

// With the lock held on entry and exit; without it while the service is asked.
Result<std::shared_ptr<const Artefact>> Cache::refresh(const ArtefactKey& key, Entry& entry,
                                                       std::unique_lock<std::mutex>& lock) {
  entry.fetching = true;
  lock.unlock();
  const auto fetch = [&]() -> Result<Artefact> {
    RawArtefact raw = TRY(fetch_artefact(key, options_.service));
    return verify_artefact(key, std::move(raw), options_.anchors);
  };
  auto fresh = fetch();
  lock.lock();
  entry.fetching = false;
  fetched_.notify_all();
  Result<void> outcome = fresh.ok() ? check_new(*fresh, entry) : Result<void>(std::move(fresh.error()));
  if (outcome.ok()) outcome = keep(entry, std::make_shared<const Artefact>(std::move(*fresh)));
  if (outcome.ok()) return entry.artefact;
  const int64_t wait = options_.first_back_off << std::min<uint32_t>(entry.failures, 20);
  entry.next_attempt = now() + std::min(wait, options_.longest_back_off);
  ++entry.failures;
  entry.fault = outcome.error().message();
  if (valid(entry.artefact, now())) return entry.artefact;
  if (entry.file_fault.empty()) return std::move(outcome.error());
  return Error(Code::Integrity, key.name() + ": " + entry.file_fault + "; " + entry.fault);
}

Result<std::shared_ptr<const Artefact>> Cache::get(const ArtefactKey& key) {
  std::unique_lock lock(mutex_);
  Entry& entry = entries_[key];  // map entries stay where they are
  load(key, entry);
  for (;;) {
    const int64_t time = now();
    const bool usable = valid(entry.artefact, time);
    const bool low = usable && is_low(*entry.artefact);
    const bool fresh = usable && !low && time < entry.artefact->expires - options_.refresh_before;
    if (fresh) return entry.artefact;
    const bool others_turn = entry.fetching || time < entry.next_attempt || options_.service.base_url.empty();
    if (usable && !low && others_turn) return entry.artefact;
    if (entry.fetching) {
      fetched_.wait(lock);
      continue;
    }
    if (time < entry.next_attempt) {
      return Error(Code::Unavailable,
                   entry.fault + " (next attempt in " + std::to_string(entry.next_attempt - time) + " s)");
    }
    if (low && options_.service.base_url.empty()) return check_new(*entry.artefact, {}).error();
    auto refreshed = refresh(key, entry, lock);
    if (refreshed.ok() && is_low(**refreshed)) {
      return Error(Code::Integrity, entry.fault);
    }
    return refreshed;
  }
}

Result<Cache::Parts> Cache::parts_of(const PlatformKey& platform) {
  Parts parts;
  for (const ArtefactKey& key : {ArtefactKey{ArtefactKind::TcbInfo, platform.tee, platform.fmspc},
                                 ArtefactKey{ArtefactKind::QeIdentity, platform.tee, ""},
                                 ArtefactKey{ArtefactKind::PckCrl, Tee::Sgx, platform.ca}, ArtefactKey{}}) {
    parts.push_back(TRY(get(key)));
  }
  return parts;
}

CollateralBundle Cache::joined(const Parts& parts) {
  const auto bytes = [](const std::string& body) { return Bytes(body.begin(), body.end()); };
  CollateralBundle out;
  out.tcb_info = parts[0]->raw.body;
  out.tcb_info_signature = parts[0]->raw.signature;
  out.tcb_info_issuer_chain = parts[0]->raw.issuer_chain;
  out.qe_identity = parts[1]->raw.body;
  out.qe_identity_signature = parts[1]->raw.signature;
  out.qe_identity_issuer_chain = parts[1]->raw.issuer_chain;
  out.pck_crl = bytes(parts[2]->raw.body);
  out.pck_crl_issuer_chain = parts[2]->raw.issuer_chain;
  out.root_ca_crl = bytes(parts[3]->raw.body);
  return out;
}

Result<CollateralBundle> Cache::bundle(const PlatformKey& platform) {
  const Parts parts = TRY(parts_of(platform));
  return joined(parts);
}

Result<std::shared_ptr<const TrustedCollateral>> Cache::trusted(const PlatformKey& platform) {
  Parts parts = TRY(parts_of(platform));
  {
    const std::lock_guard lock(mutex_);
    const auto found = made_.find(platform);
    if (found != made_.end() && found->second.parts == parts) return found->second.trusted;
  }
  std::shared_ptr<const TrustedCollateral> trusted = TRY(trust_collateral(joined(parts), options_.anchors));
  const std::lock_guard lock(mutex_);
  made_[platform] = {std::move(parts), trusted};
  return trusted;
}

Result<std::vector<std::string>> Cache::import_bundle(const CollateralBundle& bundle) {
  std::vector<Artefact> artefacts = TRY(artefacts_of(bundle, options_.anchors));
  const std::lock_guard lock(mutex_);
  for (const Artefact& artefact : artefacts) {
    Entry& entry = entries_[artefact.key];
    load(artefact.key, entry);
    TRY(check_new(artefact, entry));
  }
  TRY(store(artefacts));
  std::vector<std::string> names;
  for (Artefact& artefact : artefacts) {
    names.push_back(artefact.key.name());
    Entry& entry = entries_[artefact.key];
    hold(entry, std::make_shared<const Artefact>(std::move(artefact)));
  }
  return names;
}

// All are written and synced in a folder of their own before the first takes its place, because writing is
// what a disk fails at.
Result<void> Cache::store(const std::vector<Artefact>& artefacts) {
  if (options_.folder.empty()) return {};
  const std::filesystem::path incoming = options_.folder / ".import";
  std::error_code failure;
  std::filesystem::remove_all(incoming, failure);
  TRY(make_private_folder(incoming));
  Result<void> stored;
  for (size_t i = 0; i < artefacts.size() && stored.ok(); ++i) {
    stored = write_private_file(incoming / artefacts[i].key.name(), as_bytes(encode_artefact(artefacts[i])));
  }
  for (size_t i = 0; i < artefacts.size() && stored.ok(); ++i) {
    const std::filesystem::path target = file_of(artefacts[i].key);
    std::filesystem::rename(incoming / artefacts[i].key.name(), target, failure);
    if (failure)
      stored = Error(Code::Unavailable, "cannot replace " + target.string() + ": " + failure.message());
  }
  std::filesystem::remove_all(incoming, failure);
  if (stored.ok()) stored = sync_folder(options_.folder);
  return stored;
}

// With the lock held. What is only on disk is loaded.
std::vector<ArtefactKey> Cache::known_keys() {
  std::error_code ignored;
  if (!options_.folder.empty()) {
    std::filesystem::directory_iterator at(options_.folder, ignored);
    for (; at != std::filesystem::directory_iterator(); at.increment(ignored)) {
      const std::filesystem::path& file = at->path();
      if (file.extension() != kSuffix) continue;
      if (const auto key = parse_artefact_name(file.stem().string())) load(*key, entries_[*key]);
    }
  }
  std::vector<ArtefactKey> out;
  for (const auto& [key, entry] : entries_) out.push_back(key);
  return out;
}

// A file that another process wrote is judged as an answer is; one that is damaged or older is left alone,
// because what is in memory was verified and is not worse.
void Cache::reload(const ArtefactKey& key) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[key];
  auto stored = read_stored(key);
  if (!stored.ok() || (entry.artefact && entry.artefact->issued >= (*stored)->issued)) return;
  if (check_new(**stored, entry).ok()) hold(entry, std::move(*stored));
}

void Cache::refresh_all() {
  std::vector<ArtefactKey> keys;
  {
    const std::lock_guard lock(mutex_);
    keys = known_keys();
  }
  for (const ArtefactKey& key : keys) {
    if (!options_.folder.empty()) reload(key);
    static_cast<void>(get(key).ok());  // `status` says what did not work
  }
}

std::vector<ArtefactStatus> Cache::status() {
  const std::lock_guard lock(mutex_);
  std::vector<ArtefactStatus> out;
  static_cast<void>(known_keys());
  for (const auto& [key, entry] : entries_) {
    ArtefactStatus status;
    status.name = key.name();
    status.fault = entry.file_fault.empty() ? entry.fault : entry.file_fault;
    if (entry.artefact) {
      status.issued = entry.artefact->issued;
      status.expires = entry.artefact->expires;
      status.evaluation_number = entry.artefact->evaluation_number;
      status.below_minimum = is_low(*entry.artefact);
    }
    out.push_back(std::move(status));
  }
  return out;
}

}  // namespace cloister::collateral
