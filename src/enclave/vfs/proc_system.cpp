// The parts of /proc that are the same for every process, and /sys.
#include "crypto/random.h"
#include "enclave/arch/boot.h"
#include "enclave/arch/host.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/vector_state.h"
#include "enclave/memory/manager.h"
#include "enclave/vfs/cpuinfo.h"
#include "enclave/vfs/procfs.h"
#include "enclave/vfs/pseudo.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

using pseudo::folder_row;
using pseudo::Row;

std::string number(uint64_t value) { return std::to_string(value); }

std::string meminfo_text() {
  const uint64_t total = memory_heap_limit() / 1024,
                 available = total - std::min(total, memory_heap_used() / 1024);
  return "MemTotal:       " + number(total) + " kB\nMemFree:        " + number(available) +
         " kB\nMemAvailable:   " + number(available) +
         " kB\nBuffers:        0 kB\nCached:         0 kB\nSwapTotal:      0 kB\nSwapFree:       0 kB\n";
}

// One line a processor: the C library counts them.
std::string cpu_stat_text() {
  std::string text = "cpu  0 0 0 0 0 0 0 0 0 0\n";
  for (uint64_t cpu = 0; cpu < processor_count(); ++cpu)
    text += "cpu" + number(cpu) + " 0 0 0 0 0 0 0 0 0 0\n";
  const uint64_t start =
      (realtime_ns() - monotonic_ns()) / kSecond;  // what times in /proc/PID/stat count from
  return text + "ctxt 0\nbtime " + number(start) + "\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n";
}

std::string uuid() {  // RFC 4122, version 4
  uint8_t bytes[16];
  crypto::random_bytes(bytes);
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3f) | 0x80);
  std::string text;
  for (size_t i = 0; i < sizeof(bytes); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += "0123456789abcdef"[bytes[i] >> 4];
    text += "0123456789abcdef"[bytes[i] & 15];
  }
  return text + "\n";
}
std::string boot_id() {  // of this enclave
  static const std::string id = uuid();
  return id;
}

std::string cpuinfo_text() {
  return describe_processors(processor_count(), [](uint32_t leaf, uint32_t subleaf) {
    return checked_cpuid(leaf, subleaf, host::cpuid(leaf, subleaf), vector_mask());
  });
}

std::string processors() {
  const uint64_t count = processor_count();
  return (count == 1 ? "0" : "0-" + number(count - 1)) + "\n";
}

// proc_net(5). C libraries ask by netlink, Java reads this.
std::string inet6_text() {
  constexpr uint16_t kFamilyInet6 = 10;
  const auto hex = [](uint32_t value) {  // of at least two digits
    std::string digits;
    for (; value != 0 || digits.size() < 2; value >>= 4)
      digits.insert(digits.begin(), "0123456789abcdef"[value & 15]);
    return digits;
  };
  std::string text;
  const auto list = host::interfaces();
  if (!list.ok()) return text;
  for (const boundary::InterfaceRecord& record : list.value()) {
    if (record.family != kFamilyInet6) continue;
    for (const uint8_t byte : record.address) text += hex(byte);
    const bool loopback = (record.flags & 8) != 0;
    const bool link = record.address[0] == 0xfe && (record.address[1] & 0xc0) == 0x80;
    const std::string name = record.name;
    text += " " + hex(record.index) + " " + hex(record.prefix) + " " +
            hex(loopback ? 0x10
                : link   ? 0x20
                         : 0) +
            " 80 " + std::string(8 - std::min<size_t>(8, name.size()), ' ') + name + "\n";
  }
  return text;
}

constexpr Row kRandom[] = {
    {"boot_id", boot_id}, {"entropy_avail", [] { return std::string("256\n"); }}, {"uuid", uuid}};
constexpr Row kKernel[] = {{"cap_last_cap", [] { return std::string("40\n"); }},
                           {"hostname", [] { return std::string("enclave\n"); }},
                           {"ngroups_max", [] { return std::string("65536\n"); }},
                           {"osrelease", [] { return std::string("6.1.0-cloister\n"); }},
                           {"ostype", [] { return std::string("Linux\n"); }},
                           {"pid_max", [] { return std::string("4194304\n"); }},
                           folder_row("random", kRandom),
                           {"threads-max", [] { return number(thread_limit()) + "\n"; }}};
constexpr Row kVm[] = {{"max_map_count", [] { return std::string("65530\n"); }},
                       {"mmap_min_addr", [] { return std::string("65536\n"); }},
                       {"overcommit_memory", [] { return std::string("1\n"); }}};
constexpr Row kCore[] = {{"somaxconn", [] { return std::string("4096\n"); }}};
constexpr Row kSysNet[] = {folder_row("core", kCore)};
constexpr Row kProcSys[] = {folder_row("kernel", kKernel), folder_row("net", kSysNet), folder_row("vm", kVm)};

constexpr Row kNet[] = {{"if_inet6", inet6_text}};
constexpr Row kTop[] = {
    {"cpuinfo", cpuinfo_text},
    {"filesystems",
     [] { return std::string("nodev\tsysfs\nnodev\tproc\nnodev\ttmpfs\nnodev\tdevtmpfs\n\tcloister\n"); }},
    {"loadavg", [] { return std::string("0.00 0.00 0.00 1/1 7\n"); }},
    {"meminfo", meminfo_text},
    folder_row("net", kNet),
    {"stat", cpu_stat_text},
    folder_row("sys", kProcSys),
    {"uptime", [] { return number(monotonic_ns() / kSecond) + ".00 0.00\n"; }},
    {"version", [] { return std::string("Linux version 6.1.0-cloister\n"); }},
};

constexpr Row kCpu[] = {{"kernel_max", [] { return std::string("8191\n"); }},
                        {"offline", [] { return std::string("\n"); }},
                        {"online", processors},
                        {"possible", processors},
                        {"present", processors}};
constexpr Row kSystem[] = {folder_row("cpu", kCpu)};
constexpr Row kDevices[] = {folder_row("system", kSystem)};
constexpr Row kHuge[] = {{"enabled", [] { return std::string("always madvise [never]\n"); }}};
constexpr Row kMm[] = {folder_row("transparent_hugepage", kHuge)};
constexpr Row kSysKernel[] = {folder_row("mm", kMm)};
constexpr Row kSys[] = {folder_row("devices", kDevices), folder_row("kernel", kSysKernel)};

}  // namespace

SysResult<Ref<Inode>> find_system_entry(uint64_t id, std::string_view name) {
  if (name == "mounts")
    return Ref<Inode>(make_ref<pseudo::LinkInode>(id, pseudo::number_of("", name), "self/mounts"));
  return pseudo::find_row(id, "", name, kTop, std::size(kTop));
}

std::vector<FolderEntry> list_system_entries() {
  std::vector<FolderEntry> list = pseudo::list_rows("", kTop, std::size(kTop));
  list.push_back({"mounts", pseudo::number_of("", "mounts"), kTypeLink});
  return list;
}

Ref<Inode> make_sysfs(uint64_t id) {
  return make_ref<pseudo::Folder>(
      id, pseudo::number_of("", ""),
      [](uint64_t file_system, std::string_view name) {
        return pseudo::find_row(file_system, "", name, kSys, std::size(kSys));
      },
      [] { return pseudo::list_rows("", kSys, std::size(kSys)); });
}

}  // namespace cloister::enclave
