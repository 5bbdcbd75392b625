// Files of 400 to 3000 chunks under a small cache: many small commits, larger ones, truncation, removal,
// exchange, mounts that discard states, compaction, failures and losses of power at random operations. What
// was promised must be there, no place be used twice, and the counts of chunks that are away be exact. Most
// seeds bring thousands of chunks home.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <random>
#include <set>

#include "volume/faulty_storage.h"
#include "volume/memory_storage.h"
#include "volume/volume_forger.h"
#include "volume/volume_test_support.h"

namespace cloister::volume {
namespace {

const Key kKey = test_key(9);
constexpr OpenOptions kReading{.read_only = true};
constexpr size_t kWidth = ref_size(Mode::Encrypted);

struct Part {  // of a chunk: its halves' versions, and how many bytes are not cut off
  uint32_t half[2] = {0, 0};
  size_t length = kBlockSize;
};
struct File {
  uint64_t size = 0;
  std::map<uint64_t, Part> chunks;
};
using Files = std::map<std::string, File>;
struct State {
  Tag tag{};
  Files files;
};

void fill_half(uint8_t* to, uint32_t version, uint64_t index) {
  uint64_t word = (uint64_t{version} << 32 | index) * 0x9e3779b97f4a7c15;
  if (version == 0) word = 0;
  for (size_t at = 0; at < kBlockSize / 2; at += 8) std::memcpy(to + at, &word, 8);
}

Bytes content(const Part& part, uint64_t index) {
  Bytes out(kBlockSize);
  fill_half(out.data(), part.half[0], index);
  fill_half(out.data() + kBlockSize / 2, part.half[1], index);
  std::fill(out.begin() + static_cast<ptrdiff_t>(part.length), out.end(), 0);
  return out;
}

std::string compare(Volume& volume, const Files& files) {
  std::vector<DirectoryEntry> entries;
  const auto next = volume.read_directory(kRootInode, 0, 1000, entries);
  if (!next.ok()) return next.error().message;
  if (entries.size() != files.size()) return "number of files";
  Bytes got;
  for (const auto& [name, file] : files) {
    const auto inode = volume.lookup(kRootInode, name);
    if (!inode.ok()) return name + ": " + inode.error().message;
    const auto a = volume.attributes(*inode);
    if (!a.ok() || a->size != file.size) return name + ": size";
    got.assign(file.size, 7);
    const auto read = volume.read(*inode, 0, got);
    if (!read.ok()) return name + ": " + read.error().message;
    for (uint64_t index = 0; index * kBlockSize < file.size; ++index) {
      const size_t size = std::min<uint64_t>(kBlockSize, file.size - index * kBlockSize);
      const auto part = file.chunks.find(index);
      const Bytes want = part == file.chunks.end() ? Bytes(kBlockSize) : content(part->second, index);
      if (std::memcmp(want.data(), got.data() + index * kBlockSize, size) != 0)
        return name + ": chunk " + std::to_string(index);
    }
  }
  return "";
}

std::string faults_of(Volume& volume) {
  const auto seen = survey(volume);
  if (!seen.ok()) return seen.error().message();
  if (!seen->problems.empty()) return seen->problems.front();
  std::map<InodeId, std::pair<uint64_t, uint64_t>> away;
  std::map<InodeId, std::set<uint64_t>> slots;
  for (const auto& [key, value] : VolumeForger(volume).records()) {
    if (key.kind == Kind::Inode) away[key.inode].first = decode_inode(value, Mode::Encrypted)->away;
    if (key.kind != Kind::Chunks) continue;
    for (size_t i = 0; (i + 1) * kWidth <= value.size(); ++i) {
      const Ref ref = load_ref(value.data() + i * kWidth, Mode::Encrypted);
      const uint64_t index = key.sub * group_count(Mode::Encrypted) + i;
      away[key.inode].second += is_away(index, ref);
      if (ref.present && !lies_in_main(index, ref) && !slots[key.inode].insert(ref.place).second)
        return "slot twice";
    }
  }
  for (const auto& [inode, count] : away) {
    if (count.first != count.second)
      return "inode " + std::to_string(inode) + " counts " + std::to_string(count.first) +
             " away, there are " + std::to_string(count.second);
  }
  return "";
}

std::string whole(Storage& storage, const State& state) {
  auto volume = Volume::open(storage, kKey, state.tag, kReading);
  if (!volume.ok()) return volume.error().message();
  std::string out = compare(**volume, state.files);
  return out.empty() ? faults_of(**volume) : out;
}

struct Life {
  Storage& storage;
  Faults& faults;
  std::mt19937& random;
  bool dies;
  State acknowledged;
  std::vector<State> committed;
  std::optional<Files> attempted;
  Files files;
  std::unique_ptr<Volume> volume;
  uint32_t& version;
  bool over = false;
  bool discarded = true;  // states newer than the opened one may still be there, until something is written
  std::string difference;

