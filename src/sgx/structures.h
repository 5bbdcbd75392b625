// The SGX structures that Cloister builds, measures, signs or emulates, byte for byte as the Intel SDM vol.
// 3D chapter 37 gives them. All integers are little-endian; every size and the offsets that matter are
// asserted. Usable in the kernel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace cloister::sgx {

inline constexpr size_t kPageSize = 4096;
inline constexpr size_t kExtendSize = 256;  // EEXTEND covers this much

using Measurement = ByteArray<32>;  // MRENCLAVE, MRSIGNER

// ATTRIBUTES.FLAGS (SDM 37.7.1)
inline constexpr uint64_t kFlagInit = 1u << 0;
inline constexpr uint64_t kFlagDebug = 1u << 1;
inline constexpr uint64_t kFlagMode64 = 1u << 2;
inline constexpr uint64_t kFlagProvisionKey = 1u << 4;
inline constexpr uint64_t kFlagEinitTokenKey = 1u << 5;
inline constexpr uint64_t kFlagKss = 1u << 7;

// XFRM: XCR0 bits the enclave runs with
inline constexpr uint64_t kXfrmLegacy = 0x3;
inline constexpr uint64_t kXfrmAvx = 0x7;
inline constexpr uint64_t kXfrmAvx512 = 0xe7;

inline constexpr uint32_t kMiscExInfo = 1u << 0;  // #PF and #GP details in the SSA

// SECINFO.FLAGS (SDM 37.12)
inline constexpr uint64_t kPageRead = 1u << 0;
inline constexpr uint64_t kPageWrite = 1u << 1;
inline constexpr uint64_t kPageExecute = 1u << 2;
inline constexpr uint64_t kPagePending = 1u << 3;     // added, not accepted
inline constexpr uint64_t kPageModified = 1u << 4;    // of another type than accepted
inline constexpr uint64_t kPageRestricted = 1u << 5;  // PR: permissions were taken away
inline constexpr uint64_t kPageTypeTcs = 1u << 8;
inline constexpr uint64_t kPageTypeRegular = 2u << 8;
inline constexpr uint64_t kPageTypeTrim = 4u << 8;
inline constexpr uint64_t kPageTypeMask = 0xff00;

enum class KeyName : uint16_t { EinitToken = 0, Provision = 1, ProvisionSeal = 2, Report = 3, Seal = 4 };
inline constexpr uint16_t kKeyPolicyMrEnclave = 1;
inline constexpr uint16_t kKeyPolicyMrSigner = 2;
inline constexpr uint16_t kKeyPolicyNoIsvProdId = 4;
inline constexpr uint16_t kKeyPolicyConfigId = 8;

// ENCLU leaves (SDM 38.1)
inline constexpr uint32_t kEreport = 0;
inline constexpr uint32_t kEgetkey = 1;
inline constexpr uint32_t kEenter = 2;
inline constexpr uint32_t kEresume = 3;
inline constexpr uint32_t kEexit = 4;
inline constexpr uint32_t kEaccept = 5;
inline constexpr uint32_t kEmodpe = 6;

#pragma pack(push, 1)

struct Attributes {
  uint64_t flags;
  uint64_t xfrm;
};

struct Secs {
  uint64_t size;
  uint64_t base;
  uint32_t ssa_frame_size;  // pages
  uint32_t misc_select;
  uint8_t reserved1[24];
  Attributes attributes;
  uint8_t mrenclave[32];
  uint8_t reserved2[32];
  uint8_t mrsigner[32];
  uint8_t reserved3[32];
  uint8_t config_id[64];
  uint16_t isv_prod_id;
  uint16_t isv_svn;
  uint16_t config_svn;
  uint8_t reserved4[3834];
};
static_assert(sizeof(Secs) == 4096 && offsetof(Secs, attributes) == 48 && offsetof(Secs, config_id) == 192);

struct Tcs {
  uint64_t state;
  uint64_t flags;  // bit 0 DBGOPTIN
  uint64_t ossa;   // offset of the SSA from the enclave's base
  uint32_t cssa;
  uint32_t nssa;
  uint64_t oentry;  // offset of the entry point
  uint64_t aep;
  uint64_t ofs_base;
  uint64_t ogs_base;
  uint32_t fs_limit;
  uint32_t gs_limit;
  uint8_t reserved[4024];
};
static_assert(sizeof(Tcs) == 4096 && offsetof(Tcs, oentry) == 32 && offsetof(Tcs, ogs_base) == 56);

