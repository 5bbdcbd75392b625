// What an attested instance says afterwards: new tags, its exit, its silence.
#include <ctime>

#include "cas/attempt.h"

namespace cloister::cas {
namespace {

using boundary::UpdatePolicy;

const std::string kNotFresh = "The FSPF tag is not fresh - suspected replay attack";

Error lease_lost(const std::string& volume) {
  return {Code::Denied, "the lease on volume `" + volume + "` is lost: another instance writes now"};
}

std::string subject_of(const InstanceRecord& instance) {
  return cas::subject_of(instance.session, instance.owner);
}

const InstanceVolume* find_volume(const InstanceRecord& instance, std::string_view name) {
  for (const InstanceVolume& volume : instance.volumes) {
    if (volume.name == name) return &volume;
  }
  return nullptr;
}

// Compare and swap. True: `record` has changed; false: it had this very change already.
Result<bool> apply(VolumeRecord& record, const attestation::TagUpdate& update, UpdatePolicy policy,
                   int64_t now) {
  if (record.tag && *record.tag == update.next) {
    const bool repeated = record.previous == update.previous || policy == UpdatePolicy::NoRollbackProtection;
    if (repeated) return false;
  }
  if (policy == UpdatePolicy::RollbackProtected && record.tag.value_or(Tag{}) != update.previous) {
    return Error(Code::Integrity, kNotFresh);
  }
  if (update.next == Tag{}) return Error(Code::Integrity, "a volume's tag cannot be zero");
  record.previous = record.tag.value_or(Tag{});
  record.tag = update.next;
  record.updates += 1;
  record.updated = now;
  return true;
}

}  // namespace

// May this instance's tag become the volume's newest? False: it is acknowledged and forgotten. Denied:
// fenced.
Result<bool> Service::takes_tag(const VolumeRecord& record, const InstanceVolume& granted) const {
  if (granted.epoch < record.reset_epoch) return lease_lost(granted.name);
  if (granted.policy == UpdatePolicy::RollbackProtected) {
    if (record.writer_epoch != granted.epoch) return lease_lost(granted.name);
    return true;
  }
  // A state beside the protected one must not take its place: not under its writer, nor after it.
  const bool beside_writer = record.writer != InstanceId{} && instances_.live(record.writer);
  return !beside_writer && granted.epoch > record.writer_epoch;
}

// The row of an instance with a lease goes with the lease's next holder. The others' go here, when a later
// one comes and they are not expected back.
Result<void> Service::keep_unleased(Transaction& transaction, const std::string& session,
                                    const InstanceId& instance) {
  const std::optional<SecretBytes> row = TRY(transaction.get(kUnleased, session));
  UnleasedRecord list;
  if (row) list = TRY(decode_unleased(row->expose()));
  UnleasedRecord kept;
  size_t too_many = list.instances.size() < kMaxUnleased ? 0 : list.instances.size() - kMaxUnleased + 1;
  for (const InstanceId& one : list.instances) {
    if (too_many > 0 || !instances_.may_return(one)) {
      transaction.erase(kInstances, to_hex(one));
      too_many -= too_many > 0 ? 1 : 0;
    } else {
      kept.instances.push_back(one);
    }
  }
  kept.instances.push_back(instance);
  transaction.put(kUnleased, session, encode(kept));
  return {};
}

Result<void> Service::forget_instance(Transaction& transaction, const std::string& session,
                                      const InstanceId& instance) {
  transaction.erase(kInstances, to_hex(instance));
  const std::optional<SecretBytes> row = TRY(transaction.get(kUnleased, session));
  if (!row) return {};
  UnleasedRecord list = TRY(decode_unleased(row->expose()));
  if (std::erase(list.instances, instance) > 0) transaction.put(kUnleased, session, encode(list));
  return {};
}

void Service::record(std::string_view kind, std::string_view subject, const std::string& text) {
  // It tells and does not decide: when the disk fails, whoever waits for something durable is refused anyway.
  static_cast<void>(store_
                        .update([&](Transaction& transaction) -> Result<void> {
                          transaction.journal(kind, subject, text);
                          return {};
                        })
                        .ok());
}

void Service::record_limited(std::string_view kind, const std::string& subject, const std::string& text) {
  const std::optional<uint64_t> left_out = limit_.take(std::string(kind) + " " + subject);
  if (!left_out) return;
  record(kind, subject, *left_out == 0 ? text : text + " (" + std::to_string(*left_out) + " more before)");
}

Result<void> Service::on_resume(const InstanceId& instance, const attestation::Peer& peer) {
  const Error unknown(Code::Denied, "this instance is not known: its lease has ended");
  std::shared_ptr<const InstanceRecord> known = instances_.find(instance);
  if (known == nullptr) {
    const auto row = TRY(store_.get(kInstances, to_hex(instance)));
    if (!row) return Error(unknown);
    known = std::make_shared<const InstanceRecord>(TRY(decode_instance(row->expose())));
  }
  // The same words: whoever only knows an id must not learn whether it exists.
  if (!equal_constant_time(known->key, peer.key)) return Error(unknown);
  instances_.connect(instance, std::move(known));
  Result<void> still = still_granted(instance, unknown);
  if (!still.ok()) instances_.disconnect(instance);
  return still;
}

// Whoever took its place meanwhile either comes before this in the store's order, or finds it connected.
Result<void> Service::still_granted(const InstanceId& instance, const Error& unknown) {
  return store_.update([&](Transaction& transaction) -> Result<void> {
    const std::optional<SecretBytes> row = TRY(transaction.get(kInstances, to_hex(instance)));
    return row ? Result<void>() : Result<void>(Error(unknown));
  });
}

Result<void> Service::on_tags(const InstanceId& instance, const attestation::Peer& peer,
                              std::span<const attestation::TagUpdate> updates) {
  const std::shared_ptr<const InstanceRecord> known = instances_.find(instance);
  if (known == nullptr || !equal_constant_time(known->key, peer.key)) {
    return Error(Code::Denied, "this instance is not known: its lease has ended");
  }
  const int64_t time = std::time(nullptr);
  Result<void> done = store_.update([&](Transaction& transaction) -> Result<void> {
    std::string said;
    for (const attestation::TagUpdate& update : updates) {
      const InstanceVolume* granted = find_volume(*known, update.volume);
      if (granted == nullptr || granted->epoch != update.epoch) return lease_lost(update.volume);
      if (granted->policy == UpdatePolicy::Ephemeral) continue;
      const std::string key = row_key(known->session, update.volume);
      const std::optional<SecretBytes> row = TRY(transaction.get(kVolumes, key));
      if (!row) return Error(Code::Integrity, "the state of volume `" + update.volume + "` is missing");
      VolumeRecord record = TRY(decode_volume(row->expose()));
      const bool takes = TRY(takes_tag(record, *granted));
      if (!takes) continue;
      const bool changed = TRY(apply(record, update, granted->policy, time));
      if (!changed) continue;
      transaction.put(kVolumes, key, encode(record));
      said += (said.empty() ? "" : ", ") + update.volume + " " + to_hex(update.next);
    }
    if (!said.empty()) transaction.journal("tags", subject_of(*known), said);
    return {};
  });
  if (!done.ok() && (done.error().code() == Code::Integrity || done.error().code() == Code::Denied)) {
    record_limited(
        "refused", subject_of(*known),
        "tags of service " + known->service + " from " + peer.address + ": " + done.error().message());
  }
  return done;
}

void Service::on_exit(const InstanceId& instance, const attestation::Peer& peer, int32_t status) {
  const std::shared_ptr<const InstanceRecord> known = instances_.find(instance);
  if (known == nullptr || !equal_constant_time(known->key, peer.key)) return;
  const Result<void> done = store_.update([&](Transaction& transaction) -> Result<void> {
    for (const InstanceVolume& volume : known->volumes) {
      const std::string key = row_key(known->session, volume.name);
      const std::optional<SecretBytes> row = TRY(transaction.get(kVolumes, key));
      if (!row) continue;
      VolumeRecord record = TRY(decode_volume(row->expose()));
      if (record.writer != instance) continue;
      record.writer = {};
      transaction.put(kVolumes, key, encode(record));
    }
    TRY(forget_instance(transaction, known->session, instance));
    transaction.journal("exited", subject_of(*known),
                        "service " + known->service + ", instance " + to_hex(instance) + ", status " +
                            std::to_string(status));
    return {};
  });
  // Without the row the lease still ends with the connection.
  static_cast<void>(done.ok());
  instances_.exit(instance);
}

void Service::on_disconnect(const InstanceId& instance, const attestation::Peer& peer) {
  const std::shared_ptr<const InstanceRecord> ended = instances_.disconnect(instance);
  if (ended == nullptr) return;
  record_limited("disconnected", subject_of(*ended),
                 "service " + ended->service + " from " + peer.address + ", instance " + to_hex(instance) +
                     ": its connection ended without an exit notice; its volumes can be used again");
}

void Service::on_refused(const attestation::Peer& peer, std::string_view subject,
                         attestation::DenialCode code, const Error& detail) {
  using attestation::DenialCode;
  // Policy, leases and tags were written down where they were refused. Of the rest, only what names a session
  // that exists is anybody's business.
  if (code == DenialCode::PolicyRefused || code == DenialCode::Busy || subject.empty()) return;
  const size_t slash = subject.rfind('/');
  if (slash == std::string_view::npos) return;
  const std::string session(subject.substr(0, slash));
  const Result<std::optional<SecretBytes>> row = store_.get(kSessions, session);
  if (!row.ok() || !row->has_value()) return;
  const Result<SessionRecord> in_force = decode_session((*row)->expose());
  if (!in_force.ok()) return;
  record_limited("unproven", subject_of(session, in_force->creator),
                 shown_service(subject.substr(slash + 1)) + " from " + peer.address + ": " +
                     std::string(attestation::denial_name(code)) + ": " + detail.message());
}

}  // namespace cloister::cas
