// Pushes and pulls against the real service, a folder, and servers that fail in each way.
#include "transfer/client.h"

#include <atomic>

#include "transfer/names.h"
#include "transfer/server.h"
#include "transfer/transfer_test_support.h"

namespace cloister::transfer {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class TransferClient : public TransferTest {
 protected:
  TransferClient() { options_.pause = 1ms; }

  // Both kinds of remote must behave alike.
  std::vector<std::string> remotes() {
    TransferServerOptions options;
    options.store.root = folder_ / "store";
    server_ = TransferServer::start(options).value();
    fs::create_directory(folder_ / "share with space");
    return {server_->url(), server_->url() + "/", "file://" + folder_.string() + "/share%20with%20space"};
  }
  static std::unique_ptr<http::Server> serve(http::Handler handler) {
    return http::Server::start({}, std::move(handler)).value();
  }
  static std::string url_of(const http::Server& server) { return "http://" + server.address(); }

  ClientOptions options_;
  std::unique_ptr<TransferServer> server_;
};

TEST_F(TransferClient, AFileComesBackFromEveryKindOfRemote) {
  for (const std::string& remote : remotes()) {
    for (const std::string& content : {std::string(), noise(5 << 20)}) {
      write(folder_ / "f", content);
      uint64_t done = 0;
      options_.progress = [&done](uint64_t now, uint64_t) { done = std::max(done, now); };
      const std::string url = push_file(remote, "näme 1", folder_ / "f", options_).value();
      EXPECT_TRUE(url.ends_with("/n%C3%A4me%201")) << url;
      EXPECT_EQ(name_in_url(url).value(), "näme 1");
      ASSERT_TRUE(pull(url, folder_ / "back", options_).ok());
      EXPECT_EQ(read(folder_ / "back"), content);
      EXPECT_GE(done, content.size());
    }
  }
}

TEST_F(TransferClient, AFolderComesBackFromEveryKindOfRemoteAndNothingStaysBehind) {
  make_tree();
  for (const std::string& remote : remotes()) {
    fs::remove_all(folder_ / "back");
    const std::string url = push_folder(remote, "volume", folder_ / "tree/", options_).value();
    EXPECT_TRUE(url.ends_with("/volume.zip")) << url;
    const Result<void> pulled = pull_folder(url, folder_ / "back", options_);
    ASSERT_TRUE(pulled.ok()) << pulled.error().message();
    EXPECT_EQ(tree_of(folder_ / "back"), tree_of(folder_ / "tree"));
    EXPECT_EQ(names_in(folder_), (std::vector<std::string>{"back", "share with space", "store", "tree"}));
  }
}

TEST_F(TransferClient, AFolderAlsoComesFromAZipFileOrAFolder) {
  make_tree();
  ASSERT_TRUE(zip_folder(folder_ / "tree", folder_ / "t.zip").ok());
  ASSERT_TRUE(pull_folder((folder_ / "t.zip").string(), folder_ / "1", options_).ok());
  ASSERT_TRUE(pull_folder((folder_ / "tree").string(), folder_ / "2", options_).ok());
  EXPECT_EQ(tree_of(folder_ / "1"), tree_of(folder_ / "tree"));
  EXPECT_EQ(tree_of(folder_ / "2"), tree_of(folder_ / "tree"));
  EXPECT_EQ(pull_folder((folder_ / "tree").string(), folder_ / "1", options_).error().code(),
            Code::InvalidArgument);
  EXPECT_EQ(pull_folder((folder_ / "absent").string(), folder_ / "3", options_).error().code(),
            Code::NotFound);
}

TEST_F(TransferClient, AnUploadCanBeTakenBackByWhoeverHasItsToken) {
  make_tree();
  for (const std::string& remote : remotes()) {
    const Uploaded upload = upload_folder(remote, "volume", folder_ / "tree", options_).value();
    const Result<void> deleted = delete_upload(remote, upload, options_);
    ASSERT_TRUE(deleted.ok()) << deleted.error().message();
    EXPECT_FALSE(pull_folder(upload.url, folder_ / "gone", options_).ok()) << remote;
  }
}

TEST_F(TransferClient, AnUploadIsNotDeletedWithoutItsTokenAndNoOtherServerIsAsked) {
  make_tree();
  const std::string remote = remotes()[0];
  Uploaded upload = upload_folder(remote, "volume", folder_ / "tree", options_).value();
  std::atomic<int> asked = 0;
  const auto other = serve([&asked](http::Exchange& exchange) {
    ++asked;
    (void)exchange.respond({});
  });
  const std::string path = upload.url.substr(upload.url.find('/', 8));
  ASSERT_TRUE(delete_upload(remote, {url_of(*other) + path, upload.delete_token}, options_).ok());
  EXPECT_EQ(asked, 0);
  upload = upload_folder(remote, "volume", folder_ / "tree", options_).value();
  EXPECT_EQ(delete_upload(remote, {upload.url, ""}, options_).error().code(), Code::Denied);
  EXPECT_FALSE(delete_upload(remote, {upload.url, "wrong"}, options_).ok());
  EXPECT_TRUE(pull_folder(upload.url, folder_ / "there", options_).ok());
}

TEST_F(TransferClient, MovesMoreThanFourGibibytes) {
  if (std::getenv("CLOISTER_LONG_TESTS") == nullptr) GTEST_SKIP() << kOnlyInLongTests;
  fs::create_directory(folder_ / "tree");
  write(folder_ / "tree/big", "");
  fs::resize_file(folder_ / "tree/big", (uint64_t{4} << 30) + 12345);
  const std::string url = push_folder(remotes()[0], "big", folder_ / "tree", options_).value();
  fs::remove_all(folder_ / "tree");
  const Result<void> pulled = pull_folder(url, folder_ / "back", options_);
  ASSERT_TRUE(pulled.ok()) << pulled.error().message();
  EXPECT_EQ(fs::file_size(folder_ / "back/big"), (uint64_t{4} << 30) + 12345);
}

TEST_F(TransferClient, SaysWhichRemotesThereAre) {
  write(folder_ / "f", "x");
  const auto unsupported = push_file("s3://bucket", "f", folder_ / "f", options_);
  ASSERT_FALSE(unsupported.ok());
  EXPECT_EQ(unsupported.error().code(), Code::Unsupported);
  EXPECT_NE(unsupported.error().hint().find("file:///FOLDER"), std::string::npos);
  EXPECT_EQ(push_file("example.org", "f", folder_ / "f", options_).error().code(), Code::InvalidArgument);
  EXPECT_EQ(push_file("file://host/x", "f", folder_ / "f", options_).error().code(), Code::InvalidArgument);
  EXPECT_EQ(push_file("file:///nowhere/x", "f", folder_ / "f", options_).error().code(), Code::NotFound);
  EXPECT_EQ(push_file("file:///tmp", "../f", folder_ / "f", options_).error().code(), Code::InvalidArgument);
  EXPECT_EQ(pull("gopher://x/y", folder_ / "g", options_).error().code(), Code::Unsupported);
}

TEST_F(TransferClient, TriesAgainWhenTheServerIsBusyAndOnlyThen) {
  std::atomic<int> calls{0};
  std::atomic<unsigned> status{503};
  const auto server = serve([&](http::Exchange& exchange) {
    ++calls;
    EXPECT_TRUE(exchange.read_body(100).ok());
    if (calls < 3) {
      EXPECT_TRUE(exchange.respond({.status = status, .body = "busy"}).ok());
    } else {
      EXPECT_TRUE(exchange.respond({.status = 200, .body = "http://h/x/f\n"}).ok());
    }
  });
  write(folder_ / "f", "x");
  EXPECT_EQ(push_file(url_of(*server), "f", folder_ / "f", options_).value(), "http://h/x/f");
  EXPECT_EQ(calls, 3);
  for (const auto& [code, expected] : {std::pair{403u, Code::Denied},
                                       {404u, Code::NotFound},
                                       {413u, Code::InvalidArgument},
                                       {302u, Code::Malformed}}) {
    calls = 0;
    status = code;
    EXPECT_EQ(push_file(url_of(*server), "f", folder_ / "f", options_).error().code(), expected) << code;
    EXPECT_EQ(calls, 1);
  }
  calls = -100;
  status = 500;
  EXPECT_EQ(push_file(url_of(*server), "f", folder_ / "f", options_).error().code(), Code::Unavailable);
  EXPECT_EQ(calls, -97);
}

TEST_F(TransferClient, DoesNotBelieveAServerThatReceivedSomethingElse) {
  const auto server = serve([](http::Exchange& exchange) {
    EXPECT_TRUE(exchange.read_body(100).ok());
    const std::string other = to_hex(crypto::sha256(as_bytes("other")));
    EXPECT_TRUE(
        exchange.respond({.status = 201, .headers = {{"X-Content-SHA-256", other}}, .body = "http://h/x/f\n"})
            .ok());
  });
  write(folder_ / "f", "mine");
  EXPECT_EQ(push_file(url_of(*server), "f", folder_ / "f", options_).error().code(), Code::Integrity);
}

TEST_F(TransferClient, RefusesAnAnswerThatIsNoUrl) {
  const auto server = serve([](http::Exchange& exchange) {
    EXPECT_TRUE(exchange.read_body(100).ok());
    EXPECT_TRUE(exchange.respond({.body = "javascript:alert(1)\n"}).ok());
  });
  write(folder_ / "f", "x");
  EXPECT_EQ(push_file(url_of(*server), "f", folder_ / "f", options_).error().code(), Code::Malformed);
}

TEST_F(TransferClient, ContinuesAConnectionThatBreaksAgainAndAgain) {
  const std::string content = noise(300000);
  std::atomic<uint64_t> sent{0};
  const auto server = serve([&](http::Exchange& exchange) {
    const std::string_view range = exchange.request().header("range");
    const auto asked = parse_range(range, content.size()).value_or(ByteRange{true, 0, content.size()});
    http::Response head;
    head.status = range.empty() ? 200 : 206;
    head.headers = {
        {"X-Content-SHA-256", to_hex(crypto::sha256(as_bytes(content)))},
        {"Content-Range", "bytes " + std::to_string(asked.begin) + "-" + std::to_string(content.size() - 1) +
                              "/" + std::to_string(content.size())}};
    uint64_t at = asked.begin;
    const uint64_t cut = at + 120000;
    static_cast<void>(
        exchange.respond_stream(head, content.size() - at, [&](MutableByteView out) -> Result<size_t> {
          if (at >= cut) return Error(Code::Unavailable, "cut");
          const size_t count = std::min<size_t>({out.size(), 40000, content.size() - at});
          std::copy_n(content.begin() + static_cast<ptrdiff_t>(at), count, out.begin());
          at += count;
          sent += count;
          return size_t{count};
        }));
  });
  const Result<void> pulled = pull(url_of(*server) + "/f", folder_ / "f", options_);
  ASSERT_TRUE(pulled.ok()) << pulled.error().message();
  EXPECT_EQ(read(folder_ / "f"), content);
  EXPECT_EQ(names_in(folder_), std::vector<std::string>{"f"});
  EXPECT_LT(sent, content.size() * 2);  // resumed and not begun again
}

TEST_F(TransferClient, AnotherFilesBeginningIsNotKeptAsThisOnes) {
  const std::string url =
      push_file(remotes()[0], "f", (write(folder_ / "f", "right content"), folder_ / "f"), options_).value();
  const std::string hash = to_hex(crypto::sha256(as_bytes(url))).substr(0, 16);
  write(folder_ / (".cloister-" + hash + ".part"), "wrong");
  ASSERT_TRUE(pull(url, folder_ / "g", options_).ok());
  EXPECT_EQ(read(folder_ / "g"), "right content");
}

TEST_F(TransferClient, ABeginningIsNotContinuedWhenNoHashCanCheckIt) {
  const std::string content = noise(100000);
  std::atomic<int> calls{0};
  const auto server = serve([&](http::Exchange& exchange) {
    ++calls;
    const std::string_view range = exchange.request().header("range");
    const auto asked = parse_range(range, content.size()).value_or(ByteRange{true, 0, content.size()});
    http::Response response;
    response.status = range.empty() ? 200 : 206;
    response.body = content.substr(asked.begin);
    response.headers = {{"Content-Range", "bytes " + std::to_string(asked.begin) + "-" +
                                              std::to_string(content.size() - 1) + "/" +
                                              std::to_string(content.size())}};
    EXPECT_TRUE(exchange.respond(std::move(response)).ok());
  });
  const std::string url = url_of(*server) + "/f";
  const std::string hash = to_hex(crypto::sha256(as_bytes(url))).substr(0, 16);
  write(folder_ / (".cloister-" + hash + ".part"), "of another file");
  ASSERT_TRUE(pull(url, folder_ / "g", options_).ok());
  EXPECT_EQ(read(folder_ / "g"), content);
  EXPECT_EQ(calls, 2);
}

TEST_F(TransferClient, AServerThatLiesAboutEveryHashIsAskedTwiceAtMost) {
  std::atomic<int> calls{0};
  const auto server = serve([&](http::Exchange& exchange) {
    ++calls;
    const std::string other = to_hex(crypto::sha256(as_bytes("other")));
    const bool resumed = !exchange.request().header("range").empty();
    EXPECT_TRUE(exchange
                    .respond({.status = resumed ? 206u : 200u,
                              .headers = {{"X-Content-SHA-256", other}, {"Content-Range", "bytes 5-8/9"}},
                              .body = resumed ? "tail" : "whole"})
                    .ok());
  });
  const std::string url = url_of(*server) + "/f";
  const std::string hash = to_hex(crypto::sha256(as_bytes(url))).substr(0, 16);
  write(folder_ / (".cloister-" + hash + ".part"), "begin");
  EXPECT_EQ(pull(url, folder_ / "g", options_).error().code(), Code::Integrity);
  EXPECT_EQ(calls, 2);
  EXPECT_TRUE(names_in(folder_).empty());
}

TEST_F(TransferClient, SaysWhetherARemoteIsThere) {
  for (const std::string& remote : remotes()) EXPECT_TRUE(check_remote(remote, options_).ok()) << remote;
  EXPECT_TRUE(check_remote(server_->url() + "/no/such", options_).ok()) << "any answer will do";
  EXPECT_EQ(check_remote("file:///nowhere/x", options_).error().code(), Code::NotFound);
  EXPECT_EQ(check_remote("nonsense", options_).error().code(), Code::InvalidArgument);
  // Takes connections and says nothing.
  const Listener silent = Listener::bind("127.0.0.1:0").value();
  options_.http.stall_timeout = 200ms;
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(check_remote("http://" + silent.address(), options_).error().code(), Code::Unavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
}

TEST_F(TransferClient, AFolderTakesItsNameWhenItIsFinishedAndNotBefore) {
  const fs::path target = folder_ / "made";
  {
    NewFolder made = NewFolder::beside(target / "").value();
    write(made.path() / "f", "x");
    EXPECT_FALSE(fs::exists(target));
  }
  EXPECT_TRUE(names_in(folder_).empty());
  fs::create_directory(target);
  NewFolder one = NewFolder::beside(target).value();
  NewFolder two = NewFolder::beside(target).value();
  EXPECT_NE(one.path(), two.path());
  write(one.path() / "f", "one");
  ASSERT_TRUE(one.finish().ok());
  EXPECT_FALSE(two.finish().ok()) << "it has become one that is not empty";
  EXPECT_EQ(read(target / "f"), "one");
  EXPECT_EQ(NewFolder::beside(target).error().code(), Code::InvalidArgument);
}

TEST_F(TransferClient, MakesTheArchiveWhereItIsTold) {
  make_tree();
  fs::create_directory(folder_ / "scratch");
  options_.scratch = folder_ / "scratch";
  size_t seen = 0;
  options_.progress = [&](uint64_t, uint64_t) {
    seen = std::max(seen, names_in(folder_ / "scratch").size());
  };
  ASSERT_TRUE(push_folder(remotes()[0], "volume", folder_ / "tree", options_).ok());
  EXPECT_GE(seen, 1u);
  EXPECT_TRUE(names_in(folder_ / "scratch").empty());
}

TEST_F(TransferClient, DamagedContentIsAnIntegrityErrorAndNeverAFile) {
  const std::string url =
      push_file(remotes()[0], "f", (write(folder_ / "f", "content"), folder_ / "f"), options_).value();
  for (const auto& entry : fs::directory_iterator(folder_ / "store/files"))
    write(entry.path() / "content", "Content");
  const Result<void> pulled = pull(url, folder_ / "g", options_);
  ASSERT_FALSE(pulled.ok());
  EXPECT_EQ(pulled.error().code(), Code::Integrity);
  EXPECT_FALSE(fs::exists(folder_ / "g"));
}

TEST_F(TransferClient, NamesTheServerThatIsNotThere) {
  std::string address;
  { address = Listener::bind("127.0.0.1:0").value().address(); }
  const Result<void> pulled = pull("http://" + address + "/x/f", folder_ / "f", options_);
  ASSERT_FALSE(pulled.ok());
  EXPECT_EQ(pulled.error().code(), Code::Unavailable);
  EXPECT_NE(pulled.error().message().find(address), std::string::npos);
  EXPECT_EQ(pull(remotes()[0] + "/AAAAAAAAAAAAAAAAAAAAAA/f", folder_ / "f", options_).error().code(),
            Code::NotFound);
  EXPECT_EQ(names_in(folder_), (std::vector<std::string>{"share with space", "store"}));
}

TEST_F(TransferClient, NamesAndEscapes) {
  EXPECT_EQ(percent_decode(percent_encode("a/b ä%?#")).value(), "a/b ä%?#");
  EXPECT_FALSE(percent_decode("%4").ok());
  EXPECT_EQ(html_escape("<a href=\"'&\x01\xff"), "&lt;a href=&quot;&#39;&amp;\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(json_string("a\"\\\n\xc0\xafé"), "\"a\\\"\\\\\\u000a\xef\xbf\xbd\xef\xbf\xbdé\"");
  EXPECT_EQ(name_in_url("http://h/ID/na%20me?x=1").value(), "na me");
  for (const char* url : {"http://h", "http://h/", "http://h/%2e%2e", "http://h/a%2fb/.."})
    EXPECT_FALSE(name_in_url(url).ok()) << url;
}

}  // namespace
}  // namespace cloister::transfer
