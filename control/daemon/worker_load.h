// How busy a worker was lately, from its counters.
#pragma once

#include "dataplane/publish/counters.h"

namespace turnpike::daemon {

class WorkerLoad {
 public:
  // Now and then, at most every second or so: the figures are of the time between the last two.
  void sample(const publish::Counters& counters) {
    const uint64_t busy = counters.busy_cycles.value();
    const uint64_t total = counters.total_cycles.value();
    const uint64_t packets = counters.busy_packets.value();
    busy_ = total == total_
                ? 0
                : static_cast<double>(busy - busy_cycles_) / static_cast<double>(total - total_);
    cycles_per_packet_ = packets == packets_ ? 0
                                             : static_cast<double>(busy - busy_cycles_) /
                                                   static_cast<double>(packets - packets_);
    busy_cycles_ = busy;
    total_ = total;
    packets_ = packets;
  }
  [[nodiscard]] double busy() const { return busy_; }                            // 0 to 1
  [[nodiscard]] double cycles_per_packet() const { return cycles_per_packet_; }  // 0: no packets

 private:
  uint64_t busy_cycles_ = 0, total_ = 0, packets_ = 0;
  double busy_ = 0, cycles_per_packet_ = 0;
};

}  // namespace turnpike::daemon
