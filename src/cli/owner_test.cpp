// What encryptedpush, execute and decrypt know about templates, their own records and folders of volumes.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <set>

#include "base/files.h"
#include "cli/amounts.h"
#include "cli/environment.h"
#include "cli/owner_session.h"
#include "cli/session_plan.h"
#include "cli/session_template.h"
#include "cli/temporary_folder.h"
#include "cli/volume_folders.h"
#include "crypto/random.h"
#include "volume/posix_storage.h"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;

SessionValues some_values() {
  SessionValues values;
  values.number = random_session_number();
  values.url = "http://127.0.0.1:1/x.zip";
  values.input_key = volume::Key(crypto::random_array<32>());
  values.output_key = volume::Key(crypto::random_array<32>());
  return values;
}

std::string tutorial() { return session_template("copy_dapp", "/application", std::string(64, 'a')); }

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  const size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return at == std::string::npos ? text : text.replace(at, what.size(), with);
}

Result<SessionPlan> plan_of(const std::string& text, const SessionValues& values) {
  const std::string filled = TRY(fill_template(text, values));
  return plan_session(filled, values);
}

TEST(SessionPlan, FindsInputAndOutputByTheirVariables) {
  const SessionValues values = some_values();
  const auto plan = plan_of(tutorial(), values);
  ASSERT_TRUE(plan.ok()) << plan.error().message();
  EXPECT_EQ(plan->session, values.number);
  EXPECT_EQ(plan->service, "application");
  EXPECT_EQ(plan->input.name, "encrypted-input-files");
  EXPECT_EQ(plan->input.path, "/encryptedInputs");
  EXPECT_EQ(plan->output.name, "encrypted-output-files");
  EXPECT_EQ(plan->output.path, "/encryptedOutputs");
  EXPECT_TRUE(plan->other_paths.empty());
}

TEST(SessionPlan, NamesTheMissingVariableAndItsPosition) {
  const auto plan = plan_of(replaced(tutorial(), "$INPUT_FSPF_TAG", "$NO_SUCH_TAG"), some_values());
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code(), Code::InvalidArgument);
  EXPECT_NE(plan.error().message().find("$NO_SUCH_TAG is missing"), std::string::npos);
  EXPECT_NE(plan.error().message().find(" line "), std::string::npos) << plan.error().message();
}

TEST(SessionPlan, RefusesATemplateWithoutAnOutputVolume) {
  const SessionValues values = some_values();
  const std::string text = replaced(replaced(tutorial(), "$OUTPUT_FSPF_KEY", std::string(64, '5')),
                                    "$OUTPUT_FSPF_TAG", std::string(32, '5'));
  const auto plan =
      plan_of(replaced(replaced(text, std::string(64, '5'), '"' + std::string(64, '5') + '"'),
                       "fspf_tag: " + std::string(32, '5'), "fspf_tag: \"" + std::string(32, '5') + '"'),
              values);
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.error().message().find("no output volume"), std::string::npos) << plan.error().message();
  EXPECT_NE(plan.error().hint().find("$OUTPUT_FSPF_KEY"), std::string::npos);
}

TEST(SessionPlan, RefusesAServiceThatMountsOnlyOneVolume) {
  const auto plan = plan_of(replaced(tutorial(),
                                     "        - name: encrypted-output-files\n          path: "
                                     "/encryptedOutputs\n",
                                     ""),
                            some_values());
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.error().message().find("mounts both"), std::string::npos) << plan.error().message();
}

TEST(SessionNumber, HasTwentySixDigitsAndNoLeadingZero) {
  std::set<std::string> seen;
  for (int i = 0; i < 200; ++i) {
    const std::string number = random_session_number();
    EXPECT_EQ(number.size(), 26u);
    EXPECT_NE(number[0], '0');
    EXPECT_EQ(number.find_first_not_of("0123456789"), std::string::npos);
    EXPECT_TRUE(seen.insert(number).second);
  }
}

OwnerSession some_session(const fs::path& conf, const std::string& created) {
  OwnerSession session;
  session.folder = make_session_folder(conf, random_session_number()).value();
  session.session = "a/1";
  session.service = "application";
  session.cas = "127.0.0.1:8081";
  session.created = created;
  session.input = {"in", "/in", {1}, {2}};
  session.output = {"out", "/out", {3}, {4}};
  return session;
}

