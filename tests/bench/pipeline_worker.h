// One worker of the pipeline benchmark: its door, its AEAD, and a stock of packets that is made anew before each
// measured pass.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "dataplane/pipeline/stages.h"
#include "dataplane/publish/door.h"
#include "tests/bench/pipeline_world.h"

namespace turnpike::bench {

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

class Worker {
 public:
  // Uniform traffic goes round the peers from place `first` of the world's order.
  explicit Worker(World& world, size_t first = 0);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Makes the packets of one pass.
  void fill(const Traffic& traffic);
  // Runs the pass; `cycles[i]` of the TSC for each burst. CHECKs that each packet was sent.
  void run(const Traffic& traffic, std::vector<uint64_t>& cycles);
  // The bare AEAD over the same buffers, sizes and room, under one key.
  void run_aead(const Traffic& traffic, std::vector<uint64_t>& cycles);

  void measure(pipeline::StageCycles* stages) { pipeline_.measure(stages); }
  [[nodiscard]] const char* aead_name() const { return aead_name_.c_str(); }

  publish::Door door;

 private:
  struct Far {
    uint32_t peer;
    uint32_t address;  // the peer's, of the inner packet
  };
  void make_inner(uint8_t* ip, uint16_t bytes, const Far& far, bool outbound) const;
  void fill_inbound(size_t i, uint16_t bytes, const Far& far);

  World& world_;
  std::unique_ptr<crypto::Aead> aead_;
  std::string aead_name_;
  pipeline::Pipeline pipeline_;
  size_t next_;
  std::mt19937_64 random_;
  std::vector<uint8_t> memory_;
  std::vector<pipeline::Packet> packets_;
  std::vector<crypto::AeadJob> jobs_;
  std::unique_ptr<pipeline::Output> output_;
  int64_t passes_ = 0;
};

}  // namespace turnpike::bench
