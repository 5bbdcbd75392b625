// See patch_scan.h. Three questions about each `syscall`, each answered with "no" in doubt:
//
// Where does the instruction in front begin? A linear disassembly of each executable section, set right at
// every known function start (code_map.h), says so. A site is believed when no unknown byte sequence lies
// between it and such a start, when no direct jump of the same section leads into the displaced instruction,
// and when disassemblies begun at 64 arbitrary bytes in front of it end up in the same place (x86 code
// synchronises by itself within a few instructions, so data or a wrong start shows as disagreement). Outside
// of every function that an unwind table or a symbol's size describes (musl has neither), also no direct jump
// of the section may lead into the middle of any instruction since the last known start.
//
// Does it mean the same elsewhere? It runs in a trampoline with every register and flag as at its own place,
// and the stack pointer, too: a trampoline pushes nothing, so the red zone stays. Only afterwards rcx gets
// the return address, as `syscall` itself sets it, and r11 the flags; so the instruction may use both. What
// is left out: whatever names its own address (RIP-relative operands, jumps, calls), whatever could trap by
// design and be continued behind itself (cpuid, rdtsc, int3: the kernel shows an interrupted trampoline as if
// its site had been interrupted, and continuing in the middle of a site would be wrong), lock and rep
// prefixes, segment, control and debug registers, and memory at GS, which is the kernel's. What is allowed is
// a list, not what is forbidden.
//
// Does its address mean something to others? The return from a signal handler: unwinders know it by its bytes
// (mov $15, %rax; syscall), so it keeps them. Cancellation points (musl's __syscall_cp_asm, glibc's
// __syscall_cancel_arch since 2.41) are patched like all others: what they compare is the interrupted
// address, and the kernel never shows one inside a trampoline (enclave/loader/patcher.h).
#include "sgx/patch_scan.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <cstring>

#include "sgx/code_map.h"

namespace cloister::sgx {
namespace {

constexpr size_t kSyscallSize = 2;
constexpr uint64_t kVoteNearest = 64, kVoters = 64;  // bytes in front of a site

// Bytes that only align the code behind them.
struct Pad {
  uint64_t begin = 0, end = 0;  // offsets in the region
  bool taken = false;
};

struct Site {
  uint64_t at = 0, previous = 0;  // offsets in the region
  uint64_t trusted_from = 0;      // the last known start, no unknown bytes since
  bool has_previous = false;
};

class Decoder {
 public:
  Decoder() { ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64); }
  bool next(ByteView bytes, ZydisDecodedInstruction& out) const {
    return ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder_, nullptr, bytes.data(), bytes.size(), &out));
  }
  bool full(ByteView bytes, ZydisDecodedInstruction& out,
            ZydisDecodedOperand (&operands)[ZYDIS_MAX_OPERAND_COUNT]) const {
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder_, bytes.data(), bytes.size(), &out, operands));
  }

 private:
  ZydisDecoder decoder_{};
};

// One executable region after its linear disassembly.
struct Sweep {
  const CodeRegion* region = nullptr;
  std::vector<bool> begins;   // an instruction begins here
  std::vector<bool> targets;  // a direct jump or call of this region leads here
  std::vector<Site> sites;
  std::vector<Pad> pads;  // ascending
};

// Does the program never go on behind this instruction?
bool ends_flow(const ZydisDecodedInstruction& instruction) {
  return instruction.mnemonic == ZYDIS_MNEMONIC_RET || instruction.mnemonic == ZYDIS_MNEMONIC_JMP ||
         instruction.mnemonic == ZYDIS_MNEMONIC_UD2;
}

// Runs of NOPs behind such an instruction, as long as assemblers make them to reach their alignment. What
// begins behind them is aligned, so whoever jumps there does not jump into them.
class PadFinder {
 public:
  explicit PadFinder(Sweep& sweep) : sweep_(sweep) {}
  void see(const ZydisDecodedInstruction& instruction, uint64_t at) {
    const bool fills =
        instruction.mnemonic == ZYDIS_MNEMONIC_NOP || instruction.mnemonic == ZYDIS_MNEMONIC_INT3;
    if (fills && open_) return;
    if (open_) finish(at);
    open_ = ends_flow(instruction);
    begin_ = at + instruction.length;
  }
  void stop(uint64_t at) {
    if (open_) finish(at);
    open_ = false;
  }

 private:
  void finish(uint64_t end) {
    const uint64_t size = end - begin_, address = sweep_.region->address + end;
    const bool aligned = (address % 16 == 0 && size < 16) || (address % 8 == 0 && size < 8);
    if (size >= kPadSize && aligned) sweep_.pads.push_back({begin_, end, false});
  }
  Sweep& sweep_;
  bool open_ = false;
  uint64_t begin_ = 0;
};

