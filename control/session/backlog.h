// Initiations that were admitted under load and wait to be answered. Peers that all come back at once begin within
// moments of each other and again kRekeyTimeout later: what waits here fills the time between.
//   Threads: the session thread.
//   Bounds:  kSlots initiations, two seconds of work for one core; push() says no. What is older than kLifetime is
//            not handed out, its sender having begun anew by then.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>

#include "dataplane/base/ids.h"
#include "dataplane/base/time.h"
#include "dataplane/publish/rings.h"
#include "dataplane/wireguard/messages.h"

namespace turnpike::session {

class Backlog {
 public:
  static constexpr size_t kSlots = 16'384;
  static constexpr Duration kLifetime = wireguard::kRekeyTimeout - 500ms;

  struct Entry {
    WorkerIndex worker = 0;
    publish::PuntHeader header;
    wireguard::InitiationBytes datagram{};
    Instant at;
  };

  [[nodiscard]] bool push(WorkerIndex worker, const publish::PuntHeader& header, Bytes datagram,
                          Instant now) {
    if (entries_.size() >= kSlots || datagram.size() != wireguard::kInitiationBytes) return false;
    Entry& entry = entries_.emplace_back(Entry{.worker = worker, .header = header, .at = now});
    std::ranges::copy(datagram, entry.datagram.begin());
    return true;
  }
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  [[nodiscard]] std::optional<Entry> pop() {
    if (entries_.empty()) return std::nullopt;
    const Entry entry = entries_.front();
    entries_.pop_front();
    return entry;
  }
  [[nodiscard]] static bool stale(const Entry& entry, Instant now) noexcept {
    return now - entry.at > kLifetime;
  }

 private:
  std::deque<Entry> entries_;
};

}  // namespace turnpike::session
