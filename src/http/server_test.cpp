// A real server against raw sockets: what hostile, broken and merely old clients send.
#include "http/server.h"

#include <atomic>

#include "http/http_test_support.h"

namespace cloister::http {
namespace {

using namespace std::chrono_literals;
using ::testing::Test;

std::unique_ptr<Server> start(ServerOptions options = {}, Handler handler = echo) {
  return Server::start(options, std::move(handler)).value();
}

unsigned status_of(const std::string& answer) {
  return answer.starts_with("HTTP/1.1 ") ? static_cast<unsigned>(std::stoi(answer.substr(9, 3))) : 0;
}

unsigned status_for(const std::string& request) {
  const auto server = start();
  return status_of(RawClient(server->address()).ask(request));
}

size_t count(std::string_view text, std::string_view what) {
  size_t times = 0;
  for (size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) ++times;
  return times;
}

TEST(HttpServer, DecodesPathQueryHeadersAndBody) {
  const auto server = start();
  const std::string answer = RawClient(server->address())
                                 .ask(
                                     "PUT /a%20b?x=1%26&y=a+b HTTP/1.1\r\nHost: h\r\nX-Note:  n \r\n"
                                     "Content-Length: 5\r\nConnection: close\r\n\r\nhello");
  EXPECT_EQ(status_of(answer), 200u);
  EXPECT_TRUE(answer.ends_with("\r\n\r\nPUT /a b n hello x=1& y=a b")) << answer;
  EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos);
  EXPECT_NE(answer.find("X-Content-Type-Options: nosniff\r\n"), std::string::npos);
}

TEST(HttpServer, RefusesWhatIsNotARequestAndCloses) {
  EXPECT_EQ(status_for("\x16\x03\x01\x02 hello\r\n\r\n"), 400u);
  EXPECT_EQ(status_for("GET /\r\n\r\n"), 400u);
  EXPECT_EQ(status_for("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), 505u);
  EXPECT_EQ(status_for("GET / HTTP/1.1\r\n\r\n"), 400u);                        // no Host
  EXPECT_EQ(status_for("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400u);  // two
  EXPECT_EQ(status_for("GET / HTTP/1.1\r\nHost: a\r\nBad Name: b\r\n\r\n"), 400u);
  EXPECT_EQ(status_for("GET a HTTP/1.1\r\nHost: a\r\n\r\n"), 400u);
  EXPECT_EQ(status_for("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), 400u);
  EXPECT_EQ(status_for("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"), 400u);
  EXPECT_EQ(status_for("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n"), 400u);
  EXPECT_EQ(status_for("GET /a%0d%0aX:y HTTP/1.1\r\nHost: a\r\n\r\n"), 400u);
  EXPECT_EQ(status_for("GET /?a=1&a=2 HTTP/1.1\r\nHost: a\r\n\r\n"), 400u);
}

// Two lengths are how one request hides another from a proxy (RFC 9112, 6.3).
TEST(HttpServer, RefusesTwoMeaningsOfTheBodysLength) {
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\n";
  EXPECT_EQ(status_for(head + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400u);
  EXPECT_EQ(status_for(head + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"), 400u);
  EXPECT_EQ(status_for(head + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), 400u);
  EXPECT_EQ(status_for(head + "Transfer-Encoding: gzip\r\n\r\nabc"), 501u);
  EXPECT_EQ(status_for(head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501u);
  EXPECT_EQ(status_for(head + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), 501u);
  EXPECT_EQ(status_for(head + "Content-Length: -1\r\n\r\n"), 400u);
  EXPECT_EQ(status_for(head + "Content-Length: 99999999999999999999999\r\n\r\n"), 400u);
}

TEST(HttpServer, ReadsChunkedBodiesAndRefusesBrokenOnes) {
  const std::string head =
      "POST /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
  const auto server = start();
  EXPECT_TRUE(RawClient(server->address())
                  .ask(head + "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: t\r\n\r\n")
                  .ends_with("POST /c  hello!"));
  EXPECT_EQ(status_of(RawClient(server->address()).ask(head + "zz\r\nhello\r\n")), 400u);
  EXPECT_EQ(status_of(RawClient(server->address()).ask(head + "5\r\nhelloXX0\r\n\r\n")), 400u);
  EXPECT_EQ(status_of(RawClient(server->address()).ask(head + "5;" + std::string(200000, 'x'))), 400u);
  EXPECT_EQ(status_of(RawClient(server->address()).ask(head + "FFFFFFFFFFFFFFFFF\r\nx")), 400u);
}

TEST(HttpServer, AnswersPipelinedRequestsInOrderOnOneConnection) {
  const auto server = start();
  const std::string answer =
      RawClient(server->address())
          .ask(
              "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPUT /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"
              "GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /4 HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(count(answer, "HTTP/1.1 200 OK"), 3u) << answer;
  const size_t first = answer.find("GET /1"), second = answer.find("PUT /2  ab"),
               third = answer.find("GET /3");
  EXPECT_TRUE(first < second && second < third && third != std::string::npos) << answer;
}

TEST(HttpServer, EndsAConnectionOfHttp10) {
  const auto server = start();
  const std::string answer = RawClient(server->address()).ask("GET /old HTTP/1.0\r\n\r\n");
  EXPECT_EQ(count(answer, "HTTP/1.1 200 OK"), 1u);
  EXPECT_TRUE(answer.ends_with("GET /old  "));
}

TEST(HttpServer, SendsTheSameHeadAndNoBodyForHead) {
  const auto server = start();
  const std::string answer =
      RawClient(server->address()).ask("HEAD /h HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_NE(answer.find("Content-Length: 9\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\n"));
}

TEST(HttpServer, AsksForTheBodyOnlyWhenTheHandlerWantsIt) {
  const auto server = start();
  RawClient wanted(server->address());
  wanted.send(
      "PUT /e HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(wanted.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_TRUE(wanted.ask("ok").ends_with("PUT /e  ok"));

  const auto refusing =
      start({}, [](Exchange& exchange) { EXPECT_TRUE(exchange.respond({.status = 403}).ok()); });
  const std::string answer =
      RawClient(refusing->address())
          .ask("PUT /e HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(status_of(answer), 403u);
  EXPECT_NE(answer.find("Connection: close"), std::string::npos);
}

TEST(HttpServer, TellsAClientThatStillSendsWhyItsBodyIsRefused) {
  const auto server = start({}, [](Exchange& exchange) {
    const Result<std::string> body = exchange.read_body(10);
    ASSERT_FALSE(body.ok());
    EXPECT_EQ(body.error().code(), Code::InvalidArgument);
    EXPECT_EQ(body.error().message(), "larger than 10 bytes");
    EXPECT_TRUE(exchange.respond({.status = 413, .body = "too much"}).ok());
  });
  const std::string head = "PUT / HTTP/1.1\r\nHost: h\r\n";
  const std::string body(2 << 20, 'b');
  RawClient sized(server->address());
  sized.send(head + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  EXPECT_TRUE(sized.read_all().ends_with("too much"));
  RawClient chunked(server->address());
  chunked.send(head + "Transfer-Encoding: chunked\r\n\r\n200000\r\n" + body);
  EXPECT_TRUE(chunked.read_all().ends_with("too much"));
}

TEST(HttpServer, RefusesAnOversizeHead) {
  EXPECT_EQ(status_for("GET /" + std::string(20000, 'a')), 431u);
  EXPECT_EQ(status_for("GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(17000, 'a') + "\r\n\r\n"), 431u);
  std::string many = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 3000; ++i) many += "X: y\r\n";
  EXPECT_EQ(status_for(many), 431u);
}

TEST(HttpServer, CutsAHeadAndABodyThatTrickle) {
  ServerOptions options;
  options.head_timeout = 200ms;
  options.body_stall_timeout = 200ms;
  const auto server = start(options);
  RawClient head(server->address());
  bool alive = true;
  std::string_view text = "GET / HTTP/1.1\r\nHost: h\r\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
  for (size_t i = 0; alive && i < text.size(); ++i) {
    alive = head.send(text.substr(i, 1));
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_EQ(status_of(head.read_all()), 408u);

  RawClient body(server->address());
  body.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
  alive = true;
  size_t sent = 0;
  for (; alive && sent < 1000; ++sent) {
    alive = body.send("x");
    std::this_thread::sleep_for(20ms);
    if (sent > 100) break;
  }
  EXPECT_EQ(status_of(body.read_all()), 400u);
}

TEST(HttpServer, ClosesAnIdleConnection) {
  ServerOptions options;
  options.head_timeout = 100ms;
  options.idle_timeout = 100ms;
  const auto server = start(options);
  EXPECT_EQ(RawClient(server->address()).read_all(), "");
  const std::string answer = RawClient(server->address()).ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(status_of(answer), 200u);
  EXPECT_EQ(answer.find("TIMEOUT"), std::string::npos);
}

TEST(HttpServer, BoundsConnectionsInAllAndForOneAddress) {
  ServerOptions options;
  options.max_connections_per_address = 2;
  const auto server = start(options);
  const std::string request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
  auto first = std::make_unique<RawClient>(server->address());
  RawClient second(server->address());
  for (RawClient* client : {first.get(), &second}) {
    client->send(request);
    EXPECT_NE(client->read_until("GET /  ").find("200 OK"), std::string::npos);
  }
  EXPECT_EQ(status_of(RawClient(server->address()).read_all()), 503u);
  first.reset();
  // Its place is free once its thread saw the end.
  unsigned status = 503;
  for (int i = 0; i < 100 && status != 200; ++i) {
    status =
        status_of(RawClient(server->address()).ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    if (status != 200) std::this_thread::sleep_for(20ms);
  }
  EXPECT_EQ(status, 200u);
}

TEST(HttpServer, Answers500WhenTheHandlerDoesNotAnswerOrThrows) {
  const auto server = start({}, [](Exchange& exchange) {
    if (exchange.request().path == "/throw") throw std::runtime_error("secret text");
  });
  for (const char* path : {"/throw", "/nothing"}) {
    const std::string answer =
        RawClient(server->address()).ask("GET " + std::string(path) + " HTTP/1.1\r\nHost: h\r\n\r\n");
    EXPECT_EQ(status_of(answer), 500u) << path;
    EXPECT_EQ(answer.find("secret"), std::string::npos);
  }
}

TEST(HttpServer, NeverSendsTwoAnswersNorAHeaderOfTwoLines) {
  const auto server = start({}, [](Exchange& exchange) {
    const Result<void> split = exchange.respond({.headers = {{"X", "a\r\nSet-Cookie: b"}}});
    ASSERT_FALSE(split.ok());
    EXPECT_EQ(split.error().code(), Code::Internal);
    EXPECT_TRUE(exchange.respond({.body = "one"}).ok());
    EXPECT_FALSE(exchange.respond({.body = "two"}).ok());
  });
  const std::string answer =
      RawClient(server->address()).ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(answer.find("Set-Cookie"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("\r\n\r\none"));
}

TEST(HttpServer, CutsAStreamWhoseSourceEndsEarly) {
  const auto server = start({}, [](Exchange& exchange) {
    size_t left = 3;
    const Result<void> sent = exchange.respond_stream({}, 10, [&left](MutableByteView out) -> Result<size_t> {
      if (left == 0) return size_t{0};
      --left;
      out[0] = 'x';
      return size_t{1};
    });
    EXPECT_FALSE(sent.ok());
  });
  const std::string answer = RawClient(server->address()).ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_NE(answer.find("Content-Length: 10\r\n"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("\r\n\r\nxxx"));
}

TEST(HttpServer, EndsWithConnectionsOpenAndHandlersWaiting) {
  std::atomic<bool> waiting{false};
  auto server = start({}, [&waiting](Exchange& exchange) {
    waiting = true;
    const Result<std::string> body = exchange.read_body(100);
    EXPECT_FALSE(body.ok());
  });
  RawClient idle(server->address());
  RawClient busy(server->address());
  busy.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
  while (!waiting) std::this_thread::sleep_for(1ms);
  const auto start_time = std::chrono::steady_clock::now();
  server.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - start_time, 5s);
}

TEST(HttpServer, RefusesSettingsThatCannotHold) {
  ServerOptions options;
  options.ask_client_certificate = true;
  EXPECT_EQ(Server::start(options, echo).error().code(), Code::InvalidArgument);
  options = {};
  options.address = "localhost:http";
  EXPECT_EQ(Server::start(options, echo).error().code(), Code::InvalidArgument);
}

}  // namespace
}  // namespace cloister::http
