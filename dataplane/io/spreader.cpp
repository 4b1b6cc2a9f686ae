#include "dataplane/io/spreader.h"

#include <rte_mbuf.h>
#include <rte_ring.h>

#include <algorithm>
#include <bit>

#include "dataplane/base/prefetch.h"
#include "dataplane/io/log.h"
#include "dataplane/pipeline/flow_hash.h"

namespace turnpike::io {

Result<std::unique_ptr<Spreader>, std::string> Spreader::make(std::span<const Port> ports,
                                                              size_t workers, uint32_t seed) {
  CHECK(workers <= kMaxWorkers);
  if (std::ranges::none_of(ports, &Port::spread_in_software)) return nullptr;
  std::unique_ptr<Spreader> spreader(new Spreader(workers, seed));
  spreader->lanes_.resize(ports.size());
  spreader->received_for_.resize(workers);
  spreader->sent_through_.resize(workers);
  for (size_t i = 0; i < ports.size(); ++i) {
    if (!ports[i].spread_in_software()) continue;
    if (auto added = spreader->add_port(static_cast<PortIndex>(i), ports[i]); !added) {
      return fail(std::move(added.error()));
    }
  }
  return spreader;
}

Result<void, std::string> Spreader::add_port(PortIndex index, const Port& port) {
  (void)take_last_errors();
  const auto make_ring = [&](char direction, size_t from, size_t to) -> rte_ring* {
    const std::string name = std::string("spread-") + direction + '-' + std::to_string(index) +
                             '-' + std::to_string(from) + '-' + std::to_string(to);
    rte_ring* ring = rte_ring_create(name.c_str(), kRingFrames, SOCKET_ID_ANY,
                                     RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
    if (ring != nullptr) rings_.push_back(ring);
    return ring;
  };
  Lane& lane = lanes_[index];
  lane.queues = port.queues();
  lane.received.resize(workers_ * workers_);
  lane.sent.resize(workers_);
  bool made = true;
  for (size_t from = 0; from < port.queues(); ++from) {
    for (size_t to = 0; to < workers_; ++to) {
      if (from == to) continue;
      rte_ring* ring = make_ring('r', from, to);
      made = made && ring != nullptr;
      lane.received[from * workers_ + to] = ring;
      received_for_[to].push_back({.port = index, .ring = ring});
    }
  }
  for (size_t from = lane.queues; from < workers_; ++from) {
    const size_t owner = from % lane.queues;
    rte_ring* ring = make_ring('t', from, owner);
    made = made && ring != nullptr;
    lane.sent[from] = ring;
    sent_through_[owner].push_back({.port = index, .ring = ring});
  }
  if (made) return {};
  return fail("memory for the rings that spread port " + port.name() +
              " over the workers is short; raise dataplane.memory: " + take_last_errors());
}

Spreader::~Spreader() {
  for (rte_ring* ring : rings_) {
    void* mbuf = nullptr;
    while (rte_ring_sc_dequeue(ring, &mbuf) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(mbuf));
    rte_ring_free(ring);
  }
}

Spreader::Shared Spreader::share(PortIndex port, WorkerIndex from, rte_mbuf** mbufs, uint16_t count,
                                 uint64_t& lost_bytes) const noexcept {
  DCHECK(count <= kRxBurst);
  for (uint16_t i = 0; i < count; ++i) prefetch(rte_pktmbuf_mtod(mbufs[i], const uint8_t*));
  uint8_t target[kRxBurst];
  static_assert(kMaxWorkers <= 64);
  uint64_t others = 0;
  for (uint16_t i = 0; i < count; ++i) {
    const uint32_t hash =
        pipeline::flow_hash(rte_pktmbuf_mtod(mbufs[i], const uint8_t*), mbufs[i]->data_len, seed_);
    target[i] = static_cast<uint8_t>(pipeline::worker_of(hash, workers_));
    others |= uint64_t{1} << target[i];
  }
  others &= ~(uint64_t{1} << from);
  uint16_t lost = 0;
  while (others != 0) {
    const auto to = static_cast<size_t>(std::countr_zero(others));
    others &= others - 1;
    rte_mbuf* group[kRxBurst];
    unsigned size = 0;
    for (uint16_t i = 0; i < count; ++i) {
      if (target[i] == to) group[size++] = mbufs[i];
    }
    const unsigned handed =
        rte_ring_sp_enqueue_burst(lanes_[port].received[from * workers_ + to],
                                  reinterpret_cast<void**>(group), size, nullptr);
    ring_bell(to);
    if (handed == size) continue;
    for (unsigned i = handed; i < size; ++i) lost_bytes += group[i]->pkt_len;
    rte_pktmbuf_free_bulk(group + handed, size - handed);
    lost = static_cast<uint16_t>(lost + size - handed);
  }
  uint16_t kept = 0;
  for (uint16_t i = 0; i < count; ++i) {
    if (target[i] == from) mbufs[kept++] = mbufs[i];
  }
  return {.kept = kept, .lost = lost};
}

uint16_t Spreader::send(PortIndex port, WorkerIndex from, rte_mbuf** mbufs,
                        uint16_t count) const noexcept {
  const Lane& lane = lanes_[port];
  const unsigned sent =
      rte_ring_sp_enqueue_burst(lane.sent[from], reinterpret_cast<void**>(mbufs), count, nullptr);
  ring_bell(from % lane.queues);
  return static_cast<uint16_t>(sent);
}

void Spreader::ring_bell(size_t worker) const noexcept {
  if (!bells_.empty()) bells_[worker]->ring();
}

uint16_t Spreader::take(const Handed& from, rte_mbuf** mbufs, uint16_t room) noexcept {
  return static_cast<uint16_t>(
      rte_ring_sc_dequeue_burst(from.ring, reinterpret_cast<void**>(mbufs), room, nullptr));
}

}  // namespace turnpike::io