struct SecInfo {
  uint64_t flags;
  uint8_t reserved[56];
};
static_assert(sizeof(SecInfo) == 64);

struct PageInfo {
  uint64_t linear_address;
  uint64_t source_page;
  uint64_t sec_info;
  uint64_t secs;
};
static_assert(sizeof(PageInfo) == 32);

// GPRSGX: at the end of each SSA frame (SDM 37.9.1.1).
struct SsaRegisters {
  uint64_t rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
  uint64_t rflags, rip, ursp, urbp;
  uint32_t exit_info;  // 7:0 vector, 10:8 type, 31 valid
  uint8_t reserved[3];
  uint8_t aex_notify;
  uint64_t fs_base, gs_base;
};
static_assert(sizeof(SsaRegisters) == 184 && offsetof(SsaRegisters, exit_info) == 160);
static_assert(offsetof(SsaRegisters, fs_base) == 168);

// EXINFO: in the MISC region right below GPRSGX (SDM 37.9.2.1).
struct ExInfo {
  uint64_t fault_address;
  uint32_t error_code;
  uint32_t reserved;
};
static_assert(sizeof(ExInfo) == 16);

struct ReportBody {
  uint8_t cpu_svn[16];
  uint32_t misc_select;
  uint8_t reserved1[12];
  uint8_t isv_ext_prod_id[16];
  Attributes attributes;
  uint8_t mrenclave[32];
  uint8_t reserved2[32];
  uint8_t mrsigner[32];
  uint8_t reserved3[32];
  uint8_t config_id[64];
  uint16_t isv_prod_id;
  uint16_t isv_svn;
  uint16_t config_svn;
  uint8_t reserved4[42];
  uint8_t isv_family_id[16];
  uint8_t report_data[64];
};
static_assert(sizeof(ReportBody) == 384 && offsetof(ReportBody, mrenclave) == 64);
static_assert(offsetof(ReportBody, isv_prod_id) == 256 && offsetof(ReportBody, report_data) == 320);

struct Report {
  ReportBody body;
  uint8_t key_id[32];
  uint8_t mac[16];  // AES-128-CMAC over the body
};
static_assert(sizeof(Report) == 432);

struct TargetInfo {
  uint8_t mrenclave[32];
  Attributes attributes;
  uint8_t reserved1[2];
  uint16_t config_svn;
  uint32_t misc_select;
  uint8_t reserved2[8];
  uint8_t config_id[64];
  uint8_t reserved3[384];
};
static_assert(sizeof(TargetInfo) == 512 && offsetof(TargetInfo, config_id) == 64);

struct KeyRequest {
  uint16_t key_name;
  uint16_t key_policy;
  uint16_t isv_svn;
  uint8_t reserved1[2];
  uint8_t cpu_svn[16];
  Attributes attribute_mask;
  uint8_t key_id[32];
  uint32_t misc_mask;
  uint16_t config_svn;
  uint8_t reserved2[434];
};
static_assert(sizeof(KeyRequest) == 512 && offsetof(KeyRequest, key_id) == 40);

struct SigStruct {
  uint8_t header[16];
  uint32_t vendor;
  uint32_t date;  // BCD yyyymmdd
  uint8_t header2[16];
  uint32_t sw_defined;
  uint8_t reserved1[84];
  uint8_t modulus[384];
  uint32_t exponent;
  uint8_t signature[384];
  uint32_t misc_select;
  uint32_t misc_mask;
  uint8_t reserved2[4];
  uint8_t isv_family_id[16];
  Attributes attributes;
  Attributes attribute_mask;
  uint8_t enclave_hash[32];
  uint8_t reserved3[16];
  uint8_t isv_ext_prod_id[16];
  uint16_t isv_prod_id;
  uint16_t isv_svn;
  uint8_t reserved4[12];
  uint8_t q1[384];
  uint8_t q2[384];
};
static_assert(sizeof(SigStruct) == 1808 && offsetof(SigStruct, modulus) == 128);
static_assert(offsetof(SigStruct, misc_select) == 900 && offsetof(SigStruct, enclave_hash) == 960);
static_assert(offsetof(SigStruct, isv_prod_id) == 1024 && offsetof(SigStruct, q1) == 1040);

#pragma pack(pop)

}  // namespace cloister::sgx
