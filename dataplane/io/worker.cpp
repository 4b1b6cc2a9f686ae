// One turn of the loop: begin_burst, read the clock once, rx, stages, tx, counters.
#include "dataplane/io/worker.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_launch.h>
#include <rte_mbuf.h>
#include <rte_udp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

#include "dataplane/io/eal.h"
#include "dataplane/io/interrupt_wait.h"
#include "dataplane/io/turn_meter.h"
#include "dataplane/pipeline/headers.h"

namespace turnpike::io {
namespace {

using pipeline::Packet;
using pipeline::RxChecksum;

// The vDSO's clock: no system call, the same clock as the session thread's, once for each burst.
Instant read_clock() noexcept {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return {static_cast<uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(t.tv_nsec)};
}

// "Good" and "bad" are two bits; both set means "none": `none`.
RxChecksum checksum_of(uint64_t flags, uint64_t good, uint64_t bad, RxChecksum none) noexcept {
  const uint64_t both = good | bad;
  if ((flags & both) == both) return none;
  if ((flags & both) == good) return RxChecksum::Good;
  return (flags & both) == bad ? RxChecksum::Bad : RxChecksum::Unknown;
}

Packet packet_of(rte_mbuf* mbuf) noexcept {
  Packet p;
  p.data = rte_pktmbuf_mtod(mbuf, uint8_t*);
  p.length_bytes = mbuf->data_len;
  p.headroom_bytes = rte_pktmbuf_headroom(mbuf);
  p.tailroom_bytes = rte_pktmbuf_tailroom(mbuf);
  p.multi_segment = mbuf->nb_segs != 1;
  p.ipv4_checksum = checksum_of(mbuf->ol_flags, RTE_MBUF_F_RX_IP_CKSUM_GOOD,
                                RTE_MBUF_F_RX_IP_CKSUM_BAD, RxChecksum::Unknown);
  // "Not correct in the packet data, but the integrity of the L4 data is verified" (rte_mbuf_core.h).
  p.l4_checksum = checksum_of(mbuf->ol_flags, RTE_MBUF_F_RX_L4_CKSUM_GOOD,
                              RTE_MBUF_F_RX_L4_CKSUM_BAD, RxChecksum::Unfinished);
  p.handle = mbuf;
  return p;
}

// What the port wants to find in UDP's field. rte_ipv4_phdr_cksum() puts the pseudo-header together in memory and waits
// until it can be read back in wider words than it was written in.
uint16_t pseudo_header_sum(const void* ip, const rte_udp_hdr* udp) noexcept {
  return pipeline::fold(pipeline::sum_pseudo_header(static_cast<const uint8_t*>(ip),
                                                    rte_be_to_cpu_16(udp->dgram_len)));
}

// The port computes the checksums: it wants flags, lengths and the pseudo-header's sum in the UDP field.
void request_checksums(rte_mbuf* mbuf, uint8_t* frame,
                       const pipeline::PortOffloads& offloads) noexcept {
  auto* ethernet = reinterpret_cast<rte_ether_hdr*>(frame);
  mbuf->l2_len = sizeof(rte_ether_hdr);
  if (ethernet->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4)) {
    auto* ip = reinterpret_cast<rte_ipv4_hdr*>(ethernet + 1);
    mbuf->l3_len = sizeof(rte_ipv4_hdr);
    mbuf->ol_flags |= RTE_MBUF_F_TX_IPV4;
    if (offloads.ipv4_checksum) {
      ip->hdr_checksum = 0;
      mbuf->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
    }
    if (offloads.udp_checksum) {
      mbuf->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
      auto* udp = reinterpret_cast<rte_udp_hdr*>(ip + 1);
      udp->dgram_cksum = pseudo_header_sum(ip, udp);
    }
  } else {
    auto* ip = reinterpret_cast<rte_ipv6_hdr*>(ethernet + 1);
    mbuf->l3_len = sizeof(rte_ipv6_hdr);
    mbuf->ol_flags |= RTE_MBUF_F_TX_IPV6;
    if (offloads.udp_checksum) {
      mbuf->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
      auto* udp = reinterpret_cast<rte_udp_hdr*>(ip + 1);
      udp->dgram_cksum = pseudo_header_sum(ip, udp);
    }
  }
}

rte_mbuf* mbuf_of(const Packet& packet, const pipeline::PortOffloads& offloads) noexcept {
  auto* mbuf = static_cast<rte_mbuf*>(packet.handle);
  mbuf->data_off = static_cast<uint16_t>(packet.data - static_cast<uint8_t*>(mbuf->buf_addr));
  mbuf->data_len = packet.length_bytes;
  mbuf->pkt_len = packet.length_bytes;
  mbuf->ol_flags = 0;
  if (packet.offload_checksums) request_checksums(mbuf, packet.data, offloads);
  return mbuf;
}

// All that one loop keeps between turns.
class Loop {
 public:
  explicit Loop(const WorkerOptions& options)
      : options_(options),
        door_(*options.door),
        pipeline_(*options.shared, *options.door, *options.aead) {
    if (options.spreader == nullptr) return;
    received_elsewhere_ = options.spreader->received_for(options.index);
    to_send_for_others_ = options.spreader->sent_through(options.index);
  }

