// Putting a program into memory as Linux's ELF loader does: segments, interpreter, stack with arguments,
// environment and auxiliary vector (System V ABI for x86-64, 3.4.1).
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "enclave/sys_result.h"

namespace cloister::enclave {

class Inode;

// Where a program's bytes come from: a file, or the agent's image in kernel memory.
class ProgramSource {
 public:
  virtual ~ProgramSource() = default;
  virtual SysResult<size_t> read(uint64_t offset, MutableByteView out) = 0;  // fewer at the end
  virtual Inode* inode() { return nullptr; }                                 // of a file
};

struct UserEntry {
  uint64_t rip, rsp;
  std::vector<uint64_t> auxiliary;  // the auxiliary vector
};

struct ProgramImage {
  ProgramSource* program = nullptr;
  std::string path;  // for AT_EXECFN and the memory map
  // Finds the interpreter that the program names. Not called for static programs.
  std::function<SysResult<std::unique_ptr<ProgramSource>>(const std::string& path)> open_interpreter;
  std::span<const std::string> arguments, environment;
  uint64_t stack_size = 0;  // bytes
  bool agent = false;       // AreaInfo::agent
  int32_t owner = 0;        // AreaInfo::owner
};

// Errors: NoExec (not an ELF for this machine, malformed), NoMemory, NoEntry and others of the sources. `why`
// gets words for the log.
SysResult<UserEntry> load_program(const ProgramImage& image, std::string& why);
// Whether load_program would find program and interpreter in order, as far as their headers tell. Maps
// nothing.
SysResult<void> check_program(const ProgramImage& image, std::string& why);

}  // namespace cloister::enclave
