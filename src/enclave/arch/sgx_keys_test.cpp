// What ENCLU[EREPORT] and ENCLU[EGETKEY] are given, by the kernel's own code: outside of an enclave the
// instruction faults, and the handler looks in the CPU's place. There are no known answers: what a CPU
// answers depends on its fuses. Registers, alignment and layout: SDM vol. 3D, EREPORT, EGETKEY and tables of
// chapter 37 (TARGETINFO, REPORT, KEYREQUEST); the offsets are written here once more on purpose.
#include "enclave/arch/sgx_keys.h"

#include <gtest/gtest.h>
#include <ucontext.h>

#include <csignal>
#include <cstring>

namespace cloister::enclave {
namespace {

struct Seen {
  int count = 0;
  uint64_t rax = 0, rbx = 0, rcx = 0, rdx = 0;
  uint8_t at_rbx[512] = {}, at_rcx[128] = {};
} g_seen;
uint64_t g_status = 0;
uint8_t g_answer[432];

void on_enclu(int signal, siginfo_t*, void* data) {
  auto& registers = static_cast<ucontext_t*>(data)->uc_mcontext.gregs;
  const auto* code = reinterpret_cast<const uint8_t*>(registers[REG_RIP]);
  if (code[0] != 0x0f || code[1] != 0x01 || code[2] != 0xd7) {  // another fault: ours to die of
    std::signal(signal, SIG_DFL);
    return;
  }
  ++g_seen.count;
  g_seen.rax = static_cast<uint64_t>(registers[REG_RAX]);
  g_seen.rbx = static_cast<uint64_t>(registers[REG_RBX]);
  g_seen.rcx = static_cast<uint64_t>(registers[REG_RCX]);
  g_seen.rdx = static_cast<uint64_t>(registers[REG_RDX]);
  std::memcpy(g_seen.at_rbx, reinterpret_cast<void*>(g_seen.rbx), sizeof(g_seen.at_rbx));
  const bool report = g_seen.rax == 0;
  if (report) std::memcpy(g_seen.at_rcx, reinterpret_cast<void*>(g_seen.rcx), sizeof(g_seen.at_rcx));
  if (g_status == 0)
    std::memcpy(reinterpret_cast<void*>(report ? g_seen.rdx : g_seen.rcx), g_answer, report ? 432 : 16);
  registers[REG_RAX] = static_cast<greg_t>(g_status);
  registers[REG_RIP] += 3;
}

class SgxKeys : public testing::Test {
 protected:
  SgxKeys() {
    g_seen = {};
    g_status = 0;
    for (size_t i = 0; i < sizeof(g_answer); ++i) g_answer[i] = static_cast<uint8_t>(i * 7 + 1);
    struct sigaction action {};
    action.sa_sigaction = on_enclu;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGILL, &action, &ill_);     // a CPU without SGX
    sigaction(SIGSEGV, &action, &fault_);  // one with it: #GP outside of enclaves
  }
  ~SgxKeys() override {
    sigaction(SIGILL, &ill_, nullptr);
    sigaction(SIGSEGV, &fault_, nullptr);
  }
  struct sigaction ill_ {
  }, fault_{};
};

template <class T>
T at(const uint8_t* bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes + offset, sizeof(value));
  return value;
}
bool all(const uint8_t* bytes, size_t begin, size_t end, uint8_t value) {
  for (size_t i = begin; i < end; ++i) {
    if (bytes[i] != value) return false;
  }
  return true;
}

