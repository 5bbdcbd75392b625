#include "cli/cas_attest_command.h"

#include <gtest/gtest.h>

namespace cloister::cli {
namespace {

using policy::Denial;
using policy::Toleration;

constexpr const char* kBegin = "if you have judged that, it is accepted with:";

Denial needs(std::vector<Toleration> tolerations, std::vector<std::string> advisories = {}) {
  return {"rule", "expected", "actual", "yaml", std::move(tolerations), std::move(advisories)};
}

TEST(AcceptingHint, NamesTheOptionOfEachToleration) {
  const auto hint = [](Toleration one) { return accepting_hint({needs({one})}); };
  EXPECT_EQ(hint(Toleration::InsecureConfiguration), kBegin + std::string(" --accept-configuration-needed"));
  EXPECT_EQ(hint(Toleration::Hyperthreading), kBegin + std::string(" --accept-configuration-needed"));
  EXPECT_EQ(hint(Toleration::OutdatedTcb), kBegin + std::string(" --accept-group-out-of-date"));
  EXPECT_EQ(hint(Toleration::SoftwareHardeningNeeded), kBegin + std::string(" --accept-sw-hardening-needed"));
  EXPECT_EQ(hint(Toleration::DebugMode), kBegin + std::string(" --only-for-testing-debug"));
}

TEST(AcceptingHint, NamesAllThatIsNeededOnce) {
  EXPECT_EQ(
      accepting_hint({needs({Toleration::OutdatedTcb, Toleration::InsecureConfiguration}),
                      needs({}, {"INTEL-SA-00334", "INTEL-SA-00615"}), needs({Toleration::Hyperthreading})}),
      kBegin + std::string(" --accept-group-out-of-date --accept-configuration-needed --ignore-advisory "
                           "INTEL-SA-00334 --ignore-advisory INTEL-SA-00615"));
}

TEST(AcceptingHint, SaysNothingWhereOneReasonIsNotAccepted) {
  EXPECT_EQ(accepting_hint({needs({})}), "") << "another enclave";
  EXPECT_EQ(accepting_hint({needs({Toleration::DebugMode}), needs({})}), "");
  EXPECT_EQ(accepting_hint({needs({}), needs({Toleration::DebugMode})}), "");
  EXPECT_EQ(accepting_hint({needs({Toleration::SimulationMode})}), "") << "its root is an option of its own";
  EXPECT_EQ(accepting_hint({needs({Toleration::OutdatedTcb, Toleration::SimulationMode})}), "");
}

}  // namespace
}  // namespace cloister::cli
