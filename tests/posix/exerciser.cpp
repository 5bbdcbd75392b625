// Random reads, writes, truncations, mappings, syncs and reopenings of a few files, compared with a copy in
// memory after every step. Usage: exerciser FOLDER [--seed N] [--steps N | --seconds N | --long]
//
// The idea is that of fsx (Apple, 1991): bugs of file systems hide in sequences nobody would write down.
// Sizes cluster around the limits where a volume changes its form (2 KiB, 4 KiB, 64 KiB) and offsets are
// often unaligned. A difference ends the program with the seed, the step and the operations that led there.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr size_t kLimit = 3u << 20;  // bytes of one file
constexpr size_t kPiece = 200'000;
constexpr size_t kFiles = 3;

struct File {
  std::string path;
  int fd = -1;
  std::string model;
};

class Exerciser {
 public:
  Exerciser(std::string folder, unsigned seed) : folder_(std::move(folder)), seed_(seed), random_(seed) {
    for (size_t i = 0; i < kFiles; ++i) {
      files_[i].path = folder_ + "/exercise-" + std::to_string(i);
      ::unlink(files_[i].path.c_str());
      reopen(files_[i]);
    }
  }
  ~Exerciser() {
    for (File& file : files_) {
      ::close(file.fd);
      ::unlink(file.path.c_str());
    }
  }
  Exerciser(const Exerciser&) = delete;
  Exerciser& operator=(const Exerciser&) = delete;

  void step() {
    ++steps_;
    File& file = files_[random_() % kFiles];
    const unsigned choice = random_() % 100;
    if (choice < 30) return write(file);
    if (choice < 55) return read(file);
    if (choice < 65) return truncate(file);
    if (choice < 72) return map_write(file);
    if (choice < 79) return map_read(file);
    if (choice < 83) return append(file);
    if (choice < 86) return sync(file);
    if (choice < 92) return reopen(file);
    if (choice < 96) return compare(file);
    return rename(file);
  }
  void compare_all() {
    for (File& file : files_) compare(file);
  }
  unsigned long steps() const { return steps_; }

 private:
  [[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "FAILED: seed %u step %lu: %s (%s)\n", seed_, steps_, what.c_str(),
                 std::strerror(errno));
    for (const std::string& line : log_) std::fprintf(stderr, "  %s\n", line.c_str());
    std::exit(1);
  }
  void note(const File& file, const char* what, size_t offset, size_t size) {
    log_.push_back(std::to_string(steps_) + " " + file.path.substr(folder_.size()) + " " + what + " at " +
                   std::to_string(offset) + " size " + std::to_string(size));
    if (log_.size() > 60) log_.pop_front();
  }
  // Often near a limit, sometimes anywhere.
  size_t some_size(size_t limit) {
    static constexpr size_t kEdges[] = {0, 1, 2048, 4096, 8192, 65536, 131072, 1u << 20};
    const size_t edge = kEdges[random_() % 8] + random_() % 5;
    const size_t anywhere = random_() % (limit + 1);
    return std::min(limit, random_() % 2 == 0 && edge >= 2 ? edge - 2 : anywhere);
  }
  std::string some_bytes(size_t size) {
    std::string out(size, '\0');
    uint64_t state = random_();
    for (char& c : out)
      c = static_cast<char>((state = state * 6364136223846793005u + 1442695040888963407u) >> 56);
    return out;
  }

