// What the host says about ancillary data is parsed without trust.
#include "enclave/vfs/inet_options.h"

#include <gtest/gtest.h>

#include <random>

namespace cloister::enclave {
namespace {

const ControlPart kTtl{0, 2, Bytes(4, 7)};
const ControlPart kTos{0, 1, Bytes(1, 9)};

bool equal(const ControlPart& a, const ControlPart& b) {
  return a.level == b.level && a.type == b.type && a.body == b.body;
}

TEST(InetControl, ComesBackAsItWasPacked) {
  const std::vector<ControlPart> parts = parse_control(pack_control({kTtl, kTos, kTtl}));
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_TRUE(equal(parts[0], kTtl));
  EXPECT_TRUE(equal(parts[1], kTos));
  EXPECT_TRUE(equal(parts[2], kTtl));
}

TEST(InetControl, LeavesOutWhatIsNotKnownOrOfAnotherSize) {
  const ControlPart rights{1, 1, Bytes(4, 0)}, long_ttl{0, 2, Bytes(8, 0)};
  const std::vector<ControlPart> parts = parse_control(pack_control({rights, long_ttl, kTos}));
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_TRUE(equal(parts[0], kTos));
}

TEST(InetControl, EndsAtASizeThatCannotBe) {
  for (const uint64_t size : {uint64_t{0}, uint64_t{15}, uint64_t{25}, UINT64_MAX, UINT64_MAX - 6}) {
    Bytes packed = pack_control({kTtl});
    std::memcpy(packed.data(), &size, sizeof(size));
    EXPECT_TRUE(parse_control(packed).empty()) << size;
  }
}

TEST(InetControl, TakesAnyBytes) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20000; ++i) {
    Bytes packed = pack_control({kTtl, kTos, kTtl, kTos});
    for (int changes = 0; changes < 3; ++changes)
      packed[random() % packed.size()] = static_cast<uint8_t>(random());
    packed.resize(random() % (packed.size() + 1));
    EXPECT_LE(parse_control(packed).size(), 4u);
  }
}

TEST(InetOptions, RefuseWhatWouldGiveTheHostAddressesOrKeys) {
  EXPECT_TRUE(inet_option_settable(1, 2));     // SO_REUSEADDR
  EXPECT_FALSE(inet_option_settable(1, 26));   // SO_ATTACH_FILTER
  EXPECT_FALSE(inet_option_settable(1, 50));   // SO_ATTACH_BPF
  EXPECT_FALSE(inet_option_settable(6, 31));   // TCP_ULP
  EXPECT_FALSE(inet_option_settable(282, 1));  // TLS_TX
  EXPECT_FALSE(inet_option_gettable(6, 35));   // TCP_ZEROCOPY_RECEIVE
  EXPECT_TRUE(inet_option_gettable(6, 11));    // TCP_INFO
  EXPECT_FALSE(inet_option_settable(6, 11));
}

}  // namespace
}  // namespace cloister::enclave
