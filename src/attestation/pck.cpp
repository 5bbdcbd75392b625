#include "attestation/pck.h"

#include <bitset>

#include "attestation/der.h"

namespace cloister::attestation {
namespace {

// 1.2.840.113741.1.13.1 in DER; the next byte names the field.
constexpr uint8_t kPrefix[] = {0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01};
constexpr uint32_t kPpid = 1, kTcb = 2, kPceId = 3, kFmspc = 4, kSgxType = 5, kPlatformInstance = 6,
                   kConfiguration = 7;
constexpr uint32_t kPceSvn = 17, kCpuSvn = 18;

Error bad(std::string_view what) { return Error(Code::Malformed, "PCK extension: " + std::string(what)); }

// The last arc of an OID below `kPrefix` (depth 1) or below kPrefix.parent (depth 2); 0 when it is another
// OID.
uint32_t field_of(ByteView oid, uint32_t parent) {
  const size_t prefix = sizeof(kPrefix) + (parent != 0 ? 1 : 0);
  if (oid.size() != prefix + 1 || std::memcmp(oid.data(), kPrefix, sizeof(kPrefix)) != 0) return 0;
  if (parent != 0 && oid[sizeof(kPrefix)] != parent) return 0;
  return oid.back();
}

template <size_t N>
Result<void> read_octets(DerReader& reader, ByteArray<N>& out) {
  const ByteView content = TRY(reader.next(DerReader::kOctetString));
  if (content.size() != N) return bad("a field has the wrong size");
  std::memcpy(out.data(), content.data(), N);
  return {};
}

Result<void> parse_tcb(DerReader& outer, PckExtension& out) {
  DerReader fields(TRY(outer.next(DerReader::kSequence)));
  std::bitset<32> seen;
  while (!fields.at_end()) {
    DerReader pair(TRY(fields.next(DerReader::kSequence)));
    const uint32_t field = field_of(TRY(pair.next(DerReader::kOid)), kTcb);
    if (field == 0 || field > kCpuSvn) return bad("unknown TCB field");
    if (seen[field]) return bad("a TCB field is given twice");
    seen[field] = true;
    if (field == kCpuSvn) {
      TRY(read_octets(pair, out.cpu_svn));
      continue;
    }
    const uint32_t value = TRY(pair.next_unsigned(DerReader::kInteger));
    if (field == kPceSvn) {
      if (value > UINT16_MAX) return bad("PCESVN too large");
      out.pce_svn = static_cast<uint16_t>(value);
    } else {
      if (value > UINT8_MAX) return bad("a component SVN is too large");
      out.components[field - 1] = static_cast<uint8_t>(value);
    }
  }
  if (seen.count() != kCpuSvn) return bad("a TCB field is missing");
  return {};
}

Result<void> parse_configuration(DerReader& outer, PckExtension& out) {
  DerReader fields(TRY(outer.next(DerReader::kSequence)));
  out.has_configuration = true;
  while (!fields.at_end()) {
    DerReader pair(TRY(fields.next(DerReader::kSequence)));
    const uint32_t field = field_of(TRY(pair.next(DerReader::kOid)), kConfiguration);
    const bool value = TRY(pair.next_boolean());
    if (field == 1) out.dynamic_platform = value;
    if (field == 2) out.cached_keys = value;
    if (field == 3) out.smt_enabled = value;
  }
  return {};
}

Result<void> parse_field(uint32_t field, DerReader& pair, PckExtension& out) {
  switch (field) {
    case kPpid:
      return read_octets(pair, out.ppid);
    case kTcb:
      return parse_tcb(pair, out);
    case kPceId:
      return read_octets(pair, out.pce_id);
    case kFmspc:
      return read_octets(pair, out.fmspc);
    case kSgxType:
      out.sgx_type = TRY(pair.next_unsigned(DerReader::kEnumerated));
      return {};
    case kPlatformInstance:
      return read_octets(pair, out.platform_instance.emplace());
    case kConfiguration:
      return parse_configuration(pair, out);
    default:
      return {};
  }
}

}  // namespace

Result<PckExtension> parse_pck_extension(ByteView der) {
  DerReader outer(der);
  DerReader fields(TRY(outer.next(DerReader::kSequence)));
  if (!outer.at_end()) return bad("bytes behind it");
  PckExtension out;
  std::bitset<256> seen;
  while (!fields.at_end()) {
    DerReader pair(TRY(fields.next(DerReader::kSequence)));
    const uint32_t field = field_of(TRY(pair.next(DerReader::kOid)), 0);
    if (field != 0 && seen[field]) return bad("a field is given twice");
    seen[field] = true;
    TRY(parse_field(field, pair, out));
  }
  for (const uint32_t field : {kPpid, kTcb, kPceId, kFmspc}) {
    if (!seen[field]) return bad("a required field is missing");
  }
  return out;
}

}  // namespace cloister::attestation
