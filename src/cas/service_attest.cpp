// Attestation: from genuine evidence to a configuration. What the evidence is worth (its root, signatures,
// freshness) was settled before; here the session decides.
//
// The session is judged and filled in before the transaction, so that the store's thread waits for neither.
// The transaction checks that it is still this session, and adds what has an order: leases, epochs, tags.
// When that fails (a volume in use, a configuration that is too large) nothing is kept, so no epoch is spent.
#include <algorithm>

#include "cas/attempt.h"
#include "cas/configuration.h"
#include "crypto/random.h"
#include "policy/check.h"

namespace cloister::cas {

namespace {

constexpr int kRetries = 8;  // when sessions are replaced meanwhile

std::string measured(const attestation::Verdict& verdict) {
  std::string text = verdict.snp ? "SEV-SNP measurement " + to_hex(verdict.snp->measurement)
                     : verdict.tee == attestation::Tee::Tdx ? "TDX MRTD " + to_hex(verdict.mrtd)
                                                            : "MRENCLAVE " + to_hex(verdict.mrenclave);
  for (size_t i = 0; i < verdict.rtmrs.size(); ++i)
    text += ", RTMR" + std::to_string(i) + " " + to_hex(verdict.rtmrs[i]);
  text += ", TCB " + std::string(attestation::tcb_status_name(verdict.status));
  if (verdict.simulated) text += ", simulated";
  if (verdict.debug) text += ", debug";
  return text;
}

// Every reason, with the YAML that would allow it as long as all of it fits into one event: half a suggestion
// is of no use. The last ones come first, because a later one mends what those before it do.
std::string reasons_of(const std::vector<policy::Denial>& denials) {
  static constexpr size_t kAround = 256;  // who and from where, and how many events were left out before
  static constexpr std::string_view kLeftOut = " (its YAML is too long for this event)";
  size_t size = kAround;
  for (const policy::Denial& denial : denials)
    size += denial.text().size() + 2 + (denial.suggestion.empty() ? 0 : kLeftOut.size());
  std::string out;
  for (auto denial = denials.rbegin(); denial != denials.rend(); ++denial) {
    std::string reason = denial->text();
    if (!denial->suggestion.empty()) {
      const std::string allowed = " (would be allowed by " + denial->suggestion + ")";
      const bool fits = size + allowed.size() <= kMaxEventText;
      if (fits) size += allowed.size();
      reason += fits ? allowed : kLeftOut;
    }
    out.insert(0, out.empty() ? reason : reason + "; ");
  }
  return out;
}

Result<Key256> volume_key(Transaction& transaction, const std::string& session, const policy::Volume& volume,
                          const VolumeRecord& record) {
  if (volume.key) return *volume.key;
  if (volume.keyless()) return record.key;
  const auto row = TRY(transaction.get(kSecrets, row_key(session, volume.key_secret)));
  if (!row) return Error(Code::Internal, "the key of a volume is missing");
  const SecretRecord secret = TRY(decode_secret(row->expose()));
  const ByteArray<32> bytes = TRY(ByteReader(secret.value.expose(), "volume key").array<32>());
  return Key256(bytes);
}

}  // namespace

// Writes down why, and returns what the enclave is told.
Error Service::deny(const Attempt& attempt, const std::string& for_owner, Error for_enclave) {
  record_limited("denied", attempt.subject(), attempt.about(for_owner));
  return for_enclave;
}

Result<attestation::Release> Service::on_attest(const attestation::Verdict& verdict,
                                                const attestation::AttestRequest& request,
                                                const attestation::Peer& peer) {
  for (int i = 0; i < kRetries; ++i) {
    std::optional<attestation::Release> release = TRY(try_attest(verdict, request, peer));
    if (release) return std::move(*release);
  }
  return Error(Code::Unavailable, "the session is being replaced");
}

Result<void> Service::check_attempt(Attempt& attempt) {
  const policy::Session& session = *attempt.current.session;
  const std::vector<policy::Denial> denials = policy::check(session, *attempt.service, attempt.verdict);
  if (!denials.empty()) {
    std::string rules;
    for (const policy::Denial& denial : denials) {
      if (rules.find(denial.rule) == std::string::npos) rules += (rules.empty() ? "" : ", ") + denial.rule;
    }
    return deny(attempt, reasons_of(denials), untrusted(rules));
  }
  const auto lookup = [&](const policy::SecretReference& reference) -> Result<std::string> {
    auto found = attempt.secrets.find(reference.name);
    if (found == attempt.secrets.end()) {
      const auto row = TRY(store_.get(kSecrets, row_key(attempt.name, reference.name)));
      if (!row) return Error(Code::Internal, "secret `" + reference.name + "` is missing");
      SecretRecord secret = TRY(decode_secret(row->expose()));
      found = attempt.secrets.emplace(reference.name, std::move(secret)).first;
    }
    return policy::format_secret(found->second.value.expose(),
                                 found->second.kind == policy::SecretKind::Ascii, reference.format);
  };
  TRY(check_access_token(attempt, lookup));
  const std::string& password_secret = session.password_secret_of(*attempt.service);
  if (!password_secret.empty()) {
    const std::string base32 = TRY(policy::expand_secrets(password_secret, lookup));
    attempt.password_secret = TRY(policy::password_secret(base32));
  }
  Result<boundary::EnclaveConfig> config =
      build_configuration(session, *attempt.service, attempt.request.host_arguments, lookup);
  if (!config.ok()) {
    const bool hosts_fault = config.error().code() == Code::InvalidArgument;
    return deny(attempt, config.error().message(),
                hosts_fault ? Error(config.error())
                            : Error(Code::Denied, "the session cannot be filled in for this enclave"));
  }
  attempt.config = std::move(*config);
  return {};
}

Result<boundary::MountConfig> Service::grant_volume(Transaction& transaction, const Attempt& attempt,
                                                    const policy::ImageVolume& mounted) {
  const policy::Volume& volume = *attempt.current.session->find_volume(mounted.name);
  const std::string key = row_key(attempt.name, volume.name);
  const std::optional<SecretBytes> row = TRY(transaction.get(kVolumes, key));
  VolumeRecord record;
  if (row) {
    record = TRY(decode_volume(row->expose()));
  } else {
    crypto::random_bytes(record.key.expose());  // keyless, first use; given ones have a row already
  }
  boundary::MountConfig mount;
  mount.name = volume.name;
  mount.path = mounted.path;
  mount.update_policy = update_policy_of(volume, mounted);
  const bool exclusive = mount.update_policy == boundary::UpdatePolicy::RollbackProtected;
  if (exclusive && record.writer != InstanceId{}) {
    if (instances_.live(record.writer)) {
      return Error(Code::Denied, "volume `" + volume.name + "` is in use by another enclave",
                   "it is free again when that one exits or its connection ends");
    }
    transaction.erase(kInstances, to_hex(record.writer));
  }
  mount.key = TRY(volume_key(transaction, attempt.name, volume, record));
  if (mount.update_policy == boundary::UpdatePolicy::Ephemeral) {
    mount.create = true;
    if (volume.keyless()) crypto::random_bytes(mount.key.expose());  // nobody needs it after this run
  } else {
    mount.create = !record.tag;
    mount.tag = record.tag.value_or(Tag{});
  }
  record.epoch += 1;
  mount.epoch = record.epoch;
  if (exclusive) {
    record.writer = attempt.config.instance_id;
    record.writer_epoch = mount.epoch;
  }
  transaction.put(kVolumes, key, encode(record));
  return mount;
}

Result<void> Service::grant(Transaction& transaction, Attempt& attempt) {
  attempt.config.mounts.clear();
  attempt.instance->volumes.clear();
  const policy::Image* image = attempt.current.session->find_image(attempt.service->image_name);
  std::string said = "service " + attempt.service_name + " from " + attempt.peer.address + ": " +
                     measured(attempt.verdict) + ", instance " + to_hex(attempt.config.instance_id);
  if (image != nullptr) {
    for (const policy::ImageVolume& mounted : image->volumes) {
      boundary::MountConfig mount = TRY(grant_volume(transaction, attempt, mounted));
      said += ", volume " + mount.name + " epoch " + std::to_string(mount.epoch);
      attempt.instance->volumes.push_back({mount.name, mount.epoch, mount.update_policy});
      attempt.config.mounts.push_back(std::move(mount));
    }
  }
  TRY(take_singleton(transaction, attempt));
  attempt.encoded = TRY(checked_encoding(attempt.config));
  const std::vector<InstanceVolume>& volumes = attempt.instance->volumes;
  if (!volumes.empty() || attempt.current.session->security.singleton_enclaves) {
    transaction.put(kInstances, to_hex(attempt.config.instance_id), encode(*attempt.instance));
    const bool has_lease = std::any_of(volumes.begin(), volumes.end(), [](const InstanceVolume& volume) {
      return volume.policy == boundary::UpdatePolicy::RollbackProtected;
    });
    if (!has_lease) TRY(keep_unleased(transaction, attempt.name, attempt.config.instance_id));
  }
  transaction.journal("attested", attempt.subject(), said);
  return {};
}

// Empty: the session was replaced between judging and granting.
Result<std::optional<attestation::Release>> Service::try_attest(const attestation::Verdict& verdict,
                                                                const attestation::AttestRequest& request,
                                                                const attestation::Peer& peer) {
  const Error unknown(Code::NotFound, "there is no such session or service");
  const size_t slash = request.subject.rfind('/');
  if (slash == std::string::npos) return Error(unknown);
  Attempt attempt{verdict, request, peer};
  attempt.name = request.subject.substr(0, slash);
  attempt.service_name = request.subject.substr(slash + 1);
  std::optional<Current> current = TRY(find(attempt.name));
  if (!current) return Error(unknown);
  attempt.current = std::move(*current);
  attempt.service = attempt.current.session->find_service(attempt.service_name);
  if (attempt.service == nullptr) return deny(attempt, "the session has no such service", unknown);
  TRY(check_attempt(attempt));

  attempt.config.instance_id = crypto::random_array<16>();
  attempt.instance->key = peer.key;
  attempt.instance->owner = attempt.current.record.creator;
  attempt.instance->session = attempt.name;
  attempt.instance->service = attempt.service_name;
  bool replaced = false;
  // Connected before it is granted: a second writer that comes in the same batch must find it alive.
  instances_.connect(attempt.config.instance_id, attempt.instance);
  const Result<void> granted = store_.update([&](Transaction& transaction) -> Result<void> {
    const std::optional<Current> still = TRY(find(transaction, attempt.name));
    replaced = !still || still->record.hash != attempt.current.record.hash;
    if (replaced) return {};
    TRY(spend_password(transaction, attempt));
    if (!attempt.password_fault.empty()) return {};  // and keep that it was wrong
    return grant(transaction, attempt);
  });
  const bool wrong_password = !attempt.password_fault.empty();
  if (!granted.ok() || replaced || wrong_password) instances_.disconnect(attempt.config.instance_id);
  if (!granted.ok()) {
    const Code code = granted.error().code();
    if (code == Code::Denied) return deny(attempt, granted.error().message(), Error(granted.error()));
    if (code != Code::Malformed) return Error(granted.error());
    return deny(attempt, granted.error().message(),
                Error(Code::Denied, "the session cannot be filled in for this enclave"));
  }
  if (replaced) return std::optional<attestation::Release>();
  if (attempt.password_counted) return untrusted("one-time-password");
  if (wrong_password) return deny(attempt, attempt.password_fault, untrusted("one-time-password"));
  attestation::Release release;
  release.instance_id = attempt.config.instance_id;
  release.configuration = std::move(attempt.encoded);
  release.access_proof = attempt.access_proof;
  return std::optional<attestation::Release>(std::move(release));
}

}  // namespace cloister::cas
