// The client against the real server, plain and TLS, and against peers that are dead, silent or foreign.
#include "http/client.h"

#include <filesystem>
#include <fstream>

#include "base/files.h"
#include "crypto/random.h"
#include "http/http_test_support.h"

namespace cloister::http {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

class HttpClient : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "cloister-http-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_;
};

std::string plain_url(const Server& server) { return "http://" + server.address(); }
std::string tls_url(const Server& server) { return "https://" + server.address(); }

std::string text_of(const fs::path& path) { return std::string(as_text(read_file(path, 64 << 20).value())); }

void write(const fs::path& path, std::string_view text) {
  ASSERT_TRUE(write_private_file(path, as_bytes(text)).ok());
}

std::string noise(size_t size) {
  Bytes bytes(size);
  crypto::random_bytes(bytes);
  return std::string(as_text(bytes));
}

// Serves `content` with single ranges, as the transfer service does.
Handler serve_ranges(std::string content) {
  return [content = std::move(content)](Exchange& exchange) {
    Response response;
    response.body = content;
    const std::string_view range = exchange.request().header("range");
    if (range.starts_with("bytes=")) {
      const size_t start = std::stoull(std::string(range.substr(6)));
      const std::string total = std::to_string(content.size());
      response.status = start < content.size() ? 206 : 416;
      response.headers.emplace_back(
          "Content-Range", start < content.size() ? "bytes " + std::to_string(start) + "-" +
                                                        std::to_string(content.size() - 1) + "/" + total
                                                  : "bytes */" + total);
      response.body = start < content.size() ? content.substr(start) : "no such range";
    }
    EXPECT_TRUE(exchange.respond(std::move(response)).ok());
  };
}

TEST_F(HttpClient, SendsEveryMethodWithBodyAndHeaders) {
  const auto server = Server::start({}, echo).value();
  for (const char* method : {"GET", "DELETE"}) {
    const auto response = fetch(method, plain_url(*server) + "/m?k=v", "", {"X-Note: n"}, {}).value();
    EXPECT_EQ(response.status, 200u);
    EXPECT_EQ(response.body, std::string(method) + " /m n  k=v");
    EXPECT_EQ(response.header("server"), "cloister");
  }
  for (const char* method : {"POST", "PUT", "PATCH"}) {
    for (const std::string& body : {std::string(), std::string("a\0b", 3), noise(100000)}) {
      const auto response = fetch(method, plain_url(*server) + "/m", body, {}, {}).value();
      EXPECT_EQ(response.body, std::string(method) + " /m  " + body);
    }
  }
  EXPECT_EQ(fetch("HEAD", plain_url(*server) + "/m", "", {}, {}).value().body, "");
}

TEST_F(HttpClient, LimitsTheAnswer) {
  const auto server = Server::start({}, echo).value();
  const auto response = fetch("POST", plain_url(*server) + "/", "0123456789", {}, {}, 5);
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), Code::Malformed);
}

TEST_F(HttpClient, RefusesOtherSchemesBadUrlsAndSplitHeaders) {
  for (const char* url : {"file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "127.0.0.1/",
                          "http://", "", "http://a b/"}) {
    const auto response = fetch("GET", url, "", {}, {});
    ASSERT_FALSE(response.ok()) << url;
    EXPECT_EQ(response.error().code(), Code::InvalidArgument) << url;
  }
  for (const char* header : {"A: b\r\nC: d", "no colon"}) {
    EXPECT_EQ(fetch("GET", "http://127.0.0.1:1/", "", {header}, {}).error().code(), Code::InvalidArgument);
  }
}

TEST_F(HttpClient, DoesNotFollowRedirects) {
  const auto server = Server::start({}, [](Exchange& exchange) {
                        EXPECT_EQ(exchange.request().path, "/from");
                        EXPECT_TRUE(exchange.respond({.status = 302, .headers = {{"Location", "/to"}}}).ok());
                      }).value();
  const auto response = fetch("GET", plain_url(*server) + "/from", "", {}, {}).value();
  EXPECT_EQ(response.status, 302u);
  EXPECT_EQ(response.header("location"), "/to");
}

TEST_F(HttpClient, NamesADeadServerAndASilentOne) {
  std::string address;
  { address = Listener::bind("127.0.0.1:0").value().address(); }
  const auto dead = fetch("GET", "http://" + address + "/", "", {}, {});
  ASSERT_FALSE(dead.ok());
  EXPECT_EQ(dead.error().code(), Code::Unavailable);
  EXPECT_EQ(dead.error().message(), "cannot reach " + address + ": Connection refused");

  const Listener silent = Listener::bind("127.0.0.1:0").value();
  ClientOptions options;
  options.stall_timeout = 300ms;
  options.connect_timeout = 300ms;
  const auto start = std::chrono::steady_clock::now();
  const auto plain = fetch("GET", "http://" + silent.address() + "/", "", {}, options);
  ASSERT_FALSE(plain.ok());
  EXPECT_EQ(plain.error().code(), Code::Unavailable);
  EXPECT_NE(plain.error().message().find(silent.address()), std::string::npos);
  const auto tls = fetch("GET", "https://" + silent.address() + "/", "", {}, options);
  ASSERT_FALSE(tls.ok());
  EXPECT_EQ(tls.error().message(), "cannot reach " + silent.address() + ": timed out");
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
}

