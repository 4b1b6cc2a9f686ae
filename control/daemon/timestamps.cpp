#include "control/daemon/timestamps.h"

#include <boost/asio/post.hpp>
#include <memory>

#include "control/daemon/log.h"

namespace turnpike::daemon {

void Timestamps::restore(const store::Loaded& loaded) {
  struct Known {
    PeerRef peer;
    wireguard::Tai64n latest;
  };
  auto known = std::make_shared<std::vector<Known>>();
  known->reserve(loaded.received.size());
  for (const auto& [id, stamp] : loaded.received) {
    const PeerRef ref = parts_.peers.find(id);
    if (ref.index != kNoPeer) known->push_back({ref, wireguard::Tai64n{stamp}});
  }
  parts_.session.post([known, mark = loaded.sent_mark](session::Session& session) {
    session.set_sent_floor(mark);
    for (const Known& k : *known) session.restore_received(k.peer, k.latest);
  });
}

void Timestamps::start() {
  timer_.expires_after(std::chrono::duration_cast<std::chrono::milliseconds>(kTimestampsEvery));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    collect();
    start();
  });
}

void Timestamps::collect() {
  parts_.session.post([this](session::Session& session) {
    auto received =
        std::make_shared<std::vector<session::Session::Received>>(session.take_received());
    boost::asio::post(parts_.io, [this, received, newest = session.newest_sent()] {
      parts_.when_ready([this, received, newest] { post(*received, newest); });
    });
  });
}

void Timestamps::post(const std::vector<session::Session::Received>& received,
                      WallTime newest_sent) {
  store::Handshakes handshakes{.received = {}, .sent_mark = sent_mark(parts_.wall(), newest_sent)};
  for (const auto& [peer, latest] : received) {
    const auto id = parts_.peers.id_of(peer.index);
    if (id && parts_.peers.find(*id) == peer) {
      handshakes.received.emplace_back(*id, latest.bytes);
    }
  }
  parts_.journal.post(std::move(handshakes), 0, [this](const Result<void, std::string>& outcome) {
    if (!outcome && !failed_) {
      spdlog::error(
          "dates of handshakes: {}; old initiations could be replayed after a "
          "restart",
          outcome.error());
    }
    failed_ = !outcome;
  });
}

void Timestamps::finish() {
  session::Session& session = parts_.session.session();
  post(session.take_received(), session.newest_sent());
}

}  // namespace turnpike::daemon
