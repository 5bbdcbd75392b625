// That a wrong order is found by whoever does it first, whatever the other threads do.
#include "enclave/arch/lock_order.h"

#include <gtest/gtest.h>

#include "enclave/arch/host_test_support.h"
#include "enclave/arch/spin.h"

namespace cloister::enclave {
namespace {

TEST(LockOrder, AllowsEveryLaterLock) {
  const HostileHost host;
  BasicSpinLock<true> random(LockRank::Random), clock(LockRank::Clock), heap(LockRank::Heap);
  for (int round = 0; round < 2; ++round) {
    lock_taken(LockRank::Kernel);
    random.lock();
    heap.lock();
    heap.unlock();
    clock.lock();
    random.unlock();  // in any order
    heap.lock();
    clock.unlock();
    heap.unlock();
    lock_released(LockRank::Kernel);
  }
}

TEST(LockOrder, NamesBothLocksOfAWrongOrder) {
  const HostileHost host;
  BasicSpinLock<true> clock(LockRank::Clock), heap(LockRank::Heap);
  heap.lock();
  EXPECT_DEATH(clock.lock(), "taking the clock while holding the heap");
  EXPECT_DEATH(lock_taken(LockRank::Kernel), "taking the kernel lock while holding the heap");
  heap.unlock();
  clock.lock();
  heap.lock();
}

TEST(LockOrder, RefusesASecondLockOfTheSameRank) {
  const HostileHost host;
  BasicSpinLock<true> first(LockRank::Heap), second(LockRank::Heap);
  first.lock();
  EXPECT_DEATH(second.lock(), "taking the heap while holding the heap");
  EXPECT_TRUE(second.try_lock());  // does not wait, so it cannot wait for ever
}

TEST(LockOrder, RefusesToGiveBackWhatIsNotHeld) {
  const HostileHost host;
  BasicSpinLock<true> heap(LockRank::Heap);
  EXPECT_DEATH(heap.unlock(), "giving back the heap without holding");
}

TEST(LockOrder, CostsReleaseKernelsNothing) {
  BasicSpinLock<false> heap(LockRank::Heap), clock(LockRank::Clock);
  heap.lock();  // without a thread's block
  clock.lock();
  EXPECT_FALSE(clock.try_lock());
  clock.unlock();
  heap.unlock();
}

}  // namespace
}  // namespace cloister::enclave
