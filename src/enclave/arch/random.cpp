// The kernel's random numbers: SHA-256 over key and counter, keyed from RDRAND, with a new key after every
// request (so a later break does not reveal earlier output) and fresh RDRAND input after every 64 KiB. The
// construction is Hash_DRBG's idea (NIST SP 800-90A, 10.1.1) with the key ratcheted. The host contributes
// nothing.
#include "crypto/random.h"

#include <cstring>

#include "base/secret.h"
#include "crypto/sha256.h"
#include "enclave/arch/spin.h"

namespace cloister::crypto {
namespace {

constexpr size_t kReseedAfter = 64 * 1024;
constexpr int kRetries = 1000;  // RDRAND may run dry for a moment (SDM vol. 1, 7.3.17.1 asks for at least 10)

struct Generator {
  enclave::SpinLock lock{enclave::LockRank::Random};
  bool seeded = false;
  size_t since_seed = 0;
  ByteArray<32> key{};
};
Generator g_generator;

uint64_t hardware_random() {
  for (int i = 0; i < kRetries; ++i) {
    uint64_t value = 0;
    uint8_t ok = 0;
    __asm__ volatile("rdrand %0; setc %1" : "=r"(value), "=qm"(ok) : : "cc");
    // All ones or zeros is what broken parts have returned forever.
    if (ok != 0 && value != 0 && value != ~uint64_t{0}) return value;
  }
  panic("random", 0, "RDRAND gives nothing");
}

void reseed() {
  uint64_t fresh[8];
  for (uint64_t& word : fresh) word = hardware_random();
  g_generator.key = sha256({g_generator.key, object_bytes(fresh)});
  wipe(fresh, sizeof(fresh));
  g_generator.seeded = true;
  g_generator.since_seed = 0;
}

}  // namespace

void random_bytes(MutableByteView out) {
  enclave::SpinGuard guard(g_generator.lock);
  if (!g_generator.seeded || g_generator.since_seed > kReseedAfter) reseed();
  g_generator.since_seed += out.size();
  uint64_t counter = 0;
  for (size_t done = 0; done < out.size(); ++counter) {
    Digest block = sha256({g_generator.key, as_bytes("out"), object_bytes(counter)});
    const size_t part = std::min(block.size(), out.size() - done);
    std::memcpy(out.data() + done, block.data(), part);
    wipe(block.data(), block.size());
    done += part;
  }
  g_generator.key = sha256({g_generator.key, as_bytes("next")});
}

}  // namespace cloister::crypto