TEST_F(HttpClient, AcceptsThePinnedServerAndRefusesAnother) {
  ServerOptions options;
  options.tls = make_identity("server");
  const auto server = Server::start(options, echo).value();
  ClientOptions pinned;
  pinned.expected_key = options.tls->key.spki_sha256();
  EXPECT_EQ(fetch("PUT", tls_url(*server) + "/p", "b", {}, pinned).value().body, "PUT /p  b");

  pinned.expected_key = make_identity("other").key.spki_sha256();
  const auto refused = fetch("PUT", tls_url(*server) + "/p", "secret", {}, pinned);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Code::Denied);
  EXPECT_EQ(refused.error().message(), server->address() + " is not the expected server: its key is " +
                                           to_hex(options.tls->key.spki_sha256()) + ", expected " +
                                           to_hex(*pinned.expected_key));
}

TEST_F(HttpClient, WithoutAPinTrustsOnlyTheSystemsAuthorities) {
  ServerOptions options;
  options.tls = make_identity("server");
  const auto server = Server::start(options, echo).value();
  EXPECT_EQ(fetch("GET", tls_url(*server) + "/", "", {}, {}).error().code(), Code::Denied);
  ClientOptions insecure;
  insecure.insecure = true;
  EXPECT_EQ(fetch("GET", tls_url(*server) + "/", "", {}, insecure).value().status, 200u);
}

TEST_F(HttpClient, APinOrAnIdentityNeedsTls) {
  std::atomic<int> asked{0};
  const auto server = Server::start({}, [&asked](Exchange& exchange) {
                        ++asked;
                        echo(exchange);
                      }).value();
  ClientOptions pinned, identified;
  pinned.expected_key = crypto::Digest{1};
  identified.identity = make_identity("client");
  for (const ClientOptions& options : {pinned, identified}) {
    const auto refused = fetch("PUT", plain_url(*server) + "/p", "secret", {}, options);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), Code::InvalidArgument);
    EXPECT_FALSE(fetch("PUT", "HTTP" + plain_url(*server).substr(4) + "/p", "secret", {}, options).ok());
  }
  EXPECT_EQ(asked, 0);
}

TEST_F(HttpClient, TheServerSeesTheClientsProvenKey) {
  ServerOptions options;
  options.tls = make_identity("server");
  options.ask_client_certificate = true;
  const auto server = Server::start(options, [](Exchange& exchange) {
                        const Peer& peer = exchange.peer();
                        EXPECT_TRUE(peer.address.starts_with("127.0.0.1:"));
                        EXPECT_TRUE(exchange.respond({.body = peer.key ? to_hex(*peer.key) : "none"}).ok());
                      }).value();
  ClientOptions client;
  client.expected_key = options.tls->key.spki_sha256();
  EXPECT_EQ(fetch("GET", tls_url(*server) + "/", "", {}, client).value().body, "none");
  client.identity = make_identity("client");
  EXPECT_EQ(fetch("GET", tls_url(*server) + "/", "", {}, client).value().body,
            to_hex(client.identity->key.spki_sha256()));
}

TEST_F(HttpClient, SaysSoWhenAPlainServerIsAskedForTls) {
  const auto server = Server::start({}, echo).value();
  const auto response = fetch("GET", tls_url(*server) + "/", "", {}, {});
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), Code::Unavailable);
  EXPECT_NE(response.error().message().find(server->address()), std::string::npos);
}

TEST_F(HttpClient, UploadsFilesWithTheirLengthAndProgress) {
  const std::string content = noise(5 << 20);
  const auto server = Server::start({}, [](Exchange& exchange) {
                        Bytes part(10000);
                        crypto::Sha256 hash;
                        for (;;) {
                          const size_t count = exchange.read_body_some(part).value();
                          if (count == 0) break;
                          hash.update(ByteView(part).first(count));
                        }
                        const std::string length = std::to_string(exchange.request().content_length.value());
                        EXPECT_TRUE(exchange.respond({.body = length + " " + to_hex(hash.finish())}).ok());
                      }).value();
  for (const std::string& text : {content, std::string()}) {
    write(folder_ / "f", text);
    ClientOptions options;
    uint64_t done = 0;
    options.progress = [&done](uint64_t now, uint64_t) { done = std::max(done, now); };
    const auto response = upload_file(plain_url(*server) + "/f", folder_ / "f", {}, options).value();
    EXPECT_EQ(response.body, std::to_string(text.size()) + " " + to_hex(crypto::sha256(as_bytes(text))));
    EXPECT_GE(done, text.size());
  }
  EXPECT_EQ(upload_file(plain_url(*server) + "/f", folder_ / "absent", {}, {}).error().code(),
            Code::NotFound);
}