  [[nodiscard]] size_t rings() const noexcept {
    return received_elsewhere_.size() + to_send_for_others_.size();
  }

  struct Turn {
    size_t packets = 0;  // worked on
    bool idle = true;  // nothing came, from anywhere
    bool from_ports = false;  // something came out of its own queues
  };
  Turn turn() noexcept {
    const publish::Snapshot& snapshot = door_.begin_burst();
    const Instant now = read_clock();
    size_t received = 0, handed_on = 0;
    for (PortIndex port = 0; port < options_.ports.size(); ++port) {
      received += receive(snapshot, now, port, handed_on);
    }
    const bool from_ports = received + handed_on != 0;
    for (const Spreader::Handed& handed : received_elsewhere_) {
      received += receive_handed(snapshot, now, handed);
    }
    received += inject(snapshot, now);
    // What others worked on counts with them.
    for (const Spreader::Handed& handed : to_send_for_others_) handed_on += send_handed(handed);
    door_.counters.generation.set(snapshot.generation);
    return {.packets = received, .idle = received + handed_on == 0, .from_ports = from_ports};
  }

 private:
  size_t receive(const publish::Snapshot& snapshot, Instant now, PortIndex port,
                 size_t& handed_on) noexcept {
    if (!has_queue(port)) return 0;
    rte_mbuf* mbufs[kRxBurst];
    const uint16_t count =
        rte_eth_rx_burst(options_.ports[port].dpdk_id(), options_.index, mbufs, kRxBurst);
    if (count == 0) return 0;
    uint16_t kept = count;
    if (options_.spreader != nullptr && options_.spreader->spreads(port)) {
      kept = share(port, mbufs, count);
      handed_on += count - kept;
    }
    process(snapshot, now, port, mbufs, kept);
    return kept;
  }

  size_t receive_handed(const publish::Snapshot& snapshot, Instant now,
                        const Spreader::Handed& handed) noexcept {
    rte_mbuf* mbufs[kRxBurst];
    const uint16_t count = Spreader::take(handed, mbufs, kRxBurst);
    process(snapshot, now, handed.port, mbufs, count);
    return count;
  }

  void process(const publish::Snapshot& snapshot, Instant now, PortIndex port, rte_mbuf** mbufs,
               uint16_t count) noexcept {
    if (count == 0) return;
    for (uint16_t i = 0; i < count; ++i) {
      packets_[i] = packet_of(mbufs[i]);
      prefetch(packets_[i].data);
    }
    pipeline_.receive(snapshot, now, port, {packets_.data(), count}, output_);
    flush();
  }

  // What is lost here counts as received, too: by nobody else.
  uint16_t share(PortIndex port, rte_mbuf** mbufs, uint16_t count) noexcept {
    uint64_t bytes = 0;
    const auto [kept, lost] = options_.spreader->share(port, options_.index, mbufs, count, bytes);
    if (lost != 0) {
      door_.counters.drop(DropReason::SpreadQueueFull, lost);
      door_.counters.ports[port].rx_packets.add(lost);
      door_.counters.ports[port].rx_bytes.add(bytes);
    }
    return kept;
  }

  [[nodiscard]] bool has_queue(PortIndex port) const noexcept {
    return options_.ports[port].serving() && options_.index < options_.ports[port].queues();
  }

  size_t inject(const publish::Snapshot& snapshot, Instant now) noexcept {
    const size_t wanted = pipeline_.injections_waiting();
    if (wanted == 0) return 0;
    rte_mbuf* mbufs[kBurstMax];
    // Without buffers what waits in the ring stays there until some come back.
    if (rte_pktmbuf_alloc_bulk(options_.buffers, mbufs, static_cast<unsigned>(wanted)) != 0)
      return 0;
    for (size_t i = 0; i < wanted; ++i) {
      // Twice the usual room in front: an inner packet gets all outer headers here.
      mbufs[i]->data_off = RTE_PKTMBUF_HEADROOM + kHeadroomBytes;
      packets_[i] = packet_of(mbufs[i]);
    }
    pipeline_.inject(snapshot, now, {packets_.data(), wanted}, output_);
    flush();
    return wanted;
  }

