// What an enclave has to know or be besides its measurement: access token, one-time password, the only
// instance.
#include <thread>

#include "cas/service_test_support.h"
#include "crypto/encoding.h"
#include "policy/one_time_password.h"

namespace cloister::cas {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::string kSecret = "12345678901234567890", kOtherSecret = "abcdefghijklmnopqrst";
constexpr int64_t kNow = 1790000010;

std::string base32(const std::string& secret) { return crypto::base32_encode(as_bytes(secret), false); }

class FactorsTest : public ServiceTest {
 protected:
  void SetUp() override { open_at_clock(); }
  void open_at_clock() {
    ServiceOptions options;
    options.clock = [this] { return now_; };
    open(options);
  }
  // The tutorial's session with more below `security` and in its service, and a second service.
  void create_with(const std::string& security, const std::string& in_service = {},
                   const std::string& more = {}) {
    std::string text = session_text("s", more);
    text.replace(text.find("security: {"), 11, "security: {" + security);
    const std::string app = "  - name: app\n" + (in_service.empty() ? "" : "    " + in_service + "\n");
    text.replace(
        text.find("  - name: app\n"), 14,
        "  - {name: second, mrenclaves: [" + testing::measurement_hex('a') + "], command: x}\n" + app);
    create(text);
  }
  void need_password() {
    create_with("attestation: {tolerate: [simulation-mode], one_time_password_shared_secret: " +
                base32(kSecret) + "}} #");
  }
  std::string password(int64_t steps = 0, const std::string& secret = kSecret) const {
    return policy::password_at(as_bytes(secret), now_ / policy::kPasswordStep + steps);
  }
  Result<Release> with_password(const std::string& password, const std::string& subject = "s/second") {
    AttestRequest request;
    request.subject = subject;
    request.host_arguments = {"one"};
    request.one_time_password = password;
    return service_->on_attest(verdict_of('a'), request, peer(7));
  }
  // Only whether; and it has exited again.
  bool counts(const std::string& password, const std::string& subject = "s/second") {
    const auto release = with_password(password, subject);
    if (!release.ok()) return false;
    service_->on_exit(release->instance_id, peer(7), 0);
    service_->on_disconnect(release->instance_id, peer(7));
    return true;
  }

  int64_t now_ = kNow;
};

TEST_F(FactorsTest, APasswordIsNeededAndNotJustAnything) {
  need_password();
  const auto without = with_password("");
  EXPECT_EQ(without.error().code(), Code::Denied);
  EXPECT_EQ(without.error().message(), "The program enclave is not trustworthy (one-time-password)");
  EXPECT_THAT(events(), HasSubstr("one-time-password: no password - Expected the configuration id "));
  EXPECT_FALSE(counts("000000"));
  EXPECT_FALSE(counts(password(-2)));
  EXPECT_FALSE(counts(password(2)));
  EXPECT_TRUE(counts(password()));
  EXPECT_TRUE(counts(password(-1)));
  EXPECT_TRUE(counts(password(1)));
}

TEST_F(FactorsTest, APasswordCountsOnceWhateverServiceRestartOrClock) {
  need_password();
  const std::string first = password();
  ASSERT_TRUE(counts(first));
  EXPECT_FALSE(counts(first));
  EXPECT_FALSE(counts(first, "s/app")) << "the same secret";
  EXPECT_THAT(events(), HasSubstr("one-time-password: one that was used"));
  open_at_clock();
  EXPECT_FALSE(counts(first)) << "after a restart";
  for (int i = 0; i < 40; ++i) {
    now_ += policy::kPasswordStep;
    EXPECT_TRUE(counts(password())) << i;
  }
  now_ = kNow;
  EXPECT_FALSE(counts(first)) << "the clock was set back";
}

TEST_F(FactorsTest, OfManyWithOnePasswordExactlyOneIsReleased) {
  need_password();
  const std::string only = password();
  std::atomic<int> released = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&] { released += with_password(only).ok() ? 1 : 0; });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(released, 1);
}

TEST_F(FactorsTest, AnAttemptThatIsRefusedOtherwiseUsesNoPassword) {
  need_password();
  EXPECT_FALSE(counts(password(), "s/absent"));
  AttestRequest request;
  request.subject = "s/second";
  request.one_time_password = password();
  EXPECT_FALSE(service_->on_attest(verdict_of('b'), request, peer(7)).ok());
  // app's volume is taken: that is found out behind the password.
  const auto writer = with_password(password(-1), "s/app");
  ASSERT_TRUE(writer.ok()) << writer.error().message();
  EXPECT_THAT(with_password(password(), "s/app").error().message(), HasSubstr("in use"));
  EXPECT_TRUE(counts(password()));
}

TEST_F(FactorsTest, GuessingEndsAfterTenAndARestartStartsNoNewTen) {
  need_password();
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(counts("12345" + std::to_string(i)));
  EXPECT_FALSE(counts(password())) << "the right one is not looked at";
  EXPECT_THAT(events(), HasSubstr("too many"));
  open_at_clock();
  EXPECT_FALSE(counts(password()));
  now_ -= 100000;
  EXPECT_FALSE(counts(password())) << "the clock was set back";
  now_ += 100000 + kPasswordFailureTime;
  EXPECT_TRUE(counts(password()));
}

