// A gateway in memory for the pipeline benchmark: a tunnel with any number of peers, each with a session. Workers
// (pipeline_worker.h) share it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <new>
#include <random>
#include <span>
#include <vector>

#include "dataplane/pipeline/pipeline.h"
#include "dataplane/wireguard/keypair_arena.h"

namespace turnpike::bench {

inline constexpr PortIndex kOutside = 0, kInside = 1;

// Where the packets of the benchmark come from and go to.
inline constexpr uint16_t kListenPort = 51820;
inline constexpr uint16_t kRemotePort = 40'000;
inline constexpr uint16_t kTunnelMtu = 1420;
inline constexpr uint32_t kOwnOutside = 0xc000'0201;  // 192.0.2.1
inline constexpr uint32_t kRouter = 0xc000'02fe;  // 192.0.2.254
inline constexpr uint32_t kOwnInside = 0x0a00'0001;  // 10.0.0.1
inline constexpr uint32_t kHosts = 64;  // on the inside, from 10.0.0.2
inline constexpr uint32_t kPeerNet = 0x6440'0000;  // 100.64.0.0, one net for each peer
inline constexpr uint32_t kRemoteNet = 0x3200'0000;  // 50.0.0.0, where the peers are
inline constexpr MacAddress kOutsideMac{{2, 0, 0, 0, 0, 1}}, kInsideMac{{2, 0, 0, 0, 0, 2}};
inline constexpr MacAddress kRouterMac{{2, 0, 0, 0, 0, 3}}, kHostMac{{2, 0, 0, 0, 0, 4}};

class World {
 public:
  // Each peer has 2^hosts_log2 addresses, as one prefix.
  World(uint32_t peers, bool software_checksum, unsigned hosts_log2 = 0);
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  [[nodiscard]] const pipeline::Shared& shared() const noexcept { return *shared_; }
  [[nodiscard]] Instant now() const noexcept { return now_; }

  // Which peer comes at `place` of a uniform order, or at a random place by Zipf's law.
  [[nodiscard]] uint32_t peer_at(size_t place) const { return order_[place % order_.size()]; }
  [[nodiscard]] uint32_t zipf_peer(std::mt19937_64& random) const;
  // Which round of the peers a place is in: in each one they send from their next address.
  [[nodiscard]] uint32_t round_at(size_t place) const {
    return static_cast<uint32_t>(place / order_.size());
  }
  [[nodiscard]] uint32_t address_of(uint32_t peer, uint32_t round) const {
    return net_of(peer) | (round & ((1u << hosts_log2_) - 1));
  }

  // What sealing for us needs, apart from the keypairs: making packets must not bring those into the caches.
  struct Sealing {
    std::array<uint8_t, kKeyBytes> key;
    uint32_t receiver_index;
    uint64_t counter;  // std::atomic_ref where several workers seal
  };
  [[nodiscard]] Sealing& sealing(uint32_t peer) { return sealing_[peer]; }
  [[nodiscard]] const uint8_t* first_key() const { return first_keypair_->sending().key.data(); }

  // Publishes one edit more, as control does: a new version of the trie, retired by epoch. On one thread. A host that
  // nobody sends from or to comes, and with the next edit goes, near those that do.
  void publish_an_edit(std::span<publish::Door* const> doors);

  SystemPages pages;
  publish::Epoch epoch;
  publish::Snapshot snapshot;

 private:
  void make_peers();
  void make_routes();
  [[nodiscard]] uint32_t net_of(uint32_t peer) const { return kPeerNet + (peer << hosts_log2_); }

  struct Random final : RandomSource {
    void fill(std::span<uint8_t> out) noexcept override {
      for (uint8_t& byte : out) byte = static_cast<uint8_t>(engine());
    }
    std::mt19937_64 engine{20261122};
  };

  uint32_t peers_count_;
  unsigned hosts_log2_;
  Random random_;
  publish::PeerSlots peers_;
  wireguard::KeypairArena keypairs_;
  publish::NeighbourTable neighbours_;
  lookup::WriterV4 allowed_, outside_routes_, inside_routes_;
  std::vector<publish::NextHop> outside_hops_, inside_hops_;
  std::unique_ptr<pipeline::Shared> shared_;
  const wireguard::Keypair* first_keypair_ = nullptr;
  std::vector<Sealing> sealing_;
  std::vector<uint32_t> order_;  // of peers, shuffled
  std::vector<double> zipf_sums_;
  std::array<publish::Snapshot, 2> edited_;
  uint64_t edits_ = 0;
  Instant now_{1'000'000'000'000};
};

}  // namespace turnpike::bench