void note_branch(const ZydisDecodedInstruction& instruction, uint64_t at, Sweep& sweep) {
  const auto& immediate = instruction.raw.imm[0];
  if (immediate.size == 0 || !immediate.is_relative) return;
  const uint64_t target = at + instruction.length + static_cast<uint64_t>(immediate.value.s);
  if (target < sweep.targets.size()) sweep.targets[target] = true;
}

Sweep sweep_region(const Decoder& decoder, const CodeRegion& region, const std::vector<uint64_t>& starts) {
  const ByteView bytes = region.bytes;
  Sweep sweep{&region, std::vector<bool>(bytes.size()), std::vector<bool>(bytes.size()), {}};
  auto start = std::lower_bound(starts.begin(), starts.end(), region.address);
  Site state;
  PadFinder pads(sweep);
  for (uint64_t at = 0; at < bytes.size();) {
    while (start != starts.end() && *start < region.address + at) ++start;
    if (start != starts.end() && *start == region.address + at) {
      state.trusted_from = at;
      ++start;
    }
    const uint64_t next_start = start != starts.end() ? *start - region.address : bytes.size();
    ZydisDecodedInstruction instruction;
    const bool known = decoder.next(bytes.subspan(at), instruction);
    if (!known || at + instruction.length > next_start) {
      // Data, or padding that only looks like an instruction: go on where code certainly begins again.
      pads.stop(at);
      at = starts.empty() ? at + 1 : next_start;
      state.trusted_from = at;
      state.has_previous = false;
      continue;
    }
    sweep.begins[at] = true;
    note_branch(instruction, at, sweep);
    pads.see(instruction, at);
    if (instruction.mnemonic == ZYDIS_MNEMONIC_SYSCALL && instruction.length == kSyscallSize) {
      state.at = at;
      sweep.sites.push_back(state);
    }
    state.previous = at;
    state.has_previous = true;
    at += instruction.length;
  }
  pads.stop(bytes.size());
  return sweep;
}

bool movable_mnemonic(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
    case ZYDIS_MNEMONIC_LEA:
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_NOT:
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_MOVQ:
    case ZYDIS_MNEMONIC_MOVD:
    case ZYDIS_MNEMONIC_PXOR:
    case ZYDIS_MNEMONIC_XORPS:
      return true;
    default:
      return false;
  }
}

bool movable(const Decoder& decoder, ByteView bytes) {
  ZydisDecodedInstruction instruction;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  if (!decoder.full(bytes, instruction, operands)) return false;
  constexpr ZydisInstructionAttributes kForbidden = ZYDIS_ATTRIB_IS_RELATIVE | ZYDIS_ATTRIB_HAS_LOCK |
                                                    ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
                                                    ZYDIS_ATTRIB_HAS_REPNE;
  if (!movable_mnemonic(instruction.mnemonic) || (instruction.attributes & kForbidden) != 0) return false;
  for (size_t i = 0; i < instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY &&
        (operand.mem.segment == ZYDIS_REGISTER_GS || operand.mem.base == ZYDIS_REGISTER_RIP ||
         operand.mem.base == ZYDIS_REGISTER_EIP)) {
      return false;
    }
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const ZydisRegisterClass kind = ZydisRegisterGetClass(operand.reg.value);
    if (kind == ZYDIS_REGCLASS_SEGMENT || kind == ZYDIS_REGCLASS_CONTROL || kind == ZYDIS_REGCLASS_DEBUG ||
        kind == ZYDIS_REGCLASS_IP) {
      return false;
    }
  }
  return true;
}

// Whether disassemblies begun at arbitrary bytes in front of the site mostly end with the same instruction.
// One that meets an unknown instruction has no vote.
bool voted(const Decoder& decoder, ByteView bytes, const Site& site) {
  uint64_t votes = 0, for_it = 0;
  for (uint64_t back = kVoteNearest; back < kVoteNearest + kVoters && back <= site.at; ++back) {
    uint64_t at = site.at - back, last = at;
    ZydisDecodedInstruction instruction;
    while (at < site.at && decoder.next(bytes.subspan(at), instruction)) {
      last = at;
      at += instruction.length;
    }
    if (at < site.at) continue;
    ++votes;
    if (at == site.at && last == site.previous) ++for_it;
  }
  // Too near the region's begin for a vote, the begin itself is what is known.
  return votes == 0 || for_it * 4 >= votes * 3;
}

