#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/secret.h"

namespace cloister {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return Error(Code::InvalidArgument, "odd");
  return value / 2;
}
Result<int> quarter(int value) {
  const int once = TRY(half(value));
  return half(once);
}

TEST(Result, TryPassesValueAndError) {
  EXPECT_EQ(quarter(8).value(), 2);
  EXPECT_EQ(quarter(6).error().code(), Code::InvalidArgument);
}

TEST(Result, AbortsWhenMisread) {
  EXPECT_DEATH({ [[maybe_unused]] int value = half(3).value(); }, "bug at");
  EXPECT_DEATH({ [[maybe_unused]] const Error error = half(2).error(); }, "bug at");
}

TEST(Error, NamesItsContext) {
  EXPECT_EQ(Error(Code::NotFound, "no key").within("volume a").message(), "volume a: no key");
}

TEST(ByteReader, NeverReadsPastTheEnd) {
  const Bytes bytes = {1, 2, 3};
  ByteReader reader(bytes, "header");
  EXPECT_EQ(reader.le<uint16_t>().value(), 0x0201);
  const auto failed = reader.le<uint32_t>();
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), Code::Malformed);
  EXPECT_NE(failed.error().message().find("header"), std::string::npos);
  EXPECT_EQ(reader.remaining(), 1u);
}

TEST(ByteReader, RefusesAFieldAboveItsLimit) {
  ByteWriter writer;
  writer.field("hello");
  ByteReader reader(writer.view());
  EXPECT_FALSE(ByteReader(writer.view()).field(4).ok());
  EXPECT_EQ(as_text(reader.field(5).value()), "hello");
  EXPECT_TRUE(reader.expect_end().ok());
}

TEST(ByteReader, HugeLengthsDoNotWrap) {
  const Bytes bytes(16);
  ByteReader reader(bytes);
  EXPECT_FALSE(reader.take(UINT64_MAX).ok());
}

TEST(Bytes, EndiannessRoundTrips) {
  ByteWriter writer;
  writer.le<uint64_t>(0x1122334455667788).be<uint32_t>(0xaabbccdd).le<uint8_t>(7);
  EXPECT_EQ(to_hex(writer.view()), "8877665544332211aabbccdd07");
  ByteReader reader(writer.view());
  EXPECT_EQ(reader.le<uint64_t>().value(), 0x1122334455667788u);
  EXPECT_EQ(reader.be<uint32_t>().value(), 0xaabbccddu);
  EXPECT_EQ(reader.le<uint8_t>().value(), 7);
}

TEST(Hex, RefusesOddAndForeign) {
  EXPECT_FALSE(from_hex("abc").ok());
  EXPECT_FALSE(from_hex("zz").ok());
  EXPECT_FALSE(array_from_hex<2>("aabbcc").ok());
  EXPECT_EQ(to_hex(from_hex("00FFab").value()), "00ffab");
}

TEST(Secret, WipesItself) {
  alignas(Key256) uint8_t place[sizeof(Key256)];
  auto* key = new (place) Key256();
  key->expose().fill(0x5a);
  key->~Key256();
  for (const uint8_t byte : place) EXPECT_EQ(byte, 0);
}

TEST(EqualConstantTime, ComparesContentAndLength) {
  EXPECT_TRUE(equal_constant_time(as_bytes("abc"), as_bytes("abc")));
  EXPECT_FALSE(equal_constant_time(as_bytes("abc"), as_bytes("abd")));
  EXPECT_FALSE(equal_constant_time(as_bytes("abc"), as_bytes("ab")));
}

}  // namespace
}  // namespace cloister
