#include "base/worker_threads.h"

#include <gtest/gtest.h>

#include <memory>

namespace cloister {
namespace {

TEST(WorkerThreads, JoinWaitsForEveryThread) {
  std::atomic<int> done{0};
  {
    WorkerThreads workers;
    for (int i = 0; i < 50; ++i) {
      ASSERT_TRUE(workers.start([&done] {
        std::this_thread::yield();
        ++done;
      }));
    }
  }
  EXPECT_EQ(done, 50);
}

TEST(WorkerThreads, WorkIsDestroyedWithItsThread) {
  const auto owned = std::make_shared<int>(1);
  WorkerThreads workers;
  ASSERT_TRUE(workers.start([held = owned] { EXPECT_EQ(*held, 1); }));
  workers.join();
  EXPECT_EQ(owned.use_count(), 1);
}

}  // namespace
}  // namespace cloister
