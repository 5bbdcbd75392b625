// The real service over real connections: what it keeps, shows, refuses and forgets.
#include "transfer/server.h"

#include <thread>

#include "http/client.h"
#include "http/transport.h"
#include "transfer/transfer_test_support.h"
#include "transfer/zip.h"

namespace cloister::transfer {
namespace {

namespace fs = std::filesystem;
using http::ClientResponse;
using http::fetch;

class TransferServerTest : public TransferTest {
 protected:
  void start() {
    options_.store.root = folder_ / "store";
    options_.store.now = [this] { return now_.load(); };
    server_.reset();
    server_ = TransferServer::start(options_).value();
  }
  ClientResponse call(const std::string& method, const std::string& path, const std::string& body = "",
                      const std::vector<std::string>& headers = {}) {
    const std::string url = path.starts_with("http") ? path : server_->url() + path;
    return fetch(method, url, body, headers, {}).value();
  }
  std::string put(const std::string& name, const std::string& body) {
    const ClientResponse response = call("PUT", "/" + name, body);
    EXPECT_EQ(response.status, 201u) << response.body;
    return response.body.substr(0, response.body.find('\n'));
  }
  std::vector<std::string> stored() { return names_in(folder_ / "store/files"); }
  std::vector<std::string> partial() { return names_in(folder_ / "store/partial"); }

