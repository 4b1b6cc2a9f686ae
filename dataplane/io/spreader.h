// Spreads the frames of ports over the workers in software, where a port has fewer queues than there are workers or
// puts everything on one of them: who receives a frame hands it to the worker that its flow belongs to, and a worker
// without a TX queue of the port sends through the one that has it. A flow keeps its order, fragments apart, which have
// no ports: each ring has one producer and one consumer.
//   Threads:   make() and the end on the main thread, while no worker runs. share(), take() and send() on the lcore
//              of the worker they name.
//   Ownership: a handed mbuf belongs to the worker that takes it; what is left at the end is freed here.
//   Bounds:    kRingFrames for each pair of workers, each way, of a port.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/base/ids.h"
#include "dataplane/base/limits.h"
#include "dataplane/base/result.h"
#include "dataplane/io/port.h"
#include "dataplane/publish/doorbell.h"

struct rte_mbuf;
struct rte_ring;

namespace turnpike::io {

class Spreader {
 public:
  // As much as an RX queue has: what a worker that sleeps shortly may miss.
  static constexpr unsigned kRingFrames = 1'024;

  // nullptr when every port spreads its frames itself. `seed`: unpredictable, so that nobody outside can aim all
  // flows at one worker.
  [[nodiscard]] static Result<std::unique_ptr<Spreader>, std::string> make(
      std::span<const Port> ports, size_t workers, uint32_t seed);
  ~Spreader();
  Spreader(const Spreader&) = delete;
  Spreader& operator=(const Spreader&) = delete;

  // One end of a ring.
  struct Handed {
    PortIndex port;
    rte_ring* ring;
  };
  // What others received for `worker`, and what they want sent by it.
  [[nodiscard]] std::span<const Handed> received_for(WorkerIndex worker) const noexcept {
    return received_for_[worker];
  }
  [[nodiscard]] std::span<const Handed> sent_through(WorkerIndex worker) const noexcept {
    return sent_through_[worker];
  }
  // Before workers run: what is handed to worker i rings bells[i].
  void use_bells(std::vector<publish::Doorbell*> bells) noexcept { bells_ = std::move(bells); }
  [[nodiscard]] bool spreads(PortIndex port) const noexcept {
    return !lanes_[port].received.empty();
  }

  // Hands away those of the `count` (at most kRxBurst) received frames that belong to others, and moves the rest to
  // the front. `lost`: those whose worker's ring was full; they are freed, and their bytes added to `lost_bytes`.
  struct Shared {
    uint16_t kept, lost;
  };
  [[nodiscard]] Shared share(PortIndex port, WorkerIndex from, rte_mbuf** mbufs, uint16_t count,
                             uint64_t& lost_bytes) const noexcept;
  // How many of the frames went into the ring of the worker that has a TX queue of `port`; the others stay the
  // caller's.
  [[nodiscard]] uint16_t send(PortIndex port, WorkerIndex from, rte_mbuf** mbufs,
                              uint16_t count) const noexcept;
  [[nodiscard]] static uint16_t take(const Handed& from, rte_mbuf** mbufs, uint16_t room) noexcept;

 private:
  // Of one port.
  struct Lane {
    size_t queues = 0;
    std::vector<rte_ring*> received;  // [from * workers + to]; empty: the port spreads by itself
    std::vector<rte_ring*> sent;  // [from]; nullptr where that worker has a queue
  };
  Spreader(size_t workers, uint32_t seed) noexcept : workers_(workers), seed_(seed) {}
  [[nodiscard]] Result<void, std::string> add_port(PortIndex index, const Port& port);
  void ring_bell(size_t worker) const noexcept;

  size_t workers_;
  uint32_t seed_;
  std::vector<Lane> lanes_;
  std::vector<std::vector<Handed>> received_for_, sent_through_;  // by worker
  std::vector<rte_ring*> rings_;
  std::vector<publish::Doorbell*> bells_;  // by worker
};

}  // namespace turnpike::io
