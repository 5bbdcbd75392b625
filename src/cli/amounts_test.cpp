#include "cli/amounts.h"

#include <gtest/gtest.h>

namespace cloister::cli {
namespace {

constexpr int64_t kSecond = 1751624924;  // 2025-07-04T10:28:44Z

TEST(Amounts, ATimeMayBeInAnyFormOfRfc3339) {
  for (const char* text :
       {"2025-07-04T10:28:44Z", "2025-07-04t10:28:44z", "2025-07-04T10:28:44+00:00",
        "2025-07-04T10:28:44-00:00", "2025-07-04T12:28:44+02:00", "2025-07-03T23:58:44-10:30",
        "2025-07-04T10:28:44.000Z", "2025-07-04T10:28:44.999999999Z", "2025-07-05T09:28:44.5+23:00"}) {
    const auto time = parse_time(text, "--time");
    ASSERT_TRUE(time.ok()) << text;
    EXPECT_EQ(*time, kSecond) << text;
  }
}

TEST(Amounts, WhatIsNoTimeIsRefusedByItsName) {
  for (const char* text :
       {"", "yesterday", "2025-07-04", "2025-07-04T10:28:44", "2025-07-04T10:28:44.", "2025-07-04T10:28:44.Z",
        "2025-07-04T10:28:44.5", "2025-07-04T10:28:44+2:00", "2025-07-04T10:28:44+0200",
        "2025-07-04T10:28:44+24:00", "2025-07-04T10:28:44+02:60", "2025-07-04T10:28:44+02:0x",
        "2025-07-04T10:28:44ZZ", "2025-07-04T10:28:44Z ", " 2025-07-04T10:28:44Z", "2025-13-04T10:28:44Z",
        "2025-07-04T24:28:44Z", "2025-07-04 10:28:44Z", "1751624924"}) {
    const auto time = parse_time(text, "--time");
    ASSERT_FALSE(time.ok()) << text;
    EXPECT_EQ(time.error().code(), Code::InvalidArgument);
    EXPECT_TRUE(time.error().message().starts_with("--time ")) << time.error().message();
  }
}

}  // namespace
}  // namespace cloister::cli
