// A gateway in memory: tables, peers and workers set up by hand, no thread, no port. Frames go in as blobs
// and come out as what became of each.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "dataplane/pipeline/pipeline.h"
#include "tests/support/worker_parts.h"
#include "tests/unit/pipeline/bytes_of.h"

namespace turnpike::pipeline::test {

inline constexpr Instant kStart{1'000'000'000'000};

struct Sent {
  PortIndex port;
  Blob frame;
  bool offload;
};

struct Punted {
  publish::PuntHeader header;
  Blob bytes;
};

// What one call made of its packets.
struct Turn {
  std::vector<Sent> sent;
  std::vector<Punted> punts;  // with bytes
  std::vector<Punted> events;
  std::map<DropReason, uint64_t> drops;
  size_t packets = 0;
  size_t finished = 0;  // dropped, copied or at their end

  [[nodiscard]] uint64_t dropped() const {
    uint64_t sum = 0;
    for (const auto& [reason, count] : drops) sum += count;
    return sum;
  }
  [[nodiscard]] uint64_t drops_of(DropReason reason) const {
    const auto found = drops.find(reason);
    return found == drops.end() ? 0 : found->second;
  }
};

// The room around a frame's bytes; a buffer has exactly these, so that ASan sees a step beyond.
struct Room {
  uint16_t head = 128;
  uint16_t tail = 64;
};

struct FrameIn {
  Blob bytes;
  Room room = {};
  RxChecksum ipv4_checksum = RxChecksum::Unknown;
  RxChecksum l4_checksum = RxChecksum::Unknown;
  bool multi_segment = false;
};

class Table {
 public:
  explicit Table(RoomSource& pages, lookup::Stamps stamps = lookup::Stamps::None)
      : v4(pages, stamps), v6(pages, stamps) {}
  // kNoPeer removes it.
  void insert(const Prefix& prefix, uint32_t value);
  bool keeps_versions = false;  // what was the head before stays good
  lookup::WriterV4 v4;
  lookup::WriterV6 v6;
};

class Routes {
 public:
  explicit Routes(RoomSource& pages) : table_(pages) {}
  void add(const Prefix& prefix, const publish::NextHop& hop);
  [[nodiscard]] publish::RouteTable view() const;

 private:
  Table table_;
  std::deque<publish::NextHop> hops_;
  std::vector<publish::NextHop> flat_;
};

class Gateway : public turnpike::test::WorkerParts {
 public:
  explicit Gateway(size_t workers = 1, crypto::AeadBackend backend = crypto::AeadBackend::Auto);

  // Own addresses become Local, their subnets OnLink; subnet broadcasts Unroutable.
  PortIndex add_port(const MacAddress& mac, const std::vector<std::string>& addresses);
  void add_route(PortIndex port, std::string_view prefix, std::string_view via);
  TunnelIndex add_tunnel(PortIndex outside, PortIndex inside, uint16_t listen_port);
  void add_own_address(TunnelIndex tunnel, std::string_view address);
  void allow(TunnelIndex tunnel, std::string_view prefix, PeerIndex peer);
  // From now on copies of `snapshot` stay good when prefixes change.
  void keep_versions();
  PeerIndex add_peer();
  void add_neighbour(PortIndex port, const IpAddress& address, const MacAddress* mac);
  // Over the neighbour `first_hop` of the port, which add_neighbour() made.
  void set_endpoint(PeerIndex peer, const Endpoint& remote, const IpAddress& local, PortIndex port,
                    const IpAddress& first_hop);
  // A keypair found by workers under its own index, and not current yet.
  wireguard::Keypair& add_keypair(TunnelIndex tunnel, PeerIndex peer, wireguard::Role role);

  Turn receive(PortIndex port, std::vector<FrameIn> frames, size_t worker = 0);
  Turn receive(PortIndex port, const std::vector<Blob>& frames, size_t worker = 0);
  // By a worker that has another snapshot.
  Turn receive_in(const publish::Snapshot& other, PortIndex port, const std::vector<Blob>& frames,
                  size_t worker);
  // Puts entries into the ring, then injects them into as many blanks and `extra` more.
  struct Injection {
    publish::InjectHeader header;
    Blob bytes;
  };
  Turn inject(const std::vector<Injection>& entries, size_t extra = 0, size_t worker = 0);

  struct Worker {
    Worker(Gateway& gateway, std::unique_ptr<crypto::Aead> own_aead);
    publish::Door door;
    std::unique_ptr<crypto::Aead> aead;
    Pipeline pipeline;
  };

  Instant now = kStart;
  std::deque<std::unique_ptr<Worker>> workers;
  std::mt19937_64 random{1};

 private:
  friend struct Worker;
  Turn receive_in(const publish::Snapshot& some, PortIndex port, std::vector<FrameIn> frames,
                  size_t worker);
  Turn collect(Worker& worker, Output& output, const std::vector<Packet>& packets,
               const std::vector<uint64_t>& drops_before);
  [[nodiscard]] static std::vector<uint64_t> drops_of(const Worker& worker);

  std::deque<Routes> port_routes_;
  std::deque<Routes> tunnel_local_;
  std::deque<Table> allowed_;
  PeerIndex peers_ = 0;
  size_t backend_workers_ = 0;
};

// Keypairs of one session, installed on both sides: `a` was the initiator, both are current and confirmed.
struct Session {
  wireguard::Keypair* a;
  wireguard::Keypair* b;
};
Session connect(Gateway& a, TunnelIndex tunnel_a, PeerIndex peer_at_a, Gateway& b,
                TunnelIndex tunnel_b, PeerIndex peer_at_b);

inline const MacAddress kOutsideA{{2, 0, 0, 0, 0, 0xa0}}, kInsideA{{2, 0, 0, 0, 0, 0xa1}};
inline const MacAddress kOutsideB{{2, 0, 0, 0, 0, 0xb0}}, kInsideB{{2, 0, 0, 0, 0, 0xb1}};
inline const MacAddress kHostA{{2, 0, 0, 0, 1, 0xa1}}, kHostB{{2, 0, 0, 0, 1, 0xb1}};

// A and B with a tunnel between them. Each has port 0 outside, port 1 inside; its peer 0 is the other one.
//   A: 192.0.2.1/24, 2001:db8::1/64 outside; 10.0.0.1/24, fd00:a::1/64 inside; host .2 behind it
//   B: the same with .2, ::2; 10.1.0.1/24, fd00:b::1/64
struct Pair {
  explicit Pair(Family outer = Family::V4, size_t workers = 1,
                crypto::AeadBackend backend = crypto::AeadBackend::Auto);

  [[nodiscard]] Blob from_host_a(const Blob& packet) const {
    return make_frame(kInsideA, kHostA, packet);
  }
  [[nodiscard]] Blob from_host_b(const Blob& packet) const {
    return make_frame(kInsideB, kHostB, packet);
  }
  // A packet from the host behind A to the one behind B, of `payload` bytes.
  [[nodiscard]] Blob a_to_b(Family inner, size_t payload, IpOptions options = {}) const;
  [[nodiscard]] Blob b_to_a(Family inner, size_t payload, IpOptions options = {}) const;
  // Sealed by A, as it leaves A.
  [[nodiscard]] Blob sealed_by_a(const Blob& packet);
  // Under a session of A's, whatever the text is, as it leaves A (IPv4 outside).
  [[nodiscard]] Blob sealed_text(const Session& of, const Blob& text);

  Gateway a, b;
  Family outer;
  PortIndex outside = 0, inside = 1;
  TunnelIndex tunnel = 0;
  PeerIndex peer = 0;
  Session session;
};

}  // namespace turnpike::pipeline::test