// Plain and TLS, with and without Expect: the client learns why and does not die of SIGPIPE.
TEST_F(HttpClient, HearsARefusalWhileItStillSends) {
  const std::string content = noise(8 << 20);
  write(folder_ / "f", content);
  for (const bool over_tls : {false, true}) {
    ServerOptions options;
    if (over_tls) options.tls = make_identity("server");
    const auto server = Server::start(options, [](Exchange& exchange) {
                          EXPECT_TRUE(exchange.respond({.status = 413, .body = "no"}).ok());
                        }).value();
    const std::string url = over_tls ? tls_url(*server) : plain_url(*server);
    ClientOptions client;
    client.insecure = true;
    for (int i = 0; i < 3; ++i) {
      const auto expected = upload_file(url + "/f", folder_ / "f", {}, client);
      ASSERT_TRUE(expected.ok()) << expected.error().message();
      EXPECT_EQ(expected->status, 413u);
      const auto rude = fetch("PUT", url + "/f", content, {"Expect:"}, client);
      ASSERT_TRUE(rude.ok()) << rude.error().message();
      EXPECT_EQ(rude->status, 413u);
    }
  }
}

TEST_F(HttpClient, DownloadsWholeResumesAndKnowsWhenItIsDone) {
  const std::string content = noise(3 << 20);
  const auto server = Server::start({}, serve_ranges(content)).value();
  const std::string url = plain_url(*server) + "/f";
  EXPECT_EQ(download_file(url, folder_ / "f", {}, 1 << 30).value().status, 200u);
  EXPECT_EQ(text_of(folder_ / "f"), content);
  EXPECT_EQ(download_file(url, folder_ / "f", {}, 1 << 30).value().status, 206u);
  EXPECT_EQ(text_of(folder_ / "f"), content);
  write(folder_ / "f", content.substr(0, 1000001));
  ClientOptions options;
  uint64_t least = content.size(), total = 0;
  options.progress = [&](uint64_t done, uint64_t of) { least = std::min(least, done), total = of; };
  EXPECT_EQ(download_file(url, folder_ / "f", options, 1 << 30).value().status, 206u);
  EXPECT_GT(least, 1000001u);
  EXPECT_EQ(total, content.size());
  EXPECT_EQ(text_of(folder_ / "f"), content);
}

TEST_F(HttpClient, StartsAgainWhenTheServerKnowsNoRanges) {
  const auto server = Server::start({}, [](Exchange& exchange) {
                        EXPECT_TRUE(exchange.respond({.body = "short"}).ok());
                      }).value();
  write(folder_ / "f", "a longer old part");
  EXPECT_EQ(download_file(plain_url(*server) + "/", folder_ / "f", {}, 100).value().status, 200u);
  EXPECT_EQ(text_of(folder_ / "f"), "short");
}

TEST_F(HttpClient, KeepsAnErrorsTextOutOfTheFile) {
  const auto server = Server::start({}, [](Exchange& exchange) {
                        EXPECT_TRUE(exchange.respond({.status = 404, .body = "gone"}).ok());
                      }).value();
  write(folder_ / "f", "part");
  const auto response = download_file(plain_url(*server) + "/", folder_ / "f", {}, 100).value();
  EXPECT_EQ(response.status, 404u);
  EXPECT_EQ(response.body, "gone");
  EXPECT_EQ(text_of(folder_ / "f"), "part");
}

TEST_F(HttpClient, LimitsDownloadsAndReportsAConnectionThatIsCut) {
  const auto server = Server::start({}, serve_ranges(noise(100000))).value();
  EXPECT_EQ(download_file(plain_url(*server) + "/", folder_ / "f", {}, 50000).error().code(),
            Code::Malformed);
  EXPECT_LE(fs::file_size(folder_ / "f"), 50000u);

  const auto cutting = Server::start({}, [](Exchange& exchange) {
                         EXPECT_FALSE(exchange
                                          .respond_stream({}, 1000,
                                                          [](MutableByteView) -> Result<size_t> {
                                                            return Error(Code::Unavailable, "disk");
                                                          })
                                          .ok());
                       }).value();
  EXPECT_EQ(download_file(plain_url(*cutting) + "/", folder_ / "g", {}, 50000).error().code(),
            Code::Unavailable);
}

}  // namespace
}  // namespace cloister::http
