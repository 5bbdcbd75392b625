// The kernel's build of the volume and crypto code runs without a C library: linked with nothing but what is
// below, it answers a GCM and a SHA-256 vector and takes a volume through creation, commit and reopening.
// Exit code 0 is success, else the number of the check that failed.
#include <cstddef>
#include <cstdint>

#include "crypto/aes_gcm.h"
#include "crypto/cpu.h"
#include "crypto/random.h"
#include "crypto/sha256.h"
#include "volume/volume.h"

namespace {

[[noreturn]] void leave(int status) {
  __asm__ volatile("syscall" : : "a"(231L), "D"(static_cast<long>(status)) : "rcx", "r11", "memory");
  __builtin_unreachable();
}

alignas(4096) uint8_t heap[64u << 20];
size_t heap_used = 0;

void* allocate(size_t size, size_t alignment) {
  heap_used = (heap_used + alignment - 1) & ~(alignment - 1);
  if (size > sizeof(heap) - heap_used) leave(100);
  void* out = heap + heap_used;
  heap_used += size;
  return out;
}

// Under another name, because <cstring> declares C++ overloads.
extern "C" __attribute__((used)) void* find_byte(const void* where, int value, size_t size) __asm__("memchr");
void* find_byte(const void* where, int value, size_t size) {
  const auto* p = static_cast<const uint8_t*>(where);
  for (size_t i = 0; i < size; ++i) {
    if (p[i] == static_cast<uint8_t>(value)) return const_cast<uint8_t*>(p + i);
  }
  return nullptr;
}

}  // namespace

extern "C" {
void* memcpy(void* to, const void* from, size_t size) {
  void* out = to;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
  return out;
}
void* memmove(void* to, const void* from, size_t size) {
  if (static_cast<uint8_t*>(to) <= static_cast<const uint8_t*>(from)) return memcpy(to, from, size);
  auto* t = static_cast<volatile uint8_t*>(to);
  for (size_t i = size; i-- > 0;) t[i] = static_cast<const uint8_t*>(from)[i];
  return to;
}
void* memset(void* to, int value, size_t size) {
  void* out = to;
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
  return out;
}
int memcmp(const void* a, const void* b, size_t size) {
  const auto* p = static_cast<const volatile uint8_t*>(a);
  const auto* q = static_cast<const volatile uint8_t*>(b);
  for (size_t i = 0; i < size; ++i) {
    if (p[i] != q[i]) return p[i] < q[i] ? -1 : 1;
  }
  return 0;
}
size_t strlen(const char* text) {
  size_t size = 0;
  while (static_cast<const volatile char*>(text)[size] != 0) ++size;
  return size;
}
char* strerror(int) { return const_cast<char*>("error"); }
void kernel_vector_begin() {}
void kernel_vector_end() {}
}

void* operator new(size_t size) { return allocate(size, 16); }
void* operator new[](size_t size) { return allocate(size, 16); }
void* operator new(size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<size_t>(alignment));
}
void operator delete(void*) noexcept {}
void operator delete[](void*) noexcept {}
void operator delete(void*, size_t) noexcept {}
void operator delete[](void*, size_t) noexcept {}
void operator delete(void*, size_t, std::align_val_t) noexcept {}
void operator delete(void*, std::align_val_t) noexcept {}

namespace std {
void __throw_bad_alloc() { leave(101); }
void __throw_logic_error(const char*) { leave(102); }
void __throw_length_error(const char*) { leave(103); }
void __throw_out_of_range_fmt(const char*, ...) { leave(104); }
void __glibcxx_assert_fail(const char*, int, const char*, const char*) noexcept { leave(105); }
}  // namespace std

namespace cloister {
void panic(const char*, int, const char*) { leave(106); }
namespace crypto {
void random_bytes(MutableByteView out) {
  static uint8_t next = 1;
  for (uint8_t& byte : out) byte = next++;
}
}  // namespace crypto

namespace volume {
namespace {

Bytes* storage_bytes = nullptr;  // nobody runs constructors of globals here
Bytes& content() { return *storage_bytes; }

class File final : public StorageFile {
 public:
  Result<size_t> read_at(uint64_t offset, MutableByteView out) override {
    if (offset >= content().size()) return size_t{0};
    const size_t rest = content().size() - static_cast<size_t>(offset);
    const size_t take = out.size() < rest ? out.size() : rest;
    memcpy(out.data(), content().data() + offset, take);
    return take;
  }
  Result<void> write_at(uint64_t offset, ByteView data) override {
    if (content().size() < offset + data.size()) content().resize(static_cast<size_t>(offset) + data.size());
    memcpy(content().data() + offset, data.data(), data.size());
    return {};
  }
  Result<void> truncate(uint64_t) override { return {}; }
  Result<void> sync() override { return {}; }
  Result<uint64_t> size() override { return uint64_t{content().size()}; }
};

class OneFile final : public Storage {
 public:
  Result<std::unique_ptr<StorageFile>> open(std::string_view, OpenMode) override {
    return std::unique_ptr<StorageFile>(new File);
  }
  Result<void> remove(std::string_view) override { return {}; }
  Result<void> sync_names() override { return {}; }
  Result<void> lock_for_writing(std::string_view) override { return {}; }
};

int check_crypto() {
  crypto::init_cpu();
  // SP 800-38D vectors: AES-256, zero key and nonce, one zero block.
  static const uint8_t cipher[16] = {0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e,
                                     0x07, 0x4e, 0xc5, 0xd3, 0xba, 0xf3, 0x9d, 0x18};
  static const uint8_t mac[16] = {0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0,
                                  0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19};
  const crypto::Aes256Gcm gcm{Key256()};
  ByteArray<16> block{};
  crypto::GcmTag tag{};
  gcm.seal({}, {}, block, block, tag);
  if (memcmp(block.data(), cipher, 16) != 0 || memcmp(tag.data(), mac, 16) != 0) return 1;
  const crypto::Digest digest = crypto::sha256(as_bytes("abc"));
  if (digest[0] != 0xba || digest[1] != 0x78 || digest[31] != 0xad) return 2;
  return 0;
}

int check_volume() {
  storage_bytes = new Bytes;
  storage_bytes->reserve(16u << 20);  // memory is never freed here
  OneFile storage;
  Key key;
  auto created = Volume::create(storage, key, CreateOptions{});
  if (!created.ok()) return 3;
  for (int i = 0; i < 200; ++i) {
    auto inode = (*created)->create_file(kRootInode, "f" + std::to_string(i), 0644, 0, 0, {});
    if (!inode.ok() || !(*created)->write(*inode, 0, Bytes(static_cast<size_t>(i * 50), 7), {}).ok())
      return 4;
  }
  const Result<Tag> tag = (*created)->commit();
  if (!tag.ok()) return 5;
  auto opened = Volume::open(storage, key, *tag, {});
  if (!opened.ok() || !(*opened)->verify_all().ok()) return 6;
  content()[content().size() - 9000] ^= 1;
  auto damaged = Volume::open(storage, key, *tag, {});
  if (damaged.ok() && (*damaged)->verify_all().ok()) return 7;
  return 0;
}

int check_all() {
  const int failed = check_crypto();
  return failed != 0 ? failed : check_volume();
}

}  // namespace
}  // namespace volume
}  // namespace cloister

extern "C" __attribute__((force_align_arg_pointer)) void _start() { leave(cloister::volume::check_all()); }
