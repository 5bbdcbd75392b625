#include "boundary/launch.h"

#include <gtest/gtest.h>

namespace cloister::boundary {
namespace {

LaunchRecord sample() {
  LaunchRecord record;
  record.log_level = 5;
  record.patch_system_calls = false;
  record.config_id = "session/service";
  record.cas_address = "127.0.0.1:18765";
  record.args = {"-c", "", std::string("a\0b", 3)};
  record.environment = {"A=1"};
  record.volumes = {"/data"};
  return record;
}

TEST(LaunchRecord, ComesBackAsItWas) {
  const auto back = decode_launch(encode_launch(sample()));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back.value().log_level, 5u);
  EXPECT_FALSE(back.value().patch_system_calls);
  EXPECT_EQ(back.value().config_id, "session/service");
  EXPECT_EQ(back.value().args, sample().args);
  EXPECT_EQ(back.value().environment, sample().environment);
  EXPECT_EQ(back.value().volumes, sample().volumes);
}

TEST(LaunchRecord, RefusesEveryTruncationAndAnyTail) {
  Bytes bytes = encode_launch(sample());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_launch(ByteView(bytes).first(size)).ok()) << size;
  }
  bytes.push_back(0);
  EXPECT_FALSE(decode_launch(bytes).ok());
}

TEST(LaunchRecord, RefusesACountLargerThanTheRecord) {
  Bytes bytes = encode_launch(LaunchRecord{});
  store_le<uint32_t>(bytes.data() + bytes.size() - 4, 60000);
  EXPECT_FALSE(decode_launch(bytes).ok());
}

TEST(LaunchRecord, RefusesAnUnknownVersionOrFlag) {
  for (const size_t offset : {0u, 8u}) {
    Bytes bytes = encode_launch(sample());
    bytes[offset] = 0x40;
    EXPECT_FALSE(decode_launch(bytes).ok()) << offset;
  }
}

}  // namespace
}  // namespace cloister::boundary
