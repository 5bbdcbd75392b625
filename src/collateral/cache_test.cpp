// The cache against a server on this machine that answers with the provisioning service's paths, headers and
// encodings. What it serves is made by the simulated Intel, and with the outside vectors there, by Intel.
#include "collateral/cache.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "attestation/json.h"
#include "attestation/quote.h"
#include "attestation/sim_pki.h"
#include "attestation/tcb_json.h"
#include "base/files.h"
#include "collateral/collateral_test_support.h"

namespace cloister::collateral {
namespace {

using namespace attestation;
using testing::ServiceStandIn;
namespace fs = std::filesystem;

constexpr int64_t kNow = 1790000000;
constexpr int64_t kDay = 86400;
constexpr const char* kFmspc = "0053494d0001";  // the simulated platform's
const ArtefactKey kTcb{ArtefactKind::TcbInfo, Tee::Sgx, kFmspc};

class CollateralCache : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "cloister-collateral-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    ASSERT_TRUE(make_private_folder(folder_ / "cache").ok());
    anchor_ = pki().anchor();
    service_ = std::make_unique<ServiceStandIn>(pki().collateral(kNow).value());
  }
  void TearDown() override { fs::remove_all(folder_); }

  SimPki pki(uint32_t evaluation_number = 17) const {
    const auto platform = sgx::SimPlatform::open(folder_ / "machine").value();
    SimSettings settings;
    settings.tcb_evaluation_number = evaluation_number;
    return SimPki::open(folder_ / "pki", platform, settings).value();
  }
  CacheOptions options() {
    CacheOptions out;
    out.service.base_url = service_->url();
    out.anchors = {anchor_};
    out.folder = folder_ / "cache";
    out.clock = [this] { return now_.load(); };
    return out;
  }
  fs::path stored() const { return folder_ / "cache" / (kTcb.name() + ".json"); }

  fs::path folder_;
  TrustAnchor anchor_;
  std::unique_ptr<ServiceStandIn> service_;
  std::atomic<int64_t> now_ = kNow;
};

std::string fault_of(Cache& cache, const ArtefactKey& key) {
  for (const ArtefactStatus& status : cache.status()) {
    if (status.name == key.name()) return status.fault;
  }
  return "absent";
}

TEST_F(CollateralCache, FetchesFourPiecesOnceAndMakesAVerifierOfThem) {
  Cache cache(options());
  const PlatformKey platform{Tee::Sgx, kFmspc, "platform"};
  const auto trusted = cache.trusted(platform);
  ASSERT_TRUE(trusted.ok()) << trusted.error().message();
  EXPECT_EQ(service_->requests(), 4);
  EXPECT_EQ(cache.trusted(platform).value(), *trusted) << "the same object, with its decoded keys";
  EXPECT_EQ(service_->requests(), 4);
  const CollateralBundle bundle = cache.bundle(platform).value();
  EXPECT_EQ(bundle.tcb_info, pki().collateral(kNow).value().tcb_info) << "exact bytes";
}

TEST_F(CollateralCache, TheRootsListMayComeAsDerFromAnotherHost) {
  service_->keep_no_root_list();
  const PlatformKey platform{Tee::Sgx, kFmspc, "platform"};
  EXPECT_EQ(Cache(options()).trusted(platform).error().code(), Code::NotFound);
  const Bytes list = pki().collateral(kNow).value().root_ca_crl;
  const testing::RootListHost host(list);
  CacheOptions both = options();
  both.service.root_crl_url = host.url();
  Cache cache(both);
  const auto trusted = cache.trusted(platform);
  ASSERT_TRUE(trusted.ok()) << trusted.error().message();
  EXPECT_EQ(host.requests(), 1);
  EXPECT_EQ(cache.bundle(platform).value().root_ca_crl, list);
}

TEST_F(CollateralCache, AnotherHostsListMustBeTheRootsOwn) {
  const testing::RootListHost host(pki().collateral(kNow).value().pck_crl);  // a good list, of the CA
  CacheOptions both = options();
  both.service.root_crl_url = host.url();
  EXPECT_EQ(Cache(both).trusted({Tee::Sgx, kFmspc, "platform"}).error().code(), Code::Integrity);
  EXPECT_EQ(host.requests(), 1);
}

TEST_F(CollateralCache, DiskSurvivesARestartAndNeedsNoService) {
  ASSERT_TRUE(Cache(options()).get(kTcb).ok());
  service_->fail(500);
  EXPECT_TRUE(Cache(options()).get(kTcb).ok());
  EXPECT_EQ(service_->requests(), 1);
  EXPECT_EQ(fs::status(stored()).permissions() & fs::perms::others_all, fs::perms::none);
}

