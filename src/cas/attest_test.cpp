// A service that proves itself, and those that do not: without evidence, with another's, another enclave's,
// an outdated platform's.
#include "cas/attest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "cas/evidence.h"
#include "cas/world_test_support.h"
#include "http/server.h"

namespace cloister::cas {
namespace {

using ::testing::HasSubstr;
using testing::measurement_hex;
using testing::World;

class AttestTest : public ::testing::Test {
 protected:
  // Evidence as an enclave with measurement `digit` gives it, over whatever `bent` makes of the report data.
  EvidenceSource source(char digit, uint64_t flags = 0,
                        std::function<void(attestation::ReportData&)> bent = {}) {
    return [this, digit, flags, bent](attestation::ReportData data) -> Result<ServiceEvidence> {
      if (bent) bent(data);
      sgx::Secs secs{};
      secs.attributes.flags = sgx::kFlagInit | sgx::kFlagMode64 | flags;
      const auto mrenclave = array_from_hex<32>(measurement_hex(digit)).value();
      std::copy(mrenclave.begin(), mrenclave.end(), secs.mrenclave);
      secs.mrsigner[0] = 7;
      secs.isv_prod_id = 3;
      secs.isv_svn = 2;
      const sgx::Report report = world_.platform().make_report(secs, world_.pki().target_info(), data);
      return ServiceEvidence{world_.pki().quote(report).value(), std::string(as_text(world_.collateral()))};
    };
  }
  Result<AttestedCas> attest(EvidenceSource evidence, const AttestOptions& with) {
    CasOptions options = world_.options();
    options.api.evidence = std::move(evidence);
    world_.start(options);
    return attest_cas(world_.server->api_address(), with);
  }
  AttestOptions wanted(char digit) {
    AttestOptions out;
    out.evidence.anchors.push_back(world_.pki().anchor());
    out.security.tolerate = {policy::Toleration::SimulationMode};
    out.wanted.mrenclaves = {array_from_hex<32>(measurement_hex(digit)).value()};
    out.hint = needed;
    return out;
  }
  // Of each reason what would have to be accepted.
  static std::string needed(const std::vector<policy::Denial>& denials) {
    std::string out;
    for (const policy::Denial& denial : denials) {
      out += denial.rule + ":";
      for (const auto one : denial.tolerations) out += " " + std::string(policy::toleration_name(one));
      for (const std::string& advisory : denial.advisories) out += " " + advisory;
      out += ";";
    }
    return out;
  }
  void expect_denied(const Result<AttestedCas>& result, const std::string& words) {
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code(), Code::Denied) << result.error().message();
    EXPECT_THAT(result.error().message(), HasSubstr("is not trustworthy"));
    EXPECT_THAT(result.error().message(), HasSubstr(words));
  }

