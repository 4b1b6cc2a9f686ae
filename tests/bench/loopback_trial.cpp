#include "tests/bench/loopback_trial.h"

#include <rte_cycles.h>

#include <algorithm>

#include "dataplane/pipeline/headers.h"

namespace turnpike::bench {
namespace {

using namespace pipeline;

constexpr size_t kOuterBytes = kEthernetBytes + kIpv4Bytes + kUdpBytes;
// After the last packet sent: as long as nothing comes, this is the end. What is missing may lie in a ring of the gateway's,
// whose worker is off its core; a trial in which nothing is missing still waits for what came twice.
constexpr double kQuietSeconds = 0.02, kQuietSecondsWhereSomeAreMissing = 0.2;

class Trial {
 public:
  Trial(const TrialOptions& options, Link& link, Sessions& sessions, Stock& stock)
      : options_(options),
        link_(link),
        sessions_(sessions),
        stock_(stock),
        hz_(static_cast<double>(rte_get_tsc_hz())) {
    const bool outbound = options.flow == Flow::Outbound;
    in_ = outbound ? Side::Inside : Side::Outside;
    out_ = outbound ? Side::Outside : Side::Inside;
    sent_at_.resize((outbound ? kProbesOutbound : stock.count() / kProbeEvery) + 1, 0);
    // Plain packets have their numbers in the clear: each may come once.
    seen_.resize(outbound ? 0 : stock.count(), false);
  }

  TrialResult run() {
    // Page faults of the bookkeeping and leftovers of before are not the trial's.
    while (receive() != 0) {
    }
    result_ = {};
    seen_.assign(seen_.size(), false);
    began_ = last_turn_ = rte_rdtsc();
    const uint64_t end = began_ + static_cast<uint64_t>(options_.seconds * hz_);
    uint64_t sent_last = began_;
    for (uint64_t now = began_; now < end && !exhausted(); now = turn()) {
      if (offer(now) != 0) sent_last = now;
    }
    drop_left();
    result_.seconds = static_cast<double>(sent_last - began_) / hz_;
    uint64_t heard = rte_rdtsc();
    for (uint64_t now = heard; static_cast<double>(now - heard) < quiet_seconds() * hz_;
         now = turn()) {
      if (receive() != 0) heard = now;
    }
    std::sort(result_.latency_us.begin(), result_.latency_us.end());
    return std::move(result_);
  }

 private:
  // Sent probes of the longest outbound trial: some ten seconds of ten million a second.
  static constexpr size_t kProbesOutbound = 100'000'000 / kProbeEvery;

  [[nodiscard]] bool exhausted() const noexcept {
    return options_.flow == Flow::Inbound ? next_ == stock_.count()
                                          : next_ / kProbeEvery + 1 >= sent_at_.size();
  }

  [[nodiscard]] double quiet_seconds() const noexcept {
    const bool is_whole = result_.received + result_.refused >= result_.offered;
    return is_whole ? kQuietSeconds : kQuietSecondsWhereSomeAreMissing;
  }

  uint64_t turn() noexcept {
    receive();
    const uint64_t now = rte_rdtsc();
    result_.worst_gap_us =
        std::max(result_.worst_gap_us, static_cast<double>(now - last_turn_) * 1e6 / hz_);
    last_turn_ = now;
    return now;
  }

  // Sends what is due; how many went.
  size_t offer(uint64_t now) {
    uint64_t due = Link::kBurst;
    if (options_.rate > 0) {
      const double should = options_.rate * static_cast<double>(now - began_) / hz_;
      const uint64_t by_now = static_cast<uint64_t>(should);
      due =
          by_now > result_.offered ? std::min<uint64_t>(by_now - result_.offered, Link::kBurst) : 0;
    }
    if (due == 0) return 0;
    if (left_ == 0 && !fill(due, now)) return 0;
    const uint16_t sent = link_.send(in_, pending_ + first_, static_cast<uint16_t>(left_));
    first_ += sent;
    left_ -= sent;
    ++result_.offers;
    result_.held_back += left_ != 0 ? 1 : 0;
    if (options_.rate > 0) {
      result_.refused += left_;
      drop_left();
    }
    return sent;
  }

