// /dev/attestation of standalone images: reports of this enclave with report data of the program's choice,
// through files as programs for Gramine know them. Write target_info and user_report_data, then read report.
// Attested images have none: there the agent alone decides what the enclave says about itself.
//
// The files are the enclave's, not the descriptor's: threads that ask at once must take turns.
#include <algorithm>
#include <cstring>
#include <iterator>

#include "enclave/arch/sgx_keys.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

struct Inputs {
  sgx::TargetInfo target{};
  ByteArray<64> report_data{};
} g_inputs;

enum class Kind : uint8_t { TargetInfo, ReportData, Report };
struct Row {
  const char* name;
  Kind kind;
  uint32_t mode;
  size_t size;
};
constexpr Row kFiles[] = {{"target_info", Kind::TargetInfo, 0666, sizeof(sgx::TargetInfo)},
                          {"user_report_data", Kind::ReportData, 0666, 64},
                          {"report", Kind::Report, 0444, sizeof(sgx::Report)}};

MutableByteView input_of(Kind kind) {
  if (kind == Kind::ReportData) return g_inputs.report_data;
  return {reinterpret_cast<uint8_t*>(&g_inputs.target), sizeof(g_inputs.target)};
}

class AttestationInode final : public Inode {
 public:
  AttestationInode(uint64_t id, const Row& row) : id_(id), row_(row) {}
  SysResult<Stat> stat() override {
    Stat stat;
    stat.device = id_;
    stat.inode = 2 + static_cast<uint64_t>(&row_ - kFiles);
    stat.mode = kTypeFile | row_.mode;
    stat.size = row_.size;
    return stat;
  }
  SysResult<size_t> read(uint64_t offset, MutableByteView out) override {
    if (row_.kind == Kind::Report) {
      const sgx::Report report = make_report(g_inputs.target, g_inputs.report_data);
      return copy({reinterpret_cast<const uint8_t*>(&report), sizeof(report)}, offset, out);
    }
    return copy(input_of(row_.kind), offset, out);
  }
  SysResult<size_t> write(uint64_t offset, ByteView data) override {
    if (row_.kind == Kind::Report) return Errno::Access;
    const MutableByteView input = input_of(row_.kind);
    if (offset > input.size() || data.size() > input.size() - offset) return Errno::Invalid;
    std::memcpy(input.data() + offset, data.data(), data.size());
    return data.size();
  }
  // A shorter value than before leaves zeros behind it, not the old one's end.
  SysResult<void> truncate(uint64_t size) override {
    if (row_.kind == Kind::Report || size > row_.size) return Errno::Invalid;
    const MutableByteView input = input_of(row_.kind);
    std::memset(input.data() + size, 0, input.size() - size);
    return {};
  }
  uint64_t file_system() const override { return id_; }

 private:
  static size_t copy(ByteView from, uint64_t offset, MutableByteView out) {
    if (offset >= from.size()) return 0;
    const size_t size = std::min<uint64_t>(out.size(), from.size() - offset);
    std::memcpy(out.data(), from.data() + offset, size);
    return size;
  }

  uint64_t id_;
  const Row& row_;
};

class AttestationFolder final : public Inode {
 public:
  explicit AttestationFolder(uint64_t id) : id_(id) {}
  SysResult<Stat> stat() override {
    Stat stat;
    stat.device = id_;
    stat.inode = 1;
    stat.links = 2;
    stat.mode = kTypeFolder | 0555;
    return stat;
  }
  SysResult<Ref<Inode>> lookup(std::string_view name) override {
    for (const Row& row : kFiles) {
      if (name == row.name) return Ref<Inode>(make_ref<AttestationInode>(id_, row));
    }
    return Errno::NoEntry;
  }
  SysResult<std::vector<FolderEntry>> list() override {
    std::vector<FolderEntry> list;
    for (size_t i = 0; i < std::size(kFiles); ++i) list.push_back({kFiles[i].name, 2 + i, kTypeFile});
    return list;
  }
  uint64_t file_system() const override { return id_; }

 private:
  uint64_t id_;
};

}  // namespace

Ref<Inode> make_attestationfs(uint64_t id) { return make_ref<AttestationFolder>(id); }

}  // namespace cloister::enclave
