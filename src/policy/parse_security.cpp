// access_policy and security: who may read and change the session, and what is tolerated in an attestation.
#include <algorithm>

#include "crypto/certificate.h"
#include "policy/one_time_password.h"
#include "policy/parse_parts.h"
#include "policy/placeholders.h"

namespace cloister::policy {
namespace {

struct TolerationRow {
  std::string_view name;
  Toleration value;
};
constexpr TolerationRow kTolerations[] = {
    {"debug-mode", Toleration::DebugMode},
    {"hyperthreading", Toleration::Hyperthreading},
    {"insecure-igpu", Toleration::InsecureIgpu},
    {"software-hardening-needed", Toleration::SoftwareHardeningNeeded},
    {"aepic-leak", Toleration::AepicLeak},
    {"insecure-configuration", Toleration::InsecureConfiguration},
    {"outdated-tcb", Toleration::OutdatedTcb},
    {"simulation-mode", Toleration::SimulationMode},
};
// Of the language, for evidence that is not accepted here at all: to tolerate it changes nothing.
constexpr std::string_view kWithoutEffect[] = {"maa-managed-tcb", "local-attestation-trust-cas-tcb"};

constexpr std::string_view kEmptyToken = "an empty token would ask for none: give one, or leave the key out";
constexpr size_t kMaxAccessEntries = 256;
constexpr size_t kMaxAdvisories = 1024;

Result<AccessEntry> read_access_entry(const Place& place) {
  if (place.node().kind == Node::Kind::Mapping) {
    return place.unsupported(
        "signers and votes (signer, require-all, require-at-least-N) are not supported yet");
  }
  const std::string text = TRY(place.raw_scalar());
  AccessEntry entry;
  if (text == "CREATOR") return entry;
  if (text == "ANY" || text == "NONE") {
    entry.kind = text == "ANY" ? AccessEntry::Kind::Any : AccessEntry::Kind::None;
    return entry;
  }
  entry.kind = AccessEntry::Kind::Key;
  if (text.starts_with("$$SCONE::"))
    return place.unsupported("secrets in access policies are not supported yet");
  if (text.find("-----BEGIN CERTIFICATE-----") != std::string::npos) {
    const Result<crypto::Certificate> certificate = crypto::Certificate::from_pem(text);
    if (!certificate.ok()) return place.malformed("not a certificate");
    entry.key = certificate->spki_sha256();
    return entry;
  }
  const Result<crypto::Digest> key = array_from_hex<32>(text);
  if (!key.ok()) {
    return place.malformed(
        "expected CREATOR, ANY, NONE, a certificate in PEM or a key hash of 64 hex digits");
  }
  entry.key = *key;
  return entry;
}

Result<std::vector<AccessEntry>> read_access_list(const Place& place) {
  std::vector<AccessEntry> out;
  if (place.node().is_scalar() || place.node().kind == Node::Kind::Mapping) {
    out.push_back(TRY(read_access_entry(place)));
    return out;
  }
  const size_t count = TRY(place.sequence_size(kMaxAccessEntries));
  if (count == 0) return place.malformed("an empty list; write NONE to allow nobody");
  for (size_t i = 0; i < count; ++i) {
    const Place item = place.element(i);
    const AccessEntry entry = TRY(read_access_entry(item));
    if (count > 1 && (entry.kind == AccessEntry::Kind::Any || entry.kind == AccessEntry::Kind::None)) {
      return item.malformed("ANY and NONE stand alone");
    }
    out.push_back(entry);
  }
  return out;
}

Result<void> read_tolerations(const Place& place, Security& security) {
  const size_t count = TRY(place.sequence_size(kMaxEntries));
  for (size_t i = 0; i < count; ++i) {
    const Place item = place.element(i);
    const std::string name = TRY(item.string());
    if (const auto toleration = parse_toleration(name)) {
      security.tolerate.push_back(*toleration);
    } else if (std::find(std::begin(kWithoutEffect), std::end(kWithoutEffect), name) !=
               std::end(kWithoutEffect)) {
      security.without_effect.emplace_back(name, item.node().mark);
    } else {
      std::string what = "unknown variant `" + name.substr(0, 64) + "`, expected one of ";
      const char* between = "`";
      for (const TolerationRow& row : kTolerations) {
        what.append(between).append(row.name).append("`");
        between = ", `";
      }
      return item.malformed(what);
    }
  }
  return {};
}

Result<void> read_advisories(const Place& place, Security& security) {
  const auto all = [&](const Place& where) -> Result<void> {
    if (!security.tolerates(Toleration::DebugMode)) {
      return where.malformed(
          "`ignore_advisories: \"*\"` is only allowed together with `tolerate: [debug-mode]`");
    }
    security.ignore_all_advisories = true;
    security.ignore_all_mark = where.node().mark;
    return {};
  };
  if (place.node().is_scalar()) {
    const std::string text = TRY(place.string());
    if (text == "*") return all(place);
    return place.wrong_type("a sequence or \"*\"");
  }
  const size_t count = TRY(place.sequence_size(kMaxAdvisories));
  for (size_t i = 0; i < count; ++i) {
    const Place item = place.element(i);
    std::string name = TRY(item.string());
    if (name == "*") {
      TRY(all(item));
    } else if (!is_advisory(name)) {
      return item.malformed("an advisory is written INTEL-SA-00161");
    } else {
      security.ignore_advisories.push_back(std::move(name));
    }
  }
  return {};
}

Result<void> read_attestation_policy(const Place& place, Security& security) {
  const Fields fields = TRY(
      Fields::of(place,
                 {"mode", "tolerate", "ignore_advisories", "must_be_sgx_local", "trusted_scone_qe_pubkeys",
                  "one_time_password_shared_secret", "url", "certificates", "min_rsa_signing_key_size"},
                 {"tolerate", "ignore_advisories"}));
  security.password_secret = TRY(read_password_secret(fields));
  TRY(fields.refuse({"trusted_scone_qe_pubkeys"}, "only DCAP quotes are verified"));
  if (const auto mode = fields.find("mode")) {
    const std::string word = TRY(mode->string());
    if (word == "maa" || word == "none") {
      return mode->unsupported("`" + word + "`: every enclave is attested by its quote here");
    }
    if (word != "hardware") {
      return mode->malformed("unknown variant `" + word.substr(0, 64) +
                             "`, expected one of `hardware`, `maa`, `none`");
    }
  }
  if (const auto local = fields.find("must_be_sgx_local")) {
    const bool must = TRY(local->boolean());
    if (must) return local->unsupported("local attestation is not supported yet");
  }
  if (const auto tolerate = fields.find("tolerate")) TRY(read_tolerations(*tolerate, security));
  if (const auto ignored = fields.find("ignore_advisories")) TRY(read_advisories(*ignored, security));
  return {};
}

}  // namespace

std::string_view toleration_name(Toleration toleration) {
  for (const TolerationRow& row : kTolerations) {
    if (row.value == toleration) return row.name;
  }
  return "?";
}

std::optional<Toleration> parse_toleration(std::string_view name) {
  for (const TolerationRow& row : kTolerations) {
    if (row.name == name) return row.value;
  }
  return std::nullopt;
}

bool is_advisory(std::string_view text) {
  static constexpr std::string_view kBegin = "INTEL-SA-";
  return text.starts_with(kBegin) && text.size() >= kBegin.size() + 5 && text.size() <= 32 &&
         text.find_first_not_of("0123456789", kBegin.size()) == std::string_view::npos;
}

bool Security::tolerates(Toleration toleration) const {
  return std::find(tolerate.begin(), tolerate.end(), toleration) != tolerate.end();
}

Result<std::string> read_password_secret(const Fields& fields) {
  const std::optional<Place> place = fields.find("one_time_password_shared_secret");
  if (!place) return std::string();
  const std::string text = TRY(place->string());
  if (whole_reference(text)) return text;
  const Result<SecretBytes> secret = password_secret(text);
  if (!secret.ok()) return place->malformed(secret.error().message());
  return text;
}

Result<AccessPolicy> read_access_policy(const Place& place) {
  AccessPolicy access;
  if (place.node().is_scalar()) {
    return place.unsupported("secrets in access policies are not supported yet");
  }
  const Fields fields = TRY(Fields::of(place, {"read", "update", "create_sessions", "list_sessions"}));
  if (const auto read = fields.find("read")) access.read = TRY(read_access_list(*read));
  if (const auto update = fields.find("update")) access.update = TRY(read_access_list(*update));
  if (const auto create = fields.find("create_sessions"))
    access.create_sessions = TRY(read_access_list(*create));
  // Nothing lists sessions here; it is checked all the same, because the text is kept.
  if (const auto list = fields.find("list_sessions")) {
    const std::vector<AccessEntry> entries = TRY(read_access_list(*list));
    CLOISTER_CHECK(!entries.empty());
  }
  return access;
}

Result<Security> read_security(const Place& place) {
  Security security;
  if (place.node().is_scalar()) return place.unsupported("config fragments are not supported yet");
  const Fields fields = TRY(Fields::of(place, {"attestation", "singleton_enclaves", "service_access_token"}));
  if (const auto singleton = fields.find("singleton_enclaves")) {
    security.singleton_enclaves = TRY(singleton->boolean());
  }
  if (const auto token = fields.find("service_access_token")) {
    security.access_token = TRY(token->string());
    if (security.access_token.empty()) return token->malformed(kEmptyToken);
  }
  if (const auto attestation = fields.find("attestation")) {
    TRY(read_attestation_policy(*attestation, security));
  }
  return security;
}

}  // namespace cloister::policy