  TransferServerOptions options_;
  std::atomic<int64_t> now_{1'750'000'000};
  std::unique_ptr<TransferServer> server_;
};

TEST_F(TransferServerTest, KeepsAFileUnderAnUrlThatNobodyCanGuess) {
  start();
  for (const std::string& content : {std::string(), std::string("x"), noise(5 << 20)}) {
    const std::string url = put("some%20file", content);
    EXPECT_TRUE(url.starts_with(server_->url() + "/")) << url;
    EXPECT_TRUE(url.ends_with("/some%20file"));
    EXPECT_EQ(url.size(), server_->url().size() + 1 + 22 + std::string("/some%20file").size());
    const ClientResponse got = call("GET", url);
    EXPECT_EQ(got.status, 200u);
    EXPECT_EQ(got.body, content);
    EXPECT_EQ(got.header("x-content-sha-256"), to_hex(crypto::sha256(as_bytes(content))));
    const ClientResponse head = call("HEAD", url);
    EXPECT_EQ(head.header("content-length"), std::to_string(content.size()));
  }
  EXPECT_NE(put("a", "1"), put("a", "1"));
}

TEST_F(TransferServerTest, SpeaksTheConventionOfCurl) {
  start();
  write(folder_ / "file", "by curl");
  const std::string out = (folder_ / "url").string();
  ASSERT_EQ(
      shell("curl -sf --noproxy '*' -T " + (folder_ / "file").string() + " " + server_->url() + "/ >" + out),
      0);
  const std::string url = read(out);
  ASSERT_EQ(shell("curl -sf --noproxy '*' " + url.substr(0, url.size() - 1) + " >" + out), 0);
  EXPECT_EQ(read(out), "by curl");
  // Chunked, as from a pipe.
  ASSERT_EQ(shell("echo piped | curl -sf --noproxy '*' -T - " + server_->url() + "/piped >" + out), 0);
  EXPECT_EQ(call("GET", read(out).substr(0, read(out).size() - 1)).body, "piped\n");
}

TEST_F(TransferServerTest, ServesRanges) {
  start();
  const std::string url = put("r", "0123456789");
  const auto range = [&](const std::string& value) { return call("GET", url, "", {"Range: " + value}); };
  EXPECT_EQ(range("bytes=2-4").body, "234");
  EXPECT_EQ(range("bytes=2-4").status, 206u);
  EXPECT_EQ(range("bytes=2-4").header("content-range"), "bytes 2-4/10");
  EXPECT_EQ(range("bytes=7-").body, "789");
  EXPECT_EQ(range("bytes=-3").body, "789");
  EXPECT_EQ(range("bytes=-30").body, "0123456789");
  EXPECT_EQ(range("bytes=5-500").body, "56789");
  EXPECT_EQ(range("bytes=10-").status, 416u);
  EXPECT_EQ(range("bytes=10-").header("content-range"), "bytes */10");
  for (const char* ignored : {"bytes=4-2", "bytes=1-2,4-5", "bytes=x-", "lines=1-2", "bytes=-"}) {
    EXPECT_EQ(range(ignored).status, 200u) << ignored;
    EXPECT_EQ(range(ignored).body, "0123456789");
  }
  EXPECT_EQ(call("GET", url, "", {"Range: bytes=2-4", "If-Range: \"other\""}).body, "0123456789");
}

TEST_F(TransferServerTest, RefusesContentOfAnotherHash) {
  start();
  const std::string good = to_hex(crypto::sha256(as_bytes("content")));
  EXPECT_EQ(call("PUT", "/f", "content", {"X-Content-SHA-256: " + good}).status, 201u);
  EXPECT_EQ(call("PUT", "/f", "Content", {"X-Content-SHA-256: " + good}).status, 422u);
  EXPECT_EQ(call("PUT", "/f", "content", {"X-Content-SHA-256: zz"}).status, 400u);
  EXPECT_EQ(stored().size(), 1u);
  EXPECT_TRUE(partial().empty());
}

TEST_F(TransferServerTest, RefusesNamesThatAreNone) {
  start();
  for (const char* path :
       {"/", "/a/b", "/..", "/.", "/a%2fb", "/%2e%2e", "/a%00b", "/a%0ab", "/%ff", "/a%5cb"}) {
    EXPECT_EQ(call("PUT", path, "x").status, 400u) << path;
  }
  EXPECT_EQ(call("PUT", "/" + std::string(201, 'a'), "x").status, 400u);
  EXPECT_TRUE(stored().empty());
  put("%C3%A4%20%3Cb%3E%26", "odd but a name");
}

TEST_F(TransferServerTest, LimitsOneFileAndAllTogether) {
  options_.store.max_file_size = 1000;
  options_.store.quota = 2500;
  start();
  EXPECT_EQ(call("PUT", "/f", std::string(1001, 'x')).status, 413u);
  EXPECT_EQ(call("PUT", "/f", std::string(1001, 'x'), {"Transfer-Encoding: chunked"}).status, 413u);
  put("1", std::string(1000, 'x'));
  put("2", std::string(1000, 'x'));
  EXPECT_EQ(call("PUT", "/3", std::string(501, 'x')).status, 507u);
  EXPECT_EQ(call("PUT", "/3", std::string(501, 'x'), {"Transfer-Encoding: chunked"}).status, 507u);
  put("3", std::string(500, 'x'));
  EXPECT_EQ(server_->store().used(), 2500u);
  EXPECT_TRUE(partial().empty());
}

TEST_F(TransferServerTest, WhoeverAnnouncesMuchAndSendsLittleKeepsNobodyOut) {
  options_.store.max_file_size = options_.store.quota = uint64_t{1} << 40;
  start();
  http::Transport raw(connect_tcp(server_->address(), deadline_in(std::chrono::seconds(5))).value());
  const std::string head = "PUT /f HTTP/1.1\r\nHost: h\r\nContent-Length: 1099511627776\r\n\r\n";
  ASSERT_TRUE(raw.write_all(as_bytes(head + "some"), deadline_in(std::chrono::seconds(5))).ok());
  while (partial().empty() || server_->store().used() == 0) std::this_thread::yield();
  EXPECT_LE(server_->store().used(), uint64_t{16} << 20);
  put("other", std::string(1000, 'x'));
}

TEST_F(TransferServerTest, WhatIsAnnouncedBeyondTheQuotaIsRefusedBeforeAnythingIsMade) {
  options_.store.quota = 1000;
  start();
  fs::remove(folder_ / "store/partial");  // making anything there would fail in another way
  EXPECT_EQ(server_->store().begin("f", 1001).error().code(), Code::Unavailable);
  EXPECT_EQ(server_->store().begin("f", 1000).error().code(), Code::Internal);
}

TEST_F(TransferServerTest, AFailureToRemoveLosesNothing) {
  options_.store.max_age = 100;
  start();
  const ClientResponse first = call("PUT", "/f", "content");
  const std::string url = first.body.substr(0, first.body.size() - 1);
  const std::string id = stored().at(0);
  const auto block = [&] {  // a folder that holds something cannot be replaced
    fs::create_directories(folder_ / "store/partial" / (id + ".removed") / "x");
  };
  block();
  const ClientResponse refused = call("DELETE", std::string(first.header("x-url-delete")));
  EXPECT_EQ(refused.status, 507u);
  EXPECT_EQ(refused.body.find(folder_.string()), std::string::npos) << refused.body;
  EXPECT_EQ(call("GET", url).body, "content");
  EXPECT_EQ(server_->store().used(), 7u);
  now_ += 100;
  EXPECT_EQ(server_->store().remove_expired(), 0u);
  EXPECT_EQ(server_->store().used(), 7u);
  fs::remove_all(folder_ / "store/partial" / (id + ".removed"));
  EXPECT_EQ(server_->store().remove_expired(), 1u);
  EXPECT_EQ(server_->store().used(), 0u);
  EXPECT_TRUE(stored().empty());
  EXPECT_TRUE(partial().empty());
}

TEST_F(TransferServerTest, AFailureToPublishLeavesNothingAndNamesNoPath) {
  start();
  fs::remove(folder_ / "store/files");
  const ClientResponse refused = call("PUT", "/f", "content");
  EXPECT_EQ(refused.status, 507u);
  EXPECT_EQ(refused.body, "this cannot be stored now\n");
  EXPECT_TRUE(partial().empty());
  EXPECT_EQ(server_->store().used(), 0u);
}

TEST_F(TransferServerTest, LimitsTheNumberOfUploads) {
  options_.store.max_uploads = 2;
  start();
  put("1", "");
  const ClientResponse second = call("PUT", "/2", "");
  EXPECT_EQ(call("PUT", "/3", "").status, 507u);
  EXPECT_EQ(call("DELETE", std::string(second.header("x-url-delete"))).status, 204u);
  put("3", "");
}

TEST_F(TransferServerTest, DeletesByTokenOnly) {
  start();
  const ClientResponse put = call("PUT", "/f", "x");
  const std::string url = put.body.substr(0, put.body.size() - 1);
  const std::string token(put.header("x-delete-token"));
  EXPECT_EQ(call("DELETE", url).status, 403u);
  EXPECT_EQ(call("DELETE", url + "?token=" + token + "x").status, 403u);
  EXPECT_EQ(call("DELETE", url + "x?token=" + token).status, 404u);
  EXPECT_EQ(call("GET", url).status, 200u);
  EXPECT_EQ(put.header("x-url-delete"), url + "?token=" + token);
  EXPECT_EQ(call("DELETE", std::string(put.header("x-url-delete"))).status, 204u);
  EXPECT_EQ(call("GET", url).status, 404u);
  EXPECT_EQ(server_->store().used(), 0u);
  EXPECT_TRUE(stored().empty());
  EXPECT_TRUE(partial().empty());
}

TEST_F(TransferServerTest, ForgetsWhatIsTooOld) {
  options_.store.max_age = 100;
  start();
  const std::string url = put("f", "x");
  now_ += 99;
  EXPECT_EQ(call("GET", url).status, 200u);
  now_ += 1;
  EXPECT_EQ(call("GET", url).status, 404u);
  const std::string younger = put("g", "y");
  EXPECT_EQ(server_->store().remove_expired(), 1u);
  EXPECT_EQ(stored().size(), 1u);
  EXPECT_EQ(server_->store().used(), 1u);
  EXPECT_EQ(call("GET", younger).status, 200u);
  now_ += 100;
  start();  // what expired meanwhile goes at the start
  EXPECT_TRUE(stored().empty());
}

TEST_F(TransferServerTest, ARestartKeepsUploadsAndDropsHalves) {
  start();
  const std::string url = put("f", "kept");
  const std::string path = url.substr(server_->url().size());
  server_.reset();
  fs::create_directories(folder_ / "store/partial/half");
  write(folder_ / "store/partial/half/content", "half");
  fs::create_directories(folder_ / "store/files/damaged");
  write(folder_ / "store/files/damaged/upload", "nonsense");
  start();
  EXPECT_EQ(call("GET", path).body, "kept");
  EXPECT_TRUE(partial().empty());
  EXPECT_EQ(call("GET", "/damaged/").status, 404u);
  EXPECT_EQ(server_->store().used(), 4u);
}

TEST_F(TransferServerTest, ACutUploadLeavesNothing) {
  start();
  {
    http::Transport raw(connect_tcp(server_->address(), deadline_in(std::chrono::seconds(5))).value());
    const std::string head =
        "PUT /f HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + std::string(5000, 'x');
    ASSERT_TRUE(raw.write_all(as_bytes(head), deadline_in(std::chrono::seconds(5))).ok());
    while (partial().empty()) std::this_thread::yield();
  }
  while (!partial().empty() || server_->store().used() != 0) std::this_thread::yield();
  EXPECT_TRUE(stored().empty());
}

TEST_F(TransferServerTest, TwoServersDoNotShareARoot) {
  start();
  EXPECT_EQ(TransferServer::start(options_).error().code(), Code::Denied);
}

TEST_F(TransferServerTest, TakesUploadsAtTheSameTime) {
  start();
  std::vector<std::thread> threads;
  std::array<std::string, 8> contents, got;
  for (size_t i = 0; i < contents.size(); ++i) {
    contents[i] = noise(300000 + i);
    threads.emplace_back([&, i] { got[i] = call("GET", put("f", contents[i])).body; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(got, contents);
  EXPECT_EQ(stored().size(), contents.size());
}

TEST_F(TransferServerTest, ShowsBrowsersWhatAnArchiveHolds) {
  start();
  make_tree();
  write(folder_ / "tree/<script>alert(1)", "&");
  ASSERT_TRUE(zip_folder(folder_ / "tree", folder_ / "t.zip").ok());
  const std::string content = read(folder_ / "t.zip");
  const std::string url = put("t.zip", content);
  const std::vector<std::string> browser = {"Accept: text/html,application/xhtml+xml,*/*;q=0.8"};
  for (const std::string& address : {url, url + "/", url.substr(0, url.rfind('/') + 1)}) {
    const ClientResponse page = call("GET", address, "", browser);
    EXPECT_EQ(page.header("content-type"), "text/html; charset=utf-8");
    EXPECT_NE(page.body.find("sub/large ä.bin"), std::string::npos) << page.body;
    EXPECT_NE(page.body.find("3.0 MiB"), std::string::npos);
    EXPECT_NE(page.body.find("6 entries"), std::string::npos);
    EXPECT_NE(page.body.find("2025-06-15T15:06:40Z"), std::string::npos);  // uploaded
    EXPECT_EQ(page.body.find("<script"), std::string::npos);
    EXPECT_NE(page.body.find("&lt;script&gt;alert(1)"), std::string::npos);
    EXPECT_NE(page.header("content-security-policy").find("default-src 'none'"), std::string::npos);
    EXPECT_EQ(page.header("referrer-policy"), "no-referrer");
  }
  EXPECT_EQ(call("GET", url + "?download=1", "", browser).body, content);
  EXPECT_EQ(call("GET", url, "", {"Accept: text/html", "Range: bytes=0-3"}).body, content.substr(0, 4));
  const ClientResponse json = call("GET", url, "", {"Accept: application/json"});
  EXPECT_NE(json.body.find("\"entry_count\":6,\"entries\":[{\"name\":\"<script>alert(1)\",\"size\":1,"),
            std::string::npos)
      << json.body;
  EXPECT_NE(json.body.find("\"url\":\"" + url + "\""), std::string::npos);
}

TEST_F(TransferServerTest, ShowsAPageForWhatIsNoArchive) {
  start();
  const std::string url = put("text", "not a zip");
  const ClientResponse page = call("GET", url + "/");
  EXPECT_EQ(page.status, 200u);
  EXPECT_NE(page.body.find(to_hex(crypto::sha256(as_bytes("not a zip")))), std::string::npos);
  EXPECT_EQ(page.body.find("entries"), std::string::npos);
}

TEST_F(TransferServerTest, TheHomePageRevealsNobodysUpload) {
  start();
  const std::string url = put("private-name", "x");
  const std::string id = url.substr(url.rfind('/') - 22, 22);
  for (const char* accept : {"Accept: text/html", "Accept: application/json"}) {
    const ClientResponse home = call("GET", "/", "", {accept});
    EXPECT_EQ(home.status, 200u);
    EXPECT_EQ(home.body.find(id), std::string::npos);
    EXPECT_EQ(home.body.find("private-name"), std::string::npos);
  }
  for (const char* path :
       {"/files", "/files/", "/../", "/AAAAAAAAAAAAAAAAAAAAAA/", "/lock", "/a/b/c", "//"}) {
    EXPECT_EQ(call("GET", path).status, 404u) << path;
  }
  EXPECT_EQ(call("PATCH", "/x", "y").status, 405u);
}

TEST_F(TransferServerTest, WorksOverTls) {
  crypto::KeyPair key = crypto::KeyPair::generate().value();
  crypto::Certificate certificate = crypto::Certificate::self_signed(key, {}).value();
  options_.http.tls = crypto::TlsIdentity{key, certificate};
  start();
  http::ClientOptions pinned;
  pinned.expected_key = key.spki_sha256();
  const ClientResponse put = fetch("PUT", server_->url() + "/f", "over TLS", {}, pinned).value();
  EXPECT_TRUE(put.body.starts_with("https://127.0.0.1:")) << put.body;
  EXPECT_EQ(fetch("GET", put.body.substr(0, put.body.size() - 1), "", {}, pinned).value().body, "over TLS");
}

TEST_F(TransferServerTest, TakesTheHostFromTheRequestOnlyWhenItIsOne) {
  start();
  EXPECT_TRUE(call("PUT", "/f", "x", {"Host: files.example.org:81"})
                  .body.starts_with("http://files.example.org:81/"));
  EXPECT_TRUE(call("PUT", "/f", "x", {"Host: <b>"}).body.starts_with(server_->url()));
  options_.public_url = "https://public.example.org/";
  start();
  EXPECT_TRUE(call("PUT", "/f", "x").body.starts_with("https://public.example.org/"));
}

}  // namespace
}  // namespace cloister::transfer
