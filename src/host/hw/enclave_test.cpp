// The hardware back-end against a device that records: it keeps the rules of the kernel's driver (Linux
// arch/x86/kernel/cpu/sgx/ioctl.c), replays ECREATE, EADD, EEXTEND and EINIT from the arguments of the
// requests, in the kernel's own layouts, and keeps an EPCM. What silicon does is not shown by this: it has
// not been run on SGX hardware.
#include "host/hw/enclave.h"

#include <asm/sgx.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>

#include "base/files.h"
#include "host/sim/cpu.h"
#include "host/sim/enclave.h"

namespace cloister::host {
namespace {

constexpr uint64_t kPage = sgx::kPageSize;

struct Added {
  uint64_t offset, flags;
  bool measured;
  Bytes content;
};

// What happened, and what shall happen. Outlives the device.
struct Record {
  std::vector<Added> pages;
  std::map<uint64_t, int> protection;  // of each page that was opened
  std::optional<sgx::Secs> secs;
  sgx::Measurement mrenclave{};
  bool initialised = false;
  int mapped = 0;  // mappings that are there
  size_t calls = 0;
  std::string order;  // one letter per request

  size_t fail_at = SIZE_MAX;  // this call fails
  int fail_with = EIO;
  size_t at_once = SIZE_MAX;  // pages that a request serves before it returns
  int interrupted = EINTR;    // 0: it says success then
  int no_edmm = 0;            // ENODEV, ENOTTY
  uint64_t flip = 0;          // the page at this address is read with one bit changed
  uint64_t too_much = 0;      // added to each count
};

template <class T>
T* pointer(uint64_t address) {
  return reinterpret_cast<T*>(address);
}

class RecordingDevice final : public SgxDevice {
 public:
  explicit RecordingDevice(Record& record) : record_(record) {}

  int request(unsigned long number, void* argument) override {
    if (fails()) return -1;
    switch (number) {
      case SGX_IOC_ENCLAVE_CREATE:
        return create(*static_cast<sgx_enclave_create*>(argument));
      case SGX_IOC_ENCLAVE_ADD_PAGES:
        return add(*static_cast<sgx_enclave_add_pages*>(argument));
      case SGX_IOC_ENCLAVE_INIT:
        return init(*static_cast<sgx_enclave_init*>(argument));
      case SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS:
        return change(*static_cast<sgx_enclave_restrict_permissions*>(argument), 'r');
      case SGX_IOC_ENCLAVE_MODIFY_TYPES:
        return change(*static_cast<sgx_enclave_modify_types*>(argument), 't');
      case SGX_IOC_ENCLAVE_REMOVE_PAGES:
        return change(*static_cast<sgx_enclave_remove_pages*>(argument), 'd');
      default:
        return error(ENOTTY);
    }
  }
  int map(uint64_t address, uint64_t size) override {
    if (fails()) return -1;
    EXPECT_EQ(address, sgx::kUserBegin);
    EXPECT_EQ(size, sgx::kElrangeSize - sgx::kUserBegin);
    ++record_.mapped;
    return 0;
  }
  int protect(uint64_t address, uint64_t size, int protection) override {
    if (fails()) return -1;
    for (const Added& page : record_.pages) {
      if (page.offset < address || page.offset >= address + size) continue;
      const bool control = (page.flags & sgx::kPageTypeMask) == sgx::kPageTypeTcs;
      const int most = control ? PROT_READ | PROT_WRITE : system_protection(page.flags);
      if ((protection & ~most) != 0) return error(EACCES);
    }
    for (uint64_t at = address; at < address + size; at += kPage) record_.protection[at] = protection;
    return 0;
  }
  int unmap(uint64_t, uint64_t) override {
    --record_.mapped;
    return 0;
  }

  // The enclave's EACCEPT and EMODPE, and the fault that adds a page.
  Epcm::Answer accept(uint64_t address, uint64_t flags) {
    if ((record_.protection[address] & PROT_READ) == 0) return {Epcm::Outcome::PageFault};
    if (epcm_.entry(address) == 0) epcm_.augment(address, kPage);
    return epcm_.accept(address, flags);
  }
  Epcm& epcm() { return epcm_; }

 private:
  static int error(int number) {
    errno = number;
    return -1;
  }
  bool fails() {
    if (record_.calls++ != record_.fail_at) return false;
    errno = record_.fail_with;
    return true;
  }