TEST(OwnerSession, ComesBackNewestFirstAndPrivate) {
  const auto conf = TemporaryFolder::make().value();
  const OwnerSession old = some_session(conf.path(), "2024-01-01T00:00:00.000000000Z");
  const OwnerSession young = some_session(conf.path(), "2024-01-01T00:00:00.000000001Z");
  ASSERT_TRUE(old.save().ok());
  ASSERT_TRUE(young.save().ok());
  some_session(conf.path(), "");  // never finished: has no file
  const auto sessions = load_sessions(conf.path());
  ASSERT_TRUE(sessions.ok()) << sessions.error().message();
  ASSERT_EQ(sessions->size(), 2u);
  EXPECT_EQ(sessions->at(0).folder, young.folder);
  EXPECT_EQ(sessions->at(0).output.id, young.output.id);
  EXPECT_EQ(sessions->at(0).output.tag, young.output.tag);
  EXPECT_EQ(sessions->at(0).output.name, "out");
  struct stat status {};
  ASSERT_EQ(::stat((young.folder / "session.json").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat(young.folder.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST(OwnerSession, OneDamagedRecordDoesNotHideTheOthers) {
  const auto conf = TemporaryFolder::make().value();
  const OwnerSession bad = some_session(conf.path(), "b");
  ASSERT_TRUE(write_private_file(bad.folder / "session.json", as_bytes("{\"session\": 3")).ok());
  EXPECT_EQ(load_sessions(conf.path()).error().code(), Code::Malformed);
  const std::string deep = std::string(20000, '[') + std::string(20000, ']');
  ASSERT_TRUE(write_private_file(bad.folder / "session.json", as_bytes("{\"session\": " + deep + "}")).ok());
  EXPECT_EQ(load_sessions(conf.path()).error().code(), Code::Malformed);
  EXPECT_NE(load_sessions(conf.path()).error().message().find("deep"), std::string::npos)
      << load_sessions(conf.path()).error().message();
  ASSERT_TRUE(some_session(conf.path(), "a").save().ok());
  EXPECT_EQ(load_sessions(conf.path()).value().size(), 1u);
}

TEST(OwnerSession, SaysWhereKeysWereExpected) {
  const auto conf = TemporaryFolder::make().value();
  const auto none = load_sessions(conf.path());
  EXPECT_EQ(none.error().code(), Code::NotFound);
  EXPECT_NE(none.error().hint().find("--conf"), std::string::npos);
}

TEST(VolumeFolders, AreFoundByTheirMountPathsAndNothingElse) {
  const auto root = TemporaryFolder::make().value();
  const volume::Key key(crypto::random_array<32>());
  for (const char* name : {"in", "deep/er/out"}) {
    const fs::path folder = root.path() / name;
    fs::create_directories(folder);
    const auto storage = volume::open_posix_storage(folder).value();
    ASSERT_TRUE(volume::Volume::create(*storage, key, {}).ok());
  }
  fs::create_directories(root.path() / "other");
  ASSERT_TRUE(write_public_file(root.path() / "other/README", as_bytes("foreign")).ok());
  fs::create_directory_symlink("/", root.path() / "link");
  const auto found = find_volumes(root.path()).value();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found.at("/in"), root.path() / "in");
  EXPECT_EQ(found.at("/deep/er/out"), root.path() / "deep/er/out");
  EXPECT_EQ(volume_ids(found.at("/in")).value().size(), 1u);
  EXPECT_NE(volume_ids(found.at("/in")).value(), volume_ids(found.at("/deep/er/out")).value());
}

TEST(VolumeFolders, AnEmptyFolderIsThePlaceOfAVolumeBesideOthersOnly) {
  const auto root = TemporaryFolder::make().value();
  fs::create_directories(root.path() / "scratch");
  EXPECT_TRUE(find_volumes_and_places(root.path()).value().empty());
  fs::create_directories(root.path() / "in");
  const auto storage = volume::open_posix_storage(root.path() / "in").value();
  ASSERT_TRUE(volume::Volume::create(*storage, volume::Key(crypto::random_array<32>()), {}).ok());
  fs::create_directories(root.path() / "else");
  ASSERT_TRUE(write_public_file(root.path() / "else/README", as_bytes("foreign")).ok());
  const auto found = find_volumes_and_places(root.path()).value();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found.at("/scratch"), root.path() / "scratch");
  EXPECT_EQ(find_volumes(root.path()).value().size(), 1u);
  const auto before = superblocks_digest(root.path() / "scratch").value();
  const auto made = volume::open_posix_storage(root.path() / "scratch").value();
  ASSERT_TRUE(volume::Volume::create(*made, volume::Key(crypto::random_array<32>()), {}).ok());
  EXPECT_NE(superblocks_digest(root.path() / "scratch").value(), before);
}

TEST(Amounts, HaveUnitsAndBounds) {
  EXPECT_EQ(parse_size("4096", "x").value(), 4096u);
  EXPECT_EQ(parse_size("64M", "x").value(), uint64_t{64} << 20);
  EXPECT_EQ(parse_size("1g", "x").value(), uint64_t{1} << 30);
  EXPECT_EQ(parse_size("2T", "x").value(), uint64_t{2} << 40);
  EXPECT_EQ(parse_age("14d", "x").value(), 14u * 86400);
  for (const char* wrong : {"", "M", "10X", "1MM", "-1", " 1", "99999999999T", "18446744073709551616"})
    EXPECT_EQ(parse_size(wrong, "x").error().code(), Code::InvalidArgument) << wrong;
  EXPECT_FALSE(parse_age("1D", "x").ok());
}

TEST(Addresses, AreResolvedWhateverTheirForm) {
  EXPECT_EQ(resolve_address("127.0.0.1", 18765).value(), "127.0.0.1:18765");
  EXPECT_EQ(resolve_address("127.0.0.1:9", 18765).value(), "127.0.0.1:9");
  EXPECT_EQ(resolve_address("::1", 18765).value(), "[::1]:18765");
  EXPECT_EQ(resolve_address("[::1]", 18765).value(), "[::1]:18765");
  EXPECT_EQ(resolve_address("[::1]:9", 18765).value(), "[::1]:9");
  for (const char* wrong : {"", ":9", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "[::1", "[::1]x"})
    EXPECT_EQ(resolve_address(wrong, 1).error().code(), Code::InvalidArgument) << wrong;
}

TEST(VolumeFolders, ACommitChangesTheDigest) {
  const auto root = TemporaryFolder::make().value();
  const volume::Key key(crypto::random_array<32>());
  const auto storage = volume::open_posix_storage(root.path()).value();
  const auto made = volume::Volume::create(*storage, key, {}).value();
  const auto before = superblocks_digest(root.path()).value();
  ASSERT_TRUE(made->create_file(volume::kRootInode, "x", 0644, 0, 0, {}).ok());
  ASSERT_TRUE(made->commit().ok());
  EXPECT_NE(superblocks_digest(root.path()).value(), before);
}

}  // namespace
}  // namespace cloister::cli
