// In-process speed of a volume in memory and in a folder of /dev/shm: sequential, 4 KiB random, small files,
// commit, a million files. What bounds it is measured beside it: the cipher alone, and the folder alone.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <filesystem>

#include "crypto/aes_gcm.h"
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
  void fill(uint64_t size = kFile) {
    const Bytes data(kPiece, 1);
    for (uint64_t at = 0; at < size; at += kPiece) volume->write(file, at, data, {}).value();
    commit();
  }
  // In a folder: what the volume takes, of the file's size.
  double space(uint64_t content) const {
    uint64_t size = 0;
    for (const auto& item : std::filesystem::recursive_directory_iterator(folder)) {
      if (item.is_regular_file()) size += item.file_size();
    }
    return static_cast<double>(size) / static_cast<double>(content);
  }
  void commit() {
    const Tag tag = volume->commit().value();
    volume->acknowledge(tag).value();
  }
};

void cipher_alone(benchmark::State& state) {
  const crypto::Aes256Gcm cipher{Key256()};
  Bytes plain(kPiece, 1), sealed(kPiece);
  for (auto _ : state) {
    for (size_t at = 0; at < kPiece; at += 4096) {
      crypto::GcmTag mac;
      crypto::GcmNonce nonce;
      store_le(nonce.data(), static_cast<uint64_t>(at));
      cipher.seal(nonce, {}, ByteView(plain).subspan(at, 4096), MutableByteView(sealed).subspan(at, 4096),
                  mac);
      benchmark::DoNotOptimize(mac);
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(kPiece * state.iterations()));
}
BENCHMARK(cipher_alone)->Unit(benchmark::kMicrosecond);

// What a storage in memory does besides: it hands out copies.
void copy_alone(benchmark::State& state) {
  const Bytes stored(kFile, 1);
  Bytes out(kPiece);
  for (auto _ : state) {
    for (uint64_t at = 0; at < kFile; at += kPiece) {
      std::memcpy(out.data(), stored.data() + at, kPiece);
      benchmark::DoNotOptimize(out.data());
      benchmark::ClobberMemory();
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(kFile * state.iterations()));
}
BENCHMARK(copy_alone)->Unit(benchmark::kMillisecond);

// As the two that follow, without a volume.
void plain_file(benchmark::State& state) {
  Fixture fixture(true);
  const auto file = fixture.storage->open("plain", OpenMode::CreateNew).value();
  Bytes data(kPiece, 1);
  for (uint64_t at = 0; at < kFile; at += kPiece) file->write_at(at, data).value();
  for (auto _ : state) {
    for (uint64_t at = 0; at < kFile; at += kPiece) {
      if (state.range(0) != 0) {
        file->write_at(at, data).value();
      } else {
        file->read_at(at, data).value();
      }
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(kFile * state.iterations()));
}
BENCHMARK(plain_file)->ArgName("write")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

void sequential_write(benchmark::State& state) {
  Fixture fixture(state.range(0) != 0);
  for (int i = 0; i < 2; ++i) fixture.fill();  // the host's pages exist: one state stands beside the next
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

uint64_t scattered(uint64_t& seed, uint64_t size = kFile) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (seed >> 33) % (size / 4096) * 4096;
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
  const uint64_t size = static_cast<uint64_t>(state.range(0)) << 20;
  fixture.fill(size);
  state.counters["space_in_order"] = fixture.space(size);
  const Bytes data(4096, 5);
  uint64_t seed = 1;
  for (auto _ : state) {
    fixture.volume->write(fixture.file, scattered(seed, size), data, {}).value();
    fixture.commit();
  }
  state.counters["space"] = fixture.space(size);
}
BENCHMARK(write_4k_and_commit)
    ->ArgName("MiB")
    ->Arg(64)
    ->Arg(256)
    ->Arg(512)
    ->Iterations(20'000)
    ->Unit(benchmark::kMicrosecond);

// Without a tag what the newest commit wrote is read again: here 60 files of 64 KiB.
void open_newest(benchmark::State& state) {
  Fixture fixture(true);
  const Bytes data(64 << 10, 6);
  for (int i = 0; i < 60; ++i) {
    const InodeId inode = fixture.volume->create_file(kRootInode, std::to_string(i), 0644, 0, 0, {}).value();
    fixture.volume->write(inode, 0, data, {}).value();
  }
  fixture.commit();
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        Volume::open_newest_without_freshness(*fixture.storage, fixture.key, {.read_only = true}).value());
  }
}
BENCHMARK(open_newest)->Unit(benchmark::kMillisecond);

// In a volume of so many files: opening it and looking one up, and what a small commit costs there.
class ManyFiles : public benchmark::Fixture {
 public:
  static constexpr int kFolders = 1000;
  void SetUp(benchmark::State& state) override {
    fixture = std::make_unique<volume::Fixture>(true);
    Volume& volume = *fixture->volume;
    folders = 0;
    for (int64_t i = 0; i < state.range(0); ++i) {
      if (i % (state.range(0) / kFolders) == 0)
        folder = volume.make_directory(kRootInode, "d" + std::to_string(folders++), 0755, 0, 0, {}).value();
      const InodeId inode = volume.create_file(folder, std::to_string(i), 0644, 0, 0, {}).value();
      volume.write(inode, 0, as_bytes("small"), {}).value();
    }
    fixture->commit();
    tag = volume.tag();
  }
  void TearDown(benchmark::State&) override { fixture.reset(); }

  std::unique_ptr<volume::Fixture> fixture;
  InodeId folder = 0;
  int folders = 0;
  Tag tag{};
};

BENCHMARK_DEFINE_F(ManyFiles, open_and_look_up)(benchmark::State& state) {
  fixture->volume.reset();
  fixture->storage = std::move(open_posix_storage(fixture->folder, true)).value();
  for (auto _ : state) {
    auto volume = Volume::open(*fixture->storage, fixture->key, tag, {.read_only = true}).value();
    benchmark::DoNotOptimize(volume->lookup(volume->lookup(kRootInode, "d500").value(), "0").ok());
  }
}
BENCHMARK_REGISTER_F(ManyFiles, open_and_look_up)->Arg(10'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

BENCHMARK_DEFINE_F(ManyFiles, commit)(benchmark::State& state) {
  const Bytes data(4096, 5);
  for (auto _ : state) {
    fixture->volume->write(fixture->file, 0, data, {}).value();
    fixture->commit();
  }
}
BENCHMARK_REGISTER_F(ManyFiles, commit)->Arg(10'000)->Arg(1'000'000)->Unit(benchmark::kMicrosecond);

// In a volume of which seven eighths are free: mounting it, its first commit and its end.
BENCHMARK_DEFINE_F(ManyFiles, mount_and_commit_mostly_free)(benchmark::State& state) {
  for (int64_t i = 0; i < state.range(0); ++i) {
    if (i % 8 == 0) continue;
    const int64_t in = i / (state.range(0) / kFolders);
    const InodeId at = fixture->volume->lookup(kRootInode, "d" + std::to_string(in)).value();
    fixture->volume->unlink(at, std::to_string(i), {}).value();
  }
  fixture->commit();
  tag = fixture->volume->tag();
  fixture->volume.reset();
  fixture->storage.reset();
  fixture->storage = std::move(open_posix_storage(fixture->folder, true)).value();
  const Bytes data(4096, 5);
  for (auto _ : state) {
    fixture->volume = Volume::open(*fixture->storage, fixture->key, tag, {}).value();
    fixture->volume->write(fixture->file, 0, data, {}).value();
    fixture->commit();
    tag = fixture->volume->tag();
    fixture->volume.reset();
  }
}
BENCHMARK_REGISTER_F(ManyFiles, mount_and_commit_mostly_free)
    ->Arg(100'000)
    ->Arg(1'000'000)
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace cloister::volume
