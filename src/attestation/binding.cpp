#include "attestation/binding.h"

#include "crypto/sha512.h"

namespace cloister::attestation {

ReportData report_data_for(const Binding& binding) {
  const uint8_t role[1] = {static_cast<uint8_t>(binding.role)};
  ByteWriter fields;
  fields.field(kBindingLabel)
      .field(ByteView(role))
      .field(binding.nonce)
      .field(binding.exporter)
      .field(binding.own_key)
      .field(binding.peer_key)
      .field(binding.subject)
      .field(binding.runtime_config_hash);
  return crypto::sha512(fields.view());
}

Error other_report_data(std::string_view evidence, const ReportData& found) {
  const std::string name(evidence);
  if (found == ReportData{}) {
    return Error(Code::Denied, "report data: all zero, so the " + name + " is bound to nothing");
  }
  return Error(Code::Denied, "report data: the " + name + " was made for something else");
}

crypto::Digest channel_hash(const Binding& of_enclave) {
  ByteWriter fields;
  fields.field(of_enclave.nonce)
      .field(of_enclave.exporter)
      .field(of_enclave.own_key)
      .field(of_enclave.peer_key);
  return crypto::sha256(fields.view());
}

crypto::Digest access_proof(std::string_view token, Role who, const crypto::Digest& channel,
                            std::string_view subject) {
  const uint8_t role[1] = {static_cast<uint8_t>(who)};
  ByteWriter fields;
  fields.field("cloister-access-v1").field(ByteView(role)).field(channel).field(subject);
  return crypto::hmac_sha256(as_bytes(token), {fields.view()});
}

ReportData service_report_data(const Nonce& nonce, const crypto::Digest& service_key,
                               const JournalPosition& position) {
  ByteWriter journal;
  journal.field(std::string_view("cloister-journal-v1")).le(position.sequence).bytes(position.head);
  journal.le(position.seen).bytes(position.seen_hash);
  Binding binding;
  binding.role = Role::Service;
  binding.nonce = nonce;
  binding.own_key = service_key;
  binding.subject = "cas";
  binding.runtime_config_hash = crypto::sha256(journal.view());
  return report_data_for(binding);
}

}  // namespace cloister::attestation
