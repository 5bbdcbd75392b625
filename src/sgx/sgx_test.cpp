#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "base/files.h"
#include "sgx/manifest.h"
#include "sgx/measurement.h"
#include "sgx/sigstruct.h"

namespace cloister::sgx {
namespace {

std::filesystem::path testdata() {
  const char* given = std::getenv("CLOISTER_TESTDATA");
  return std::filesystem::path(given != nullptr ? given : CLOISTER_SOURCE_DIR "/../shared/testdata") / "sgx";
}

#define NEED(path)                                                                                      \
  if (!std::filesystem::exists(path))                                                                   \
  GTEST_SKIP() << (path).string() << " is absent: it is of a set of shared vectors that is no part of " \
               << "the repository, found through $CLOISTER_TESTDATA or ../shared/testdata"

Bytes load(const std::filesystem::path& path) { return read_file(path, 1 << 20).value(); }

TEST(Measurement, MatchesAForeignEnclave) {
  NEED(testdata() / "test_enclave.sgxs");
  const SgxsSummary summary = read_sgxs(load(testdata() / "test_enclave.sgxs")).value();
  EXPECT_EQ(to_hex(summary.mrenclave), "784acfd7d5096a8f0fbd3265760bff21b120f62407a9a9e5ba31aa3c8ed198fc");
  EXPECT_EQ(summary.elrange_size, 0x40000u);
  EXPECT_EQ(summary.pages, 9u);
  EXPECT_EQ(summary.extends, 144u);
}

// Replaying a foreign stream record by record through Measurer must give the same bytes.
TEST(Measurement, ReplayGivesTheSameStream) {
  NEED(testdata() / "test_enclave.sgxs");
  const Bytes stream = load(testdata() / "test_enclave.sgxs");
  Bytes replayed;
  Measurer measurer([&](ByteView bytes) { replayed.insert(replayed.end(), bytes.begin(), bytes.end()); });
  for (size_t at = 0; at < stream.size();) {
    const uint8_t* record = stream.data() + at;
    at += 64;
    if (record[1] == 'C') {
      measurer.ecreate(load_le<uint32_t>(record + 8), load_le<uint64_t>(record + 12));
    } else if (record[1] == 'A') {
      measurer.eadd(load_le<uint64_t>(record + 8), load_le<uint64_t>(record + 16));
    } else {
      measurer.eextend(load_le<uint64_t>(record + 8), ByteView(stream).subspan(at, kExtendSize));
      at += kExtendSize;
    }
  }
  EXPECT_EQ(replayed, stream);
  EXPECT_EQ(to_hex(measurer.finish()), "784acfd7d5096a8f0fbd3265760bff21b120f62407a9a9e5ba31aa3c8ed198fc");
}

TEST(Measurement, RefusesStreamsNoCpuWouldBuild) {
  Bytes stream;
  Measurer good([&](ByteView bytes) { stream.insert(stream.end(), bytes.begin(), bytes.end()); });
  good.ecreate(1, 0x10000);
  good.add_measured_page(0x1000, 0x203, Bytes(kPageSize));
  EXPECT_TRUE(read_sgxs(stream).ok());
  Bytes outside = stream;
  store_le<uint64_t>(outside.data() + 64 + 8, 0x10000);
  EXPECT_FALSE(read_sgxs(outside).ok());
  Bytes short_by_one(stream.begin(), stream.end() - 1);
  EXPECT_FALSE(read_sgxs(short_by_one).ok());
  Bytes size = stream;
  size[12] = 1;
  EXPECT_FALSE(read_sgxs(size).ok());
  EXPECT_FALSE(read_sgxs({}).ok());
}

TEST(SigStruct, ForeignSignaturesVerify) {
  NEED(testdata() / "test_enclave.sig");
  const SigStruct s = parse_sigstruct(load(testdata() / "test_enclave.sig")).value();
  const auto verified = verify_sigstruct(s);
  EXPECT_TRUE(verified.ok()) << verified.error().message();
  EXPECT_EQ(to_hex(mrsigner_of(s)), "fb4bab3d6036ac1d730fa83d7366df1dd2dfeac194ef335d6854d8a6c6475542");
  EXPECT_EQ(to_hex(s.enclave_hash), "784acfd7d5096a8f0fbd3265760bff21b120f62407a9a9e5ba31aa3c8ed198fc");
  EXPECT_EQ(s.isv_prod_id, 65535);
  for (const char* name : {"le_prod_css.bin", "le_prod_css_older.bin", "sig1.sigstruct.bin"}) {
    NEED(testdata() / name);
    const SigStruct other = parse_sigstruct(load(testdata() / name)).value();
    const auto result = verify_sigstruct(other);
    EXPECT_TRUE(result.ok()) << name << ": " << result.error().message();
  }
}

TEST(SigStruct, ASignatureBySomebodyElseDoesNotVerify) {
  NEED(testdata() / "test_enclave.sig");
  Bytes bytes = load(testdata() / "test_enclave.sig");
  for (const size_t at :
       {size_t{20}, size_t{130}, size_t{520}, size_t{960}, size_t{1026}, size_t{1040}, size_t{1424}}) {
    Bytes changed = bytes;
    changed[at] ^= 1;
    const auto parsed = parse_sigstruct(changed);
    EXPECT_TRUE(!parsed.ok() || !verify_sigstruct(*parsed).ok()) << at;
  }
}

TEST(SigStruct, OurOwnVerifiesAndIsDeterministic) {
  const SigningKey key = SigningKey::generate().value();
  SigningParameters parameters;
  parameters.mrenclave.fill(7);
  parameters.isv_svn = 3;
  const SigStruct first = key.sign(parameters).value();
  const SigStruct second = key.sign(parameters).value();
  EXPECT_TRUE(verify_sigstruct(first).ok());
  EXPECT_EQ(std::memcmp(&first, &second, sizeof(first)), 0);
  const SigningKey again = SigningKey::from_pem(key.to_pem().value()).value();
  EXPECT_EQ(mrsigner_of(again.sign(parameters).value()), mrsigner_of(first));

  const ByteView bytes = object_bytes(first);
  for (size_t at = 0; at < bytes.size(); ++at) {
    SigStruct changed = first;
    reinterpret_cast<uint8_t*>(&changed)[at] ^= 0x10;
    EXPECT_FALSE(verify_sigstruct(changed).ok()) << at;
  }
}

TEST(Manifest, HasOneEncoding) {
  Manifest m;
  m.name = "copy_dapp";
  m.entry = "/application";
  m.mounts = {"/data"};
  const Bytes bytes = encode_manifest(m);
  EXPECT_EQ(decode_manifest(bytes).value(), m);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_manifest(ByteView(bytes).first(size)).ok()) << size;
  }
  Bytes longer = bytes;
  longer.push_back(0);
  EXPECT_FALSE(decode_manifest(longer).ok());
}

