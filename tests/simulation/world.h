// Gateways on one virtual clock in one thread, joined outside by a network that loses, delays, duplicates and
// reorders, each with hosts on a perfect link inside. One seed makes the whole world: TURNPIKE_SEED=N replays
// it (see tests/support/sim_seeds.h).
//   finish() stops the traffic, lets everything settle and gives every broken invariant as a sentence.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "tests/simulation/gateway.h"
#include "tests/simulation/ledger.h"
#include "tests/support/sim_random.h"
#include "tests/support/sim_seeds.h"

namespace turnpike::sim {

struct WorldSettings {
  uint64_t seed = 1;
  double loss = 0;  // of each frame between two gateways
  double duplicate = 0;
  Duration delay_min = 1ms;
  Duration delay_max = 1ms;  // uniform between the two: what is sent later may arrive earlier
  Family outer = Family::V4;
  size_t workers = 2;
  size_t session_threads = 1;
  double interleave = 0.3;
  bool preshared_keys = true;
};

// A flow from a host behind one gateway to a host behind another.
struct Traffic {
  GatewayNumber from = 0;
  GatewayNumber to = 0;
  Duration every = 100ms;
  size_t length_bytes = 200;  // of the inner packet, at least 64
  Family family = Family::V4;
  size_t burst = 1;  // packets at the same moment
  bool forged = false;  // with a source that the sender's gateway does not own
};

class World {
 public:
  explicit World(const WorldSettings& settings);

  // Making it.
  GatewayNumber add_gateway();
  // Each becomes a peer of the other, with its inside subnets; `knows`: it has the other's endpoint.
  void connect(GatewayNumber a, GatewayNumber b, bool a_knows = true, bool b_knows = true);
  // A gateway whose spokes reach each other through it: for them, everything is behind it.
  void connect_spoke(GatewayNumber hub, GatewayNumber spoke, bool hub_knows = false);
  struct Two {
    GatewayNumber a, b;
  };
  Two two_gateways(bool a_knows = true, bool b_knows = true);

  // Letting it run.
  void run_for(Duration duration, const std::vector<Traffic>& traffic = {});
  void send(const Traffic& traffic);  // one burst now
  [[nodiscard]] Instant now() const noexcept { return now_; }

  // What happens in it.
  void set_network(double loss, double duplicate, Duration delay_min, Duration delay_max);
  void cut(GatewayNumber a, GatewayNumber b);
  void heal(GatewayNumber a, GatewayNumber b);
  void restart(GatewayNumber gateway);
  void move(GatewayNumber gateway);  // to outside addresses that nobody had
  void remove_peer(GatewayNumber at, GatewayNumber other);
  void add_peer_again(GatewayNumber at, GatewayNumber other);
  void step_wall_clock(GatewayNumber gateway, Duration by);
  void tell_endpoint(GatewayNumber at, GatewayNumber other);  // control sets where the other is now

  // Looking at it.
  [[nodiscard]] uint64_t seed() const noexcept { return settings_.seed; }
  [[nodiscard]] bool has_peer(GatewayNumber at, GatewayNumber other) const {
    return places_[at].peers.contains(other);
  }
  [[nodiscard]] Gateway& gateway(GatewayNumber number) { return *places_[number].gateway; }
  [[nodiscard]] PeerRef peer(GatewayNumber at, GatewayNumber other) {
    return places_[at].peers.at(other);
  }
  [[nodiscard]] const Ledger& ledger() const noexcept { return ledger_; }
  [[nodiscard]] uint64_t handshakes_completed() const;  // each counted once
  [[nodiscard]] uint64_t inner_packets_sent() const noexcept { return ledger_.packets.size(); }
  [[nodiscard]] uint64_t inner_packets_delivered() const noexcept { return ledger_.delivered; }
  [[nodiscard]] uint64_t inner_packets_delivered_twice() const noexcept {
    return ledger_.delivered_twice;
  }
  [[nodiscard]] uint64_t nonces_reused() const noexcept { return ledger_.nonces_reused; }
  [[nodiscard]] uint64_t frames_lost() const noexcept { return frames_lost_; }
  // The first packet of the flow that was sent at or after `since` and arrived, as time after `since`; a
  // year when none did.
  [[nodiscard]] Duration first_delivery_after(Instant since, GatewayNumber from,
                                              GatewayNumber to) const;
  [[nodiscard]] uint64_t delivered_between(Instant from, Instant until) const;
  [[nodiscard]] uint64_t sent_between(Instant from, Instant until) const;

  [[nodiscard]] std::vector<std::string> finish();
  [[nodiscard]] std::string drops_text();

 private:
  struct Place {
    GatewaySettings settings;
    std::unique_ptr<Gateway> gateway;
    std::map<GatewayNumber, PeerSpec> specs;
    std::map<GatewayNumber, PeerRef> peers;
    Duration wall_offset{0};
    bool is_hub = false;
    uint64_t handshakes_before = 0;  // of gateways that were here before a restart
  };
  struct Transit {
    Instant at;
    uint64_t order;
    GatewayNumber to;
    Frame frame;
    friend bool operator>(const Transit& a, const Transit& b) {
      return std::pair(a.at, a.order) > std::pair(b.at, b.order);
    }
  };

  void start(GatewayNumber number);
  void introduce(GatewayNumber at, GatewayNumber other, bool knows,
                 const PresharedKey& preshared_key, std::vector<Prefix> allowed);
  void note_durable(GatewayNumber number);
  [[nodiscard]] Endpoint endpoint_of(GatewayNumber number) const;
  void transmit(GatewayNumber from, PortIndex port, Bytes frame);
  void transmit_outside(GatewayNumber from, Bytes frame);
  void transmit_inside(GatewayNumber at, Bytes frame);
  void settle();
  void advance_to(Instant until);
  [[nodiscard]] Now now_of(const Place& place) const noexcept;
  [[nodiscard]] bool is_cut(GatewayNumber a, GatewayNumber b) const;

  WorldSettings settings_;
  Random random_;
  Ledger ledger_;
  Instant now_;
  std::vector<Place> places_;
  std::priority_queue<Transit, std::vector<Transit>, std::greater<>> network_;
  uint64_t order_ = 0;
  std::map<std::pair<GatewayNumber, GatewayNumber>, bool> cut_;
  uint64_t frames_lost_ = 0;
  uint8_t next_address_ = 100;
  uint32_t seals_max_ = 1;  // of an inner packet: one, or one more at a hub
  std::vector<std::string> faults_;
};

}  // namespace turnpike::sim
