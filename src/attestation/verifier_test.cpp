// What can be checked without outside vectors: parsers of small things, and that nothing is accepted by
// default.
#include <gtest/gtest.h>

#include "attestation/der.h"
#include "attestation/json.h"
#include "attestation/quote.h"
#include "attestation/tcb_json.h"
#include "attestation/x509.h"

namespace cloister::attestation {
namespace {

TEST(Der, RefusesWhatIsNotMinimalOrInside) {
  const auto first = [](std::string_view hex, uint8_t tag) {
    const Bytes bytes = from_hex(hex).value();
    return DerReader(bytes).next(tag).ok();
  };
  EXPECT_TRUE(first("0403aabbcc", 0x04));
  EXPECT_FALSE(first("0403aabb", 0x04)) << "ends early";
  EXPECT_FALSE(first("0403aabbcc", 0x02)) << "another tag";
  EXPECT_FALSE(first("048103aabbcc", 0x04)) << "length not minimal";
  EXPECT_FALSE(first("0480aabb0000", 0x04)) << "indefinite length";
  EXPECT_FALSE(first("04", 0x04));
}

TEST(Der, IntegersAreUnsignedAndMinimal) {
  const auto value = [](std::string_view hex) {
    const Bytes bytes = from_hex(hex).value();
    const auto result = DerReader(bytes).next_unsigned(DerReader::kInteger);
    return result.ok() ? static_cast<int64_t>(*result) : -1;
  };
  EXPECT_EQ(value("020100"), 0);
  EXPECT_EQ(value("020200c8"), 200);
  EXPECT_EQ(value("0201c8"), -1) << "200 encoded as -56";
  EXPECT_EQ(value("02020001"), -1) << "leading zero";
  EXPECT_EQ(value("0200"), -1);
  EXPECT_EQ(value("02050100000000"), -1) << "more than 32 bits";
}

TEST(Json, RefusesDepthDuplicatesAndOtherTops) {
  EXPECT_TRUE(parse_json_object(R"({"a":{"b":1},"c":[{"b":2},{"b":3}]})", 100, "x").ok());
  EXPECT_FALSE(parse_json_object(R"({"a":1,"a":2})", 100, "x").ok());
  EXPECT_FALSE(parse_json_object(R"({"o":{"a":1,"b":2,"a":3}})", 100, "x").ok());
  EXPECT_FALSE(parse_json_object("[1]", 100, "x").ok());
  EXPECT_FALSE(parse_json_object("{\"a\":1", 100, "x").ok());
  EXPECT_FALSE(parse_json_object("{\"a\":1}", 3, "x").ok());
  std::string deep = "{\"a\":";
  for (int i = 0; i < 100000; ++i) deep += '[';
  EXPECT_FALSE(parse_json_object(deep, 1 << 20, "x").ok());
  EXPECT_TRUE(parse_json_object(R"({"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"{{{"})", 100, "x").ok());
}

TEST(Time, OneFormOnly) {
  EXPECT_EQ(parse_rfc3339("1970-01-01T00:00:00Z").value(), 0);
  EXPECT_EQ(parse_rfc3339("2025-07-04T10:28:44Z").value(), 1751624924);
  for (const char* text : {"", "2025-07-04", "2025-07-04 10:28:44Z", "2025-07-04T10:28:44+01:00",
                           "2025-13-04T10:28:44Z", "2025-07-04T24:28:44Z", "2025-0x-04T10:28:44Z"}) {
    EXPECT_FALSE(parse_rfc3339(text).ok()) << text;
  }
}

TEST(TcbStatus, FilesMayNotClaimARelaunch) {
  EXPECT_TRUE(parse_tcb_status("OutOfDate").has_value());
  EXPECT_FALSE(parse_tcb_status("TDRelaunchAdvised").has_value());
  EXPECT_FALSE(parse_tcb_status("uptodate").has_value());
  EXPECT_EQ(tcb_status_name(TcbStatus::TDRelaunchAdvised), "TDRelaunchAdvised");
}

TEST(PublicKey, RefusesPointsOffTheCurve) {
  EXPECT_FALSE(PublicKey::from_point(Bytes(64)).ok());
  EXPECT_FALSE(PublicKey::from_point(Bytes(64, 0x55)).ok());
  EXPECT_FALSE(PublicKey::from_point(Bytes(63)).ok());
  const TrustAnchor root = intel_sgx_root();
  const PublicKey key = PublicKey::from_point(ByteView(root.root_key).subspan(1)).value();
  EXPECT_EQ(key.point(), root.root_key);
  EXPECT_FALSE(key.verify(as_bytes("message"), Bytes(64))) << "r = s = 0";
  EXPECT_FALSE(key.verify(as_bytes("message"), Bytes(63)));
}

TEST(Crl, ComesAsHexPemOrDer) {
  const auto der = [](std::string_view text) {
    const auto bytes = crl_der(text);
    return bytes.ok() ? to_hex(*bytes) : "refused";
  };
  EXPECT_EQ(der("3003020101\n"), "3003020101");
  EXPECT_EQ(der("0\x03\x02\x01\x01"), "3003020101");
  EXPECT_EQ(der("-----BEGIN X509 CRL-----\nMAMCAQE=\n-----END X509 CRL-----\n"), "3003020101");
  EXPECT_EQ(der(""), "");
  EXPECT_EQ(der("no list"), "refused");
  EXPECT_EQ(der("-----BEGIN X509 CRL-----\n!\n-----END X509 CRL-----\n"), "refused");
  EXPECT_EQ(der("-----BEGIN X509 CRL-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899"
                "AABBCCDDEEFF\n\nMAMCAQE=\n-----END X509 CRL-----\n"),
            "refused")
      << "must not ask for a password";
}

TEST(Quote, EveryTruncationIsMalformed) {
  Bytes quote(48 + 384);
  quote[0] = 3;
  quote[2] = 2;
  const Bytes vendor = from_hex("939a7233f79c4ca9940a0db3957f0607").value();
  std::copy(vendor.begin(), vendor.end(), quote.begin() + 12);
  ByteWriter tail;
  tail.le<uint32_t>(64 + 64 + 384 + 64 + 2 + 2 + 4).zeros(64 + 64 + 384 + 64).le<uint16_t>(0).le<uint16_t>(5);
  tail.le<uint32_t>(0);
  quote.insert(quote.end(), tail.view().begin(), tail.view().end());
  EXPECT_TRUE(parse_quote(quote).ok());
  for (size_t size = 0; size < quote.size(); ++size) {
    EXPECT_FALSE(parse_quote(ByteView(quote).first(size)).ok()) << size;
  }
  quote.push_back(0);
  EXPECT_TRUE(parse_quote(quote).ok()) << "padding";
  quote.push_back(1);
  EXPECT_FALSE(parse_quote(quote).ok()) << "unsigned bytes behind it";
}

}  // namespace
}  // namespace cloister::attestation
