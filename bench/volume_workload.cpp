// One measurement on one target; tools/bench_volumes.py runs them all and makes the table.
// Usage: volume_workload folder|library FOLDER ROW [SIZE_MIB] [FILES]   (library "" = in memory)
// Prints one number: MB/s for sequential rows and `ceiling`, microseconds an operation for the others.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "crypto/aes_gcm.h"
#include "volume_targets.h"

namespace cloister::bench {
namespace {

constexpr size_t kPiece = 1u << 20;
constexpr int kSyncs = 100;
constexpr int kLarge = -1;  // the number of the large file

struct Workload {
  Target* target;
  uint64_t size;
  int files;  // and random operations
};

Bytes pattern(size_t size) {
  Bytes out(size);
  uint64_t state = 88172645463325252u;
  for (uint8_t& byte : out) byte = static_cast<uint8_t>((state = state * 6364136223846793005u + 1) >> 56);
  return out;
}

double seconds_of(const auto& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double megabytes(uint64_t size, double seconds) { return static_cast<double>(size) / 1e6 / seconds; }
double microseconds(int count, double seconds) { return seconds * 1e6 / count; }

double sequential_write(const Workload& w) {
  const Bytes data = pattern(kPiece);
  return megabytes(w.size, seconds_of([&] {
                     w.target->create(kLarge);
                     for (uint64_t at = 0; at < w.size; at += kPiece) w.target->write(at, data);
                     w.target->sync();
                     w.target->close();
                   }));
}

double sequential_read(const Workload& w) {
  Bytes data(kPiece);
  w.target->open(kLarge);
  const double taken = seconds_of([&] {
    for (uint64_t at = 0; at < w.size; at += kPiece) w.target->read(at, data);
  });
  w.target->close();
  return megabytes(w.size, taken);
}

uint64_t scattered(const Workload& w, uint64_t& seed) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (seed >> 33) % (w.size / 4096) * 4096;
}

double random_read(const Workload& w) {
  Bytes data(4096);
  uint64_t seed = 1;
  w.target->open(kLarge);
  const double taken = seconds_of([&] {
    for (int i = 0; i < w.files; ++i) w.target->read(scattered(w, seed), data);
  });
  w.target->close();
  return microseconds(w.files, taken);
}

double random_write(const Workload& w) {
  const Bytes data = pattern(4096);
  uint64_t seed = 2;
  w.target->open(kLarge);
  const double taken = seconds_of([&] {
    for (int i = 0; i < w.files; ++i) w.target->write(scattered(w, seed), data);
    w.target->sync();
  });
  w.target->close();
  return microseconds(w.files, taken);
}

double write_and_sync(const Workload& w) {
  const Bytes data = pattern(4096);
  uint64_t seed = 3;
  w.target->open(kLarge);
  const double taken = seconds_of([&] {
    for (int i = 0; i < kSyncs; ++i) {
      w.target->write(scattered(w, seed), data);
      w.target->sync();
    }
  });
  w.target->close();
  return microseconds(kSyncs, taken);
}

double create_files(const Workload& w) {
  const Bytes data = pattern(4096);
  return microseconds(w.files, seconds_of([&] {
                        for (int i = 0; i < w.files; ++i) {
                          w.target->create(i);
                          w.target->write(0, data);
                          w.target->close();
                        }
                        w.target->sync_all();
                      }));
}

double read_files(const Workload& w) {
  Bytes data(4096);
  return microseconds(w.files, seconds_of([&] {
                        for (int i = 0; i < w.files; ++i) {
                          w.target->open(i);
                          w.target->read(0, data);
                          w.target->close();
                        }
                      }));
}

double stat_files(const Workload& w) {
  return microseconds(w.files, seconds_of([&] {
                        for (int i = 0; i < w.files; ++i) w.target->stat(i);
                      }));
}

double delete_files(const Workload& w) {
  return microseconds(w.files, seconds_of([&] {
                        for (int i = 0; i < w.files; ++i) w.target->remove(i);
                        w.target->sync_all();
                      }));
}

// AES-256-GCM alone, 4 KiB chunks over 1 MiB that stays in the cache: what no volume can beat.
double ceiling(const Workload& w) {
  const Bytes data = pattern(kPiece);
  Bytes out(kPiece);
  const crypto::Aes256Gcm key(Key256{});
  return megabytes(w.size, seconds_of([&] {
                     for (uint64_t at = 0; at < w.size; at += 4096) {
                       crypto::GcmNonce nonce{};
                       crypto::GcmTag mac;
                       store_le(nonce.data() + 4, at);
                       const size_t in = static_cast<size_t>(at % kPiece);
                       key.seal(nonce, {}, ByteView(data).subspan(in, 4096),
                                MutableByteView(out).subspan(in, 4096), mac);
                     }
                   }));
}

struct Row {
  const char* name;
  double (*run)(const Workload&);
};
constexpr Row kRows[] = {
    {"sequential-write", sequential_write},
    {"sequential-read", sequential_read},
    {"random-read", random_read},
    {"random-write", random_write},
    {"write-and-sync", write_and_sync},
    {"create", create_files},
    {"read", read_files},
    {"stat", stat_files},
    {"delete", delete_files},
    {"ceiling", ceiling},
};

int run(int argc, char** argv) {
  if (argc < 4) {
    std::fputs("usage: volume_workload folder|library FOLDER ROW [SIZE_MIB] [FILES]\n", stderr);
    return 2;
  }
  const std::string folder = argv[2];
  const auto target = std::strcmp(argv[1], "library") == 0 ? library_target(folder) : folder_target(folder);
  Workload w{target.get(), uint64_t{1024} << 20, 20'000};
  if (argc > 4) w.size = std::strtoull(argv[4], nullptr, 10) << 20;
  if (argc > 5) w.files = std::atoi(argv[5]);
  // Without a folder nothing outlives the process: what is read is written first. Three times, so that what
  // is measured is not the system handing out memory.
  if (folder.empty() && std::strcmp(argv[3], "ceiling") != 0) {
    for (int i = 0; i < 3; ++i) (void)sequential_write(w);
  }
  for (const Row& row : kRows) {
    if (std::strcmp(argv[3], row.name) != 0) continue;
    std::printf("%.3f\n", row.run(w));
    return 0;
  }
  std::fprintf(stderr, "volume_workload: no row %s\n", argv[3]);
  return 2;
}

}  // namespace
}  // namespace cloister::bench

int main(int argc, char** argv) { return cloister::bench::run(argc, argv); }
