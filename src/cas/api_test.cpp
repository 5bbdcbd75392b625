// The client API over HTTPS as any client speaks it: every route without a certificate and as a stranger,
// statuses and texts that existing clients look for, and the page that is generated from the table.
#include "cas/api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "cas/identity.h"
#include "cas/trust.h"
#include "cas/world_test_support.h"

namespace cloister::cas {
namespace {

using ::testing::HasSubstr;
using testing::predecessor;
using testing::session_text;
using testing::TestFolder;
using testing::World;
namespace fs = std::filesystem;

class ApiTest : public ::testing::Test {
 protected:
  void SetUp() override { world_.start(); }

  http::ClientResponse call(std::string_view verb, const std::string& path, std::string_view body = {},
                            const crypto::TlsIdentity* who = nullptr,
                            const std::string& header = "X-Test: 1") {
    http::ClientOptions options;
    options.expected_key = world_.server->key_hash();
    if (who != nullptr) options.identity = *who;
    auto response =
        http::fetch(verb, "https://" + world_.server->api_address() + path, body, {header}, options);
    EXPECT_TRUE(response.ok()) << response.error().message();
    return response.ok() ? std::move(*response) : http::ClientResponse{};
  }
  std::string create(const std::string& text) {
    const http::ClientResponse response = call("POST", "/session", text, &world_.owner);
    EXPECT_EQ(response.status, 201u) << response.body;
    return nlohmann::json::parse(response.body).at("hash");
  }

