// Writes evidence of our own making into a folder: an SGX quote with collateral under a simulated Intel, TDX
// quotes with collateral under a test Intel, an SNP report with certificates under a test AMD, a quote v5
// that has the right layout (and no valid signature), and each single structure. For tests through the binary
// where no outside vectors are there, and for the corpus of the fuzz targets. Usage: make_evidence FOLDER
// With a second argument, `tdx`, it writes a TDX root and collateral of now instead, and answers each line of
// its input, report data in hex, with a quote in hex: the machine of a client that is written in another
// language.
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "attestation/messages.h"
#include "attestation/quote.h"
#include "attestation/sim_pki.h"
#include "attestation/snp_test_support.h"
#include "attestation/tdx_test_support.h"
#include "attestation/x509.h"
#include "base/files.h"

namespace {

using namespace cloister;
using namespace cloister::attestation;
namespace fs = std::filesystem;

constexpr int64_t kNow = 1790000000;  // 2026-09-21T14:13:20Z

void write(const fs::path& path, ByteView bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  CLOISTER_CHECK(out.good());
}

Bytes sgx_quote(const SimPki& pki, const sgx::SimPlatform& platform) {
  sgx::Secs enclave{};
  enclave.attributes.flags = sgx::kFlagInit | sgx::kFlagMode64;
  enclave.attributes.xfrm = sgx::kXfrmLegacy;
  enclave.mrenclave[0] = 0xaa;
  enclave.mrsigner[31] = 0xbb;
  enclave.isv_prod_id = 7;
  enclave.isv_svn = 9;
  ByteArray<64> data{};
  data[0] = 0xda;
  return pki.quote(platform.make_report(enclave, pki.target_info(), data)).value();
}

// The parts of an SGX quote v3 in the frame of v4 or v5, with another body.
Bytes reframed(ByteView v3, uint16_t version, size_t body_size) {
  const Quote quote = parse_quote(v3).value();
  Bytes header(v3.begin(), v3.begin() + 48);
  store_le(header.data(), version);
  ByteWriter inner;
  inner.bytes(quote.qe_report).bytes(quote.qe_report_signature);
  inner.le(static_cast<uint16_t>(quote.qe_auth_data.size())).bytes(quote.qe_auth_data);
  inner.le(quote.certification_type).field(quote.certification_data);
  ByteWriter auth;
  auth.bytes(quote.signature).bytes(quote.attestation_key).le<uint16_t>(6).field(inner.view());
  ByteWriter out;
  out.bytes(header);
  if (version == 5) out.le<uint16_t>(1).le(static_cast<uint32_t>(body_size));
  for (size_t i = 0; i < body_size; ++i) out.le(static_cast<uint8_t>(i));
  return out.field(auth.view()).take();
}

void make_sgx(const fs::path& folder) {
  const auto platform = sgx::SimPlatform::open(folder / "state").value();
  const SimPki pki = SimPki::open(folder / "state" / "pki", platform).value();
  const Bytes quote = sgx_quote(pki, platform);
  const CollateralBundle bundle = pki.collateral(kNow).value();
  fs::remove_all(folder / "state");
  const Quote parsed = parse_quote(quote).value();
  const auto chain = certificates_from_pem(as_text(parsed.certification_data)).value();
  write(folder / "quote3-sgx.bin", quote);
  write(folder / "quote4-sgx.bin", reframed(quote, 4, 384));
  write(folder / "quote5-sgx.bin", reframed(quote, 5, 384));
  write(folder / "collateral.json", as_bytes(collateral_bundle_json(bundle)));
  write(folder / "sgx-root.pem", as_bytes(pki.root_pem()));
  write(folder / "pck-chain.pem", parsed.certification_data);
  write(folder / "pck.der", chain.front().der());
  write(folder / "pck-extension.der", chain.front().extension("1.2.840.113741.1.13.1").value());
  write(folder / "pck-crl.der", bundle.pck_crl);
  write(folder / "root-crl.der", bundle.root_ca_crl);
  ByteWriter parts;  // as x509_fuzz.cpp takes them
  for (const Bytes* part : {&chain.front().der(), &bundle.pck_crl}) {
    parts.be(static_cast<uint16_t>(part->size())).bytes(*part);
  }
  write(folder / "x509-parts", parts.bytes(parsed.certification_data).view());
  write(folder / "tcb-info.json", as_bytes(bundle.tcb_info));
  write(folder / "qe-identity.json", as_bytes(bundle.qe_identity));
}

void make_tdx(const fs::path& folder) {
  const TdxTestPki intel;
  TestTd td;
  td.report_data[0] = 0xda;
  const Bytes quote4 = intel.quote(td);
  td.version = 5;
  td.body_type = 3;
  const CollateralBundle bundle = intel.collateral(kNow);
  TestTcb newer;  // for who was started on what is old by now
  newer.platform = {{7, TcbStatus::UpToDate, {}}, {6, TcbStatus::OutOfDate, {"INTEL-SA-00828"}}};
  td.platform_svn_now = 7;
  write(folder / "quote4-tdx.bin", quote4);
  write(folder / "quote5-tdx15.bin", intel.quote(td));
  for (const auto& [body_type, name] : {std::pair{2, "quote5-tdx10.bin"}, {4, "quote5-tdx15-extended.bin"}}) {
    TestTd other = td;
    other.body_type = static_cast<uint16_t>(body_type);
    write(folder / name, intel.quote(other));
  }
  write(folder / "tdx-root.pem", as_bytes(intel.root_pem()));
  write(folder / "tdx-collateral.json", as_bytes(collateral_bundle_json(bundle)));
  const CollateralBundle later = intel.collateral(kNow, newer);
  write(folder / "tdx-collateral-newer.json", as_bytes(collateral_bundle_json(later)));
  write(folder / "tdx-tcb-info.json", as_bytes(bundle.tcb_info));
  write(folder / "tdx-qe-identity.json", as_bytes(bundle.qe_identity));
  AttestRequest request;
  request.kind = EvidenceKind::TdxQuote;
  request.subject = "session/service";
  request.quote = quote4;
  request.collateral = {'{', '}'};
  Bytes message = {static_cast<uint8_t>(MessageType::AttestRequest)};
  const Bytes payload = encode(request);
  message.insert(message.end(), payload.begin(), payload.end());
  write(folder / "request_tdx", message);
}

void make_snp(const fs::path& folder) {
  const SnpTestPki pki;
  const SnpLeafRequest leaf;
  for (uint32_t version = 2; version <= 5; ++version) {
    Bytes report = unsigned_snp_report(version, leaf);
    pki.sign(report);
    write(folder / ("snp-report" + std::to_string(version) + ".bin"), report);
  }
  write(folder / "snp-leaf.der", pki.leaf(leaf));
  write(folder / "snp-chain.pem", as_bytes(pki.chain_pem()));
  write(folder / "snp-crl.der", pki.crl(false));
  write(folder / "snp-crl-revoked.der", pki.crl(true));
  const Bytes ark = der_of(pki.ark);
  write(folder / "snp-root.pem", as_bytes(crypto::pem_encode("CERTIFICATE", ark)));
}

int answer_as_tdx(const fs::path& folder) {
  const TdxTestPki intel;
  const CollateralBundle bundle = intel.collateral(std::time(nullptr));
  write(folder / "tdx-collateral.json", as_bytes(collateral_bundle_json(bundle)));
  write(folder / "tdx-root.pem", as_bytes(intel.root_pem()));
  std::puts("ready");
  std::fflush(stdout);
  char line[256];
  while (std::fgets(line, sizeof(line), stdin) != nullptr) {
    TestTd td;
    td.version = 5;
    td.body_type = 3;
    td.report_data = array_from_hex<64>(std::string_view(line).substr(0, 128)).value();
    std::puts(to_hex(intel.quote(td)).c_str());
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && (argc != 3 || std::string_view(argv[2]) != "tdx")) {
    std::fprintf(stderr, "usage: make_evidence FOLDER [tdx]\n");
    return 2;
  }
  std::filesystem::create_directories(argv[1]);
  if (argc == 3) return answer_as_tdx(argv[1]);
  make_sgx(argv[1]);
  make_tdx(argv[1]);
  make_snp(argv[1]);
}
