// In-process speed of a volume in memory and in a folder of /dev/shm: sequential, 4 KiB random, small files,
// commit.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <filesystem>

#include "volume/memory_storage.h"
#include "volume/posix_storage.h"
#include "volume/volume.h"

namespace cloister::volume {
namespace {

constexpr uint64_t kFile = 256u << 20;
constexpr size_t kPiece = 1u << 20;

struct Fixture {
  std::filesystem::path folder;
  std::unique_ptr<Storage> storage;
  std::unique_ptr<Volume> volume;
  InodeId file = 0;
  Key key;

  explicit Fixture(bool posix) {
    if (posix) {
      folder = "/dev/shm/cloister-volume-bench-" + std::to_string(::getpid());
      std::filesystem::remove_all(folder);
      storage = std::move(open_posix_storage(folder, true)).value();
    } else {
      storage = std::make_unique<MemoryStorage>(false);
    }
    volume = std::move(Volume::create(*storage, key, CreateOptions{})).value();
    file = volume->create_file(kRootInode, "file", 0644, 0, 0, {}).value();
  }
  ~Fixture() {
    volume.reset();
    storage.reset();
    if (!folder.empty()) std::filesystem::remove_all(folder);
  }
  void fill() {
    const Bytes data(kPiece, 1);
    for (uint64_t at = 0; at < kFile; at += kPiece) volume->write(file, at, data, {}).value();
    commit();
  }
  void commit() {
    const Tag tag = volume->commit().value();
    volume->acknowledge(tag).value();
  }
};

void sequential_write(benchmark::State& state) {
  Fixture fixture(state.range(0) != 0);
  fixture.fill();  // so that the host's pages exist
  const Bytes data(kPiece, 2);
  for (auto _ : state) {
    for (uint64_t at = 0; at < kFile; at += kPiece) fixture.volume->write(fixture.file, at, data, {}).value();
    fixture.commit();
  }
  state.SetBytesProcessed(static_cast<int64_t>(kFile * state.iterations()));
}
BENCHMARK(sequential_write)->ArgName("folder")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

void sequential_read(benchmark::State& state) {
  Fixture fixture(state.range(0) != 0);
  fixture.fill();
  Bytes data(kPiece);
  for (auto _ : state) {
    for (uint64_t at = 0; at < kFile; at += kPiece) fixture.volume->read(fixture.file, at, data).value();
  }
  state.SetBytesProcessed(static_cast<int64_t>(kFile * state.iterations()));
}
BENCHMARK(sequential_read)->ArgName("folder")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

uint64_t scattered(uint64_t& seed) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (seed >> 33) % (kFile / 4096) * 4096;
}

void random_read_4k(benchmark::State& state) {
  Fixture fixture(true);
  fixture.fill();
  Bytes data(4096);
  uint64_t seed = 1;
  for (auto _ : state) fixture.volume->read(fixture.file, scattered(seed), data).value();
}
BENCHMARK(random_read_4k)->Unit(benchmark::kMicrosecond);

void random_write_4k(benchmark::State& state) {
  Fixture fixture(true);
  fixture.fill();
  const Bytes data(4096, 3);
  uint64_t seed = 1;
  for (auto _ : state) fixture.volume->write(fixture.file, scattered(seed), data, {}).value();
  fixture.commit();
}
BENCHMARK(random_write_4k)->Unit(benchmark::kMicrosecond);

void small_files(benchmark::State& state) {
  constexpr int kFiles = 10'000;
  const Bytes data(static_cast<size_t>(state.range(0)), 4);
  for (auto _ : state) {
    Fixture fixture(true);
    for (int i = 0; i < kFiles; ++i) {
      const InodeId inode =
          fixture.volume->create_file(kRootInode, "f" + std::to_string(i), 0644, 0, 0, {}).value();
      fixture.volume->write(inode, 0, data, {}).value();
    }
    fixture.commit();
  }
  state.SetItemsProcessed(kFiles * state.iterations());
}
BENCHMARK(small_files)->ArgName("size")->Arg(1000)->Arg(4096)->Unit(benchmark::kMillisecond);

void write_4k_and_commit(benchmark::State& state) {
  Fixture fixture(true);
  fixture.fill();
  const Bytes data(4096, 5);
  uint64_t seed = 1;
  for (auto _ : state) {
    fixture.volume->write(fixture.file, scattered(seed), data, {}).value();
    fixture.commit();
  }
}
BENCHMARK(write_4k_and_commit)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace cloister::volume