TEST_F(SgxKeys, ReportGetsItsOperandsAsTheCpuWantsThem) {
  sgx::TargetInfo target{};
  std::memset(target.mrenclave, 0xa1, sizeof(target.mrenclave));
  target.attributes.flags = 0x0102030405060708;
  target.attributes.xfrm = 0x1112131415161718;
  target.config_svn = 0x2122;
  target.misc_select = 0x31323334;
  std::memset(target.config_id, 0xc1, sizeof(target.config_id));
  ByteArray<64> data{};
  data.fill(0xd1);
  const sgx::Report report = make_report(target, data);
  ASSERT_EQ(g_seen.count, 1);
  EXPECT_EQ(g_seen.rax, 0u);
  EXPECT_EQ(g_seen.rbx % 512, 0u);
  EXPECT_EQ(g_seen.rcx % 128, 0u);
  EXPECT_EQ(g_seen.rdx % 512, 0u);
  const uint8_t* t = g_seen.at_rbx;
  EXPECT_TRUE(all(t, 0, 32, 0xa1));                     // MEASUREMENT
  EXPECT_EQ(at<uint64_t>(t, 32), 0x0102030405060708u);  // ATTRIBUTES
  EXPECT_EQ(at<uint64_t>(t, 40), 0x1112131415161718u);
  EXPECT_TRUE(all(t, 48, 50, 0));
  EXPECT_EQ(at<uint16_t>(t, 50), 0x2122u);      // CONFIGSVN
  EXPECT_EQ(at<uint32_t>(t, 52), 0x31323334u);  // MISCSELECT
  EXPECT_TRUE(all(t, 56, 64, 0));
  EXPECT_TRUE(all(t, 64, 128, 0xc1));  // CONFIGID
  EXPECT_TRUE(all(t, 128, 512, 0));
  EXPECT_TRUE(all(g_seen.at_rcx, 0, 64, 0xd1));  // REPORTDATA
  // And back, where the SDM's table of REPORT puts it.
  EXPECT_EQ(std::memcmp(&report, g_answer, sizeof(report)), 0);
  EXPECT_EQ(report.body.cpu_svn[0], g_answer[0]);
  EXPECT_EQ(report.body.misc_select, at<uint32_t>(g_answer, 16));
  EXPECT_EQ(report.body.attributes.flags, at<uint64_t>(g_answer, 48));
  EXPECT_EQ(report.body.mrenclave[0], g_answer[64]);
  EXPECT_EQ(report.body.mrsigner[0], g_answer[128]);
  EXPECT_EQ(report.body.config_id[0], g_answer[192]);
  EXPECT_EQ(report.body.isv_prod_id, at<uint16_t>(g_answer, 256));
  EXPECT_EQ(report.body.isv_svn, at<uint16_t>(g_answer, 258));
  EXPECT_EQ(report.body.report_data[0], g_answer[320]);
  EXPECT_EQ(report.key_id[0], g_answer[384]);
  EXPECT_EQ(report.mac[0], g_answer[416]);
}

TEST_F(SgxKeys, KeyGetsItsRequestAsTheCpuWantsIt) {
  sgx::KeyRequest request{};
  request.key_name = static_cast<uint16_t>(sgx::KeyName::Seal);
  request.key_policy = sgx::kKeyPolicyMrSigner;
  request.isv_svn = 0x4142;
  std::memset(request.cpu_svn, 0x51, sizeof(request.cpu_svn));
  request.attribute_mask.flags = sgx::kFlagInit | sgx::kFlagDebug;
  request.attribute_mask.xfrm = 0x6162636465666768;
  std::memset(request.key_id, 0x71, sizeof(request.key_id));
  request.misc_mask = 0x81828384;
  request.config_svn = 0x9192;
  auto key = get_key(request);
  ASSERT_EQ(g_seen.count, 1);
  EXPECT_EQ(g_seen.rax, 1u);
  EXPECT_EQ(g_seen.rbx % 512, 0u);
  EXPECT_EQ(g_seen.rcx % 16, 0u);
  const uint8_t* r = g_seen.at_rbx;
  EXPECT_EQ(at<uint16_t>(r, 0), 4u);  // KEYNAME: SEAL_KEY
  EXPECT_EQ(at<uint16_t>(r, 2), 2u);  // KEYPOLICY: MRSIGNER
  EXPECT_EQ(at<uint16_t>(r, 4), 0x4142u);
  EXPECT_TRUE(all(r, 6, 8, 0));
  EXPECT_TRUE(all(r, 8, 24, 0x51));    // CPUSVN
  EXPECT_EQ(at<uint64_t>(r, 24), 3u);  // ATTRIBUTEMASK: INIT, DEBUG
  EXPECT_EQ(at<uint64_t>(r, 32), 0x6162636465666768u);
  EXPECT_TRUE(all(r, 40, 72, 0x71));            // KEYID
  EXPECT_EQ(at<uint32_t>(r, 72), 0x81828384u);  // MISCMASK
  EXPECT_EQ(at<uint16_t>(r, 76), 0x9192u);      // CONFIGSVN
  EXPECT_TRUE(all(r, 78, 512, 0));
  ASSERT_TRUE(key.ok());
  EXPECT_EQ(std::memcmp(key.value().expose().data(), g_answer, 16), 0);
  // Nothing of it stays where the CPU has put it.
  EXPECT_TRUE(all(reinterpret_cast<const uint8_t*>(g_seen.rcx), 0, 16, 0));
}

TEST_F(SgxKeys, AKeyThatTheCpuRefusesIsNone) {
  g_status = 2;  // SGX_INVALID_CPUSVN is 32, SGX_INVALID_ATTRIBUTE 2
  EXPECT_FALSE(get_key({}).ok());
  EXPECT_EQ(g_seen.count, 1);
}

}  // namespace
}  // namespace cloister::enclave
