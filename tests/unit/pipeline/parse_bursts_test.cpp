// Frames of a burst that are like its first one are not judged in full. What becomes of each must be what becomes of it
// alone: bursts of messages with random changes are parsed whole, and frame by frame. The seed is printed; TURNPIKE_SEED
// replays one.
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

#include "dataplane/pipeline/burst.h"
#include "tests/unit/pipeline/gateway.h"

namespace turnpike::pipeline::test {
namespace {

enum class End : uint8_t { Finished, Plain, Message };

// What parse() makes of a frame, in numbers that do not depend on where it lies.
struct Fate {
  End end = End::Finished;
  TunnelIndex tunnel = kNoTunnel;
  int64_t outer_at = 0, data_at = 0;
  uint16_t length = 0, headroom = 0, tailroom = 0;
  bool operator==(const Fate&) const = default;
};

struct Fates {
  std::vector<Fate> of;
  std::vector<uint64_t> drops;
  std::vector<Blob> punts;
  Lanes messages;

  void append(const Fates& other) {
    of.insert(of.end(), other.of.begin(), other.of.end());
    punts.insert(punts.end(), other.punts.begin(), other.punts.end());
    drops.resize(other.drops.size());
    for (size_t i = 0; i < drops.size(); ++i) drops[i] += other.drops[i];
  }
};

class ParseBursts : public testing::Test {
 protected:
  ParseBursts() : random(seed()) {
    gateway.add_port(kOutsideA, {"192.0.2.1/24", "198.51.100.1/24", "2001:db8::1/64"});
    gateway.add_port(kInsideA, {"10.0.0.1/24"});
    for (const uint16_t port : {51820, 51821}) gateway.add_tunnel(0, 1, port);
  }
  static uint64_t seed() {
    const char* given = std::getenv("TURNPIKE_SEED");
    const uint64_t seed =
        given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    return seed;
  }
  [[nodiscard]] size_t below(size_t n) { return random() % n; }
  [[nodiscard]] bool one_in(size_t n) { return below(n) == 0; }

  [[nodiscard]] FrameIn message() {
    Blob payload(32 + below(80));
    payload[0] = one_in(8) ? 1 : 4;
    const bool v6 = one_in(12);
    const char* own = one_in(12) ? "198.51.100.1" : "192.0.2.1";
    const unsigned port = one_in(12) ? 51821 : 51820;
    const auto source = static_cast<uint32_t>(0xcb007100 + below(3));
    Blob packet = v6 ? make_udp(ip("2001:db8::9"), ip("2001:db8::1"), 1234, port, payload)
                     : make_udp(IpAddress::v4(source), ip(own), static_cast<unsigned>(below(65536)),
                                port, payload, {.dont_fragment = one_in(2)});
    FrameIn frame{.bytes = make_frame(kOutsideA, kOutsideB, packet),
                  .ipv4_checksum = RxChecksum::Good,
                  .l4_checksum = RxChecksum::Good};
    if (one_in(4)) frame.bytes.resize(frame.bytes.size() + below(20));  // padding of the link
    return frame;
  }

  // Where headers are, more often than not in a field that decides.
  void spoil(FrameIn& frame) {
    static constexpr size_t kFields[] = {0,  5,  12, 13, 14, 16, 17, 20, 21, 22, 23,
                                         26, 30, 33, 34, 36, 37, 38, 39, 40, 46};
    switch (below(9)) {
      case 0:
        frame.ipv4_checksum = static_cast<RxChecksum>(below(3));
        break;
      case 1:
        frame.l4_checksum = static_cast<RxChecksum>(below(4));
        break;
      case 2:
        frame.multi_segment = true;
        break;
      case 3:
        frame.bytes.resize(below(frame.bytes.size()));
        break;
      case 4: {  // lengths that agree, and still are not those of the frame
        if (frame.bytes.size() < 42) break;
        const auto udp = static_cast<unsigned>(below(one_in(2) ? 10 : 120));
        put16(frame.bytes, 16, 20 + udp);
        put16(frame.bytes, 38, udp);
        break;
      }
      default: {
        const size_t at = one_in(4) ? below(64) : kFields[below(std::size(kFields))];
        if (at >= frame.bytes.size()) break;
        frame.bytes[at] = one_in(2) ? static_cast<uint8_t>(frame.bytes[at] ^ 1u << below(8))
                                    : static_cast<uint8_t>(random());
      }
    }
  }

