// One-time passwords against the vectors of the RFC, and at the edges of their windows.
#include "policy/one_time_password.h"

#include <gtest/gtest.h>

#include "crypto/encoding.h"

namespace cloister::policy {
namespace {

const std::string kSecret = "12345678901234567890";

// RFC 6238, appendix B, SHA-1; there with eight digits, of which six are the last six.
TEST(OneTimePassword, AgreesWithTheVectorsOfTheRfc) {
  const std::pair<int64_t, const char*> vectors[] = {{59, "287082"},         {1111111109, "081804"},
                                                     {1111111111, "050471"}, {1234567890, "005924"},
                                                     {2000000000, "279037"}, {20000000000, "353130"}};
  for (const auto& [time, password] : vectors) {
    EXPECT_EQ(password_at(as_bytes(kSecret), time / kPasswordStep), password) << time;
  }
}

TEST(OneTimePassword, CountsOneStepBeforeAndAfter) {
  const int64_t now = 1234567890;  // the first second of its step
  const auto step = [&](int64_t time) { return password_step(as_bytes(kSecret), "005924", time); };
  EXPECT_EQ(step(now), now / 30);
  EXPECT_EQ(step(now + 59), now / 30);
  EXPECT_EQ(step(now + 60), std::nullopt);
  EXPECT_EQ(step(now - 30), now / 30);
  EXPECT_EQ(step(now - 31), std::nullopt);
  for (const char* wrong : {"", "5924", "0059240", "005925",
                            "\xef\xbc\x90"
                            "05924"}) {
    EXPECT_EQ(password_step(as_bytes(kSecret), wrong, now), std::nullopt) << wrong;
  }
}

TEST(OneTimePassword, SecretsAreBase32AndLongEnough) {
  const std::string text = crypto::base32_encode(as_bytes(kSecret), true);
  EXPECT_EQ(text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
  EXPECT_EQ(as_text(password_secret(text)->expose()), kSecret);
  EXPECT_FALSE(password_secret("GEZDGNBVGY3TQOJQ").ok()) << "ten bytes";
  EXPECT_FALSE(password_secret("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ1").ok());
  EXPECT_FALSE(password_secret("").ok());
}

TEST(OneTimePassword, NoStepCountsTwiceHoweverOldTheListIs) {
  UsedSteps used;
  EXPECT_TRUE(used.use(100));
  EXPECT_FALSE(used.use(100));
  EXPECT_TRUE(used.use(99)) << "an older one that was not used";
  EXPECT_FALSE(used.use(99));
  for (int64_t step = 101; step < 200; ++step) EXPECT_TRUE(used.use(step));
  EXPECT_LE(used.steps.size(), UsedSteps::kLimit);
  for (int64_t step = 0; step < 200; ++step) EXPECT_FALSE(used.use(step)) << step;
}

}  // namespace
}  // namespace cloister::policy