  int create(const sgx_enclave_create& request) {
    record_.order += 'c';
    if (record_.secs) return error(EINVAL);
    record_.secs.emplace();
    std::memcpy(&*record_.secs, pointer<void>(request.src), sizeof(sgx::Secs));
    measurer_.ecreate(record_.secs->ssa_frame_size, record_.secs->size);
    return 0;
  }

  int add(sgx_enclave_add_pages& request) {
    if (record_.order.back() != 'a') record_.order += 'a';
    sgx::SecInfo info;
    std::memcpy(&info, pointer<void>(request.secinfo), sizeof(info));
    const uint64_t type = info.flags & sgx::kPageTypeMask, permissions = info.flags & 7;
    const bool reserved =
        (info.flags & ~(sgx::kPageTypeMask | 7)) != 0 ||
        std::any_of(std::begin(info.reserved), std::end(info.reserved), [](uint8_t b) { return b != 0; });
    if (!record_.secs || record_.initialised || request.src % kPage != 0 || request.offset % kPage != 0 ||
        request.length == 0 || request.length % kPage != 0 ||
        request.offset + request.length > record_.secs->size ||
        (type != sgx::kPageTypeTcs && type != sgx::kPageTypeRegular) || (permissions & 3) == 2 ||
        (type == sgx::kPageTypeTcs && permissions != 0) || reserved ||
        (request.flags & ~uint64_t{SGX_PAGE_MEASURE}) != 0)
      return error(EINVAL);
    uint64_t done = 0;
    for (; done < request.length && done / kPage < record_.at_once; done += kPage) {
      const auto* source = pointer<uint8_t>(request.src + done);
      Added page{request.offset + done, info.flags, (request.flags & SGX_PAGE_MEASURE) != 0,
                 Bytes(source, source + kPage)};
      if (page.offset == record_.flip) page.content[100] ^= 1;
      if (!epcm_.add(page.offset, page.flags)) return error(EEXIST);
      if (page.measured) {
        measurer_.add_measured_page(page.offset, page.flags, page.content);
      } else {
        measurer_.eadd(page.offset, page.flags);
      }
      record_.pages.push_back(std::move(page));
    }
    request.count = done + record_.too_much;
    return done == request.length || record_.interrupted == 0 ? 0 : error(record_.interrupted);
  }

  // EINIT's comparisons (SDM vol. 3D).
  int init(const sgx_enclave_init& request) {
    record_.order += 'i';
    if (!record_.secs || record_.initialised) return error(EINVAL);
    sgx::SigStruct sig;
    std::memcpy(&sig, pointer<void>(request.sigstruct), sizeof(sig));
    record_.mrenclave = measurer_.finish();
    const sgx::Attributes &mask = sig.attribute_mask, &is = record_.secs->attributes;
    const bool fits = std::memcmp(sig.enclave_hash, record_.mrenclave.data(), 32) == 0 &&
                      sgx::verify_sigstruct(sig).ok() &&
                      (is.flags & mask.flags) == (sig.attributes.flags & mask.flags) &&
                      (is.xfrm & mask.xfrm) == (sig.attributes.xfrm & mask.xfrm) &&
                      (record_.secs->misc_select & sig.misc_mask) == (sig.misc_select & sig.misc_mask);
    if (!fits) return error(EPERM);
    record_.initialised = true;
    return 0;
  }

  template <class Request>
  int change(Request& request, char letter) {
    record_.order += letter;
    if (record_.no_edmm != 0) return error(record_.no_edmm);
    bool fresh = request.count == 0;
    if constexpr (requires { request.result; }) fresh = fresh && request.result == 0;
    if (!record_.initialised || !fresh || request.length == 0 || request.length % kPage != 0 ||
        request.offset % kPage != 0 || request.offset + request.length > sgx::kElrangeSize)
      return error(EINVAL);
    uint64_t done = 0;
    for (; done < request.length && done / kPage < record_.at_once; done += kPage) {
      const uint64_t at = request.offset + done;
      bool ok = false;
      if constexpr (requires { request.permissions; }) {
        ok = epcm_.restrict_permissions(at, kPage, request.permissions);
      } else if constexpr (requires { request.page_type; }) {
        ok = request.page_type == 4 && epcm_.trim(at, kPage);
      } else {
        ok = epcm_.remove(at, kPage);
      }
      if (!ok) {
        request.count = done;
        return error(EFAULT);
      }
    }
    request.count = done + record_.too_much;
    return done == request.length || record_.interrupted == 0 ? 0 : error(record_.interrupted);
  }