  World world_;
};

TEST_F(ApiTest, EveryRouteRefusesWhoeverHasNoRight) {
  create(session_text("s"));
  std::string hidden = session_text("hidden");
  hidden.replace(hidden.find(", export_public: true"), 21, "");
  create(hidden);
  for (const RouteInfo& route : routes()) {
    std::string path(route.path);
    if (const size_t at = path.find("{name}"); at != std::string::npos) path.replace(at, 6, "hidden");
    const std::string body = route.verb == "POST" ? session_text("hidden") : "";
    const http::ClientResponse nobody = call(route.verb, path, body);
    const http::ClientResponse stranger = call(route.verb, path, body, &world_.stranger);
    const http::ClientResponse owner = call(route.verb, path, body, &world_.owner);
    const std::string which = std::string(route.verb) + " " + path;
    for (const http::ClientResponse* answer : {&nobody, &stranger}) {
      EXPECT_EQ(answer->body.find("program"), std::string::npos) << which << " shows the session";
      EXPECT_EQ(answer->body.find(std::string(64, '1')), std::string::npos) << which << " shows a key";
    }
    switch (route.authentication) {
      case Authentication::Certificate:
        EXPECT_EQ(nobody.status, 401u) << which;
        EXPECT_EQ(stranger.status, 409u) << which;
        break;
      case Authentication::Owner:
      case Authentication::Uploader:
        EXPECT_EQ(nobody.status, 401u) << which;
        EXPECT_EQ(stranger.status, 404u) << which;
        EXPECT_EQ(owner.status, 200u) << which << owner.body;
        break;
      case Authentication::ReadRight:
        EXPECT_EQ(nobody.status, 404u) << which;
        EXPECT_EQ(stranger.status, 404u) << which;
        EXPECT_EQ(owner.status, 200u) << which << owner.body;
        break;
      case Authentication::None:
        const bool names_session = route.path.find("{name}") != std::string_view::npos;
        const bool wants_nonce = route.path == "/v1/attest";
        EXPECT_EQ(nobody.status, wants_nonce ? 400u : names_session ? 404u : 200u) << which;
        break;
    }
  }
}

TEST_F(ApiTest, AnswersInTheWordsThatClientsKnow) {
  const std::string hash = create(session_text("team/s"));
  EXPECT_EQ(hash.size(), 64u);
  const http::ClientResponse again = call("POST", "/v1/sessions", session_text("team/s"), &world_.owner);
  EXPECT_EQ(again.status, 409u);
  EXPECT_THAT(again.body, HasSubstr("Session already exists, please specify predecessor hash"));
  const http::ClientResponse wrong =
      call("POST", "/v1/sessions", session_text("team/s", predecessor({9})), &world_.owner);
  EXPECT_EQ(wrong.status, 404u);
  EXPECT_THAT(wrong.body,
              HasSubstr("Could not create successor session. Invalid previous session digest: 09"));
  const http::ClientResponse bad = call("POST", "/session", "name: s\nversion: 3\n", &world_.owner);
  EXPECT_EQ(bad.status, 400u);
  EXPECT_THAT(bad.body, HasSubstr("at line 2 column 10"));
  const auto session = nlohmann::json::parse(call("GET", "/v1/sessions/team/s", "", &world_.owner).body);
  EXPECT_EQ(session.at("session"), session_text("team/s"));
  EXPECT_EQ(session.at("hash"), hash);
  const http::ClientResponse absent = call("GET", "/v1/sessions/none", "", &world_.owner);
  EXPECT_EQ(absent.status, 404u);
  EXPECT_THAT(absent.body, HasSubstr("{\"msg\":[\"Session not found"));
}

TEST_F(ApiTest, TheClientRepeatsTheServersWords) {
  create(session_text("s"));
  Client client = world_.client(world_.owner);
  const auto again = client.create_session(session_text("s"));
  EXPECT_EQ(again.error().code(), Code::InvalidArgument);
  EXPECT_EQ(again.error().message(), "Session already exists, please specify predecessor hash");
  const auto bad = client.create_session("name: s\nversion: 3\n");
  EXPECT_EQ(bad.error().code(), Code::Malformed);
  EXPECT_THAT(bad.error().message(), HasSubstr("at line 2 column 10"));
  const auto absent = world_.client(world_.stranger).read_session("s");
  EXPECT_EQ(absent.error().code(), Code::NotFound);
  EXPECT_EQ(absent.error().message(), "Session not found: s");
  EXPECT_EQ(client.read_session("../x").error().code(), Code::InvalidArgument);
}

TEST_F(ApiTest, OlderVersionsStayReadableByTheirHash) {
  const std::string first = create(session_text("s"));
  const std::string second =
      create(session_text("s", predecessor(array_from_hex<32>(first).value()), "A: b"));
  EXPECT_NE(first, second);
  const auto old = nlohmann::json::parse(call("GET", "/v1/sessions/s?hash=" + first, "", &world_.owner).body);
  EXPECT_EQ(old.at("session"), session_text("s"));
  EXPECT_EQ(call("GET", "/v1/sessions/s?hash=" + first, "", &world_.stranger).status, 404u);
  EXPECT_EQ(call("GET", "/v1/sessions/s?hash=zz", "", &world_.owner).status, 400u);
  EXPECT_EQ(call("GET", "/v1/sessions/s?hash=" + std::string(64, '0'), "", &world_.owner).status, 404u);
}

TEST_F(ApiTest, PublicValuesAreForEverybody) {
  create(session_text("s"));
  const auto all = nlohmann::json::parse(call("GET", "/v1/values/session=s").body);
  const std::string shown = all.at("values").at("shown").at("value");
  EXPECT_EQ(shown.size(), 16u);
  EXPECT_EQ(all.at("values").size(), 1u);
  const auto one = nlohmann::json::parse(call("GET", "/v1/values/session=s,secret=shown").body);
  EXPECT_EQ(one.at("value"), shown);
  EXPECT_EQ(call("GET", "/v1/values/session=s,secret=word").status, 404u);
}

TEST_F(ApiTest, UnknownPathsVerbsAndHugeBodies) {
  EXPECT_EQ(call("GET", "/").status, 404u);
  EXPECT_EQ(call("GET", "/v1/sessions/").status, 404u);
  EXPECT_EQ(call("DELETE", "/v1/sessions/s").status, 405u);
  EXPECT_EQ(call("GET", "/session").header("allow"), "POST");
  EXPECT_EQ(call("POST", "/session", std::string(kMaxApiBody + 1, 'x'), &world_.owner).status, 413u);
  EXPECT_EQ(
      call("POST", "/session", std::string(kMaxApiBody + 1, 'x'), &world_.owner, "Transfer-Encoding: chunked")
          .status,
      413u);
  EXPECT_EQ(call("GET", "/v1/version").status, 200u);
  EXPECT_THAT(call("GET", "/v1/health").body, HasSubstr("\"status\":\"ok\""));
}

TEST_F(ApiTest, AnAddressThatAsksTooMuchIsSlowedDown) {
  CasOptions options = world_.options();
  options.api.burst = 3;
  options.api.requests_per_second = 0.001;
  world_.start(options);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(call("GET", "/v1/version").status, 200u);
  EXPECT_EQ(call("GET", "/v1/version").status, 429u);
}

TEST(ApiPage, SaysWhatTheTableSays) {
  const Bytes page = read_file(CLOISTER_SOURCE_DIR "/docs/reference/api.md", 1 << 20).value();
  EXPECT_EQ(as_text(page), api_page()) << "docs/reference/api.md is this text";
}

// --- the owner's side

class OwnerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* before = ::getenv("CLOISTER_CONFIG");
    if (before != nullptr) before_ = before;
    ::setenv("CLOISTER_CONFIG", (folder_.path / "config").c_str(), 1);
  }
  void TearDown() override {
    if (before_.empty()) {
      ::unsetenv("CLOISTER_CONFIG");
    } else {
      ::setenv("CLOISTER_CONFIG", before_.c_str(), 1);
    }
  }
  TestFolder folder_;
  std::string before_;
};