  World world_;
};

TEST_F(AttestTest, TheRightEnclaveIsTrustworthy) {
  const auto attested = attest(source('c'), wanted('c'));
  ASSERT_TRUE(attested.ok()) << attested.error().message();
  EXPECT_EQ(attested->key, world_.server->key_hash());
  EXPECT_EQ(attested->version, "test");
  EXPECT_TRUE(attested->verdict.simulated);
}

TEST_F(AttestTest, AServiceOutsideOfAnEnclaveIsNot) {
  expect_denied(attest({}, wanted('c')), "does not run inside an enclave");
}

TEST_F(AttestTest, AJournalThatLacksWhatWasSeenIsFoundOut) {
  const EvidenceSource evidence = source('c');
  ASSERT_TRUE(attest(evidence, wanted('c')).ok());
  const auto copy = std::filesystem::copy_options::recursive;
  const std::filesystem::path state = world_.folder.path / "state", old = world_.folder.path / "old";
  ASSERT_TRUE(world_.client(world_.owner).create_session(testing::session_text("first")).ok());
  world_.server.reset();
  std::filesystem::copy(state, old, copy);
  AttestOptions options = wanted('c');
  const auto before = attest(evidence, options);
  ASSERT_TRUE(before.ok());
  EXPECT_GT(before->journal.sequence, 0u);
  options.known = KnownCas{before->key, before->journal};
  // It may grow.
  ASSERT_TRUE(world_.client(world_.owner).create_session(testing::session_text("second")).ok());
  const auto grown = attest(evidence, options);
  ASSERT_TRUE(grown.ok()) << grown.error().message();
  EXPECT_GT(grown->journal.sequence, before->journal.sequence);
  options.known = KnownCas{grown->key, grown->journal};
  EXPECT_TRUE(attest(evidence, options).ok());
  // Put back, it lacks the entry; grown again, it has another one in its place.
  world_.server.reset();
  std::filesystem::remove_all(state);
  std::filesystem::copy(old, state, copy);
  for (int round = 0; round < 2; ++round) {
    const auto back = attest(evidence, options);
    ASSERT_FALSE(back.ok());
    EXPECT_EQ(back.error().code(), Code::Integrity);
    EXPECT_THAT(back.error().message(), HasSubstr("put back to an earlier state"));
    ASSERT_TRUE(world_.client(world_.owner).create_session(testing::session_text("other")).ok() ||
                round == 1);
  }
}

TEST_F(AttestTest, AnotherEnclaveIsNot) {
  expect_denied(attest(source('d'), wanted('c')), "Enclave hash does not match expectation");
}

TEST_F(AttestTest, TheSignerDecidesWhenAskedFor) {
  AttestOptions options = wanted('c');
  options.wanted.mrenclaves.clear();
  policy::SignerFactor signer;
  signer.mrsigner.emplace().fill(0);
  (*signer.mrsigner)[0] = 7;
  signer.isv_prod_id = 3;
  signer.isv_svn_min = 2;
  options.wanted.signer = signer;
  EXPECT_TRUE(attest(source('c'), options).ok());
  options.wanted.signer->isv_svn_min = 3;
  expect_denied(attest(source('c'), options), "signer");
}

// What is at the address may say anything; none of it is our fault, and none is taken.
TEST_F(AttestTest, AnAnswerThatIsNoneIsARefusal) {
  const std::string zero(64, '0'), quote = R"("quote":"AAAA","collateral":"{}",)";
  const auto journal = [](const std::string& sequence, const std::string& head, const std::string& seen) {
    return R"("journal":{"sequence":)" + sequence + R"(,"head":")" + head + R"(","seen_hash":")" + seen +
           "\"}";
  };
  const std::pair<unsigned, std::string> answers[] = {
      {500, "{}"},
      {302, "{}"},
      {200, ""},
      {200, "hello"},
      {200, "[]"},
      {200, std::string(100000, '[')},
      {200, "{}"},
      {200, R"({"quote":1,"collateral":"{}"})"},
      {200, R"({"quote":"?","collateral":"{}"})"},
      {200, "{" + quote + R"("journal":5})"},
      {200, "{" + quote + journal("-1", zero, zero) + "}"},
      {200, "{" + quote + journal("1", "xyz", zero) + "}"},
      {200, "{" + quote + journal("1", zero, "00") + "}"},
      {200, "{" + quote + journal("1", zero, zero) + "}"},
      {200, std::string(5 << 20, ' ')},
  };
  for (const auto& [status, body] : answers) {
    http::ServerOptions options;
    options.tls = attestation::testing::make_identity("liar");
    const auto server = http::Server::start(options, [&, s = status, b = body](http::Exchange& exchange) {
                          EXPECT_TRUE(exchange.respond({.status = s, .body = b}).ok());
                        }).value();
    const auto result = attest_cas(server->address(), wanted('c'));
    ASSERT_FALSE(result.ok()) << status << body.substr(0, 100);
    EXPECT_EQ(result.error().code(), Code::Denied) << result.error().message() << body.substr(0, 100);
    EXPECT_THAT(result.error().message(), HasSubstr(" is not trustworthy: ")) << body.substr(0, 100);
  }
}

TEST_F(AttestTest, WhatIsNotItsFaultIsNoRefusal) {
  for (const char* address : {"", "a b", "host:70000"}) {
    const auto result = attest_cas(address, wanted('c'));
    ASSERT_FALSE(result.ok()) << address;
    EXPECT_EQ(result.error().code(), Code::InvalidArgument) << result.error().message();
  }
  http::ServerOptions options;
  options.tls = attestation::testing::make_identity("short");
  auto server = http::Server::start(options, [](http::Exchange& exchange) {
                  EXPECT_TRUE(exchange.respond({.status = 503, .body = "{}"}).ok());
                }).value();
  const std::string address = server->address();
  EXPECT_EQ(attest_cas(address, wanted('c')).error().code(), Code::Unavailable) << "it has no quote now";
  server.reset();
  const auto gone = attest_cas(address, wanted('c'));
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(gone.error().code(), Code::Unavailable) << gone.error().message();
  EXPECT_THAT(gone.error().message(), Not(HasSubstr("trustworthy")));
}