TEST_F(FactorsTest, AServicesOwnSecretTakesTheSessionsPlace) {
  create_with("attestation: {tolerate: [simulation-mode], one_time_password_shared_secret: " +
                  base32(kSecret) + "}} #",
              "one_time_password_shared_secret: " + base32(kOtherSecret));
  EXPECT_FALSE(counts(password(), "s/app"));
  EXPECT_TRUE(counts(password(0, kOtherSecret), "s/app"));
  EXPECT_TRUE(counts(password()));
  EXPECT_FALSE(counts(password(0, kOtherSecret)));
}

TEST_F(FactorsTest, TheSecretMayBeAMadeOne) {
  std::string text = session_text("s");
  text.replace(text.find("secrets:\n"), 9,
               "secrets:\n  - {name: otp, kind: binary, size: 20, export_public: true}\n");
  const std::string app = "  - name: app\n";
  text.replace(text.find(app), app.size(),
               app + "    one_time_password_shared_secret: $$SCONE::otp:base32nopad$$\n");
  create(text);
  const std::string secret = service_->public_values("s", kOwner).value().at("otp");
  EXPECT_FALSE(counts("", "s/app"));
  const Bytes bytes = from_hex(secret).value();
  EXPECT_TRUE(counts(policy::password_at(bytes, now_ / policy::kPasswordStep), "s/app"));
}

// --- the access token

TEST_F(FactorsTest, TheAccessTokenIsProvenByBothEnds) {
  create_with("service_access_token: open-sesame, ");
  AttestRequest request;
  request.subject = "s/second";
  Peer who = peer(7);
  who.channel = {9};
  const auto refused = service_->on_attest(verdict_of('a'), request, who);
  EXPECT_EQ(refused.error().message(), "The program enclave is not trustworthy (service-access-token)");
  EXPECT_THAT(events(),
              HasSubstr("service-access-token: no token - Expected the session's service_access_token"));
  const auto proof = [&](const std::string& token, attestation::Role role) {
    return attestation::access_proof(token, role, who.channel, request.subject);
  };
  request.access_proof = proof("open-sesam", attestation::Role::Enclave);
  EXPECT_FALSE(service_->on_attest(verdict_of('a'), request, who).ok());
  EXPECT_THAT(events(), HasSubstr("service-access-token: another token"));
  request.access_proof = proof("open-sesame", attestation::Role::Service);
  EXPECT_FALSE(service_->on_attest(verdict_of('a'), request, who).ok())
      << "the service's own proof, sent back";
  request.access_proof = proof("open-sesame", attestation::Role::Enclave);
  who.channel = {8};
  EXPECT_FALSE(service_->on_attest(verdict_of('a'), request, who).ok()) << "of another connection";
  who.channel = {9};
  const auto released = service_->on_attest(verdict_of('a'), request, who);
  ASSERT_TRUE(released.ok()) << released.error().message();
  EXPECT_EQ(released->access_proof, proof("open-sesame", attestation::Role::Service));
}

TEST_F(FactorsTest, WithoutATokenInTheSessionNothingIsProven) {
  create(session_text("s"));
  const auto released = attest();
  ASSERT_TRUE(released.ok());
  EXPECT_FALSE(released->access_proof.has_value());
}

// --- singletons

TEST_F(FactorsTest, ASingletonIsRefusedWhileTheOtherIsHereAndEndsOneThatIsGone) {
  create_with("singleton_enclaves: true, ");
  const auto first = attest(7, 'a', "s/second");
  ASSERT_TRUE(first.ok()) << first.error().message();
  const auto second = attest(8, 'a', "s/second");
  EXPECT_EQ(second.error().code(), Code::Denied);
  EXPECT_THAT(second.error().message(), HasSubstr("singleton-enclaves: service `second` is running already"));
  EXPECT_THAT(events(), HasSubstr("denied: service second"));
  EXPECT_TRUE(attest(8, 'a', "s/app").ok()) << "another service";
  service_->on_disconnect(first->instance_id, peer(7));
  EXPECT_TRUE(service_->on_resume(first->instance_id, peer(7)).ok()) << "nobody took its place";
  EXPECT_FALSE(attest(8, 'a', "s/second").ok());
  service_->on_disconnect(first->instance_id, peer(7));
  const auto third = attest(8, 'a', "s/second");
  ASSERT_TRUE(third.ok()) << third.error().message();
  EXPECT_EQ(service_->on_resume(first->instance_id, peer(7)).error().code(), Code::Denied);
  service_->on_exit(third->instance_id, peer(8), 0);
  service_->on_disconnect(third->instance_id, peer(8));
  EXPECT_EQ(service_->on_resume(third->instance_id, peer(8)).error().code(), Code::Denied) << "it has exited";
  EXPECT_TRUE(attest(9, 'a', "s/second").ok());
}

TEST_F(FactorsTest, OfManySingletonsExactlyOneIsReleased) {
  create_with("singleton_enclaves: true, ");
  std::atomic<int> released = 0;
  std::vector<std::thread> threads;
  for (uint8_t i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] { released += attest(i, 'a', "s/second").ok() ? 1 : 0; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(released, 1);
}

TEST_F(FactorsTest, WithoutTheRuleThereMayBeMany) {
  create_with("");
  EXPECT_TRUE(attest(7, 'a', "s/second").ok());
  EXPECT_TRUE(attest(8, 'a', "s/second").ok());
}

}  // namespace
}  // namespace cloister::cas
