#include "boundary/config.h"

#include <gtest/gtest.h>

#include <functional>

namespace cloister::boundary {
namespace {

EnclaveConfig example() {
  EnclaveConfig config;
  config.instance_id.fill(0x11);
  config.argv = {"/application", "a b", ""};
  config.environment = {"HOME=/", "EMPTY="};
  config.working_directory = "/data dir";
  MountConfig input;
  input.name = "input";
  input.path = "/in";
  input.key.expose().fill(0x22);
  input.tag.fill(0x33);
  input.read_only = true;
  input.epoch = 7;
  MountConfig output;
  output.name = "output";
  output.path = "/data/out";
  output.key.expose().fill(0x44);
  output.create = true;
  output.update_policy = UpdatePolicy::RollbackProtectedReinitializable;
  output.sync_policy = SyncPolicy::OnClose;
  output.epoch = UINT64_MAX;
  config.mounts = {input, output};
  InjectedFile file;
  file.path = "/etc/key";
  file.mode = 0400;
  file.content = SecretBytes(Bytes{1, 2, 3});
  config.files.push_back(std::move(file));
  return config;
}

Bytes encoded(const EnclaveConfig& config) { return encode_config(config).expose(); }

TEST(EnclaveConfig, RoundTrips) {
  const EnclaveConfig config = example();
  const EnclaveConfig back = decode_config(encoded(config)).value();
  EXPECT_EQ(back.instance_id, config.instance_id);
  EXPECT_EQ(back.argv, config.argv);
  EXPECT_EQ(back.environment, config.environment);
  EXPECT_EQ(back.working_directory, config.working_directory);
  ASSERT_EQ(back.mounts.size(), 2u);
  EXPECT_EQ(back.mounts[0].name, "input");
  EXPECT_EQ(back.mounts[0].tag, config.mounts[0].tag);
  EXPECT_TRUE(back.mounts[0].read_only);
  EXPECT_EQ(back.mounts[1].key.expose(), config.mounts[1].key.expose());
  EXPECT_TRUE(back.mounts[1].create);
  EXPECT_EQ(back.mounts[1].update_policy, UpdatePolicy::RollbackProtectedReinitializable);
  EXPECT_EQ(back.mounts[1].sync_policy, SyncPolicy::OnClose);
  EXPECT_EQ(back.mounts[1].epoch, UINT64_MAX);
  ASSERT_EQ(back.files.size(), 1u);
  EXPECT_EQ(back.files[0].content.expose(), (Bytes{1, 2, 3}));
  EXPECT_EQ(encoded(back), encoded(config));
}

TEST(EnclaveConfig, RefusesEveryTruncationAndAnExtraByte) {
  Bytes bytes = encoded(example());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(decode_config(ByteView(bytes).first(size)).error().code(), Code::Malformed) << size;
  }
  bytes.push_back(0);
  EXPECT_FALSE(decode_config(bytes).ok());
}

TEST(EnclaveConfig, RefusesWhatTheKernelCouldMisread) {
  const std::pair<const char*, std::function<void(EnclaveConfig&)>> cases[] = {
      {"no argv", [](EnclaveConfig& c) { c.argv.clear(); }},
      {"NUL in argv", [](EnclaveConfig& c) { c.argv[1] = std::string("a\0b", 3); }},
      {"environment without =", [](EnclaveConfig& c) { c.environment.push_back("PATH"); }},
      {"environment without name", [](EnclaveConfig& c) { c.environment.push_back("=x"); }},
      {"relative working directory", [](EnclaveConfig& c) { c.working_directory = "tmp"; }},
      {"dots in a mount path", [](EnclaveConfig& c) { c.mounts[0].path = "/a/../b"; }},
      {"mount at the root", [](EnclaveConfig& c) { c.mounts[0].path = "/"; }},
      {"trailing slash", [](EnclaveConfig& c) { c.mounts[0].path = "/in/"; }},
      {"same path twice", [](EnclaveConfig& c) { c.mounts[0].path = c.mounts[1].path; }},
      {"same name twice", [](EnclaveConfig& c) { c.mounts[0].name = c.mounts[1].name; }},
      {"empty name", [](EnclaveConfig& c) { c.mounts[0].name.clear(); }},
      {"created and read-only", [](EnclaveConfig& c) { c.mounts[1].read_only = true; }},
      {"created with a tag", [](EnclaveConfig& c) { c.mounts[1].tag.fill(1); }},
      {"mode", [](EnclaveConfig& c) { c.files[0].mode = 010000; }},
      {"file path", [](EnclaveConfig& c) { c.files[0].path = "/etc//key"; }},
      {"long argument", [](EnclaveConfig& c) { c.argv.push_back(std::string(kMaxConfigString + 1, 'x')); }},
      {"many arguments", [](EnclaveConfig& c) { c.argv.assign(kMaxConfigStrings + 1, "x"); }},
  };
  for (const auto& [what, damage] : cases) {
    EnclaveConfig config = example();
    damage(config);
    const Result<EnclaveConfig> decoded = decode_config(encoded(config));
    ASSERT_FALSE(decoded.ok()) << what;
    EXPECT_EQ(decoded.error().code(), Code::Malformed) << what;
  }
}

TEST(EnclaveConfig, RefusesAnotherVersion) {
  Bytes bytes = encoded(example());
  bytes[4] = 2;
  EXPECT_EQ(decode_config(bytes).error().message(), "configuration: unknown version");
}

TEST(AgentEvent, RoundTripsBothKinds) {
  AgentEvent event;
  event.sequence = 42;
  event.changes = {{"output", {}, {}}, {"log", {}, {}}};
  event.changes[0].next.fill(1);
  event.changes[1].previous.fill(2);
  const AgentEvent back = decode_event(encode_event(event)).value();
  EXPECT_EQ(back.sequence, 42u);
  ASSERT_EQ(back.changes.size(), 2u);
  EXPECT_EQ(back.changes[0].next, event.changes[0].next);
  EXPECT_EQ(back.changes[1].previous, event.changes[1].previous);

  AgentEvent exit;
  exit.kind = AgentEvent::Kind::Exited;
  exit.status = 143;
  EXPECT_EQ(decode_event(encode_event(exit)).value().status, 143);
}

TEST(AgentEvent, RefusesEmptyDoubleAndTruncatedOnes) {
  AgentEvent event;
  EXPECT_FALSE(decode_event(encode_event(event)).ok());
  event.changes = {{"a", {}, {}}, {"a", {}, {}}};
  EXPECT_FALSE(decode_event(encode_event(event)).ok());
  event.changes.pop_back();
  const Bytes bytes = encode_event(event);
  ASSERT_TRUE(decode_event(bytes).ok());
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(decode_event(ByteView(bytes).first(size)).ok());
}

}  // namespace
}  // namespace cloister::boundary