  bool fill(uint64_t due, uint64_t now) {
    size_t count = 0;
    for (; count < due && !exhausted(); ++count, ++next_) {
      uint8_t* frame = stock_.frame(next_ % stock_.count());
      if (options_.flow == Flow::Outbound) set_number(frame + kEthernetBytes, next_);
      if (next_ % kProbeEvery == 0) sent_at_[next_ / kProbeEvery] = now;
      pending_[count] = link_.carrier(count, frame, stock_.frame_bytes());
    }
    first_ = 0;
    left_ = count;
    result_.offered += count;
    return count != 0;
  }

  void drop_left() noexcept {
    if (options_.rate == 0) result_.offered -= left_;
    left_ = 0;
  }

  size_t receive() {
    const auto mbufs = link_.poll(out_);
    const uint64_t now = rte_rdtsc();
    for (rte_mbuf* mbuf : mbufs) {
      auto* frame = rte_pktmbuf_mtod(mbuf, uint8_t*);
      if (options_.flow == Flow::Outbound) {
        take_message(frame, mbuf->data_len, now);
      } else {
        take_plain(frame, mbuf->data_len, now);
      }
    }
    const size_t count = mbufs.size();
    if (count != 0) rte_pktmbuf_free_bulk(mbufs.data(), static_cast<unsigned>(count));
    // Nothing of the trial comes back this way, but ARP may.
    const auto others = link_.poll(in_);
    if (!others.empty()) rte_pktmbuf_free_bulk(others.data(), static_cast<unsigned>(others.size()));
    return count;
  }

  void take_message(uint8_t* frame, size_t bytes, uint64_t now) {
    const size_t wanted = kOuterBytes + wireguard::kDataOverheadBytes + Stock::kMinInnerBytes;
    if (bytes < wanted || load_le32(frame + kOuterBytes) != 4) {
      ++result_.other;
      return;
    }
    ++result_.received;
    if (ip_ecn(frame + kEthernetBytes) != Ecn::Ect0) return;
    if (!checksum_in_order(frame + kEthernetBytes)) {
      ++result_.wrong;
      return;
    }
    const auto text = sessions_.open({frame + kOuterBytes, bytes - kOuterBytes});
    if (text.empty()) {
      ++result_.wrong;
      return;
    }
    note_probe(number_of(text.data()), now);
  }

  // Of UDP in an outer packet: whole, or left to the cable, which has no wire to compute it for.
  [[nodiscard]] static bool checksum_in_order(const uint8_t* ip) noexcept {
    const uint8_t* udp = ip + kIpv4Bytes;
    const uint16_t udp_bytes = load_be16(udp + 4);
    return is_unfinished_checksum(udp + 6, ip, udp_bytes) || udp_checksum_holds(ip, udp, udp_bytes);
  }

  void take_plain(const uint8_t* frame, size_t bytes, uint64_t now) {
    const uint8_t* ip = frame + kEthernetBytes;
    if (bytes < size_t{kEthernetBytes} + Stock::kMinInnerBytes ||
        ipv4_destination(ip) != kInsideHost) {
      ++result_.other;
      return;
    }
    ++result_.received;
    const uint64_t number = number_of(ip);
    if (number >= seen_.size() || seen_[number]) {
      ++result_.wrong;
      return;
    }
    seen_[number] = true;
    if (number % kProbeEvery == 0) note_probe(number, now);
  }

  void note_probe(uint64_t number, uint64_t now) {
    if (number % kProbeEvery != 0 || number / kProbeEvery >= sent_at_.size() ||
        sent_at_[number / kProbeEvery] == 0) {
      ++result_.wrong;
      return;
    }
    result_.latency_us.push_back(static_cast<double>(now - sent_at_[number / kProbeEvery]) * 1e6 /
                                 hz_);
  }

  const TrialOptions& options_;
  Link& link_;
  Sessions& sessions_;
  Stock& stock_;
  const double hz_;
  Side in_, out_;
  std::vector<uint64_t> sent_at_;  // of probes, by number / kProbeEvery
  std::vector<bool> seen_;
  uint64_t began_ = 0, last_turn_ = 0;
  uint64_t next_ = 0;  // number of the next packet
  rte_mbuf* pending_[Link::kBurst];
  size_t first_ = 0, left_ = 0;  // of pending_, those the ring had no room for
  TrialResult result_;
};

}  // namespace

TrialResult run_trial(const TrialOptions& options, Link& link, Sessions& sessions, Stock& stock) {
  return Trial(options, link, sessions, stock).run();
}

}  // namespace turnpike::bench
