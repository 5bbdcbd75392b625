#include "cli/environment.h"

#include <gtest/gtest.h>
#include <stdlib.h>

namespace cloister::cli {
namespace {

// tests/syscalls runs with it, which shows nothing when nobody listens.
TEST(Environment, SimExactAsksForTheCodeAsItWasMeasured) {
  ::setenv("CLOISTER_MODE", "sim", 1);
  const auto exact = [](const char* value) {
    value != nullptr ? ::setenv("CLOISTER_SIM_EXACT", value, 1) : ::unsetenv("CLOISTER_SIM_EXACT");
    return run_options_from_environment().value().sim_exact;
  };
  EXPECT_FALSE(exact(nullptr));
  EXPECT_FALSE(exact("0"));
  EXPECT_TRUE(exact("1"));
  ::unsetenv("CLOISTER_SIM_EXACT");
  ::unsetenv("CLOISTER_MODE");
}

}  // namespace
}  // namespace cloister::cli
