// Keeps on the disk what handshakes must not forget: the newest date that each peer sent, in batches, and a mark
// that lies ahead of any date of ours, so that dates never go back even when the clock does.
//   Threads: control; collecting runs on the session thread.
//   Loss:    what came in the last kTimestampsEvery may be replayed after a crash; it makes a session, and no more.
#pragma once

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>

#include "control/gateway/peer_indices.h"
#include "control/session/session_thread.h"
#include "control/store/journal.h"

namespace turnpike::daemon {

inline constexpr Duration kTimestampsEvery = 10s;
inline constexpr Duration kSentMarkAhead = 60s;

// What to store as the mark, when dates up to `newest_sent` were sent and the clock says `now`.
[[nodiscard]] constexpr WallTime sent_mark(WallTime now, WallTime newest_sent) noexcept {
  const uint64_t newest = std::max(now.nanoseconds, newest_sent.nanoseconds);
  return {newest + static_cast<uint64_t>(kSentMarkAhead.count())};
}

class Timestamps {
 public:
  struct Parts {
    boost::asio::io_context& io;
    session::SessionThread& session;
    store::Journal& journal;
    const gateway::PeerIndices& peers;
    std::function<void(std::function<void()>)> when_ready;
    std::function<WallTime()> wall;
  };
  explicit Timestamps(Parts parts) : parts_(std::move(parts)), timer_(parts_.io) {}

  // Before handshakes begin, and after the peers are known to the session thread.
  void restore(const store::Loaded& loaded);
  // Stores now and then from here on.
  void start();
  // Once more, when the session thread has stopped.
  void finish();

 private:
  void collect();
  void post(const std::vector<session::Session::Received>& received, WallTime newest_sent);

  Parts parts_;
  boost::asio::steady_timer timer_;
  bool failed_ = false;  // said so already
};

}  // namespace turnpike::daemon
