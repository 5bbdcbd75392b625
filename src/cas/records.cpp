#include "cas/records.h"

namespace cloister::cas {
namespace {

constexpr uint8_t kFormat = 1;
constexpr uint8_t kVolumeFormat = 2;
constexpr uint8_t kInstanceFormat = 2;
constexpr uint32_t kMaxText = policy::kMaxYamlSize;
constexpr uint32_t kMaxValue = policy::kMaxYamlBytes;
constexpr uint32_t kMaxName = 1024;
constexpr uint32_t kMaxVolumes = boundary::kMaxMounts;

ByteWriter begin(uint8_t format = kFormat) {
  ByteWriter out;
  out.le(format);
  return out;
}

Result<ByteReader> begin(ByteView bytes) {
  ByteReader in(bytes, "row");
  const uint8_t format = TRY(in.le<uint8_t>());
  if (format != kFormat) return Error(Code::Malformed, "a row of an unknown format");
  return in;
}

}  // namespace

std::string row_key(std::string_view session, std::string_view part) {
  return std::string(session).append(":").append(part);
}

std::string subject_of(std::string_view session, const crypto::Digest& owner) {
  return row_key(session, to_hex(owner));
}

SecretBytes encode(const SessionRecord& record) {
  ByteWriter out = begin();
  out.bytes(record.hash).bytes(record.creator).le(record.updated);
  return SecretBytes(out.take());
}

Result<SessionRecord> decode_session(ByteView bytes) {
  ByteReader in = TRY(begin(bytes));
  SessionRecord record;
  record.hash = TRY(in.array<32>());
  record.creator = TRY(in.array<32>());
  record.updated = TRY(in.le<int64_t>());
  TRY(in.expect_end());
  return record;
}

SecretBytes encode(const VersionRecord& record) {
  ByteWriter out = begin();
  out.bytes(record.creator).le(record.uploaded).field(record.text);
  return SecretBytes(out.take());
}

Result<VersionRecord> decode_version(ByteView bytes) {
  ByteReader in = TRY(begin(bytes));
  VersionRecord record;
  record.creator = TRY(in.array<32>());
  record.uploaded = TRY(in.le<int64_t>());
  record.text = as_text(TRY(in.field(kMaxText)));
  TRY(in.expect_end());
  return record;
}

SecretBytes encode(const SecretRecord& record) {
  ByteWriter out = begin();
  out.bytes(ByteArray<2>{static_cast<uint8_t>(record.kind), static_cast<uint8_t>(record.generated)});
  out.le(record.size);
  out.field(record.value.expose());
  return SecretBytes(out.take());
}

Result<SecretRecord> decode_secret(ByteView bytes) {
  ByteReader in = TRY(begin(bytes));
  SecretRecord record;
  const uint8_t kind = TRY(in.le<uint8_t>());
  if (kind > static_cast<uint8_t>(policy::SecretKind::Binary)) {
    return Error(Code::Malformed, "a secret of an unknown kind");
  }
  record.kind = static_cast<policy::SecretKind>(kind);
  record.generated = TRY(in.le<uint8_t>()) != 0;
  record.size = TRY(in.le<uint32_t>());
  const ByteView value = TRY(in.field(kMaxValue));
  record.value = SecretBytes(Bytes(value.begin(), value.end()));
  TRY(in.expect_end());
  return record;
}

SecretBytes encode(const VolumeRecord& record) {
  ByteWriter out = begin(kVolumeFormat);
  out.bytes(record.given).bytes(record.key.expose()).le(static_cast<uint8_t>(record.tag.has_value()));
  out.bytes(record.tag.value_or(Tag{})).bytes(record.previous);
  out.le(record.updates).le(record.updated).le(record.epoch).bytes(record.writer);
  out.le(record.writer_epoch).le(record.reset_epoch);
  return SecretBytes(out.take());
}

// Format 1 knew one epoch for everything, which is then also the writer's.
Result<VolumeRecord> decode_volume(ByteView bytes) {
  ByteReader in(bytes, "row");
  const uint8_t format = TRY(in.le<uint8_t>());
  if (format != 1 && format != kVolumeFormat) return Error(Code::Malformed, "a row of an unknown format");
  VolumeRecord record;
  record.given = TRY(in.array<32>());
  record.key.expose() = TRY(in.array<32>());
  const uint8_t has_tag = TRY(in.le<uint8_t>());
  const Tag tag = TRY(in.array<16>());
  if (has_tag != 0) record.tag = tag;
  record.previous = TRY(in.array<16>());
  record.updates = TRY(in.le<uint64_t>());
  record.updated = TRY(in.le<int64_t>());
  record.epoch = TRY(in.le<uint64_t>());
  record.writer = TRY(in.array<16>());
  record.writer_epoch = format == 1 ? record.epoch : TRY(in.le<uint64_t>());
  record.reset_epoch = format == 1 ? 0 : TRY(in.le<uint64_t>());
  TRY(in.expect_end());
  return record;
}

SecretBytes encode(const InstanceRecord& record) {
  ByteWriter out = begin(kInstanceFormat);
  out.bytes(record.key).bytes(record.owner).field(record.session).field(record.service);
  out.le(static_cast<uint32_t>(record.volumes.size()));
  for (const InstanceVolume& volume : record.volumes) {
    out.field(volume.name).le(volume.epoch).le(static_cast<uint8_t>(volume.policy));
  }
  return SecretBytes(out.take());
}

// Format 1 did not say whose.
Result<InstanceRecord> decode_instance(ByteView bytes) {
  ByteReader in(bytes, "row");
  const uint8_t format = TRY(in.le<uint8_t>());
  if (format != 1 && format != kInstanceFormat) return Error(Code::Malformed, "a row of an unknown format");
  InstanceRecord record;
  record.key = TRY(in.array<32>());
  if (format != 1) record.owner = TRY(in.array<32>());
  record.session = as_text(TRY(in.field(kMaxName)));
  record.service = as_text(TRY(in.field(kMaxName)));
  const uint32_t count = TRY(in.le<uint32_t>());
  if (count > kMaxVolumes) return Error(Code::Malformed, "an instance with too many volumes");
  for (uint32_t i = 0; i < count; ++i) {
    InstanceVolume volume;
    volume.name = as_text(TRY(in.field(kMaxName)));
    volume.epoch = TRY(in.le<uint64_t>());
    const uint8_t policy = TRY(in.le<uint8_t>());
    if (policy > 3) return Error(Code::Malformed, "an unknown update policy");
    volume.policy = static_cast<boundary::UpdatePolicy>(policy);
    record.volumes.push_back(std::move(volume));
  }
  TRY(in.expect_end());
  return record;
}

SecretBytes encode(const UnleasedRecord& record) {
  ByteWriter out = begin();
  out.le(static_cast<uint32_t>(record.instances.size()));
  for (const InstanceId& instance : record.instances) out.bytes(instance);
  return SecretBytes(out.take());
}

Result<UnleasedRecord> decode_unleased(ByteView bytes) {
  ByteReader in = TRY(begin(bytes));
  UnleasedRecord record;
  const uint32_t count = TRY(in.le<uint32_t>());
  if (count > kMaxUnleased) return Error(Code::Malformed, "too many instances in one row");
  for (uint32_t i = 0; i < count; ++i) record.instances.push_back(TRY(in.array<16>()));
  TRY(in.expect_end());
  return record;
}

SecretBytes encode(const UploaderRecord& record) {
  ByteWriter out = begin();
  out.le(record.sessions).le(record.bytes);
  return SecretBytes(out.take());
}

Result<UploaderRecord> decode_uploader(ByteView bytes) {
  ByteReader in = TRY(begin(bytes));
  UploaderRecord record;
  record.sessions = TRY(in.le<uint64_t>());
  record.bytes = TRY(in.le<uint64_t>());
  TRY(in.expect_end());
  return record;
}

SecretBytes encode(const PasswordRecord& record) {
  ByteWriter out = begin();
  out.le(record.failures).le(record.failures_since).le(record.used.floor);
  out.le(static_cast<uint32_t>(record.used.steps.size()));
  for (const int64_t step : record.used.steps) out.le(step);
  return SecretBytes(out.take());
}

Result<PasswordRecord> decode_password(ByteView bytes) {
  ByteReader in = TRY(begin(bytes));
  PasswordRecord record;
  record.failures = TRY(in.le<uint32_t>());
  record.failures_since = TRY(in.le<int64_t>());
  record.used.floor = TRY(in.le<int64_t>());
  const uint32_t count = TRY(in.le<uint32_t>());
  if (count > policy::UsedSteps::kLimit) return Error(Code::Malformed, "too many steps in one row");
  int64_t before = record.used.floor;
  for (uint32_t i = 0; i < count; ++i) {
    const int64_t step = TRY(in.le<int64_t>());
    if (step <= before) return Error(Code::Malformed, "steps out of order");
    record.used.steps.push_back(before = step);
  }
  TRY(in.expect_end());
  return record;
}

SecretBytes encode(const SingletonRecord& record) {
  ByteWriter out = begin();
  out.bytes(record.instance);
  return SecretBytes(out.take());
}

Result<SingletonRecord> decode_singleton(ByteView bytes) {
  ByteReader in = TRY(begin(bytes));
  SingletonRecord record;
  record.instance = TRY(in.array<16>());
  TRY(in.expect_end());
  return record;
}

}  // namespace cloister::cas