  bool going() const { return !over && difference.empty(); }
  const State& last() const { return committed.empty() ? acknowledged : committed.back(); }
  template <class F>
  bool attempt(const char* what, F&& operation) {
    for (unsigned tries = 0; going(); ++tries) {
      const auto result = operation();
      if (result.ok()) return true;
      const Reason reason = result.error().reason;
      if (tries != 0 && (reason == Reason::NotFound || reason == Reason::Exists)) return true;
      const bool storage_failed = reason == Reason::Io || reason == Reason::NoSpace;
      if (!storage_failed && reason != Reason::Poisoned)
        difference = std::string(what) + ": " + result.error().message;
      if (dies || reason == Reason::Poisoned || tries == 3) over = true;
    }
    return false;
  }
  void open(const State state) {  // a copy: it may be one of `committed`
    volume.reset();
    auto opened = Volume::open(storage, kKey, state.tag, kSmallCache);
    if (!opened.ok() && !dies) opened = Volume::open(storage, kKey, state.tag, kSmallCache);
    if (!opened.ok()) {
      if (faults.count < faults.fail_at || faults.fail_at == 0)
        difference = "open: " + opened.error().message();
      over = true;
      return;
    }
    volume = std::move(opened).value();
    discarded = discarded || state.tag != last().tag;
    acknowledged = state;
    committed.clear();
    files = state.files;
  }
  void commit() {
    if (!going()) return;
    attempted = files;
    if (committed.size() == 7) committed.erase(committed.begin());
    auto tag = volume->commit();
    if (!tag.ok() && !dies) tag = volume->commit();
    if (!tag.ok()) {
      over = true;
      return;
    }
    attempted.reset();
    discarded = discarded && *tag == last().tag;  // without changes nothing is written
    committed.push_back({*tag, files});
    if (random() % 3 == 0) return;
    if (!volume->acknowledge(*tag).ok()) over = true;
    acknowledged = committed.back();
    committed.clear();
  }
  std::string name() { return "f" + std::to_string(random() % 4); }
  InodeId inode_of(const std::string& name) {
    InodeId out = 0;
    attempt("lookup", [&] {
      auto found = volume->lookup(kRootInode, name);
      if (found.ok()) out = *found;
      return found;
    });
    return out;
  }
  void write(const std::string& name, uint64_t first, uint64_t count, bool half) {
    if (!going()) return;
    InodeId inode = 0;
    File file = files.contains(name) ? files[name] : File{};
    if (files.contains(name)) {
      inode = inode_of(name);
    } else {
      attempt("create", [&] {
        auto made = volume->create_file(kRootInode, name, 0640, 0, 0, {});
        if (made.ok()) inode = *made;
        return made;
      });
      if (going()) files[name] = {};
    }
    ++version;
    Bytes data;
    for (uint64_t i = 0; i < count; ++i) {
      auto at = file.chunks.find(first + i);
      if (at == file.chunks.end()) at = file.chunks.emplace(first + i, Part{}).first;
      Part& part = at->second;
      part.half[0] = version;
      if (!half) part.half[1] = version;
      part.length = half ? std::max(part.length, kBlockSize / 2) : kBlockSize;
      if (half && part.length <= kBlockSize / 2) {
        part.half[1] = 0;
        part.length = kBlockSize;
      }
      const Bytes chunk = content(part, first + i);
      data.insert(data.end(), chunk.begin(), chunk.end());
    }
    if (half) data.resize(kBlockSize / 2);
    file.size = std::max(file.size, first * kBlockSize + data.size());
    if (attempt("write", [&] { return volume->write(inode, first * kBlockSize, data, {}); }))
      files[name] = file;
  }
  void cut(const std::string& name, uint64_t size) {
    if (!files.contains(name)) return;
    const InodeId inode = inode_of(name);
    if (!attempt("truncate", [&] { return volume->truncate(inode, size, {}); })) return;
    File& file = files[name];
    file.size = size;
    file.chunks.erase(file.chunks.lower_bound((size + kBlockSize - 1) / kBlockSize), file.chunks.end());
    const auto tail = file.chunks.find(size / kBlockSize);
    if (tail != file.chunks.end() && size % kBlockSize != 0) {
      Part& part = tail->second;
      part.length = std::min<size_t>(part.length, size % kBlockSize);
    }
  }
  void remove(const std::string& name) {
    if (!files.contains(name)) return;
    if (random() % 2 == 0) {
      const InodeId inode = inode_of(name);
      if (going()) volume->hold(inode);
    }
    if (attempt("unlink", [&] { return volume->unlink(kRootInode, name, {}); })) files.erase(name);
  }
  uint64_t chunks_of(const std::string& name) {
    return files.contains(name) ? std::max<uint64_t>(files[name].size / kBlockSize, 1) : 400;
  }
  void small_commits(unsigned count) {
    const std::string one = name();
    for (unsigned i = 0; i < count && going(); ++i) {
      const std::string to = random() % 8 == 0 ? name() : one;
      const uint64_t chunks = chunks_of(to);
      const unsigned many = random() % 6 == 0 ? 1 + random() % 12 : 1;
      for (unsigned k = 0; k < many; ++k) {
        const bool grows = random() % 12 == 0;
        write(to, random() % chunks + (grows ? random() % 20 : 0), 1, random() % 4 == 0);
      }
      if (random() % 40 == 0) cut(to, random() % (chunks * kBlockSize + 1) / 2 + chunks * kBlockSize / 2);
      if (random() % 60 == 0) remove(name());
      commit();
      if (random() % 50 == 0 && going()) open(last());
    }
  }
  void step() {
    const unsigned what = random() % 16;
    if (what < 8) {
      small_commits(20 + random() % 130);
    } else if (what < 10) {
      const std::string to = name();
      const uint64_t chunks = chunks_of(to);
      write(to, random() % chunks, 17 + random() % 500, false);
    } else if (what == 10) {
      const std::string to = name();
      for (unsigned i = 0; i < 100 + random() % 200; ++i) write(to, random() % chunks_of(to), 1, false);
    } else if (what == 11) {
      const std::string to = name();
      cut(to, random() % (chunks_of(to) * kBlockSize * 5 / 4));
    } else if (what == 12) {
      if (random() % 3 == 0) remove(name());
      write(name(), 0, 400 + random() % 2600, false);
    } else if (what == 13) {
      const std::string a = name(), b = name();
      if (a != b && files.contains(a) && files.contains(b) &&
          attempt("exchange", [&] { return volume->exchange(kRootInode, a, kRootInode, b, {}); }))
        std::swap(files[a], files[b]);
    } else if (what == 14) {
      open(random() % 2 == 0 || committed.empty() ? acknowledged : committed[random() % committed.size()]);
    } else if (random() % 3 == 0) {
      commit();
      if (!going()) return;
      attempted.reset();
      std::optional<State> published;
      const auto done = compact(*volume, [&](const Tag& tag) -> Result<void> {
        published = State{tag, files};
        return {};
      });
      // What was published last is kept, and nothing older.
      if (published) {
        acknowledged = *published;
        committed.clear();
      }
      if (!done.ok()) attempted = files;
      over = over || !done.ok();
    }
    if (random() % 3 != 0) commit();
  }
};

std::string live(unsigned seed) {
  std::mt19937 random(seed);
  MemoryStorage memory;
  Faults none;
  uint32_t version = 0;
  State state;
  {
    const auto volume = Volume::create(memory, kKey, {}).value();
    state.tag = volume->tag();
  }
  for (unsigned round = 0; round < 4; ++round) {
    Faults faults;
    FaultyStorage faulty(memory, faults);
    faults.changes_only = random() % 3 != 0;
    faults.no_space = random() % 2 == 0;
    faults.stay_broken = random() % 3 == 0;
    faults.fail_at = round == 0 ? 0
                                : 1 + random() % (random() % 4 == 0     ? 60
                                                  : faults.changes_only ? 2500
                                                                        : 6000);
    Life life{.storage = faulty,
              .faults = faults,
              .random = random,
              .dies = faults.stay_broken,
              .acknowledged = state,
              .committed = {},
              .attempted = {},
              .files = {},
              .volume = {},
              .version = version};
    life.open(state);
    if (round == 0 && life.going()) life.write("f0", 0, 400 + random() % 2600, false);
    if (round == 0) life.write("f1", 0, 400 + random() % 800, false);
    for (unsigned i = 0; i < 12 && life.going(); ++i) life.step();
    const std::string at = "seed " + std::to_string(seed) + " round " + std::to_string(round) + ": ";
    if (!life.difference.empty()) return at + life.difference;
    const bool orderly = random() % 4 == 0;
    if (orderly) life.volume.reset();
    faults.stay_broken = true;
    faults.fail_at = faults.count;  // the process is dead
    faults.changes_only = false;
    life.volume.reset();
    const unsigned survival = random() % 3;
    if (random() % 5 != 0)
      memory.crash([&] { return survival == 1 || (survival == 2 && random() % 2 == 0); });
    std::string wrong = whole(memory, life.acknowledged);
    if (!wrong.empty()) return at + "acknowledged: " + wrong;
    for (const State& one : life.committed) {
      wrong = whole(memory, one);
      if (!wrong.empty()) return at + "committed: " + wrong;
    }
    state = life.committed.empty() || random() % 2 == 0 ? life.acknowledged
                                                        : life.committed[random() % life.committed.size()];
    if (!life.discarded && random() % 2 == 0) {
      const auto newest = Volume::open_newest_without_freshness(memory, kKey, kReading);
      if (!newest.ok()) return at + "newest: " + newest.error().message();
      const bool attempted = (*newest)->tag() != life.last().tag;
      if (attempted && !life.attempted) return at + "newest is another one";
      state = {(*newest)->tag(), attempted ? *life.attempted : life.last().files};
      wrong = compare(**newest, state.files);
      if (wrong.empty()) wrong = faults_of(**newest);
      if (!wrong.empty()) return at + "newest: " + wrong;
      // It may be in the host's caches only. Nobody was promised it before this.
      const auto settled = Volume::open(memory, kKey, state.tag, kSmallCache);
      if (!settled.ok() || !(*settled)->commit().ok()) return at + "newest: does not open to be written";
    }
  }
  return "";
}

TEST(VolumeHomeModel, Agrees) {
  const unsigned seeds = std::getenv("CLOISTER_LONG_TESTS") != nullptr ? 2000 : 24;
  for (unsigned seed = 1; seed <= seeds; ++seed) ASSERT_EQ(live(seed), "");
}

}  // namespace
}  // namespace cloister::volume