  [[nodiscard]] Fates parse_burst(std::span<const FrameIn> frames) {
    Gateway::Worker& worker = *gateway.workers[0];
    const auto burst = std::make_unique<Burst>(gateway.shared, worker.door, *worker.aead);
    const auto output = std::make_unique<Output>();
    std::vector<Blob> buffers;
    std::vector<Packet> packets;
    for (const FrameIn& frame : frames) {
      Blob& buffer = buffers.emplace_back(frame.bytes);
      packets.push_back({.data = buffer.data(),
                         .length_bytes = static_cast<uint16_t>(buffer.size()),
                         .headroom_bytes = 100,
                         .tailroom_bytes = 50,
                         .ipv4_checksum = frame.ipv4_checksum,
                         .l4_checksum = frame.l4_checksum,
                         .multi_segment = frame.multi_segment});
    }
    burst->snapshot = &gateway.snapshot;
    burst->now = gateway.now;
    burst->port = 0;
    burst->packets = packets.data();
    burst->output = output.get();
    Fates fates;
    std::vector<uint64_t> before;
    for (const auto& counter : worker.door.counters.drops) before.push_back(counter.value());
    Lanes plain;
    parse(*burst, packets.size(), plain, fates.messages);
    for (size_t i = 0; i < kDropReasons; ++i) {
      fates.drops.push_back(worker.door.counters.drops[i].value() - before[i]);
    }
    for (; auto* slot = worker.door.punt.front(); worker.door.punt.pop()) {
      fates.punts.emplace_back(slot->data(), slot->data() + slot->length_bytes);
    }
    fates.of.resize(packets.size());
    const auto left = [&](Lane lane, End end) {
      const Packet& packet = packets[lane];
      EXPECT_EQ(fates.of[lane].end, End::Finished) << "passed on twice";
      fates.of[lane] = {.end = end,
                        .data_at = packet.data - buffers[lane].data(),
                        .length = packet.length_bytes,
                        .headroom = packet.headroom_bytes,
                        .tailroom = packet.tailroom_bytes};
    };
    for (const Lane lane : plain) left(lane, End::Plain);
    for (const Lane lane : fates.messages) {
      left(lane, End::Message);
      fates.of[lane].tunnel = burst->tunnel[lane];
      fates.of[lane].outer_at = burst->outer[lane] - buffers[lane].data();
    }
    EXPECT_EQ(plain.size() + fates.messages.size() + output->done_count, packets.size());
    return fates;
  }

  std::mt19937_64 random;
  Gateway gateway;
};

TEST_F(ParseBursts, WhatBecomesOfAFrameDoesNotDependOnThoseBesideIt) {
  size_t messages = 0;
  const size_t rounds = std::getenv("TURNPIKE_FULL") != nullptr ? 200'000 : 4'000;
  for (size_t round = 0; round < rounds; ++round) {
    std::vector<FrameIn> frames(1 + below(kBurstMax));
    const size_t spoilt_one_in = 1 + below(20);
    for (FrameIn& frame : frames) {
      frame = message();
      if (one_in(spoilt_one_in)) spoil(frame);
    }
    const Fates whole = parse_burst(frames);
    Fates alone;
    for (const FrameIn& frame : frames) alone.append(parse_burst({&frame, 1}));
    ASSERT_EQ(whole.of.size(), alone.of.size());
    for (size_t i = 0; i < frames.size(); ++i) {
      EXPECT_EQ(whole.of[i], alone.of[i]) << "round " << round << ", frame " << i << ": "
                                          << testing::PrintToString(frames[i].bytes);
    }
    EXPECT_EQ(whole.drops, alone.drops) << "round " << round;
    std::vector<Blob> punts = whole.punts;  // out of order: a burst looks at IPv4 first
    std::sort(punts.begin(), punts.end());
    std::sort(alone.punts.begin(), alone.punts.end());
    EXPECT_EQ(punts, alone.punts) << "round " << round;
    if (HasFailure()) FAIL();
    messages += whole.messages.size();
  }
  EXPECT_GT(messages, rounds);  // or nothing was tried
}

// Packets of one peer must not overtake each other, whichever way they went.
TEST_F(ParseBursts, MessagesStayInTheOrderOfTheBurst) {
  for (size_t round = 0; round < 1'000; ++round) {
    std::vector<FrameIn> frames(kBurstMax);
    for (FrameIn& frame : frames) {
      frame = message();
      // Added up here then, which takes the long way.
      if (one_in(4)) frame.l4_checksum = RxChecksum::Unknown;
    }
    const Fates fates = parse_burst(frames);
    ASSERT_EQ(fates.messages.size(), kBurstMax);
    std::optional<Lane> last[2];
    for (const Lane lane : fates.messages) {
      std::optional<Lane>& before = last[frames[lane].bytes[14] >> 4 == 6 ? 1 : 0];
      if (before) {
        ASSERT_LT(*before, lane);
      }
      before = lane;
    }
  }
}

}  // namespace
}  // namespace turnpike::pipeline::test
