#include "host/machine.h"

#include <asm/sgx.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>

namespace cloister::host {
namespace {

namespace fs = std::filesystem;

using Leaves = std::map<std::pair<uint32_t, uint32_t>, std::array<uint32_t, 4>>;
Cpuid of(Leaves leaves) {
  return [leaves = std::move(leaves)](uint32_t leaf, uint32_t subleaf) {
    const auto found = leaves.find({leaf, subleaf});
    return found == leaves.end() ? std::array<uint32_t, 4>{} : found->second;
  };
}

const Finding* find(const std::vector<Finding>& list, const std::string& name) {
  for (const Finding& finding : list) {
    if (finding.name == name) return &finding;
  }
  return nullptr;
}

// A device that is asked one thing.
class AskedDevice final : public SgxDevice {
 public:
  explicit AskedDevice(int answer) : answer_(answer) {}
  int request(unsigned long number, void* argument) override {
    EXPECT_EQ(number, SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS);
    const sgx_enclave_restrict_permissions nothing{};
    EXPECT_EQ(std::memcmp(argument, &nothing, sizeof(nothing)), 0);
    errno = answer_;
    return -1;
  }
  int map(uint64_t, uint64_t) override { return ADD_FAILURE(), -1; }
  int protect(uint64_t, uint64_t, int) override { return ADD_FAILURE(), -1; }
  int unmap(uint64_t, uint64_t) override { return ADD_FAILURE(), -1; }

