#include "cli/progress.h"

#include <gtest/gtest.h>

namespace cloister::cli {
namespace {

TEST(Progress, TellsShareSizesRateAndTimeLeft) {
  EXPECT_EQ(progress_line("push", 5 << 20, 10 << 20, 5, 200),
            "push   50%  [############............]  5.0 MiB of 10.0 MiB  1.0 MiB/s  0:05 left");
  EXPECT_EQ(progress_line("push", 10, 10, 5, 200),
            "push  100%  [########################]  10 B of 10 B  2 B/s");
}

TEST(Progress, LeavesOutWhatItCannotKnow) {
  EXPECT_EQ(progress_line("pull", 2048, 0, 2, 200), "pull  2.0 KiB  1.0 KiB/s");
  EXPECT_EQ(progress_line("pull", 0, 100, 0, 200),
            "pull    0%  [........................]  0 B of 100 B  0 B/s");
}

TEST(Progress, FitsTheTerminal) { EXPECT_EQ(progress_line("pull", 5, 10, 1, 10).size(), 10u); }

}  // namespace
}  // namespace cloister::cli