  void flush() noexcept {
    for (PortIndex port = 0; port < options_.ports.size(); ++port) {
      pipeline::TxBatch& batch = output_.tx[port];
      if (batch.count == 0) continue;
      rte_mbuf* mbufs[pipeline::TxBatch::kCapacity];
      uint64_t bytes = 0;
      for (size_t i = 0; i < batch.count; ++i) {
        mbufs[i] = mbuf_of(batch.packets[i], options_.shared->offloads[port]);
        bytes += batch.packets[i].length_bytes;
      }
      transmit(port, mbufs, static_cast<uint16_t>(batch.count), bytes);
      batch.count = 0;
    }
    if (output_.done_count != 0) {
      rte_pktmbuf_free_bulk(reinterpret_cast<rte_mbuf**>(output_.done.data()),
                            static_cast<unsigned>(output_.done_count));
      output_.done_count = 0;
    }
  }

  size_t send_handed(const Spreader::Handed& handed) noexcept {
    rte_mbuf* mbufs[kBurstMax];
    const uint16_t count = Spreader::take(handed, mbufs, kBurstMax);
    if (count == 0) return 0;
    uint64_t bytes = 0;
    for (uint16_t i = 0; i < count; ++i) bytes += mbufs[i]->pkt_len;
    transmit(handed.port, mbufs, count, bytes);
    return count;
  }

  // A frame for another worker's queue is counted as sent by that worker.
  void transmit(PortIndex port, rte_mbuf** mbufs, uint16_t count, uint64_t bytes) noexcept {
    const Port& to = options_.ports[port];
    uint16_t sent;
    // Asked once: it may begin to serve in between, and who has a queue has no ring.
    if (!to.serving()) {
      sent = 0;  // as a port whose other end is away
    } else if (options_.index < to.queues()) {
      sent = rte_eth_tx_burst(to.dpdk_id(), options_.index, mbufs, count);
      publish::PortCounters& counters = door_.counters.ports[port];
      for (uint16_t i = sent; i < count; ++i) bytes -= mbufs[i]->pkt_len;
      counters.tx_packets.add(sent);
      counters.tx_bytes.add(bytes);
    } else {
      sent = options_.spreader->send(port, options_.index, mbufs, count);
    }
    if (sent == count) return;
    door_.counters.drop(DropReason::TxQueueFull, count - sent);
    rte_pktmbuf_free_bulk(mbufs + sent, count - sent);
  }

  const WorkerOptions& options_;
  publish::Door& door_;
  pipeline::Pipeline pipeline_;
  pipeline::Output output_;
  std::span<const Spreader::Handed> received_elsewhere_, to_send_for_others_;
  // Of the burst at work. Here, because an array of packets on the stack is cleared in every turn, also in one
  // that finds nothing.
  std::array<Packet, kBurstMax> packets_;
};

// The loop with its rests.
class Run {
 public:
  Run(const WorkerOptions& options, const std::atomic<bool>& stop)
      : loop_(options),
        door_(*options.door),
        stop_(stop),
        meter_(door_.counters, rte_get_tsc_hz(), loop_.rings()),
        interrupts_(options.ports, options.index, door_.bell),
        rules_{.idle = options.idle,
               .interrupts = options.idle == Idle::Adaptive && interrupts_.possible(),
               .serves_others = options.spreader != nullptr &&
                                !options.spreader->sent_through(options.index).empty()} {
    tell();
  }

  void run() noexcept {
    uint32_t empty_turns = 0;
    door_.wake();
    turn_began_ = rte_rdtsc();
    while (!stopping()) {
      if (!turn().idle) {
        empty_turns = 0;
        continue;
      }
      const Rest rest = rest_after(++empty_turns, rules_);
      switch (rest.kind) {
        case RestKind::None:
          continue;
        case RestKind::Yield:
          sched_yield();
          break;
        case RestKind::Sleep:
          sleep(rest.nanoseconds);
          break;
        case RestKind::UntilInterrupt:
          empty_turns = sleep_until_interrupt();
          break;
      }
      note_rest();
    }
    door_.sleep();
  }

 private:
  void tell() const noexcept {
    using publish::IdleBy;
    const IdleBy asleep = rules_.interrupts ? IdleBy::WaitingForInterrupts : IdleBy::Sleeping;
    door_.counters.idle_by.store(rules_.idle == Idle::Poll ? IdleBy::Polling : asleep,
                                 std::memory_order_relaxed);
  }
  [[nodiscard]] bool stopping() const noexcept { return stop_.load(std::memory_order_relaxed); }

