#include "dataplane/pipeline/pipeline.h"

#include <algorithm>

#include "dataplane/pipeline/burst.h"

namespace turnpike::pipeline {

namespace {

// A whole burst often has one address: all messages are to the gateway's own, packets of one flow to one peer.
template <typename Address>
[[nodiscard]] bool all_the_same(const PerLane<Address>& addresses, size_t count) noexcept {
  bool same = true;
  for (size_t i = 1; i < count; ++i) same &= addresses[i] == addresses[0];
  return same;
}

template <typename Root, typename Address>
void look_up_lanes(Root root, const Lanes& lanes, const PerLane<Address>& addresses,
                   PerLane<uint32_t>& values) noexcept {
  const size_t count = lanes.size();
  if (count == 0) return;
  PerLane<uint32_t> found;
  if (all_the_same(addresses, count)) {
    lookup::lookup_burst(root, {addresses.data(), 1}, {found.data(), 1});
    for (const Lane lane : lanes) values[lane] = found[0];
    return;
  }
  lookup::lookup_burst(root, {addresses.data(), count}, {found.data(), count});
  for (size_t i = 0; i < count; ++i) values[lanes[i]] = found[i];
}

}  // namespace

void Burst::look_up(lookup::RootV4 v4_root, lookup::RootV6 v6_root,
                    PerLane<uint32_t>& values) const noexcept {
  look_up_lanes(v4_root, addresses.v4_lanes, addresses.v4, values);
  look_up_lanes(v6_root, addresses.v6_lanes, addresses.v6, values);
}

uint32_t Burst::look_up_one(lookup::RootV4 v4_root, lookup::RootV6 v6_root, const uint8_t* address,
                            unsigned version) noexcept {
  uint32_t value[1];
  if (version == 4) {
    const uint32_t addresses[1] = {load_be32(address)};
    lookup::lookup_burst(v4_root, addresses, value);
  } else {
    const lookup::Ipv6Key addresses[1] = {ipv6_key(address)};
    lookup::lookup_burst(v6_root, addresses, value);
  }
  return value[0];
}

struct Pipeline::Impl {
  Impl(const Shared& shared, publish::Door& door, crypto::Aead& aead) noexcept
      : burst(shared, door, aead) {}

  void begin(const publish::Snapshot& snapshot, Instant now, PortIndex port,
             std::span<Packet> packets, Output& output) noexcept {
    CHECK(packets.size() <= kBurstMax);
    // Each packet ends once, so what fits now fits at the end. The batches of the ports are checked as
    // they are filled.
    CHECK(output.done_count + packets.size() <= output.done.size());
    burst.snapshot = &snapshot;
    burst.now = now;
    burst.port = port;
    burst.packets = packets.data();
    burst.output = &output;
    burst.any_unfinished = false;
  }

  Burst burst;
};

Pipeline::Pipeline(const Shared& shared, publish::Door& door, crypto::Aead& aead) noexcept
    : impl_(std::make_unique<Impl>(shared, door, aead)) {}

Pipeline::~Pipeline() = default;

void Pipeline::receive(const publish::Snapshot& snapshot, Instant now, PortIndex port,
                       std::span<Packet> packets, Output& output) noexcept {
  CHECK(port < snapshot.port_count);
  impl_->begin(snapshot, now, port, packets, output);
  Burst& burst = impl_->burst;
  uint64_t bytes = 0;
  bool any_unfinished = false;
  for (const Packet& packet : packets) {
    bytes += packet.length_bytes;
    any_unfinished |= packet.l4_checksum == RxChecksum::Unfinished;
  }
  burst.any_unfinished = any_unfinished;
  publish::PortCounters& counters = burst.counters().ports[port];
  counters.rx_packets.add(packets.size());
  counters.rx_bytes.add(bytes);

  Lanes plain;
  Lanes messages;
  if (burst.stages != nullptr) burst.stages->start();
  parse(burst, packets.size(), plain, messages);
  burst.mark(Stage::Parse);
  outbound(burst, plain);
  inbound(burst, messages);
}

void Pipeline::measure(StageCycles* stages) noexcept { impl_->burst.stages = stages; }

size_t Pipeline::injections_waiting() const noexcept {
  return std::min<size_t>(impl_->burst.door.inject.waiting(), kBurstMax);
}

void Pipeline::inject(const publish::Snapshot& snapshot, Instant now, std::span<Packet> blanks,
                      Output& output) noexcept {
  impl_->begin(snapshot, now, kNoPort, blanks, output);
  pipeline::inject(impl_->burst, blanks.size());
}

}  // namespace turnpike::pipeline