  Record& record_;
  sgx::Measurer measurer_;
  Epcm epcm_ = Epcm::create(sgx::kElrangeSize).value();
};

const sgx::SigningKey& key() {
  static const sgx::SigningKey made = sgx::SigningKey::generate().value();
  return made;
}

sgx::LoadedImage sign(sgx::ImagePlan plan) {
  sgx::LoadedImage image;
  image.plan = std::move(plan);
  image.plan.mrenclave = sgx::measure(image.plan);
  sgx::SigningParameters parameters;
  parameters.mrenclave = image.plan.mrenclave;
  parameters.attributes = image.plan.attributes;
  parameters.isv_prod_id = 7;
  parameters.isv_svn = 9;
  image.sigstruct = key().sign(parameters).value();
  return image;
}

// Every kind of page that an image has, with a hole and two neighbours of other kinds.
sgx::LoadedImage small_image() {
  sgx::ImagePlan plan;
  plan.attributes = {sgx::kFlagMode64, sgx::kXfrmLegacy};
  const auto content = [&plan](uint8_t fill) {
    plan.storage.emplace_back(kPage, fill);
    return plan.storage.back().data();
  };
  plan.storage.reserve(16);
  const uint64_t base = sgx::kKernelAddress;
  plan.pages = {{base, 0x201, true, content(1)},
                {base + kPage, 0x205, true, content(2)},
                {base + 2 * kPage, 0x205, true, content(3)},
                {base + 3 * kPage, 0x203, true, content(4)},
                {base + 4 * kPage, 0x203, false, nullptr},
                {base + 9 * kPage, 0x203, true, nullptr}};
  for (uint64_t i = 0; i < 2; ++i) {
    sgx::Tcs tcs{};
    tcs.oentry = base + kPage;
    tcs.nssa = 2;
    plan.storage.emplace_back(object_bytes(tcs).begin(), object_bytes(tcs).end());
    plan.pages.push_back(
        {sgx::kThreadAddress + i * sgx::kThreadStride, 0x100, true, plan.storage.back().data()});
  }
  return sign(std::move(plan));
}

Result<std::unique_ptr<HwEnclave>> load(const sgx::LoadedImage& image, Record& record,
                                        RecordingDevice** out = nullptr) {
  auto device = std::make_unique<RecordingDevice>(record);
  if (out != nullptr) *out = device.get();
  return HwEnclave::load(image, std::move(device), SgxEntry{1, 2});
}

void expect_whole(const Record& record, const sgx::ImagePlan& plan) {
  ASSERT_EQ(record.pages.size(), plan.pages.size());
  const Bytes zeros(kPage);
  for (size_t i = 0; i < plan.pages.size(); ++i) {
    const sgx::ImagePage& page = plan.pages[i];
    ASSERT_EQ(record.pages[i].offset, page.offset);
    ASSERT_EQ(record.pages[i].flags, page.secinfo_flags);
    ASSERT_EQ(record.pages[i].measured, page.measured);
    const uint8_t* content = page.content != nullptr ? page.content : zeros.data();
    ASSERT_EQ(std::memcmp(record.pages[i].content.data(), content, kPage), 0) << "page " << i;
    const bool control = page.secinfo_flags == sgx::kPageTypeTcs;
    ASSERT_EQ(record.protection.at(page.offset),
              control ? PROT_READ | PROT_WRITE : system_protection(page.secinfo_flags));
  }
  EXPECT_EQ(record.protection.size(), plan.pages.size()) << "a page is open that the image does not have";
}

TEST(HwEnclave, TheDeviceMeasuresWhatSigstructNames) {
  const sgx::LoadedImage image = small_image();
  Record record;
  {
    const auto enclave = load(image, record);
    ASSERT_TRUE(enclave.ok()) << enclave.error().message();
    EXPECT_EQ(record.mrenclave, image.plan.mrenclave);
    expect_whole(record, image.plan);
    EXPECT_EQ(record.order, "rcai");
    EXPECT_EQ(record.secs->base, 0U);
    EXPECT_EQ(record.secs->attributes.flags, sgx::kFlagMode64);
    EXPECT_EQ((*enclave)->thread_count(), 2U);
    EXPECT_EQ((*enclave)->tcs_address(1), sgx::kThreadAddress + sgx::kThreadStride);
    EXPECT_EQ((*enclave)->secs().isv_svn, 9);
    EXPECT_EQ(record.mapped, 1);
  }
  EXPECT_EQ(record.mapped, 0);
}

TEST(HwEnclave, GoesOnWhereARequestWasInterrupted) {
  const sgx::LoadedImage image = small_image();
  for (const int number : {0, EINTR, EAGAIN, EBUSY}) {
    Record record;
    record.at_once = 1;
    record.interrupted = number;
    const auto enclave = load(image, record);
    ASSERT_TRUE(enclave.ok()) << enclave.error().message();
    expect_whole(record, image.plan);
    EXPECT_EQ(record.mrenclave, image.plan.mrenclave);
  }
}

TEST(HwEnclave, EndsWhenARequestMakesNoProgress) {
  const sgx::LoadedImage image = small_image();
  Record record;
  record.at_once = 0;
  EXPECT_EQ(load(image, record).error().code(), Code::Unavailable);
  Record lies;
  lies.too_much = kPage * 100;
  EXPECT_EQ(load(image, lies).error().code(), Code::Unavailable);
  Record odd;
  odd.too_much = 1;
  EXPECT_EQ(load(image, odd).error().code(), Code::Unavailable);
}

TEST(HwEnclave, AChangedPageDoesNotInitialise) {
  const sgx::LoadedImage image = small_image();
  Record record;
  record.flip = image.plan.pages[2].offset;
  const auto enclave = load(image, record);
  ASSERT_FALSE(enclave.ok());
  EXPECT_EQ(enclave.error().code(), Code::Integrity);
  EXPECT_NE(enclave.error().message().find("EINIT"), std::string::npos);
  EXPECT_EQ(record.mapped, 0);
  // Of a page that is not measured nothing is claimed.
  Record other;
  other.flip = image.plan.pages[4].offset;
  EXPECT_TRUE(load(image, other).ok());
}

TEST(HwEnclave, EveryFailureSaysWhatFailedAndLeavesNothing) {
  const sgx::LoadedImage image = small_image();
  Record whole;
  ASSERT_TRUE(load(image, whole).ok());
  for (const int number : {EIO, ENOMEM, EPERM, EACCES}) {
    for (size_t at = 0; at < whole.calls; ++at) {
      Record record;
      record.fail_at = at;
      record.fail_with = number;
      const auto enclave = load(image, record);
      ASSERT_FALSE(enclave.ok()) << "call " << at;
      EXPECT_EQ(record.mapped, 0) << "call " << at;
      EXPECT_FALSE(enclave.error().hint().empty()) << enclave.error().message();
      EXPECT_EQ(record.calls, at + 1) << "it went on after a failure";
    }
  }
}

// What CPU and operating system enable, the enclave may still not have.
TEST(HwEnclave, XfrmIsWhatTheSystemEnablesAndTheCpuAllowsEnclaves) {
  const auto xfrm = [](uint64_t enabled, uint32_t ecx, uint32_t edx) {
    return hardware_xfrm(enabled, [=](uint32_t leaf, uint32_t subleaf) -> std::array<uint32_t, 4> {
      if (leaf == 0x12 && subleaf == 1) return {0x36, 0, ecx, edx};
      return {1, 1, 1, 1};
    });
  };
  EXPECT_EQ(xfrm(UINT64_MAX, 0x7, 0).value(), 0x7U);
  EXPECT_EQ(xfrm(UINT64_MAX, 0xe7, 2).value(), 0x2000000e7U);
  EXPECT_EQ(xfrm(UINT64_MAX, 0, 0).value(), UINT64_MAX) << "it does not say";
  EXPECT_EQ(xfrm(0x3, 0xe7, 0).value(), 0x3U) << "not enabled by the system";
  EXPECT_EQ(xfrm(0xe7, 0xe7, 0).value(), 0xe7U);
  for (const uint32_t part : {0xe3U, 0x67U, 0xa7U, 0xc7U})
    EXPECT_EQ(xfrm(0xe7, part, 0).value(), part & 7) << "ECREATE refuses a part of AVX-512";
  for (const uint32_t part : {1U, 2U, 0xe4U, 0xe5U}) {
    const auto refused = xfrm(0xe7, part, 0);
    ASSERT_FALSE(refused.ok()) << part;
    EXPECT_EQ(refused.error().code(), Code::Unsupported);
    EXPECT_NE(refused.error().message().find("0xe7 (XCR0)"), std::string::npos) << refused.error().message();
    EXPECT_NE(refused.error().message().find("CPUID leaf 12H"), std::string::npos);
    EXPECT_FALSE(refused.error().hint().empty());
  }
}

// Nothing is lost by the machine's sleep that was not there.
TEST(HwEnclave, SleepIsNoReasonBeforeThereArePages) {
  const sgx::LoadedImage image = small_image();
  for (size_t at = 2; at < 5; ++at) {  // of the calls: EDMM, addresses, ECREATE, EADD…
    Record record;
    record.fail_at = at;
    const Error error = load(image, record).error();
    EXPECT_EQ(error.message().find("ECREATE") == std::string::npos, at != 2) << error.message();
    EXPECT_EQ(error.hint().find("sleeps") == std::string::npos, at == 2) << error.hint();
  }
}

TEST(HwEnclave, WithoutEdmmItSaysWhatIsNeeded) {
  const sgx::LoadedImage image = small_image();
  Record cpu;
  cpu.no_edmm = ENODEV;
  const auto old_cpu = load(image, cpu);
  ASSERT_EQ(old_cpu.error().code(), Code::Unsupported);
  EXPECT_NE(old_cpu.error().message().find("SGX2"), std::string::npos);
  EXPECT_NE(old_cpu.error().hint().find("cloister build"), std::string::npos);
  Record kernel;
  kernel.no_edmm = ENOTTY;
  const auto old_kernel = load(image, kernel);
  ASSERT_EQ(old_kernel.error().code(), Code::Unsupported);
  EXPECT_NE(old_kernel.error().hint().find("Linux 6.0"), std::string::npos);
  EXPECT_EQ(cpu.mapped + kernel.mapped, 0);
  EXPECT_EQ(cpu.order + kernel.order, "rr") << "before anything else";
}

// The life of run-time pages, with what the enclave does in between (src/enclave/arch/host.cpp).
TEST(HwEnclave, PagesComeChangeAndGo) {
  const sgx::LoadedImage image = small_image();
  for (const size_t at_once : {SIZE_MAX, size_t{1}}) {
    Record record;
    RecordingDevice* device = nullptr;
    auto loaded = load(image, record, &device);
    ASSERT_TRUE(loaded.ok());
    record.at_once = at_once;
    HwEnclave& enclave = **loaded;
    constexpr uint64_t kAt = 0x400000, kSize = 3 * kPage;
    const auto accept_all = [&](uint64_t flags) {
      for (uint64_t at = kAt; at < kAt + kSize; at += kPage) {
        const Epcm::Answer answer = device->accept(at, flags);
        if (answer.outcome != Epcm::Outcome::Status || answer.status != 0) return false;
      }
      return true;
    };
    EXPECT_FALSE(accept_all(0x20b)) << "nothing was asked for";
    ASSERT_TRUE(enclave.commit(kAt, kSize));
    ASSERT_TRUE(accept_all(0x20b));
    ASSERT_TRUE(enclave.protect(kAt, kSize, 5));
    EXPECT_EQ(record.protection[kAt], PROT_READ | PROT_EXEC);
    for (uint64_t at = kAt; at < kAt + kSize; at += kPage) device->epcm().extend(at, 0x205);
    ASSERT_TRUE(accept_all(0x225));
    ASSERT_TRUE(enclave.protect(kAt, kSize, 0));
    ASSERT_TRUE(accept_all(0x221)) << "EACCEPT needs the page readable";
    ASSERT_TRUE(enclave.settle(kAt, kSize, boundary::kSettleClose));
    EXPECT_EQ(record.protection[kAt], PROT_NONE);
    ASSERT_TRUE(enclave.release(kAt, kSize));
    EXPECT_FALSE(enclave.settle(kAt, kSize, boundary::kSettleRemove)) << "before the enclave has accepted";
    ASSERT_TRUE(accept_all(0x410));
    ASSERT_TRUE(enclave.settle(kAt, kSize, boundary::kSettleRemove));
    EXPECT_EQ(device->epcm().entry(kAt + 2 * kPage), 0);
    EXPECT_EQ(record.protection[kAt], PROT_NONE);
    ASSERT_TRUE(enclave.commit(kAt, kSize));
    EXPECT_TRUE(accept_all(0x20b));
  }
}

TEST(HwEnclave, PagesOfTheImageAndOutsideAreNotChanged) {
  const sgx::LoadedImage image = small_image();
  Record record;
  auto enclave = load(image, record);
  ASSERT_TRUE(enclave.ok());
  const size_t calls = record.calls;
  struct Range {
    uint64_t address, size;
  };
  for (const Range range :
       {Range{sgx::kKernelAddress, kPage}, Range{sgx::kThreadAddress, kPage}, Range{0, kPage},
        Range{sgx::kUserEnd - kPage, 2 * kPage}, Range{sgx::kElrangeSize, kPage}, Range{0x400000, 0},
        Range{0x400001, kPage}, Range{0x400000, 100}, Range{0x400000, UINT64_MAX - kPage + 1}}) {
    EXPECT_FALSE((*enclave)->commit(range.address, range.size));
    EXPECT_FALSE((*enclave)->protect(range.address, range.size, 7));
    EXPECT_FALSE((*enclave)->release(range.address, range.size));
    EXPECT_FALSE((*enclave)->settle(range.address, range.size, boundary::kSettleRemove));
    EXPECT_EQ(errno, EINVAL);
  }
  EXPECT_FALSE((*enclave)->settle(0x400000, kPage, 2));
  EXPECT_EQ(record.calls, calls) << "the device was asked";
}

TEST(HwEnclave, TheDeviceThatIsNotThereNamesTheDoctor) {
  const auto device = open_sgx_device("/dev/sgx_enclave-that-is-not-there");
  ASSERT_EQ(device.error().code(), Code::Unsupported);
  EXPECT_NE(device.error().hint().find("cloister doctor"), std::string::npos);
  const auto ordinary = open_sgx_device("/dev/null");
  ASSERT_TRUE(ordinary.ok());
  const auto enclave = HwEnclave::load(small_image(), open_sgx_device("/dev/null").value(), SgxEntry{});
  ASSERT_FALSE(enclave.ok());
}

#ifdef CLOISTER_KERNEL_ELF
size_t count(const Record& record, ByteView pattern) {
  size_t found = 0;
  for (const Added& page : record.pages) {
    for (auto at = page.content.begin();; ++at) {
      at = std::search(at, page.content.end(), pattern.begin(), pattern.end());
      if (at == page.content.end()) break;
      ++found;
    }
  }
  return found;
}

// One image, two back-ends: the CPU would measure what the simulation does, and its pages are those of the
// image, even after the simulation has put its shortcuts into its own copy.
TEST(HwEnclave, TheRealKernelIsMeasuredAsInSimulationAndHasNoShortcuts) {
  sgx::Manifest manifest;
  manifest.name = "both";
  manifest.entry = "/bin/true";
  manifest.threads = 4;
  sgx::LoadedImage image =
      sign(sgx::plan_image(read_file(CLOISTER_KERNEL_ELF, 64 << 20).value(), manifest).value());
  char folder[] = "/tmp/hw-enclave-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  {
    const auto simulated = SimEnclave::load(image, sgx::SimPlatform::open(folder).value());
    ASSERT_TRUE(simulated.ok()) << simulated.error().message();
    Record record;
    const auto enclave = load(image, record);
    ASSERT_TRUE(enclave.ok()) << enclave.error().message();
    expect_whole(record, image.plan);
    EXPECT_EQ(record.mrenclave, image.plan.mrenclave);
    EXPECT_EQ(std::memcmp(&(*enclave)->secs(), &(*simulated)->secs(), sizeof(sgx::Secs)), 0);
    EXPECT_EQ((*enclave)->thread_count(), (*simulated)->thread_count());

    const Bytes gate = {0xb8, 4, 0, 0, 0, 0x0f, 0x01, 0xd7, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc};
    const Bytes nops = {0x0f, 0x1f, 0x84, 0, 0, 0, 0,    0,    0x0f, 0x1f,
                        0x84, 0,    0,    0, 0, 0, 0x53, 0x48, 0x81, 0xec};
    EXPECT_EQ(count(record, gate), 1U) << "the exit gate as it was measured";
    EXPECT_EQ(count(record, nops), 1U) << "page_leaf as it was measured";
    size_t jumps = 0;
    for (const auto target :
         {reinterpret_cast<uint64_t>(&sim_eexit), reinterpret_cast<uint64_t>(&sim_page_leaf),
          reinterpret_cast<uint64_t>(&sim_set_fs_base)}) {
      const ByteView bytes = object_bytes(target);
      EXPECT_EQ(count(record, bytes), 0U);
      // The same search finds them where they are.
      for (const sgx::ImagePage& page : image.plan.pages) {
        if ((page.secinfo_flags & sgx::kPageExecute) == 0) continue;
        const auto* begin = pointer<const uint8_t>(page.offset);
        if (std::search(begin, begin + kPage, bytes.begin(), bytes.end()) != begin + kPage) ++jumps;
      }
    }
    EXPECT_GE(jumps, 2U) << "the simulation's own copy has them";
  }
  std::filesystem::remove_all(folder);
}
#endif

}  // namespace
}  // namespace cloister::host
