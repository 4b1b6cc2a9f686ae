// A gateway in memory for the pipeline benchmark: one worker, a tunnel with any number of peers, and a stock of
// packets that is made anew before each measured pass.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "dataplane/pipeline/pipeline.h"
#include "dataplane/pipeline/stages.h"

namespace turnpike::bench {

inline constexpr PortIndex kOutside = 0, kInside = 1;
// Bursts of one pass: their buffers stay within L2, as those of a pool that is used last in, first out.
inline constexpr size_t kBursts = 8;
inline constexpr size_t kPassPackets = kBursts * kRxBurst;

enum class Direction { Outbound, Inbound };

struct Traffic {
  Direction direction = Direction::Outbound;
  bool zipf = false;  // which peer is next: uniform, or by Zipf's law
  bool software_checksum = false;  // the port neither checks nor makes UDP's
  std::vector<uint16_t> inner_bytes;  // of the packets, in turn
};

class World {
 public:
  World(uint32_t peers, bool software_checksum);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // Makes the packets of one pass.
  void fill(const Traffic& traffic);
  // Runs the pass; `cycles[i]` of the TSC for each burst. CHECKs that each packet was sent.
  void run(const Traffic& traffic, std::vector<uint64_t>& cycles);
  // The bare AEAD over the same buffers, sizes and room, under one key.
  void run_aead(const Traffic& traffic, std::vector<uint64_t>& cycles);

  void measure(pipeline::StageCycles* stages) { pipeline_->measure(stages); }
  [[nodiscard]] const char* aead_name() const { return aead_name_.c_str(); }

 private:
  [[nodiscard]] uint32_t next_peer(bool zipf);
  void make_inner(uint8_t* ip, uint16_t bytes, uint32_t peer, bool outbound) const;
  void fill_inbound(size_t i, uint16_t bytes, uint32_t peer);
  void make_peers();
  void make_routes();

  uint32_t peers_count_;
  SystemPages pages_;
  publish::Epoch epoch_;
  publish::PeerSlots peers_;
  lookup::ReceiverTable receivers_;
  publish::NeighbourTable neighbours_;
  lookup::WriterV4 allowed_, outside_routes_, inside_routes_;
  std::vector<publish::NextHop> outside_hops_, inside_hops_;
  publish::Snapshot snapshot_;
  std::unique_ptr<publish::Door> door_;
  std::unique_ptr<crypto::Aead> aead_;
  std::string aead_name_;
  std::unique_ptr<pipeline::Pipeline> pipeline_;
  wireguard::Keypair* keypairs_ = nullptr;
  // What sealing for us needs, apart from the keypairs: making packets must not bring those into the caches.
  struct Sealing {
    std::array<uint8_t, kKeyBytes> key;
    uint32_t receiver_index;
    uint64_t counter;
  };
  std::vector<Sealing> sealing_;
  std::vector<uint32_t> order_;  // of peers, shuffled
  std::vector<double> zipf_sums_;
  size_t next_ = 0;
  std::mt19937_64 random_{20261122};

  std::vector<uint8_t> memory_;
  std::vector<pipeline::Packet> packets_;
  std::vector<crypto::AeadJob> jobs_;
  std::unique_ptr<pipeline::Output> output_;
  Instant now_{1'000'000'000'000};
};

}  // namespace turnpike::bench