 private:
  const int answer_;
};

class MachineTest : public testing::Test {
 protected:
  MachineTest() {
    char text[] = "/tmp/machine-XXXXXX";
    root_ = mkdtemp(text);
  }
  ~MachineTest() override { fs::remove_all(root_); }
  void put(const std::string& path) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << "";
  }
  std::vector<Finding> findings(Leaves leaves) {
    SgxProbes probes;
    probes.open = [this](const std::string&) -> Result<std::unique_ptr<SgxDevice>> {
      ++opened_;
      return std::make_unique<AskedDevice>(answer_);
    };
    probes.entry = [this]() -> Result<SgxEntry> {
      if (has_entry_) return SgxEntry{4096, 4099};
      return Error(Code::Unsupported, "no function of the vDSO", "use another kernel");
    };
    probes.enabled = [this] { return enabled_; };
    probes.addresses = [this]() -> Finding {
      if (addresses_free_) return {"addresses", Verdict::Yes, "", ""};
      return {"addresses", Verdict::No, "", "free them"};
    };
    return hardware_findings(of(std::move(leaves)), root_, epc_, probes);
  }
  void expect_refused(const Leaves& leaves, const std::string& name) {
    const auto list = findings(leaves);
    ASSERT_NE(find(list, name), nullptr) << name;
    EXPECT_EQ(find(list, name)->verdict, Verdict::No) << name;
    EXPECT_FALSE(find(list, name)->advice.empty()) << name;
    EXPECT_FALSE(can_run_hardware(list)) << name;
  }
  fs::path root_;
  uint64_t epc_ = 1;
  int answer_ = EINVAL;  // of a kernel with EDMM that is asked for nothing
  size_t opened_ = 0;
  bool has_entry_ = true, addresses_free_ = true;
  uint64_t enabled_ = 7;  // x87, SSE, AVX
};

constexpr std::array<uint32_t, 4> kIntel = {0x21, 0x756e6547, 0x6c65746e, 0x49656e69};
constexpr std::array<uint32_t, 4> kAmd = {0x10, 0x68747541, 0x444d4163, 0x69746e65};

// The values of a server CPU with two sections of 4 GiB and 1 MiB (SDM: leaf 12H).
TEST_F(MachineTest, DescribesAnSgx2Server) {
  const Leaves leaves = {{{0, 0}, kIntel},
                         {{7, 0}, {0, 1u << 2, 1u << 30, 0}},
                         {{0x12, 0}, {3, 0, 0, 0}},
                         {{0x12, 2}, {0x70000001, 0x10, 1, 1}},
                         {{0x12, 3}, {0x70000001, 0x20, 0x00100001, 0}},
                         {{0x12, 4}, {0, 0, 0, 0}}};
  auto list = findings(leaves);
  EXPECT_EQ(epc_, (uint64_t{4} << 30) + (1 << 20));
  EXPECT_EQ(find(list, "sgx")->detail, "SGX1, 4097 MiB of protected memory");
  EXPECT_EQ(find(list, "sgx2")->verdict, Verdict::Yes);
  EXPECT_EQ(find(list, "flc")->verdict, Verdict::Yes);
  EXPECT_EQ(find(list, "sgx_enclave")->verdict, Verdict::No);
  EXPECT_FALSE(find(list, "sgx_enclave")->advice.empty());
  EXPECT_EQ(find(list, "edmm")->verdict, Verdict::Unknown);
  EXPECT_EQ(opened_, 0U);
  EXPECT_FALSE(can_run_hardware(list));
  put("dev/sgx_enclave");
  put("var/run/aesmd/aesm.socket");
  list = findings(leaves);
  EXPECT_EQ(find(list, "sgx_enclave")->verdict, Verdict::Yes);
  EXPECT_EQ(find(list, "edmm")->verdict, Verdict::Yes);
  EXPECT_EQ(opened_, 1U);
  EXPECT_EQ(find(list, "aesm")->verdict, Verdict::Yes);
  EXPECT_EQ(find(list, "sgx_provision")->verdict, Verdict::No);
  EXPECT_TRUE(can_run_hardware(list));
  for (const auto& [leaf, value] : std::map<std::pair<uint32_t, uint32_t>, std::array<uint32_t, 4>>{
           {{7, 0}, {0, 1u << 2, 0, 0}}, {{0x12, 0}, {1, 0, 0, 0}}, {{0x12, 0}, {0, 0, 0, 0}}}) {
    Leaves less = leaves;
    less[leaf] = value;
    EXPECT_FALSE(can_run_hardware(findings(less)));
  }
  EXPECT_FALSE(can_run_hardware({}));
  // Linux before 6.0 does not know the request; a CPU without SGX2 is named by newer ones.
  for (const int number : {ENOTTY, ENODEV}) {
    answer_ = number;
    list = findings(leaves);
    EXPECT_EQ(find(list, "sgx2")->verdict, Verdict::Yes);
    EXPECT_EQ(find(list, "edmm")->verdict, Verdict::No);
    EXPECT_FALSE(find(list, "edmm")->advice.empty());
    EXPECT_FALSE(can_run_hardware(list));
  }
  // What is no SGX device at all: the file that stands for it here.
  uint64_t ignored = 0;
  list = hardware_findings(of(leaves), root_, ignored);
  EXPECT_EQ(find(list, "edmm")->verdict, Verdict::No);
}

// What loading an enclave tries is what the doctor tries: mode `auto` believes it.
TEST_F(MachineTest, NeedsWhatLoadingNeeds) {
  const Leaves leaves = {{{0, 0}, kIntel},
                         {{7, 0}, {0, 1u << 2, 1u << 30, 0}},
                         {{0x12, 0}, {3, 0, 0, 0}},
                         {{0x12, 1}, {0x36, 0, 0xe7, 0}}};
  put("dev/sgx_enclave");
  EXPECT_TRUE(can_run_hardware(findings(leaves)));
  EXPECT_EQ(find(findings(leaves), "xfrm")->detail, "enclaves have SSE and AVX");
  enabled_ = 0xe7;
  EXPECT_EQ(find(findings(leaves), "xfrm")->detail, "enclaves have SSE, AVX and AVX-512");
  has_entry_ = false;
  expect_refused(leaves, "sgx_entry");
  has_entry_ = true;
  addresses_free_ = false;
  expect_refused(leaves, "addresses");
  addresses_free_ = true;
  Leaves without_sse = leaves;
  without_sse[{0x12, 1}] = {0x36, 0, 4, 0};  // a hypervisor that passes half of the leaf through
  expect_refused(without_sse, "xfrm");
  EXPECT_TRUE(can_run_hardware(findings(leaves)));
}

TEST_F(MachineTest, TriesTheWayInAndTheAddressesOfThisProcess) {
  const SgxProbes probes = real_probes();
  EXPECT_EQ(probes.entry().ok(), find_sgx_entry().ok());
  EXPECT_NE(probes.enabled() & 3, 0U);
  EXPECT_EQ(probes.addresses().verdict, software_findings()[0].verdict);
}

TEST_F(MachineTest, SaysWhenTheFirmwareKeepsSgxOff) {
  const auto list = findings({{{0, 0}, kIntel}, {{7, 0}, {0, 1u << 2, 0, 0}}});
  EXPECT_EQ(find(list, "sgx")->verdict, Verdict::No);
  EXPECT_NE(find(list, "sgx")->advice.find("firmware"), std::string::npos);
  EXPECT_EQ(find(list, "sgx2"), nullptr);
  EXPECT_EQ(epc_, 0U);
}

TEST_F(MachineTest, KnowsGuestsOfTdxAndSnp) {
  auto list = findings({{{0, 0}, kIntel}, {{0x21, 0}, {0, 0x65746e49, 0x20202020, 0x5844546c}}});
  EXPECT_EQ(find(list, "tdx_guest")->verdict, Verdict::Yes);
  EXPECT_EQ(find(list, "tdx_device")->verdict, Verdict::No);
  put("dev/sev-guest");
  list = findings(
      {{{0, 0}, kAmd}, {{0x80000000, 0}, {0x80000028, 0, 0, 0}}, {{0x8000001f, 0}, {1u << 4, 0, 0, 0}}});
  EXPECT_EQ(find(list, "tdx_guest")->verdict, Verdict::No);
  EXPECT_EQ(find(list, "snp_cpu")->verdict, Verdict::Yes);
  EXPECT_EQ(find(list, "snp_guest")->verdict, Verdict::Yes);
}

// A hypervisor may answer every subleaf with a section.
TEST_F(MachineTest, EndsWithEndlessSections) {
  uint64_t epc = 0;
  const auto cpuid = [](uint32_t leaf, uint32_t) -> std::array<uint32_t, 4> {
    if (leaf == 7) return {0, 1u << 2, 0, 0};
    return {0x00001001, 0, 0x1001, 0};
  };
  hardware_findings(cpuid, root_, epc);
  EXPECT_EQ(epc, 62U * 4096);
}

TEST_F(MachineTest, TriesWhatTheSoftwareNeedsAndLeavesNothingBehind) {
  for (int i = 0; i < 2; ++i) {
    const auto list = software_findings();
    ASSERT_EQ(list.size(), 4U);
    for (const Finding& finding : list) {
      EXPECT_NE(finding.verdict, Verdict::Unknown) << finding.name;
      EXPECT_EQ(finding.advice.empty(), finding.verdict == Verdict::Yes) << finding.name;
    }
  }
}

}  // namespace
}  // namespace cloister::host