  Loop::Turn turn() noexcept {
    const Loop::Turn turn = loop_.turn();
    const uint64_t now = rte_rdtsc();
    meter_.note_turn(now - turn_began_, turn.packets);
    turn_began_ = now;
    return turn;
  }
  void note_rest() noexcept {
    const uint64_t now = rte_rdtsc();
    meter_.note_rest(now - turn_began_);
    turn_began_ = now;
  }

  void sleep(long nanoseconds) noexcept {
    door_.sleep();
    const timespec pause{.tv_sec = 0, .tv_nsec = nanoseconds};
    nanosleep(&pause, nullptr);
    door_.wake();
  }

  enum class Wait : uint8_t { Interrupt, Bell, Over, FoundInPorts, Found, Short, Refused };
  Wait wait_once() noexcept {
    switch (interrupts_.arm()) {
      case InterruptWait::Armed::Done:
        break;
      case InterruptWait::Armed::Short:
        return Wait::Short;
      case InterruptWait::Armed::Refused:
        return Wait::Refused;
    }
    note_rest();
    const Loop::Turn before = turn();  // what came before interrupts were on
    Wait wait = before.from_ports ? Wait::FoundInPorts : Wait::Found;
    if (before.idle && !stopping()) wait = wait_asleep();
    interrupts_.disarm();
    return wait;
  }
  Wait wait_asleep() noexcept {
    door_.sleep();
    const InterruptWait::End end = interrupts_.wait();
    door_.wake();
    switch (end) {
      case InterruptWait::End::Interrupt:
        return Wait::Interrupt;
      case InterruptWait::End::Bell:
        return Wait::Bell;
      case InterruptWait::End::Over:
        break;
    }
    return Wait::Over;
  }

  // Until it is woken or something has come: waits that are over follow each other. How many empty turns count from there.
  uint32_t sleep_until_interrupt() noexcept {
    Wait wait;
    bool over = false;
    while ((wait = wait_once()) == Wait::Over) over = true;
    interrupts_.leave();
    switch (wait) {
      case Wait::FoundInPorts:
        if (over) trust_.note_found_late();
        break;
      case Wait::Interrupt:
        trust_.note_interrupt();
        [[fallthrough]];
      case Wait::Bell:
        door_.counters.interrupts.add(1);
        break;
      case Wait::Refused:
        trust_.note_refused();
        break;
      case Wait::Short:
      case Wait::Over:
      case Wait::Found:
        break;
    }
    if (!trust_.trusted()) {
      rules_.interrupts = false;
      tell();
    }
    if (wait == Wait::Found || wait == Wait::FoundInPorts) return 0;
    const bool woken = wait == Wait::Interrupt || wait == Wait::Bell;
    return woken ? kTurnsAfterNeedlessWake : kTurnsAfterNoWait;
  }

  Loop loop_;
  publish::Door& door_;
  const std::atomic<bool>& stop_;
  TurnMeter meter_;
  InterruptWait interrupts_;
  InterruptTrust trust_;
  RestRules rules_;
  uint64_t turn_began_ = 0;
};

int worker_main(void* argument) {
  const auto& launch = *static_cast<const Workers::Launch*>(argument);
  run_worker(*launch.options, *launch.stop);
  return 0;
}

}  // namespace

void run_worker(const WorkerOptions& options, const std::atomic<bool>& stop) {
  // Short sleeps are as short as they say only without the kernel's default slack of 50 us.
  prctl(PR_SET_TIMERSLACK, 1);
  // The stacks of bursts in Loop are large; it lives on the heap.
  std::make_unique<Run>(options, stop)->run();
}

Workers::Workers(std::vector<WorkerOptions> options) : options_(std::move(options)) {
  for (const WorkerOptions& worker : options_) launches_.push_back({&worker, &stop_});
}

void Workers::start() {
  CHECK(!running_);
  running_ = true;
  for (Launch& launch : launches_) {
    CHECK(rte_eal_remote_launch(worker_main, &launch, lcore_of_worker(launch.options->index)) == 0);
  }
}

void Workers::stop() {
  if (!running_) return;
  stop_.store(true, std::memory_order_relaxed);
  for (const WorkerOptions& options : options_) options.door->bell.ring();
  for (const WorkerOptions& options : options_) rte_eal_wait_lcore(lcore_of_worker(options.index));
  running_ = false;
}

}  // namespace turnpike::io