TEST_F(CollateralCache, RefreshesBeforeTheEndAndLivesThroughAnOutage) {
  Cache cache(options());
  const int64_t end = cache.get(kTcb).value()->expires;
  now_ = end - kDay / 2;
  service_->fail(503);
  EXPECT_EQ(cache.get(kTcb).value()->expires, end) << "still valid";
  EXPECT_NE(fault_of(cache, kTcb).find("503"), std::string::npos);
  service_->serve(pki().collateral(now_).value());
  service_->fail(200);
  now_ = now_ + 10;  // beyond the first back-off
  EXPECT_GT(cache.get(kTcb).value()->expires, end);
}

TEST_F(CollateralCache, APieceThatEndsSoonIsNotAskedForWithEveryCall) {
  CacheOptions eager = options();
  eager.refresh_before = 60 * kDay;  // longer than any piece lives
  Cache cache(eager);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(cache.get(kTcb).ok());
  EXPECT_EQ(service_->requests(), 1);
  now_ = now_ + 15 * 60;
  EXPECT_TRUE(cache.get(kTcb).ok());
  EXPECT_EQ(service_->requests(), 2);
}

TEST_F(CollateralCache, RefreshesAllItKnowsBeforeItIsAskedFor) {
  Cache cache(options());
  const int64_t end = cache.get(kTcb).value()->expires;
  cache.refresh_all();
  EXPECT_EQ(service_->requests(), 1) << "not before it ends soon";
  now_ = end - kDay / 2;
  service_->serve(pki().collateral(now_).value());
  cache.refresh_all();
  EXPECT_EQ(service_->requests(), 2);
  service_->fail(503);
  EXPECT_GT(cache.get(kTcb).value()->expires, end);
  EXPECT_EQ(service_->requests(), 2);
}

TEST_F(CollateralCache, TakesNewerFilesOfAnotherProcessAndNoOlderOnes) {
  CacheOptions offline = options();
  offline.service.base_url.clear();
  Cache running(offline);
  ASSERT_TRUE(running.import_bundle(pki().collateral(kNow).value()).ok());
  const int64_t end = running.get(kTcb).value()->expires;
  const Bytes older = read_file(stored(), 1 << 20).value();
  now_ = kNow + kDay;
  ASSERT_TRUE(Cache(offline).import_bundle(pki().collateral(now_).value()).ok());
  EXPECT_EQ(running.get(kTcb).value()->expires, end);
  running.refresh_all();
  EXPECT_GT(running.get(kTcb).value()->expires, end);
  ASSERT_TRUE(write_private_file(stored(), older).ok());
  running.refresh_all();
  EXPECT_GT(running.get(kTcb).value()->expires, end) << "set back on disk";
}

TEST_F(CollateralCache, NamesAPlatformOnlyUnderItsOwnRoots) {
  const auto platform = sgx::SimPlatform::open(folder_ / "machine").value();
  sgx::Secs enclave{};
  enclave.attributes.flags = sgx::kFlagInit | sgx::kFlagMode64;
  const SimPki own = pki();
  const Bytes quote = own.quote(platform.make_report(enclave, own.target_info(), ByteArray<64>{})).value();
  EXPECT_EQ(platform_of_quote(quote, {anchor_}).value().fmspc, kFmspc);
  EXPECT_EQ(platform_of_quote(quote, {intel_sgx_root()}).error().code(), Code::NotFound);
  // Certificates that only stand beside the root that is trusted.
  const std::string own_pem(as_text(parse_quote(quote)->certification_data));
  const std::string root = own_pem.substr(own_pem.rfind("-----BEGIN"));
  Bytes mixed;
  size_t others = 0;
  // Signatures differ in length; the other root must fit into this one's place.
  for (int i = 0; i < 100 && others != root.size(); ++i) {
    const SimPki other = SimPki::open(folder_ / ("other-pki-" + std::to_string(i)), platform).value();
    mixed = other.quote(platform.make_report(enclave, other.target_info(), ByteArray<64>{})).value();
    const std::string pem(as_text(parse_quote(mixed)->certification_data));
    others = pem.size() - pem.rfind("-----BEGIN");
  }
  ASSERT_EQ(others, root.size());
  const size_t at = std::string(as_text(mixed)).rfind("-----BEGIN");
  std::copy(root.begin(), root.end(), mixed.begin() + static_cast<ptrdiff_t>(at));
  EXPECT_EQ(platform_of_quote(mixed, {anchor_}).error().code(), Code::Integrity);
}

TEST_F(CollateralCache, NeverHandsOutWhatHasExpired) {
  Cache cache(options());
  now_ = cache.get(kTcb).value()->expires + 1;
  service_->fail(503);
  const auto gone = cache.get(kTcb);
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(gone.error().code(), Code::Unavailable);
  service_->fail(200);  // and the service offers the same expired piece
  now_ = now_ + 3600;
  EXPECT_EQ(cache.get(kTcb).error().code(), Code::Integrity);
}