  void put(File& file, size_t offset, const std::string& bytes) {
    if (::pwrite(file.fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)) !=
        static_cast<ssize_t>(bytes.size())) {
      fail("pwrite");
    }
    if (bytes.empty()) return;
    if (file.model.size() < offset + bytes.size()) file.model.resize(offset + bytes.size(), '\0');
    file.model.replace(offset, bytes.size(), bytes);
  }
  void write(File& file) {
    const size_t offset = some_size(kLimit - kPiece);
    const size_t size = some_size(kPiece);
    note(file, "write", offset, size);
    put(file, offset, some_bytes(size));
  }
  void append(File& file) {
    const size_t size = some_size(std::min(kPiece, kLimit - file.model.size()));
    note(file, "append", file.model.size(), size);
    put(file, file.model.size(), some_bytes(size));
  }
  void read_and_compare(File& file, size_t offset, size_t size) {
    std::string got(size, '\x55');
    const ssize_t count = ::pread(file.fd, got.data(), size, static_cast<off_t>(offset));
    const size_t expected = offset >= file.model.size() ? 0 : std::min(size, file.model.size() - offset);
    if (count != static_cast<ssize_t>(expected)) fail("read " + std::to_string(count) + " bytes");
    check(file, got.data(), offset, expected);
  }
  void check(const File& file, const char* got, size_t offset, size_t size) {
    for (size_t i = 0; i < size; ++i) {
      if (got[i] != file.model[offset + i]) fail("byte " + std::to_string(offset + i) + " differs");
    }
  }
  void read(File& file) {
    const size_t offset = some_size(kLimit);
    const size_t size = some_size(kPiece);
    note(file, "read", offset, size);
    read_and_compare(file, offset, size);
  }
  void truncate(File& file) {
    const size_t size = some_size(kLimit);
    note(file, "truncate", size, 0);
    if (::ftruncate(file.fd, static_cast<off_t>(size)) != 0) fail("ftruncate");
    file.model.resize(size, '\0');
  }
  void map_write(File& file) {
    if (file.model.empty()) return;
    const size_t offset = random_() % file.model.size();
    const std::string bytes = some_bytes(std::min(some_size(kPiece), file.model.size() - offset));
    note(file, "mapped write", offset, bytes.size());
    void* memory = ::mmap(nullptr, file.model.size(), PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, 0);
    if (memory == MAP_FAILED) fail("mmap");
    std::memcpy(static_cast<char*>(memory) + offset, bytes.data(), bytes.size());
    if (random_() % 2 == 0 && ::msync(memory, file.model.size(), MS_SYNC) != 0) fail("msync");
    ::munmap(memory, file.model.size());
    file.model.replace(offset, bytes.size(), bytes);
  }
  void map_read(File& file) {
    if (file.model.empty()) return;
    const size_t offset = random_() % file.model.size();
    const size_t size = std::min(some_size(kPiece), file.model.size() - offset);
    note(file, "mapped read", offset, size);
    void* memory = ::mmap(nullptr, file.model.size(), PROT_READ, MAP_SHARED, file.fd, 0);
    if (memory == MAP_FAILED) fail("mmap");
    check(file, static_cast<const char*>(memory) + offset, offset, size);
    ::munmap(memory, file.model.size());
  }
  void sync(File& file) {
    note(file, "fsync", 0, 0);
    if (::fsync(file.fd) != 0) fail("fsync");
  }
  void reopen(File& file) {
    note(file, "reopen", 0, 0);
    if (file.fd >= 0 && ::close(file.fd) != 0) fail("close");
    file.fd = ::open(file.path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file.fd < 0) fail("open");
    struct stat status {};
    if (::fstat(file.fd, &status) != 0 || static_cast<size_t>(status.st_size) != file.model.size()) {
      fail("the size is " + std::to_string(status.st_size) + " in place of " +
           std::to_string(file.model.size()));
    }
  }
  void compare(File& file) {
    note(file, "compare", 0, file.model.size());
    read_and_compare(file, 0, file.model.size() + 10);
  }
  // Over another of the files: that one's content is gone, and it starts anew.
  void rename(File& file) {
    File& other = files_[random_() % kFiles];
    if (&other == &file) return;
    note(file, "rename", 0, 0);
    if (::rename(file.path.c_str(), other.path.c_str()) != 0) fail("rename");
    compare(other);  // still open, without a name
    std::swap(file.fd, other.fd);
    std::swap(file.model, other.model);
    if (::close(file.fd) != 0) fail("close");
    file.fd = -1;
    file.model.clear();
    reopen(file);
  }

  const std::string folder_;
  const unsigned seed_;
  std::mt19937 random_;
  unsigned long steps_ = 0;
  File files_[kFiles];
  std::deque<std::string> log_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: exerciser FOLDER [--seed N] [--steps N | --seconds N | --long]\n", stderr);
    return 2;
  }
  unsigned seed = 1;
  unsigned long steps = 3000;
  long seconds = 0;
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--long") {
      seconds = 3600;
    } else if (i + 1 < argc && word == "--seed") {
      seed = static_cast<unsigned>(std::strtoul(argv[++i], nullptr, 10));
    } else if (i + 1 < argc && word == "--steps") {
      steps = std::strtoul(argv[++i], nullptr, 10);
    } else if (i + 1 < argc && word == "--seconds") {
      seconds = std::strtol(argv[++i], nullptr, 10);
    } else {
      std::fprintf(stderr, "exerciser: unknown option %s\n", word.c_str());
      return 2;
    }
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  Exerciser exerciser(argv[1], seed);
  while (seconds > 0 ? std::chrono::steady_clock::now() < end : exerciser.steps() < steps) exerciser.step();
  exerciser.compare_all();
  std::printf("%lu steps, no difference (seed %u)\n", exerciser.steps(), seed);
  return 0;
}