TEST_F(AttestTest, EvidenceForAnotherKeyOrNonceIsRefused) {
  const auto bend = [](attestation::ReportData& data) { data[63] ^= 1; };
  expect_denied(attest(source('c', 0, bend), wanted('c')), "not bound to its key and our nonce");
  // An old answer of this very service: the nonce is another.
  std::optional<attestation::ReportData> first;
  const auto replay = [&first](attestation::ReportData& data) {
    if (!first) first = data;
    data = *first;
  };
  const EvidenceSource replayed = source('c', 0, replay);
  EXPECT_TRUE(attest(replayed, wanted('c')).ok());
  expect_denied(attest(replayed, wanted('c')), "not bound to its key and our nonce");
}

TEST_F(AttestTest, APortThatIsNoClientApiEndsWithAHint) {
  world_.start(world_.options());
  const auto result = attest_cas(world_.server->enclave_address(), wanted('c'));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), Code::Unavailable) << result.error().message();
  EXPECT_THAT(result.error().hint(), HasSubstr("the client API is on port 8081 unless --listen-api"));
}

TEST_F(AttestTest, ADebugEnclaveNeedsAToleration) {
  AttestOptions options = wanted('c');
  const auto refused = attest(source('c', sgx::kFlagDebug), options);
  expect_denied(refused, "debug-mode");
  EXPECT_THAT(refused.error().hint(), HasSubstr("debug-mode: debug-mode;"));
  const auto other = attest(source('d', sgx::kFlagDebug), options);
  expect_denied(other, "debug-mode");
  EXPECT_EQ(other.error().hint(), "mrenclave:;debug-mode: debug-mode;") << "nothing accepts another enclave";
  options.security.tolerate.push_back(policy::Toleration::DebugMode);
  EXPECT_TRUE(attest(source('c', sgx::kFlagDebug), options).ok());
}

// As of a real platform, of which an owner has the collateral: there hyperthreading counts, too.
TEST_F(AttestTest, AllReasonsOfARefusalAreThereForTheHint) {
  attestation::SimSettings settings;
  settings.tcb_status = attestation::TcbStatus::ConfigurationNeeded;
  settings.advisory_ids = {"INTEL-SA-00334", "INTEL-SA-00615"};
  const auto pki = attestation::SimPki::open(world_.folder.path / "pki", world_.platform(), settings).value();
  const auto file = world_.folder.path / "bundle.json";
  const std::string bundle = attestation::collateral_bundle_json(pki.collateral(std::time(nullptr)).value());
  ASSERT_TRUE(write_public_file(file, as_bytes(bundle)).ok());
  AttestOptions options = wanted('c');
  options.evidence.anchors = {world_.pki().anchor()};
  options.evidence.anchors[0].simulation = false;
  options.evidence.collateral = {attestation::load_collateral(file, options.evidence.anchors).value()};
  const auto refused = attest(source('c'), options);
  expect_denied(refused, "hyperthreading");
  EXPECT_EQ(refused.error().hint(),
            "tcb-status: insecure-configuration;advisories: INTEL-SA-00334 INTEL-SA-00615;"
            "hyperthreading: hyperthreading;");
  options.security.tolerate = {policy::Toleration::InsecureConfiguration, policy::Toleration::Hyperthreading};
  options.security.ignore_advisories = settings.advisory_ids;
  EXPECT_TRUE(attest(source('c'), options).ok());
}

TEST_F(AttestTest, ASimulatedPlatformIsRefusedWithoutItsRoot) {
  AttestOptions options = wanted('c');
  options.evidence.anchors = {attestation::intel_sgx_root()};
  expect_denied(attest(source('c'), options), "collateral");
}

TEST_F(AttestTest, AMissingLasIsUnavailableAndNoReasonToDistrust) {
  const EvidenceSource none = [](const attestation::ReportData&) -> Result<ServiceEvidence> {
    return Error(Code::Unavailable, "Unable to connect to LAS at 10.0.0.1:18766");
  };
  const auto result = attest(none, wanted('c'));
  EXPECT_EQ(result.error().code(), Code::Unavailable);
  EXPECT_EQ(result.error().message().find("10.0.0.1"), std::string::npos);
}

TEST_F(AttestTest, AnEvidenceForAnotherRoleIsNotTakenForAService) {
  const auto bend = [this](attestation::ReportData& data) {
    attestation::Binding binding;
    binding.role = attestation::Role::Enclave;
    binding.own_key = world_.server->key_hash();
    binding.subject = "cas";
    data = report_data_for(binding);
  };
  expect_denied(attest(source('c', 0, bend), wanted('c')), "not bound");
}

}  // namespace
}  // namespace cloister::cas
