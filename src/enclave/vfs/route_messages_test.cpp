// Answers of rtnetlink, read as C libraries read them.
#include <gtest/gtest.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>
#include <random>

#include "enclave/vfs/interfaces.h"

namespace cloister::enclave {
namespace {

constexpr uint32_t kPort = 77;

InterfaceRecord link_record(const char* name, uint32_t index) {
  InterfaceRecord record{};
  std::strncpy(record.name, name, sizeof(record.name) - 1);
  record.index = index;
  record.flags = 0x1043;
  record.mtu = 1500;
  record.hardware_type = 1;
  record.hardware_size = 6;
  record.hardware[5] = 9;
  return record;
}
InterfaceRecord address_record(const char* name, uint32_t index) {
  InterfaceRecord record = link_record(name, index);
  record.family = AF_INET;
  record.prefix = 24;
  record.address[0] = 10;
  record.address[3] = static_cast<uint8_t>(index);
  return record;
}

Bytes request_of(uint16_t type, uint16_t flags, uint8_t family) {
  struct {
    nlmsghdr head;
    rtgenmsg body;
  } request{};
  request.head = {sizeof(request), type, flags, 5, 0};
  request.body.rtgen_family = family;
  Bytes bytes(sizeof(request));
  std::memcpy(bytes.data(), &request, sizeof(request));
  return bytes;
}

// Every message of all pieces.
std::vector<const nlmsghdr*> messages(const std::vector<Bytes>& pieces) {
  std::vector<const nlmsghdr*> list;
  for (const Bytes& piece : pieces) {
    auto left = static_cast<int>(piece.size());
    const auto* head = reinterpret_cast<const nlmsghdr*>(piece.data());
    for (; NLMSG_OK(head, left); head = NLMSG_NEXT(head, left)) list.push_back(head);
    EXPECT_EQ(left, 0);
  }
  return list;
}

TEST(RouteMessages, ListLinks) {
  const auto pieces =
      answer_route_request(request_of(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 0), kPort,
                           {link_record("lo", 1), address_record("lo", 1), link_record("eth0", 2)});
  const auto list = messages(pieces);
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0]->nlmsg_type, RTM_NEWLINK);
  EXPECT_EQ(list[1]->nlmsg_flags, NLM_F_MULTI);
  EXPECT_EQ(list[1]->nlmsg_seq, 5u);
  EXPECT_EQ(list[1]->nlmsg_pid, kPort);
  const auto* info = static_cast<const ifinfomsg*>(NLMSG_DATA(list[1]));
  EXPECT_EQ(info->ifi_index, 2);
  auto left = static_cast<int>(list[1]->nlmsg_len - NLMSG_LENGTH(sizeof(*info)));
  bool named = false;
  for (const rtattr* a = IFLA_RTA(info); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
    if (a->rta_type == IFLA_IFNAME) named = std::strcmp(static_cast<const char*>(RTA_DATA(a)), "eth0") == 0;
    if (a->rta_type == IFLA_ADDRESS) {
      EXPECT_EQ(RTA_PAYLOAD(a), 6u);
    }
  }
  EXPECT_TRUE(named);
  EXPECT_EQ(list[2]->nlmsg_type, NLMSG_DONE);
}

TEST(RouteMessages, ListAddressesOfAFamilyInPiecesThatFitAPage) {
  std::vector<InterfaceRecord> records;
  for (uint32_t i = 1; i <= 200; ++i) records.push_back(address_record("eth0", i));
  const auto pieces =
      answer_route_request(request_of(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, AF_INET), kPort, records);
  for (const Bytes& piece : pieces) EXPECT_LE(piece.size(), 4096u);
  const auto list = messages(pieces);
  ASSERT_EQ(list.size(), 201u);
  const auto* info = static_cast<const ifaddrmsg*>(NLMSG_DATA(list[0]));
  EXPECT_EQ(info->ifa_family, AF_INET);
  EXPECT_EQ(info->ifa_prefixlen, 24);
  EXPECT_EQ(messages(answer_route_request(request_of(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, AF_INET6),
                                          kPort, records))
                .size(),
            1u);
}

TEST(RouteMessages, RefuseWhatIsNotServed) {
  for (const uint16_t type : {RTM_GETROUTE, RTM_NEWADDR, RTM_DELLINK, RTM_GETLINK}) {
    const auto pieces = answer_route_request(request_of(type, NLM_F_REQUEST, 0), kPort, {});
    const auto list = messages(pieces);
    ASSERT_EQ(list.size(), 1u);
    EXPECT_EQ(list[0]->nlmsg_type, NLMSG_ERROR);
    EXPECT_EQ(static_cast<const nlmsgerr*>(NLMSG_DATA(list[0]))->error, -EOPNOTSUPP);
  }
  EXPECT_TRUE(answer_route_request(request_of(RTM_GETLINK, 0, 0), kPort, {}).empty());
}

TEST(RouteMessages, TakeAnyBytes) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 20000; ++i) {
    Bytes request = request_of(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 0);
    for (int changes = 0; changes < 3; ++changes)
      request[random() % request.size()] = static_cast<uint8_t>(random());
    request.resize(random() % (request.size() + 1));
    const auto pieces = answer_route_request(request, kPort, {address_record("lo", 1)});
    EXPECT_LE(pieces.size(), 2u);
  }
}

}  // namespace
}  // namespace cloister::enclave
