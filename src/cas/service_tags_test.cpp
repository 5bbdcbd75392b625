// The service's decisions about tags, leases and fences.
#include <thread>

#include "cas/service_test_support.h"

namespace cloister::cas {
namespace {

using ::testing::HasSubstr;
using testing::predecessor;

TEST_F(ServiceTest, TagsAreComparedAndSwapped) {
  create(session_text("s"));
  const EnclaveConfig config = released();
  EXPECT_TRUE(tags(config, {{"out", {}, {1}, 0}}).ok());
  EXPECT_TRUE(tags(config, {{"out", {1}, {2}, 0}}).ok());
  EXPECT_TRUE(tags(config, {{"out", {1}, {2}, 0}}).ok()) << "a retry";
  EXPECT_EQ(volume("out").updates, 2u);
  EXPECT_EQ(volume("out").tag, (Tag{2}));
  const Result<void> fork = tags(config, {{"out", {1}, {3}, 0}});
  ASSERT_FALSE(fork.ok());
  EXPECT_EQ(fork.error().code(), Code::Integrity);
  EXPECT_EQ(fork.error().message(), "The FSPF tag is not fresh - suspected replay attack");
  EXPECT_EQ(tags(config, {{"out", {9}, {2}, 0}}).error().code(), Code::Integrity) << "not that retry";
  EXPECT_THAT(events(), HasSubstr("refused: tags of service app"));
}

TEST_F(ServiceTest, ABatchIsAllOrNothing) {
  create(session_text("s"));
  const EnclaveConfig config = released();
  const Tag given = mount(config, "in").tag;
  ASSERT_TRUE(tags(config, {{"in", given, {5}, 0}, {"out", {}, {6}, 0}}).ok());
  EXPECT_FALSE(tags(config, {{"in", {5}, {7}, 0}, {"out", {9}, {8}, 0}}).ok());
  EXPECT_EQ(volume("in").tag, (Tag{5}));
  EXPECT_TRUE(tags(config, {{"in", {5}, {7}, 0}, {"out", {}, {6}, 0}}).ok()) << "half of it repeated";
  EXPECT_EQ(volume("in").tag, (Tag{7}));
}

TEST_F(ServiceTest, TheNextRunOpensTheNewestStateUnderANewEpoch) {
  create(session_text("s"));
  const EnclaveConfig first = released();
  ASSERT_TRUE(tags(first, {{"out", {}, {1}, 0}}).ok());
  service_->on_exit(first.instance_id, peer(7), 0);
  const EnclaveConfig second = released(8);
  EXPECT_FALSE(mount(second, "out").create);
  EXPECT_EQ(mount(second, "out").tag, (Tag{1}));
  EXPECT_TRUE(equal_constant_time(mount(second, "out").key.expose(), mount(first, "out").key.expose()));
  EXPECT_GT(mount(second, "out").epoch, mount(first, "out").epoch);
  EXPECT_EQ(tags(first, {{"out", {1}, {2}, 0}}).error().code(), Code::Denied) << "it has exited";
  EXPECT_THAT(events(), HasSubstr("exited: service app"));
}

TEST_F(ServiceTest, ASecondWriterWaitsForTheFirstOnesEnd) {
  create(session_text("s"));
  const EnclaveConfig first = released(7);
  const auto second = attest(8);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), Code::Denied);
  EXPECT_THAT(second.error().message(), HasSubstr("in use by another enclave"));
  EXPECT_TRUE(volume("out").in_use);
  service_->on_disconnect(first.instance_id, peer(7));
  EXPECT_FALSE(volume("out").in_use);
  const EnclaveConfig third = released(9);
  EXPECT_EQ(service_->on_resume(first.instance_id, peer(7)).error().code(), Code::Denied);
  EXPECT_TRUE(tags(third, {{"out", {}, {3}, 0}}, 9).ok());
}

