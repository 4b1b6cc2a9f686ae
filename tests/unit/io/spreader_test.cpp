// Flows shared out over workers that have no queue of their own.
#include "dataplane/io/spreader.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "dataplane/io/log.h"
#include "dataplane/pipeline/flow_hash.h"
#include "tests/unit/io/eal_environment.h"
#include "tests/unit/pipeline/bytes_of.h"

namespace turnpike::io {
namespace {

using pipeline::test::Blob;
using pipeline::test::ip;

constexpr uint32_t kSeed = 77;
constexpr MacAddress kNobody{{2, 0, 0, 0, 0, 9}};

class Environment final : public test::EalEnvironment {
 public:
  Environment() : EalEnvironment("spreader-test") {}
  void SetUp() override {
    EalEnvironment::SetUp();
    if (testing::Test::HasFatalFailure()) return;
    buffers = make_buffers("spreader-test", 8'191, 2'048, 0);
    ASSERT_NE(buffers, nullptr) << take_last_errors();
  }
  static inline rte_mempool* buffers = nullptr;
};

const auto* const environment = testing::AddGlobalTestEnvironment(new Environment);

Blob frame_of(unsigned flow, uint8_t number) {
  const IpAddress client = ip("10.0.0." + std::to_string(1 + flow));
  return pipeline::test::make_frame(
      kNobody, kNobody, pipeline::test::make_udp(client, ip("192.0.2.1"), 4'000, 51820, {number}));
}

rte_mbuf* mbuf_with(const Blob& frame) {
  rte_mbuf* mbuf = rte_pktmbuf_alloc(Environment::buffers);
  CHECK(mbuf != nullptr);
  std::memcpy(rte_pktmbuf_append(mbuf, static_cast<uint16_t>(frame.size())), frame.data(),
              frame.size());
  return mbuf;
}

size_t worker_of(const Blob& frame, size_t workers) {
  return pipeline::worker_of(pipeline::flow_hash(frame.data(), frame.size(), kSeed), workers);
}

std::vector<Port> one_port(uint16_t workers, Spread spread = Spread::Auto) {
  auto port =
      Port::open({.name = "inside", .device = "net_ring0", .workers = workers, .spread = spread},
                 Environment::buffers);
  CHECK(port);
  std::vector<Port> ports;
  ports.push_back(std::move(*port));
  return ports;
}

TEST(Spreader, IsNotThereWhereEveryPortHasAQueueForEachWorker) {
  const std::vector<Port> ports = one_port(2);
  const auto spreader = Spreader::make(ports, 2, kSeed);
  ASSERT_TRUE(spreader);
  EXPECT_EQ(*spreader, nullptr);
}

TEST(Spreader, HandsEachFlowToItsWorkerInOrder) {
  constexpr size_t kWorkers = 3;
  const std::vector<Port> ports = one_port(kWorkers, Spread::Always);
  const auto spreader = std::move(*Spreader::make(ports, kWorkers, kSeed));
  std::vector<rte_mbuf*> mbufs;
  for (uint8_t i = 0; i < kRxBurst; ++i) mbufs.push_back(mbuf_with(frame_of(i % 5, i)));
  uint64_t lost_bytes = 0;
  const auto [kept, lost] = spreader->share(0, 0, mbufs.data(), kRxBurst, lost_bytes);
  EXPECT_EQ(lost, 0u);
  size_t seen = 0;
  const auto check = [&](std::span<rte_mbuf*> share, size_t worker) {
    int last = -1;
    for (rte_mbuf* mbuf : share) {
      const auto* bytes = rte_pktmbuf_mtod(mbuf, const uint8_t*);
      const Blob frame(bytes, bytes + mbuf->data_len);
      EXPECT_EQ(worker_of(frame, kWorkers), worker);
      EXPECT_GT(int{frame.back()}, last);
      last = frame.back();
      rte_pktmbuf_free(mbuf);
      ++seen;
    }
  };
  check({mbufs.data(), kept}, 0);
  for (WorkerIndex worker = 1; worker < kWorkers; ++worker) {
    for (const Spreader::Handed& handed : spreader->received_for(worker)) {
      rte_mbuf* taken[kRxBurst];
      check({taken, Spreader::take(handed, taken, kRxBurst)}, worker);
    }
  }
  EXPECT_EQ(seen, kRxBurst);
}

TEST(Spreader, CountsWhatAFullRingDoesNotTakeAndFreesWhatIsLeft) {
  const unsigned before = rte_mempool_avail_count(Environment::buffers);
  {
    const std::vector<Port> ports = one_port(2, Spread::Always);
    const unsigned with_port = rte_mempool_avail_count(Environment::buffers);
    const auto spreader = std::move(*Spreader::make(ports, 2, kSeed));
    unsigned flow = 0;
    while (worker_of(frame_of(flow, 0), 2) != 1) ++flow;
    uint64_t lost_frames = 0, lost_bytes = 0;
    const Blob frame = frame_of(flow, 0);
    for (unsigned sent = 0; sent < Spreader::kRingFrames + kRxBurst; sent += kRxBurst) {
      rte_mbuf* mbufs[kRxBurst];
      for (rte_mbuf*& mbuf : mbufs) mbuf = mbuf_with(frame);
      const auto [kept, lost] = spreader->share(0, 0, mbufs, kRxBurst, lost_bytes);
      EXPECT_EQ(kept, 0u);
      lost_frames += lost;
    }
    EXPECT_EQ(lost_frames, kRxBurst);
    EXPECT_EQ(lost_bytes, kRxBurst * frame.size());
    EXPECT_EQ(rte_mempool_avail_count(Environment::buffers), with_port - Spreader::kRingFrames);
  }
  EXPECT_EQ(rte_mempool_avail_count(Environment::buffers), before);
}

// net_ring ports have sixteen queues.
TEST(Spreader, LetsAWorkerWithoutAQueueReceiveFromAllAndSendThroughOne) {
  constexpr size_t kWorkers = 17;
  constexpr WorkerIndex kLast = 16, kItsOwner = 0;
  const std::vector<Port> ports = one_port(kWorkers);
  ASSERT_EQ(ports[0].queues(), 16u);
  EXPECT_TRUE(ports[0].spread_in_software());
  const auto spreader = std::move(*Spreader::make(ports, kWorkers, kSeed));
  EXPECT_EQ(spreader->received_for(kLast).size(), 16u);
  EXPECT_EQ(spreader->received_for(kItsOwner).size(), 15u);
  ASSERT_EQ(spreader->sent_through(kItsOwner).size(), 1u);
  EXPECT_EQ(spreader->sent_through(1).size(), 0u);

  rte_mbuf* mbufs[3];
  for (uint8_t i = 0; i < 3; ++i) mbufs[i] = mbuf_with(frame_of(0, i));
  EXPECT_EQ(spreader->send(0, kLast, mbufs, 3), 3u);
  rte_mbuf* taken[kRxBurst];
  EXPECT_EQ(Spreader::take(spreader->sent_through(kItsOwner)[0], taken, kRxBurst), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(taken[i], mbufs[i]);
    rte_pktmbuf_free(taken[i]);
  }
}

TEST(Spreader, RingsForWhoIsHandedSomethingAndForNobodyElse) {
  constexpr size_t kWorkers = 17;
  const std::vector<Port> ports = one_port(kWorkers);
  const auto spreader = std::move(*Spreader::make(ports, kWorkers, kSeed));
  std::vector<publish::Doorbell> bells(kWorkers);
  std::vector<publish::Doorbell*> pointers;
  for (publish::Doorbell& bell : bells) {
    bell.listen();
    pointers.push_back(&bell);
  }
  spreader->use_bells(pointers);
  const auto rung = [&] {
    std::vector<size_t> which;
    eventfd_t rings;
    for (size_t i = 0; i < kWorkers; ++i) {
      if (eventfd_read(bells[i].fd(), &rings) == 0) which.push_back(i);
    }
    return which;
  };
  unsigned flow = 0;
  while (worker_of(frame_of(flow, 0), kWorkers) == 0) ++flow;
  rte_mbuf* mbuf = mbuf_with(frame_of(flow, 0));
  uint64_t lost_bytes = 0;
  EXPECT_EQ(spreader->share(0, 0, &mbuf, 1, lost_bytes).lost, 0u);
  EXPECT_EQ(rung(), std::vector<size_t>{worker_of(frame_of(flow, 0), kWorkers)});
  mbuf = mbuf_with(frame_of(flow, 1));
  EXPECT_EQ(spreader->send(0, 16, &mbuf, 1), 1u);
  EXPECT_EQ(rung(), std::vector<size_t>{0});
}

}  // namespace
}  // namespace turnpike::io
