// What an enclave has to know or be besides its measurement: the service access token, a one-time password,
// the only instance of its service.
#include <ctime>

#include "cas/attempt.h"
#include "policy/check.h"

namespace cloister::cas {
namespace {

std::string refusal(const std::string& rule, const std::string& expected, const std::string& actual) {
  return policy::Denial{rule, expected, actual, ""}.text();
}

// A clock that was set back starts no new time in which to guess.
void count_failure(PasswordRecord& record, int64_t now) {
  if (now >= record.failures_since + kPasswordFailureTime) {
    record.failures = 0;
    record.failures_since = now;
  }
  record.failures += 1;
}

bool too_many_failures(const PasswordRecord& record, int64_t now) {
  return record.failures >= kMaxPasswordFailures && now < record.failures_since + kPasswordFailureTime;
}

// By the secret and not by the service: a password that two services could use is used by one of them.
std::string password_key(const std::string& session, ByteView secret) {
  return row_key(session, to_hex(crypto::sha256({as_bytes("cloister-otp-v1"), secret})));
}

// Empty: it counts, and now has counted.
std::string judge_password(PasswordRecord& record, ByteView secret, const std::string& password,
                           int64_t now) {
  const std::string rule = "one-time-password", expected = "the configuration id SESSION/SERVICE@PASSWORD";
  if (password.empty()) return refusal(rule, expected, "no password");
  if (too_many_failures(record, now)) {
    return refusal(rule, "fewer than " + std::to_string(kMaxPasswordFailures) + " wrong ones in ten minutes",
                   "too many, so that they are not guessed; this one was not looked at");
  }
  const std::optional<int64_t> step = policy::password_step(secret, password, now);
  if (!step) {
    count_failure(record, now);
    return refusal(rule, expected,
                   "a password that is wrong, or is not of the present 30 s, the ones before or after");
  }
  if (!record.used.use(*step)) return refusal(rule, "a password that was not used yet", "one that was used");
  return {};
}

}  // namespace

Result<void> Service::check_access_token(Attempt& attempt, const policy::SecretLookup& lookup) {
  const std::string& text = attempt.current.session->security.access_token;
  if (text.empty()) return {};
  const std::string token = TRY(policy::expand_secrets(text, lookup));
  const auto proof = [&](attestation::Role role) {
    return attestation::access_proof(token, role, attempt.peer.channel, attempt.request.subject);
  };
  const std::optional<crypto::Digest>& shown = attempt.request.access_proof;
  if (!shown || !equal_constant_time(*shown, proof(attestation::Role::Enclave))) {
    const std::string rule = "service-access-token";
    return deny(
        attempt,
        refusal(rule, "the session's service_access_token in the environment as SCONE_SERVICE_ACCESS_TOKEN",
                shown ? "another token" : "no token"),
        untrusted(rule));
  }
  attempt.access_proof = proof(attestation::Role::Service);
  return {};
}

// In the transaction that grants: a step is used when its password released something, and only then.
Result<void> Service::spend_password(Transaction& transaction, Attempt& attempt) const {
  attempt.password_fault.clear();
  if (!attempt.password_secret) return {};
  const Bytes& secret = attempt.password_secret->expose();
  const std::string key = password_key(attempt.name, secret);
  const std::optional<SecretBytes> row = TRY(transaction.get(kPasswords, key));
  PasswordRecord record;
  if (row) record = TRY(decode_password(row->expose()));
  const int64_t now = options_.clock ? options_.clock() : static_cast<int64_t>(std::time(nullptr));
  const uint32_t failures = record.failures;
  attempt.password_fault = judge_password(record, secret, attempt.request.one_time_password, now);
  attempt.password_counted = record.failures != failures;
  if (attempt.password_fault.empty() || attempt.password_counted) {
    transaction.put(kPasswords, key, encode(record));
  }
  // Every change has its entry; these are few, because guessing ends.
  if (attempt.password_counted)
    transaction.journal("denied", attempt.subject(), attempt.about(attempt.password_fault));
  return {};
}

// As with a volume's lease: refused while the other is here; one that is gone does not come back.
Result<void> Service::take_singleton(Transaction& transaction, const Attempt& attempt) {
  if (!attempt.current.session->security.singleton_enclaves) return {};
  const std::string key = row_key(attempt.name, attempt.service_name);
  const std::optional<SecretBytes> row = TRY(transaction.get(kSingletons, key));
  if (row) {
    const SingletonRecord before = TRY(decode_singleton(row->expose()));
    if (instances_.live(before.instance)) {
      return Error(Code::Denied,
                   "singleton-enclaves: service `" + attempt.service_name + "` is running already",
                   "it can start again when that enclave exits or its connection ends");
    }
    TRY(forget_instance(transaction, attempt.name, before.instance));
  }
  SingletonRecord mine;
  mine.instance = attempt.config.instance_id;
  transaction.put(kSingletons, key, encode(mine));
  return {};
}

}  // namespace cloister::cas