TEST(Manifest, RefusesImpossibleSizes) {
  Manifest m;
  m.entry = "/application";
  m.threads = 0;
  EXPECT_FALSE(decode_manifest(encode_manifest(m)).ok());
  m.threads = 8;
  m.heap_size = 4097;
  EXPECT_FALSE(decode_manifest(encode_manifest(m)).ok());
  m.heap_size = 64 << 20;
  m.entry = "relative";
  EXPECT_FALSE(decode_manifest(encode_manifest(m)).ok());
}

TEST(Manifest, AStandaloneCommandIsPartOfIt) {
  Manifest manifest;
  manifest.entry = "/cloister";
  const Bytes plain = encode_manifest(manifest);
  manifest.standalone = Standalone{{"cas", "--listen=@@1"}, "/state", SealPolicy::MrSigner};
  const Bytes bytes = encode_manifest(manifest);
  EXPECT_EQ(decode_manifest(bytes).value(), manifest);
  EXPECT_FALSE(decode_manifest(plain).value().standalone);
  Bytes other = bytes;
  other.back() = 3;
  EXPECT_EQ(decode_manifest(other).error().message(), "manifest: seal policy");
  for (const char* path : {"state", "/", "/a/../b", "/a/", "//a"}) {
    manifest.standalone->sealed_path = path;
    EXPECT_FALSE(decode_manifest(encode_manifest(manifest)).ok()) << path;
  }
  // The flag without what it announces, and the other way round.
  Bytes flagged = plain;
  flagged[16] |= 2;
  EXPECT_FALSE(decode_manifest(flagged).ok());
  Bytes unflagged = bytes;
  unflagged[16] &= static_cast<uint8_t>(~2u);
  EXPECT_FALSE(decode_manifest(unflagged).ok());
}

}  // namespace
}  // namespace cloister::sgx
