#include "host/sim/epcm.h"

#include <gtest/gtest.h>

namespace cloister::host {
namespace {

constexpr uint64_t kPage = 4096, kAt = 0x10000;
// SECINFO.FLAGS as the kernel's own tests of the device use them: R, W, X, PENDING, MODIFIED, PR, type.
constexpr uint64_t kAdded = 0x20b, kReadOnly = 0x221, kTrimmed = 0x410;

class EpcmTest : public testing::Test {
 protected:
  Epcm epcm_ = Epcm::create(uint64_t{1} << 30).value();
  void expect_status(uint64_t status, const Epcm::Answer& answer) {
    EXPECT_EQ(answer.outcome, Epcm::Outcome::Status);
    EXPECT_EQ(answer.status, status);
  }
  void make(uint64_t address) {
    ASSERT_TRUE(epcm_.augment(address, kPage));
    expect_status(0, epcm_.accept(address, kAdded));
  }
};

TEST_F(EpcmTest, AnAddedPageIsAcceptedOnceAndAsItIs) {
  EXPECT_EQ(epcm_.accept(kAt, kAdded).outcome, Epcm::Outcome::PageFault);  // it is not there
  ASSERT_TRUE(epcm_.augment(kAt, 2 * kPage));
  for (const uint64_t other : {uint64_t{0x209}, uint64_t{0x20f}, uint64_t{0x203}, uint64_t{0x22b}, kReadOnly})
    expect_status(Epcm::kAttributesMismatch, epcm_.accept(kAt, other));
  expect_status(0, epcm_.accept(kAt, kAdded));
  expect_status(Epcm::kAttributesMismatch, epcm_.accept(kAt, kAdded));
  EXPECT_EQ(epcm_.entry(kAt), Epcm::kValid | 3);
  EXPECT_FALSE(epcm_.augment(kAt, kPage)) << "a page that is there must not be replaced by zeros";
}

TEST_F(EpcmTest, RangesEndAtTheFirstPageInAnotherState) {
  make(kAt + 2 * kPage);
  EXPECT_FALSE(epcm_.augment(kAt, 4 * kPage));
  EXPECT_EQ(epcm_.entry(kAt + kPage), Epcm::kValid | 0xb);
  EXPECT_EQ(epcm_.entry(kAt + 2 * kPage), Epcm::kValid | 3);
  EXPECT_EQ(epcm_.entry(kAt + 3 * kPage), 0);
  EXPECT_FALSE(epcm_.restrict_permissions(kAt, kPage, 1)) << "not accepted yet";
  EXPECT_FALSE(epcm_.trim(kAt, kPage));
  EXPECT_FALSE(epcm_.augment((uint64_t{1} << 30) - kPage, 2 * kPage)) << "behind the end";
  EXPECT_FALSE(epcm_.augment(UINT64_MAX - kPage + 1, kPage));
}

TEST_F(EpcmTest, TheHostOnlyTakesPermissionsAwayAndTheEnclaveOnlyAddsThem) {
  make(kAt);
  ASSERT_TRUE(epcm_.restrict_permissions(kAt, kPage, 5));  // of RW: R
  expect_status(Epcm::kAttributesMismatch, epcm_.accept(kAt, 0x225));
  expect_status(0, epcm_.extend(kAt, 0x205));
  expect_status(0, epcm_.accept(kAt, 0x225));
  EXPECT_EQ(epcm_.entry(kAt), Epcm::kValid | 5);
  expect_status(0, epcm_.extend(kAt, 0x203));
  EXPECT_EQ(epcm_.entry(kAt), Epcm::kValid | 7);
  expect_status(Epcm::kAttributesMismatch, epcm_.accept(kAt, 0x227));  // nothing was taken away
  EXPECT_EQ(epcm_.extend(kAt + kPage, 0x203).outcome, Epcm::Outcome::PageFault);
}

TEST_F(EpcmTest, APageGoesOnlyAfterTheEnclaveHasLetItGo) {
  make(kAt);
  EXPECT_FALSE(epcm_.remove(kAt, kPage));
  expect_status(Epcm::kAttributesMismatch, epcm_.accept(kAt, kTrimmed));
  ASSERT_TRUE(epcm_.trim(kAt, kPage));
  EXPECT_FALSE(epcm_.remove(kAt, kPage));
  EXPECT_EQ(epcm_.extend(kAt, 0x203).outcome, Epcm::Outcome::PageFault);
  expect_status(0, epcm_.accept(kAt, kTrimmed));
  EXPECT_FALSE(epcm_.augment(kAt, kPage));
  ASSERT_TRUE(epcm_.remove(kAt, kPage));
  make(kAt);
}

TEST_F(EpcmTest, PagesOfTheImageStayAsTheyAre) {
  ASSERT_TRUE(epcm_.add(kAt, 0x205));
  EXPECT_FALSE(epcm_.add(kAt, 0x205));
  EXPECT_FALSE(epcm_.augment(kAt, kPage));
  expect_status(Epcm::kAttributesMismatch, epcm_.accept(kAt, kAdded));
}

TEST_F(EpcmTest, OperandsThatTheInstructionRefusesFault) {
  make(kAt);
  EXPECT_EQ(epcm_.accept(kAt + 8, kAdded).outcome, Epcm::Outcome::Protection);
  EXPECT_EQ(epcm_.accept(uint64_t{1} << 30, kAdded).outcome, Epcm::Outcome::Protection);
  EXPECT_EQ(epcm_.accept(kAt, 0x202).outcome, Epcm::Outcome::Protection);  // writable, not readable
  EXPECT_EQ(epcm_.accept(kAt, 0x213).outcome, Epcm::Outcome::Protection);  // regular, modified
  EXPECT_EQ(epcm_.accept(kAt, 0x400).outcome, Epcm::Outcome::Protection);  // trimmed, not modified
  EXPECT_EQ(epcm_.accept(kAt, 0x100).outcome, Epcm::Outcome::Protection);  // TCS: never made at run time
}

}  // namespace
}  // namespace cloister::host