bool in_function(const std::vector<CodeRange>& functions, uint64_t begin, uint64_t last) {
  // Ranges may nest; a few steps back find the innermost.
  constexpr int kSteps = 8;
  auto it = std::upper_bound(functions.begin(), functions.end(), begin,
                             [](uint64_t address, const CodeRange& range) { return address < range.begin; });
  for (int i = 0; i < kSteps && it != functions.begin(); ++i) {
    --it;
    if (it->contains(begin) && it->contains(last)) return true;
  }
  return false;
}

bool certain(const Decoder& decoder, const CodeMap& map, const Sweep& sweep, const Site& site) {
  const CodeRegion& region = *sweep.region;
  if (site.previous < site.trusted_from) return false;
  for (uint64_t at = site.previous + 1; at < site.at; ++at) {
    if (sweep.targets[at]) return false;
  }
  const uint64_t begin = region.address + site.previous;
  const uint64_t last = region.address + site.at + kSyscallSize - 1;
  // A symbol inside would be a place to jump to.
  const auto inside = std::upper_bound(map.starts.begin(), map.starts.end(), begin);
  if (inside != map.starts.end() && *inside <= last) return false;
  if (!in_function(map.functions, begin, last)) {
    for (uint64_t at = site.trusted_from; at < site.at; ++at) {
      if (sweep.targets[at] && !sweep.begins[at]) return false;
    }
  }
  return voted(decoder, region.bytes, site);
}

bool ends_with(ByteView bytes, ByteView tail) {
  return bytes.size() >= tail.size() && std::ranges::equal(tail, bytes.last(tail.size()));
}

// A pad that a short jump at the site can reach and nobody else uses or jumps to.
Pad* pad_for(const CodeMap& map, Sweep& sweep, const Site& site) {
  const auto reached = [&](const Pad& pad) {
    const int64_t distance = static_cast<int64_t>(pad.begin - (site.previous + kToPad));
    return distance >= INT8_MIN && distance <= INT8_MAX;
  };
  for (Pad& pad : sweep.pads) {
    if (pad.taken || !reached(pad)) continue;
    bool known = false;
    for (uint64_t at = pad.begin; at < pad.begin + kPadSize; ++at) {
      known = known || sweep.targets[at] ||
              std::binary_search(map.starts.begin(), map.starts.end(), sweep.region->address + at);
    }
    if (!known) return &pad;
  }
  return nullptr;
}

bool returns_from_signal(const Sweep& sweep, const Site& site) {
  constexpr uint8_t kReturn[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0};  // mov $15, %rax
  constexpr uint8_t kShortReturn[] = {0xb8, 0x0f, 0, 0, 0};         // mov $15, %eax
  const ByteView before = sweep.region->bytes.first(site.at);
  return ends_with(before, kReturn) || ends_with(before, kShortReturn);
}

}  // namespace

PatchScan scan_for_patches(const ElfFile& file) {
  PatchScan out;
  const CodeMap map = map_code(file);
  const Decoder decoder;
  for (const CodeRegion& region : map.regions) {
    constexpr uint8_t kCode[] = {0x0f, 0x05};
    if (std::search(region.bytes.begin(), region.bytes.end(), kCode, kCode + 2) == region.bytes.end())
      continue;
    Sweep sweep = sweep_region(decoder, region, map.starts);
    for (const Site& site : sweep.sites) {
      ++out.sites;
      const uint64_t length = site.at - site.previous;
      const uint64_t offset = region.offset + site.previous;
      if (!site.has_previous || length < kMinDisplaced || length > kMaxDisplaced) {
        ++out.too_short;
      } else if (returns_from_signal(sweep, site)) {
        ++out.signal_returns;
      } else if (!movable(decoder, region.bytes.subspan(site.previous, length))) {
        ++out.not_movable;
      } else if (!certain(decoder, map, sweep, site) || offset > kMaxPatchOffset ||
                 (!out.rows.empty() && offset < out.rows.back().end())) {
        ++out.uncertain;
      } else {
        Pad* pad = length == kToPad ? pad_for(map, sweep, site) : nullptr;
        if (length == kToPad && pad == nullptr) {
          ++out.too_short;
          continue;
        }
        PatchRow row;
        row.offset = offset;
        row.length = static_cast<uint8_t>(length);
        std::memcpy(row.displaced.data(), region.bytes.data() + site.previous, length);
        if (pad != nullptr) {
          pad->taken = true;
          row.pad_distance = static_cast<int8_t>(pad->begin - site.at);
          std::memcpy(row.pad.data(), region.bytes.data() + pad->begin, kPadSize);
        }
        out.rows.push_back(row);
      }
    }
  }
  return out;
}

}  // namespace cloister::sgx
