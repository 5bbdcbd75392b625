#include "attestation/quote.h"

#include <algorithm>

namespace cloister::attestation {
namespace {

constexpr size_t kSgxBody = 384;
constexpr size_t kTd10 = 584;
constexpr size_t kTd15 = 648;
constexpr size_t kTd15Ex = 885;
constexpr uint32_t kTeeSgx = 0;
constexpr uint32_t kTeeTdx = 0x81;
constexpr uint16_t kEcdsaP256 = 2;
constexpr uint16_t kQeReportCertification = 6;
constexpr uint8_t kIntelVendor[16] = {0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9,
                                      0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07};

Error bad(std::string_view what) { return Error(Code::Malformed, "quote: " + std::string(what)); }

Result<TdReport> parse_td(ByteView body, uint16_t body_type) {
  ByteReader reader(body, "quote body");
  TdReport td{};
  td.tee_tcb_svn = TRY(reader.array<16>());
  td.mr_seam = TRY(reader.array<48>());
  td.mr_signer_seam = TRY(reader.array<48>());
  td.seam_attributes = TRY(reader.le<uint64_t>());
  td.td_attributes = TRY(reader.le<uint64_t>());
  td.xfam = TRY(reader.le<uint64_t>());
  td.mrtd = TRY(reader.array<48>());
  td.mr_config_id = TRY(reader.array<48>());
  td.mr_owner = TRY(reader.array<48>());
  td.mr_owner_config = TRY(reader.array<48>());
  for (ByteArray<48>& rtmr : td.rtmr) rtmr = TRY(reader.array<48>());
  td.report_data = TRY(reader.array<64>());
  if (body_type >= 3) {
    td.has_15 = true;
    td.tee_tcb_svn2 = TRY(reader.array<16>());
    td.mr_service_td = TRY(reader.array<48>());
  }
  return td;
}

Result<size_t> body_size(uint16_t type) {
  switch (type) {
    case 1:
      return kSgxBody;
    case 2:
      return kTd10;
    case 3:
      return kTd15;
    case kTd15Extended:
      return kTd15Ex;
    default:
      return bad("unknown body type " + std::to_string(type));
  }
}

Result<void> parse_header(ByteReader& reader, Quote& quote) {
  quote.version = TRY(reader.le<uint16_t>());
  if (quote.version < 3 || quote.version > 5) return bad("version " + std::to_string(quote.version));
  if (TRY(reader.le<uint16_t>()) != kEcdsaP256) return bad("attestation key type is not ECDSA P-256");
  const uint32_t tee = TRY(reader.le<uint32_t>());
  if (tee != kTeeSgx && (tee != kTeeTdx || quote.version == 3)) return bad("unknown TEE type");
  quote.tee = tee == kTeeSgx ? Tee::Sgx : Tee::Tdx;
  TRY(reader.take(4));  // QE and PCE SVN in version 3, reserved later
  const ByteView vendor = TRY(reader.take(sizeof(kIntelVendor)));
  if (std::memcmp(vendor.data(), kIntelVendor, sizeof(kIntelVendor)) != 0) return bad("unknown QE vendor");
  quote.user_data = TRY(reader.array<20>());
  return {};
}

// Which body follows the header; version 5 says so itself.
Result<size_t> parse_body_type(ByteReader& reader, Quote& quote) {
  if (quote.version < 5) {
    quote.body_type = quote.tee == Tee::Sgx ? 1 : 2;
    return body_size(quote.body_type);
  }
  quote.body_type = TRY(reader.le<uint16_t>());
  const uint32_t declared = TRY(reader.le<uint32_t>());
  const size_t size = TRY(body_size(quote.body_type));
  if (declared != size) return bad("body size does not fit its type");
  if ((quote.body_type == 1) != (quote.tee == Tee::Sgx)) return bad("body type does not fit the TEE");
  return size;
}

// QE report, its signature, authentication data and certification data: the same in all versions, one level
// deeper from 4 on.
Result<void> parse_qe_part(ByteReader& reader, Quote& quote) {
  quote.qe_report = TRY(reader.take(kSgxBody));
  quote.qe_report_signature = TRY(reader.array<64>());
  quote.qe_auth_data = TRY(reader.take(TRY(reader.le<uint16_t>())));
  quote.certification_type = TRY(reader.le<uint16_t>());
  quote.certification_data = TRY(reader.take(TRY(reader.le<uint32_t>())));
  return reader.expect_end();
}

Result<void> parse_signature(ByteView data, Quote& quote) {
  ByteReader reader(data, "quote signature data");
  quote.signature = TRY(reader.array<64>());
  quote.attestation_key = TRY(reader.array<64>());
  if (quote.version == 3) return parse_qe_part(reader, quote);
  if (TRY(reader.le<uint16_t>()) != kQeReportCertification) return bad("certification data type is not 6");
  const ByteView inner = TRY(reader.take(TRY(reader.le<uint32_t>())));
  TRY(reader.expect_end());
  ByteReader inner_reader(inner, "quote certification data");
  return parse_qe_part(inner_reader, quote);
}

}  // namespace

Result<Quote> parse_quote(ByteView bytes) {
  if (bytes.size() > kMaxQuoteSize) return bad("larger than 64 KiB");
  Quote quote;
  ByteReader reader(bytes, "quote");
  TRY(parse_header(reader, quote));
  const size_t size = TRY(parse_body_type(reader, quote));
  const ByteView body = TRY(reader.take(size));
  quote.signed_part = bytes.first(bytes.size() - reader.remaining());
  if (quote.tee == Tee::Sgx) {
    std::memcpy(&quote.sgx_body, body.data(), sizeof(quote.sgx_body));
  } else {
    quote.td = TRY(parse_td(body, quote.body_type));
  }
  const ByteView signature = TRY(reader.take(TRY(reader.le<uint32_t>())));
  TRY(parse_signature(signature, quote));
  const ByteView rest = reader.rest();
  if (std::any_of(rest.begin(), rest.end(), [](uint8_t byte) { return byte != 0; })) {
    return bad("bytes behind the signature");
  }
  return quote;
}

}  // namespace cloister::attestation