TEST_F(CollateralCache, LeavesAFailingServiceAloneForAGrowingWhile) {
  Cache cache(options());
  service_->fail(500);
  EXPECT_FALSE(cache.get(kTcb).ok());
  EXPECT_FALSE(cache.get(kTcb).ok());
  EXPECT_EQ(service_->requests(), 1);
  now_ = now_ + 5;
  EXPECT_FALSE(cache.get(kTcb).ok());
  EXPECT_EQ(service_->requests(), 2);
  now_ = now_ + 5;
  EXPECT_FALSE(cache.get(kTcb).ok());
  EXPECT_EQ(service_->requests(), 2) << "ten seconds after the second failure";
  now_ = now_ + 5;
  service_->fail(200);
  EXPECT_TRUE(cache.get(kTcb).ok());
}

TEST_F(CollateralCache, ManyAskersAreOneRequest) {
  Cache cache(options());
  service_->delay(std::chrono::milliseconds(200));
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&] { good += cache.get(kTcb).ok() ? 1 : 0; });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 8);
  EXPECT_EQ(service_->requests(), 1);
}

TEST_F(CollateralCache, WrongBytesAreRefused) {
  Cache cache(options());
  CollateralBundle bundle = pki().collateral(kNow).value();
  bundle.tcb_info[bundle.tcb_info.size() / 2] ^= 1;
  service_->serve(bundle);
  EXPECT_FALSE(cache.get(kTcb).ok());
  bundle = pki().collateral(kNow).value();
  bundle.tcb_info_issuer_chain.clear();
  service_->serve(bundle);
  now_ = now_ + 60;
  EXPECT_EQ(cache.get(kTcb).error().code(), Code::Malformed) << "no chain in the header";
  EXPECT_FALSE(cache.get({ArtefactKind::TcbInfo, Tee::Sgx, "00606a000000"}).ok()) << "another platform's";
  EXPECT_FALSE(fs::exists(stored()));
}

TEST_F(CollateralCache, ALowerEvaluationNumberIsARollback) {
  service_->serve(pki(18).collateral(kNow).value());
  Cache cache(options());
  const int64_t end = cache.get(kTcb).value()->expires;
  now_ = end - 60;
  service_->serve(pki(17).collateral(now_).value());
  EXPECT_EQ(cache.get(kTcb).value()->evaluation_number, 18u) << "the old one while it lives";
  EXPECT_NE(fault_of(cache, kTcb).find("rolled back"), std::string::npos);
  now_ = end + 1;
  EXPECT_NE(cache.get(kTcb).error().message().find("rolled back"), std::string::npos);
  Cache restarted(options());
  EXPECT_NE(restarted.get(kTcb).error().message().find("rolled back"), std::string::npos) << "from disk";
}

TEST_F(CollateralCache, TheMinimumEvaluationNumberHoldsForServiceAndDisk) {
  ASSERT_TRUE(Cache(options()).get(kTcb).ok());
  CacheOptions strict = options();
  strict.minimum_evaluation_number = 18;
  Cache cache(strict);
  EXPECT_NE(cache.get(kTcb).error().message().find("below the required 18"), std::string::npos);
  service_->serve(pki(18).collateral(kNow).value());
  now_ = now_ + 60;
  EXPECT_TRUE(cache.get(kTcb).ok());
}

TEST_F(CollateralCache, TheStatusSaysWhatIsBelowTheMinimum) {
  ASSERT_TRUE(Cache(options()).trusted({Tee::Sgx, kFmspc, "platform"}).ok());
  CacheOptions strict = options();
  strict.minimum_evaluation_number = 18;
  int low = 0;
  for (const ArtefactStatus& status : Cache(strict).status()) low += status.below_minimum;
  EXPECT_EQ(low, 2) << "TCB info and identity; lists have no number";
  for (const ArtefactStatus& status : Cache(options()).status()) EXPECT_FALSE(status.below_minimum);
}

TEST_F(CollateralCache, AnImportThatTheDiskDoesNotTakeChangesNothing) {
  CacheOptions offline = options();
  offline.service.base_url.clear();
  Cache cache(offline);
  ASSERT_TRUE(cache.import_bundle(pki(17).collateral(kNow).value()).ok());
  const std::string before(as_text(read_file(stored(), 1 << 20).value()));
  // No room for the second piece; the first is the TCB info.
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto imported = [&] {
    CollateralBundle bundle = pki(18).collateral(kNow).value();
    const size_t first = encode_artefact(artefacts_of(bundle, offline.anchors).value()[0]).size();
    bundle.qe_identity_issuer_chain +=
        std::string(2 * first, '\n');  // white space behind the last certificate
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit small = limit;
    small.rlim_cur = first;
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    auto result = cache.import_bundle(bundle);
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    return result;
  }();
  ASSERT_FALSE(imported.ok());
  EXPECT_NE(imported.error().message().find("write"), std::string::npos) << imported.error().message();
  EXPECT_EQ(as_text(read_file(stored(), 1 << 20).value()), before);
  EXPECT_EQ(cache.get(kTcb).value()->evaluation_number, 17u);
  for (const auto& entry : fs::directory_iterator(offline.folder))
    EXPECT_EQ(entry.path().extension(), ".json") << entry.path();
}