TEST_F(OwnerTest, PinsAreKeptByAddressInAPrivateFile) {
  const auto none = trusted_key("cas.example");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code(), Code::NotFound);
  EXPECT_EQ(none.error().message(), "CAS cas.example:8081 is not trusted");
  EXPECT_THAT(none.error().hint(), HasSubstr("cloister cas trust cas.example:8081 --key HASH"));
  ASSERT_TRUE(trust("cas.example", {1}).ok());
  ASSERT_TRUE(trust("[::1]:9", {2}).ok());
  EXPECT_EQ(trusted_key("cas.example:8081").value(), crypto::Digest{1});
  EXPECT_EQ(trusted_key("[::1]:9").value(), crypto::Digest{2});
  ASSERT_TRUE(trust("cas.example:8081", {3}).ok());
  EXPECT_EQ(trusted_key("cas.example").value(), crypto::Digest{3});

  EXPECT_EQ(fs::status(config_folder() / "cas.json").permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
  for (const char* bad : {"", "a b", "host:", "host:0", "host:70000", "http://host", "a:b:c", "[::1"}) {
    EXPECT_FALSE(full_address(bad).ok()) << bad;
  }
}

TEST_F(OwnerTest, WithoutAHomeTheSystemsIsTaken) {
  std::map<std::string, std::string> before;
  for (const char* name : {"HOME", "XDG_CONFIG_HOME"}) {
    if (const char* value = ::getenv(name); value != nullptr) before[name] = value;
    ::unsetenv(name);
  }
  ::unsetenv("CLOISTER_CONFIG");
  const fs::path folder = config_folder();
  ::setenv("HOME", "/somewhere", 1);
  EXPECT_EQ(config_folder(), "/somewhere/.config/cloister");
  ::setenv("XDG_CONFIG_HOME", "/elsewhere", 1);
  EXPECT_EQ(config_folder(), "/elsewhere/cloister");
  for (const char* name : {"HOME", "XDG_CONFIG_HOME"}) ::unsetenv(name);
  for (const auto& [name, value] : before) ::setenv(name.c_str(), value.c_str(), 1);
  EXPECT_TRUE(folder.is_absolute()) << folder;
}

TEST_F(OwnerTest, NamesBecomeNumericAddresses) {
  EXPECT_EQ(resolve("127.0.0.1", "80").value(), std::vector<std::string>{"127.0.0.1:80"});
  EXPECT_EQ(resolve("::1", "80").value(), std::vector<std::string>{"[::1]:80"});
  EXPECT_EQ(resolve("", "80").error().code(), Code::InvalidArgument);
  EXPECT_EQ(resolve("127.0.0.1", "http").error().code(), Code::InvalidArgument);
  EXPECT_EQ(resolve("no-such-host.invalid", "80").error().code(), Code::Unavailable);
}

TEST_F(OwnerTest, AnIdentityIsMadeOnceAndKept) {
  const fs::path folder = folder_.path / "owner";
  const crypto::Digest key = load_or_create_identity(folder).value().key.spki_sha256();
  EXPECT_EQ(load_or_create_identity(folder).value().key.spki_sha256(), key);
  fs::remove(folder / "identity-cert.pem");
  EXPECT_EQ(load_or_create_identity(folder).value().certificate.spki_sha256(), key);
  EXPECT_EQ(load_identity_file(folder / "identity-key.pem").value().key.spki_sha256(), key);
  EXPECT_EQ(fs::status(folder / "identity-key.pem").permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
  const auto other = attestation::testing::make_identity("other");
  ASSERT_TRUE(write_public_file(folder / "identity-cert.pem", as_bytes(other.certificate.pem())).ok());
  EXPECT_EQ(load_or_create_identity(folder).error().code(), Code::Malformed);
}

TEST_F(OwnerTest, ThePresentedKeyIsShownWithoutTrustingIt) {
  World world;
  world.start();
  EXPECT_EQ(presented_key(world.server->api_address()).value(), world.server->key_hash());
  EXPECT_FALSE(trusted_key(world.server->api_address()).ok());
  const std::string address = world.server->api_address();
  world.server.reset();
  EXPECT_EQ(presented_key(address).error().code(), Code::Unavailable);
}

}  // namespace
}  // namespace cloister::cas
