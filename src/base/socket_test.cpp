#include "base/socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <thread>

namespace cloister {
namespace {

using namespace std::chrono_literals;

TEST(Socket, ConnectsToAListenerOnAFreePort) {
  Listener listener = Listener::bind("127.0.0.1:0").value();
  ASSERT_NE(listener.port(), 0);
  const Socket client = connect_tcp(listener.address(), deadline_in(1s)).value();
  std::string peer;
  const Socket server = listener.accept(&peer).value();
  EXPECT_TRUE(peer.starts_with("127.0.0.1:"));
  ASSERT_EQ(::send(client.fd(), "x", 1, 0), 1);
  EXPECT_TRUE(wait_readable(server.fd(), deadline_in(1s)).ok());
}

TEST(Socket, NamesARefusedConnection) {
  std::string address;
  {
    const Listener listener = Listener::bind("127.0.0.1:0").value();
    address = listener.address();
  }
  const Result<Socket> socket = connect_tcp(address, deadline_in(1s));
  ASSERT_FALSE(socket.ok());
  EXPECT_EQ(socket.error().code(), Code::Unavailable);
  EXPECT_EQ(socket.error().message(), "Connection refused");
}

TEST(Socket, ASilentPeerCostsNoMoreThanTheDeadline) {
  Listener listener = Listener::bind("127.0.0.1:0").value();
  const Socket client = connect_tcp(listener.address(), deadline_in(1s)).value();
  const auto begin = std::chrono::steady_clock::now();
  const Result<void> waited = wait_readable(client.fd(), deadline_in(30ms));
  const auto spent = std::chrono::steady_clock::now() - begin;
  ASSERT_FALSE(waited.ok());
  EXPECT_EQ(waited.error().message(), "timed out");
  EXPECT_GE(spent, 30ms);
  EXPECT_LT(spent, 2s);
}

TEST(Socket, RefusesNamesAndBrokenAddresses) {
  for (const char* text : {"localhost:80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:8x",
                           ":80", "", "[::1:80", "1.2.3:80"}) {
    EXPECT_EQ(connect_tcp(text, deadline_in(1s)).error().code(), Code::InvalidArgument) << text;
  }
}

TEST(Socket, ShutdownEndsAWaitingAccept) {
  Listener listener = Listener::bind("127.0.0.1:0").value();
  std::thread stopper([&] {
    std::this_thread::sleep_for(20ms);
    listener.shutdown();
  });
  EXPECT_FALSE(listener.accept().ok());
  stopper.join();
}

TEST(Socket, MovesAllOfManyBytesAndSaysWhereThePeerEnded) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  Socket left(pair[0]);
  const Socket right(pair[1]);
  Bytes sent(4 << 20), received(sent.size());
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<uint8_t>(i * 31 >> 8);
  std::thread writer([&] { EXPECT_TRUE(send_all(left, sent, deadline_in(10s)).ok()); });
  EXPECT_TRUE(receive_all(right, received, deadline_in(10s)).ok());
  writer.join();
  EXPECT_EQ(sent, received);

  EXPECT_EQ(send_all(left, sent, deadline_in(50ms)).error().message(), "timed out") << "nobody reads";
  left.close();
  bool ended = true;
  Bytes more(sent.size());
  EXPECT_EQ(receive_all(right, more, deadline_in(1s), &ended).error().message(), "the connection was closed");
  EXPECT_FALSE(ended) << "some of it came";
  EXPECT_FALSE(receive_all(right, more, deadline_in(1s), &ended).ok());
  EXPECT_TRUE(ended);
  int silent[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, silent), 0);
  const Socket listener(silent[0]), quiet(silent[1]);
  EXPECT_EQ(receive_all(listener, more, deadline_in(20ms), &ended).error().message(), "timed out");
  EXPECT_FALSE(ended);
  EXPECT_FALSE(send_all(right, sent, deadline_in(1s)).ok()) << "without SIGPIPE";
}

}  // namespace
}  // namespace cloister