TEST_F(CollateralCache, APoisonedFileIsNoticedAndReplaced) {
  ASSERT_TRUE(Cache(options()).get(kTcb).ok());
  std::string text(as_text(read_file(stored(), 1 << 20).value()));
  const size_t at = text.find("\"body\":") + 100;
  text[at] = text[at] == '0' ? '1' : '0';
  ASSERT_TRUE(write_private_file(stored(), as_bytes(text)).ok());
  service_->fail(503);
  Cache cache(options());
  EXPECT_EQ(cache.get(kTcb).error().code(), Code::Integrity);
  EXPECT_NE(fault_of(cache, kTcb).find("the stored file is not used"), std::string::npos);
  service_->fail(200);
  now_ = now_ + 60;
  EXPECT_TRUE(cache.get(kTcb).ok());
  EXPECT_EQ(fault_of(cache, kTcb), "");
  EXPECT_TRUE(Cache(options()).get(kTcb).ok()) << "the file is whole again";
}

TEST_F(CollateralCache, ImportsABundleWithoutAService) {
  CacheOptions offline = options();
  offline.service.base_url.clear();
  Cache cache(offline);
  EXPECT_EQ(cache.get(kTcb).error().code(), Code::Unavailable);
  const auto names = cache.import_bundle(pki(18).collateral(kNow).value());
  ASSERT_TRUE(names.ok()) << names.error().message();
  EXPECT_EQ(names->size(), 4u);
  EXPECT_TRUE(cache.trusted({Tee::Sgx, kFmspc, "platform"}).ok());
  EXPECT_FALSE(cache.import_bundle(pki(17).collateral(kNow).value()).ok()) << "a rollback by import";
  CollateralBundle foreign = pki(18).collateral(kNow).value();
  foreign.qe_identity_signature[0] ^= 1;
  EXPECT_FALSE(cache.import_bundle(foreign).ok());
}

TEST(CollateralOfIntel, IsFetchedFromAServiceThatAnswersLikeIntels) {
  const char* given = std::getenv("CLOISTER_TESTDATA");
  const fs::path bundles =
      fs::path(given != nullptr ? given : CLOISTER_SOURCE_DIR "/../shared/testdata") / "attestation/bundles";
  if (!fs::is_directory(bundles)) {
    GTEST_SKIP() << "outside vectors are a set shared between projects, found through $CLOISTER_TESTDATA or "
                    "../shared/testdata, and not part of this repository";
  }
  int count = 0;
  for (const auto& folder : fs::directory_iterator(bundles)) {
    const auto text = [&](const char* name) {
      return std::string(as_text(read_file(folder.path() / name, 8 << 20).value()));
    };
    const Json expected = Json::parse(text("expected.json"), nullptr, false);
    const bool own_root = expected.contains("root") && expected["root"].is_string();
    if (own_root || expected.value("expect", "reject") == "reject") continue;
    const auto bundle = parse_collateral_bundle(text("collateral.json"));
    const std::string quote = text("quote.bin");
    const auto platform = platform_of_quote(as_bytes(quote));
    if (!bundle.ok() || !platform.ok() || bundle->pck_crl.empty() || bundle->root_ca_crl.empty()) continue;
    if (bundle->pck_crl_issuer_chain.empty()) continue;
    SCOPED_TRACE(folder.path().filename().string());
    ServiceStandIn service(*bundle, platform->tee == Tee::Tdx ? "tdx" : "sgx");
    const int64_t time = parse_rfc3339(expected["verification_time"].get<std::string>()).value();
    CacheOptions options;
    options.service.base_url = service.url();
    options.clock = [time] { return time; };
    Cache cache(options);
    const auto trusted = cache.trusted(*platform);
    ASSERT_TRUE(trusted.ok()) << trusted.error().message();
    const auto verdict = verify_quote(as_bytes(quote), **trusted, time, std::nullopt);
    ASSERT_TRUE(verdict.ok()) << verdict.error().message();
    EXPECT_EQ(tcb_status_name(verdict->status), expected["expect"].get<std::string>());
    ++count;
  }
  std::cout << "bundles served: " << count << "\n";
  EXPECT_GT(count, 0);
}

}  // namespace
}  // namespace cloister::collateral
