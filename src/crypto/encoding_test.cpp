#include "crypto/encoding.h"

#include <gtest/gtest.h>

namespace cloister::crypto {
namespace {

// RFC 4648, section 10.
TEST(Base64, AgreesWithTheRfc) {
  const std::pair<const char*, const char*> known[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : known) {
    EXPECT_EQ(base64_encode(as_bytes(plain)), encoded);
    EXPECT_EQ(as_text(base64_decode(encoded).value()), plain);
  }
}

TEST(Base64, RefusesEverythingThatIsNotCanonical) {
  for (const char* text :
       {"Zg", "Zg=", "Zh==", "Zm9=", "Zm9v\n", " Zg==", "Zg==Zg==", "====", "Z===", "Zm8-", "=Zg="}) {
    EXPECT_EQ(base64_decode(text).error().code(), Code::Malformed) << text;
  }
}

TEST(Base64, UrlAlphabetHasNoPadding) {
  const Bytes bytes = {0xfb, 0xff, 0xfe};
  EXPECT_EQ(base64_encode(bytes), "+//+");
  EXPECT_EQ(base64url_encode(bytes), "-__-");
  EXPECT_EQ(base64url_encode(as_bytes("f")), "Zg");
  EXPECT_EQ(base64url_decode("-__-").value(), bytes);
  EXPECT_FALSE(base64url_decode("Zg==").ok());
  EXPECT_FALSE(base64url_decode("+//+").ok());
}

TEST(Base32, AgreesWithTheRfc) {
  const std::pair<const char*, const char*> known[] = {
      {"", ""},
      {"f", "MY======"},
      {"fo", "MZXQ===="},
      {"foo", "MZXW6==="},
      {"foob", "MZXW6YQ="},
      {"fooba", "MZXW6YTB"},
      {"foobar", "MZXW6YTBOI======"},
  };
  for (const auto& [plain, encoded] : known) {
    const std::string without(encoded, std::string_view(encoded).find_last_not_of('=') + 1);
    EXPECT_EQ(base32_encode(as_bytes(plain), true), encoded);
    EXPECT_EQ(base32_encode(as_bytes(plain), false), without);
    EXPECT_EQ(as_text(base32_decode(encoded).value()), plain);
    EXPECT_EQ(as_text(base32_decode(without).value()), plain);
  }
  EXPECT_EQ(as_text(base32_decode("mzxw6ytboi").value()), "foobar");
}

TEST(Base32, RefusesWhatIsNoEncoding) {
  for (const char* text :
       {"M", "MZX", "MZXW6Y", "MZ", "MY=", "MY=======", "MY====== ", "M1", "MZXW 6YQ", "========"}) {
    EXPECT_EQ(base32_decode(text).error().code(), Code::Malformed) << text;
  }
}

TEST(Pem, RoundTripsInLinesOf64) {
  const Bytes content(100, 0xa5);
  const std::string text = pem_encode("CERTIFICATE", content);
  EXPECT_EQ(text.find('\n', 28), 28u + 64u);
  const auto blocks = pem_decode(text + "between\n" + pem_encode("X", {})).value();
  ASSERT_EQ(blocks.size(), 2u);
  EXPECT_EQ(blocks[0].label, "CERTIFICATE");
  EXPECT_EQ(blocks[0].content, content);
  EXPECT_TRUE(blocks[1].content.empty());
}

TEST(Pem, TakesCarriageReturnsAndATrailingNul) {
  std::string text = "-----BEGIN A-----\r\nZm9v\r\n-----END A-----\r\n";
  text.push_back('\0');
  EXPECT_EQ(as_text(pem_decode(text).value().at(0).content), "foo");
}

TEST(Pem, RefusesBrokenAndTooManyBlocks) {
  EXPECT_FALSE(pem_decode("-----BEGIN A-----\nZm9v\n").ok());
  EXPECT_FALSE(pem_decode("-----BEGIN A-----\nZm9v\n-----END B-----\n").ok());
  EXPECT_FALSE(pem_decode("-----BEGIN A-----\nZm9\n-----END A-----\n").ok());
  EXPECT_FALSE(pem_decode("-----BEGIN A").ok());
  std::string many;
  for (int i = 0; i < 3; ++i) many += pem_encode("A", {});
  EXPECT_TRUE(pem_decode(many, 3).ok());
  EXPECT_FALSE(pem_decode(many, 2).ok());
}

}  // namespace
}  // namespace cloister::crypto