TEST_F(ServiceTest, OfManyWritersAtOnceOneIsGranted) {
  create(session_text("s"));
  std::atomic<int> granted{0};
  std::vector<std::thread> threads;
  for (uint8_t i = 10; i < 18; ++i) {
    threads.emplace_back([&, i] { granted += attest(i).ok() ? 1 : 0; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(granted, 1);
}

TEST_F(ServiceTest, AnInstanceResumesWithItsOwnKeyAlsoAfterARestart) {
  create(session_text("s"));
  const EnclaveConfig config = released(7);
  ASSERT_TRUE(tags(config, {{"out", {}, {1}, 0}}).ok());
  open();
  EXPECT_FALSE(tags(config, {{"out", {1}, {2}, 0}}).ok()) << "not connected";
  EXPECT_EQ(service_->on_resume(config.instance_id, peer(8)).error().code(), Code::Denied);
  ASSERT_TRUE(service_->on_resume(config.instance_id, peer(7)).ok());
  EXPECT_TRUE(tags(config, {{"out", {}, {1}, 0}}).ok()) << "the batch it did not know about";
  EXPECT_TRUE(tags(config, {{"out", {1}, {2}, 0}}).ok());
  EXPECT_FALSE(attest(9).ok()) << "it writes";
}

TEST_F(ServiceTest, TagsOfOthersVolumesAndKeysAreRefused) {
  create(session_text("s"));
  const EnclaveConfig config = released(7);
  EXPECT_EQ(tags(config, {{"other", {}, {1}, 5}}).error().code(), Code::Denied);
  EXPECT_EQ(tags(config, {{"out", {}, {1}, 99}}).error().code(), Code::Denied);
  EXPECT_EQ(tags(config, {{"out", {}, {1}, 0}}, 8).error().code(), Code::Denied);
  EXPECT_FALSE(volume("out").tag.has_value());
}

TEST_F(ServiceTest, AnOwnerWhoReplacesAVolumesTagStartsFromItAndFencesTheWriter) {
  const crypto::Digest first = create(session_text("s"));
  const EnclaveConfig config = released();
  ASSERT_TRUE(tags(config, {{"in", mount(config, "in").tag, {5}, 0}, {"out", {}, {6}, 0}}).ok());
  const crypto::Digest second = create(session_text("s", predecessor(first), "A: b"));
  EXPECT_EQ(volume("in").tag, (Tag{5})) << "the text gives the same key and tag";
  std::string other = session_text("s", predecessor(second));
  other.replace(other.find(std::string(32, '2')), 32, std::string(32, '3'));
  create(other);
  EXPECT_EQ(to_hex(*volume("in").tag), std::string(32, '3'));
  EXPECT_EQ(volume("out").tag, (Tag{6}));
  EXPECT_EQ(tags(config, {{"in", {5}, {7}, 0}}).error().code(), Code::Denied);
}

// Two services over the volumes of session_text: `app` as it is, `side` with other update policies.
std::string two_services(const std::string& out_policy, const std::string& more = {}) {
  std::string text = session_text("s", more);
  text.replace(text.find("secrets:\n"), 0,
               "  - {name: side, image_name: side_image, mrenclaves: [" + std::string(64, 'a') +
                   "], command: side}\n");
  text.replace(text.find("security:"), 0,
               "  - name: side_image\n"
               "    volumes: [{name: in, path: /in, update_policy: no_rollback_protection},"
               " {name: out, path: /out, update_policy: " +
                   out_policy + "}]\n");
  return text;
}

TEST_F(ServiceTest, AMountBesideTheWriterDoesNotEndItsLease) {
  create(two_services("ephemeral"));
  const EnclaveConfig writer = released(7);
  ASSERT_TRUE(tags(writer, {{"out", {}, {1}, 0}}).ok());
  const EnclaveConfig side = released(8, "s/side");
  EXPECT_NE(mount(side, "out").epoch, mount(writer, "out").epoch) << "epochs are of one mount";
  const Result<void> still = tags(writer, {{"out", {1}, {2}, 0}});
  EXPECT_TRUE(still.ok()) << still.error().message();
  EXPECT_EQ(volume("out").tag, (Tag{2}));
}

TEST_F(ServiceTest, AnUnprotectedMountsTagNeverReplacesTheWriters) {
  create(two_services("no_rollback_protection"));
  const EnclaveConfig side = released(8, "s/side");
  EXPECT_TRUE(tags(side, {{"out", {}, {1}, 0}}, 8).ok());
  EXPECT_EQ(volume("out").tag, (Tag{1}));
  const EnclaveConfig writer = released(7);
  EXPECT_EQ(mount(writer, "out").tag, (Tag{1}));
  const EnclaveConfig beside = released(9, "s/side");
  EXPECT_TRUE(tags(side, {{"out", {1}, {5}, 0}}, 8).ok());
  EXPECT_TRUE(tags(beside, {{"out", {1}, {6}, 0}}, 9).ok());
  EXPECT_EQ(volume("out").tag, (Tag{1})) << "acknowledged, not kept";
  ASSERT_TRUE(tags(writer, {{"out", {1}, {2}, 0}}).ok());
  service_->on_exit(writer.instance_id, peer(7), 0);
  EXPECT_TRUE(tags(side, {{"out", {1}, {5}, 0}}, 8).ok());
  EXPECT_EQ(volume("out").tag, (Tag{2})) << "its state is older than the writer's";
  EXPECT_TRUE(tags(beside, {{"out", {2}, {6}, 0}}, 9).ok());
  EXPECT_EQ(volume("out").tag, (Tag{6}));
}

TEST_F(ServiceTest, AVolumesNewTagFencesUnprotectedMountsToo) {
  const crypto::Digest first = create(two_services("ephemeral"));
  const EnclaveConfig side = released(8, "s/side");
  ASSERT_TRUE(tags(side, {{"in", {9}, {5}, 0}}, 8).ok());
  std::string other = two_services("ephemeral", predecessor(first));
  other.replace(other.find(std::string(32, '2')), 32, std::string(32, '3'));
  create(other);
  EXPECT_EQ(tags(side, {{"in", {5}, {6}, 0}}, 8).error().code(), Code::Denied);
  EXPECT_EQ(to_hex(*volume("in").tag), std::string(32, '3'));
  EXPECT_TRUE(tags(released(9, "s/side"), {{"in", {5}, {7}, 0}}, 9).ok());
}

TEST_F(ServiceTest, RowsOfInstancesThatEndedWithoutANoticeGo) {
  const auto has_row = [&](const EnclaveConfig& config) {
    return store_->get(kInstances, to_hex(config.instance_id)).value().has_value();
  };
  std::string text = session_text("s");
  text.replace(text.find("{name: out, path: /out}"), 23, "{name: out, path: /out, update_policy: ephemeral}");
  text.replace(text.find("{name: in, path: /in}"), 21,
               "{name: in, path: /in, update_policy: no_rollback_protection}");
  create(text);
  const EnclaveConfig first = released(7);
  service_->on_disconnect(first.instance_id, peer(7));
  const EnclaveConfig second = released(8);
  EXPECT_TRUE(has_row(first)) << "it may come back";
  EXPECT_TRUE(service_->on_resume(first.instance_id, peer(7)).ok());

  ServiceOptions impatient;
  impatient.resume_time = std::chrono::milliseconds(0);
  open(impatient);
  ASSERT_TRUE(service_->on_resume(second.instance_id, peer(8)).ok());
  const EnclaveConfig third = released(9);
  EXPECT_FALSE(has_row(first));
  EXPECT_TRUE(has_row(second)) << "it is connected";
  EXPECT_EQ(service_->on_resume(first.instance_id, peer(7)).error().code(), Code::Denied);
  service_->on_exit(third.instance_id, peer(9), 0);
  EXPECT_FALSE(has_row(third));
}

TEST_F(ServiceTest, AFullListOfInstancesLosesItsOldest) {
  create(two_services("ephemeral"));
  UnleasedRecord full;
  for (uint32_t i = 0; i < kMaxUnleased; ++i) {
    InstanceId id{1};
    store_le(id.data() + 4, i);
    full.instances.push_back(id);
  }
  const InstanceId oldest = full.instances[0], next = full.instances[1];
  ASSERT_TRUE(store_
                  ->update([&](Transaction& transaction) -> Result<void> {
                    transaction.put(kUnleased, "s", encode(full));
                    for (const InstanceId& id : {oldest, next}) {
                      transaction.put(kInstances, to_hex(id), encode(InstanceRecord{}));
                    }
                    transaction.journal("attested", "s", "many");
                    return {};
                  })
                  .ok());
  const EnclaveConfig newest = released(8, "s/side");
  const auto row = store_->get(kUnleased, "s").value();
  const UnleasedRecord list = decode_unleased(row->expose()).value();
  EXPECT_EQ(list.instances.size(), kMaxUnleased);
  EXPECT_EQ(list.instances.front(), next);
  EXPECT_EQ(list.instances.back(), newest.instance_id);
  EXPECT_FALSE(store_->get(kInstances, to_hex(oldest)).value().has_value());
  EXPECT_TRUE(store_->get(kInstances, to_hex(next)).value().has_value());
}

TEST_F(ServiceTest, ARowWhoseLeaseTheOwnerEndedGoesToo) {
  ServiceOptions impatient;
  impatient.resume_time = std::chrono::milliseconds(0);
  open(impatient);
  // Of one lease, so that no other volume leads to the row.
  const auto text_of = [](char digit, const std::string& more) {
    std::string text = session_text("s", more);
    text.replace(text.find("{name: out, path: /out}"), 23,
                 "{name: out, path: /out, update_policy: ephemeral}");
    return text.replace(text.find(std::string(32, '2')), 32, std::string(32, digit));
  };
  crypto::Digest hash = create(text_of('2', ""));
  std::vector<EnclaveConfig> runs;
  for (const char digit : {'3', '4', '5'}) {
    runs.push_back(released(7));
    service_->on_disconnect(runs.back().instance_id, peer(7));
    hash = create(text_of(digit, predecessor(hash)));
  }
  EXPECT_FALSE(store_->get(kInstances, to_hex(runs[0].instance_id)).value().has_value());
  EXPECT_FALSE(store_->get(kInstances, to_hex(runs[1].instance_id)).value().has_value());
}

TEST(Instances, MayReturnForAWhileAfterAStartAndAfterTheyLeft) {
  const auto record = std::make_shared<const InstanceRecord>();
  const auto while_away = std::chrono::milliseconds(400);
  Instances instances(while_away);
  EXPECT_TRUE(instances.may_return({1})) << "the service may have ended under it";
  std::this_thread::sleep_for(while_away);
  EXPECT_FALSE(instances.may_return({1}));
  for (const InstanceId& id : {InstanceId{1}, InstanceId{2}}) instances.connect(id, record);
  EXPECT_TRUE(instances.may_return({1}));
  instances.exit({2});
  EXPECT_FALSE(instances.may_return({2})) << "it said goodbye";
  instances.disconnect({1});
  instances.disconnect({2});
  EXPECT_TRUE(instances.may_return({1}));
  EXPECT_FALSE(instances.may_return({2}));
  std::this_thread::sleep_for(while_away);
  EXPECT_FALSE(instances.may_return({1}));
}

TEST(Records, AVolumeOfTheFirstFormatKeepsItsWriter) {
  VolumeRecord record;
  record.epoch = 5;
  record.writer = {1};
  const SecretBytes now = encode(record);
  Bytes old(now.expose().begin(), now.expose().end() - 16);
  old[0] = 1;
  const VolumeRecord decoded = decode_volume(old).value();
  EXPECT_EQ(decoded.writer_epoch, 5u);
  EXPECT_EQ(decoded.writer, record.writer);
  EXPECT_EQ(decoded.reset_epoch, 0u);
  old[0] = 3;
  EXPECT_EQ(decode_volume(old).error().code(), Code::Malformed);
}

TEST(Records, AnInstanceOfTheFirstFormatIsNobodys) {
  InstanceRecord record;
  record.key = {7};
  record.owner = {9};
  record.session = "s";
  record.volumes = {{"out", 3, boundary::UpdatePolicy::RollbackProtected}};
  const SecretBytes now = encode(record);
  EXPECT_EQ(decode_instance(now.expose())->owner, record.owner);
  Bytes old(now.expose().begin(), now.expose().end());
  old.erase(old.begin() + 33, old.begin() + 65);
  old[0] = 1;
  const InstanceRecord decoded = decode_instance(old).value();
  EXPECT_EQ(decoded.key, record.key);
  EXPECT_EQ(decoded.owner, crypto::Digest{});
  EXPECT_EQ(decoded.session, "s");
  ASSERT_EQ(decoded.volumes.size(), 1u);
  EXPECT_EQ(decoded.volumes[0].epoch, 3u);
  old[0] = 3;
  EXPECT_EQ(decode_instance(old).error().code(), Code::Malformed);
}

TEST_F(ServiceTest, UpdatePoliciesDiffer) {
  std::string text = session_text("s");
  text.replace(text.find("{name: out, path: /out}"), 23, "{name: out, path: /out, update_policy: ephemeral}");
  text.replace(text.find("{name: in, path: /in}"), 21,
               "{name: in, path: /in, update_policy: no_rollback_protection}");
  create(text);
  const EnclaveConfig first = released(7);
  const EnclaveConfig second = released(8);  // no lease to wait for
  EXPECT_TRUE(mount(second, "out").create);
  EXPECT_FALSE(equal_constant_time(mount(first, "out").key.expose(), mount(second, "out").key.expose()));
  EXPECT_NE(mount(first, "in").epoch, mount(second, "in").epoch);
  EXPECT_TRUE(tags(first, {{"out", {}, {1}, 0}, {"in", {9}, {5}, 0}}).ok());
  EXPECT_FALSE(volume("out").tag.has_value());
  EXPECT_EQ(volume("in").tag, (Tag{5}));
  EXPECT_TRUE(tags(second, {{"in", {8}, {6}, 0}}, 8).ok());
}

}  // namespace
}  // namespace cloister::cas
