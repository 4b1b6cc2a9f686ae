// Packets that nobody should send: valid ones with random changes, and random bytes, in buffers of exactly
// their size so that a sanitizer sees one byte too far. The gateway must survive, answer nothing, and account for
// each (Gateway checks that every packet leaves once). The seed is printed; TURNPIKE_SEED replays one.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/unit/pipeline/gateway.h"

namespace turnpike::pipeline::test {
namespace {

uint64_t seed_of_run() {
  const char* given = std::getenv("TURNPIKE_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
}

size_t rounds() { return std::getenv("TURNPIKE_FULL") != nullptr ? 20'000 : 600; }

class Hostile : public testing::Test {
 protected:
  Hostile() : seed(seed_of_run()), random(seed) {
    RecordProperty("seed", std::to_string(seed));
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    pair.b.add_own_address(0, "10.8.0.1");
  }
  [[nodiscard]] size_t below(size_t n) { return random() % n; }

  // What a neighbour, a peer or a host inside would send.
  [[nodiscard]] Blob valid(PortIndex& port) {
    const Family family = below(2) == 0 ? Family::V4 : Family::V6;
    port = 0;
    switch (below(7)) {
      case 0:
        port = 1;
        return pair.from_host_b(pair.b_to_a(family, below(1400)));
      case 1:
        return make_frame(kOutsideB, kOutsideA,
                          make_udp(ip("192.0.2.1"), ip("192.0.2.2"), 51820, 51821, handshake()));
      case 2:
        return make_frame(
            kOutsideB, kOutsideA,
            make_udp(ip("2001:db8::1"), ip("2001:db8::2"), 51820, 51821, handshake()));
      case 3:
        return make_frame(
            kOutsideB, kOutsideA,
            make_ip(ip("192.0.2.1"), ip("192.0.2.2"), Blob(below(64)), {.protocol = 1}));
      case 4: {
        Blob icmp(24 + below(8));
        icmp[0] = 135;
        append_address(icmp, ip("2001:db8::2"));
        return make_frame({{0x33, 0x33, 0xff, 0, 0, 2}}, kOutsideA,
                          make_ip(ip("fe80::1"), ip("ff02::1:ff00:2"), icmp, {.protocol = 58}));
      }
      default:
        return pair.sealed_by_a(pair.a_to_b(family, below(1360)));
    }
  }
  [[nodiscard]] Blob handshake() {
    constexpr size_t kLengths[] = {148, 92, 64};
    const size_t type = below(3);
    Blob message(kLengths[type], 0);
    message[0] = static_cast<uint8_t>(type + 1);
    return message;
  }
  // Bytes changed (often near the front, where headers are), cut off or added.
  void spoil(Blob& frame) {
    for (size_t changes = 1 + below(4); changes-- > 0 && !frame.empty();) {
      const size_t reach = below(2) == 0 ? std::min<size_t>(frame.size(), 80) : frame.size();
      const size_t at = below(reach);
      switch (below(5)) {
        case 0:
          frame.resize(at);
          break;
        case 1:
          frame.insert(frame.end(), below(20), static_cast<uint8_t>(random()));
          break;
        case 2:
          frame[at] ^= static_cast<uint8_t>(1u << below(8));
          break;
        case 3:
          frame[at] = below(2) == 0 ? 0x00 : 0xff;
          break;
        default:
          frame[at] = static_cast<uint8_t>(random());
          break;
      }
    }
  }
  [[nodiscard]] RxChecksum any_verdict() {
    return static_cast<RxChecksum>(below(10) == 0 ? 2 + below(2) : below(2));
  }
  [[nodiscard]] Room any_room() {
    if (below(2) == 0) return {};
    return {.head = static_cast<uint16_t>(below(100)), .tail = static_cast<uint16_t>(below(40))};
  }

  const uint64_t seed;
  std::mt19937_64 random;
  Pair pair{Family::V4, 1, crypto::AeadBackend::Libsodium};
};

TEST_F(Hostile, SpoiltPacketsAreAccountedForAndHarmNothing) {
  for (size_t round = 0; round < rounds(); ++round) {
    std::array<std::vector<FrameIn>, 2> bursts;
    for (size_t i = below(kBurstMax) + 1; i-- > 0;) {
      PortIndex port = 0;
      FrameIn frame{.bytes = valid(port),
                    .room = any_room(),
                    .ipv4_checksum = any_verdict(),
                    .l4_checksum = any_verdict(),
                    .multi_segment = below(50) == 0};
      if (below(8) != 0) spoil(frame.bytes);
      if (below(20) == 0) port ^= 1;
      bursts[port].push_back(std::move(frame));
    }
    for (PortIndex port = 0; port < 2; ++port) {
      const size_t count = bursts[port].size();
      const Turn turn = pair.b.receive(port, std::move(bursts[port]));
      ASSERT_EQ(turn.sent.size() + turn.finished, count) << "seed " << seed << " round " << round;
      ASSERT_LE(turn.dropped(), turn.finished);
    }
    pair.a.now = pair.b.now = pair.b.now + 1ms;
    if (HasFailure()) FAIL() << "seed " << seed << " round " << round;
  }
  // Whoever is not spoilt still gets through.
  EXPECT_EQ(pair.b.receive(0, {pair.sealed_by_a(pair.a_to_b(Family::V6, 99))}).sent.size(), 1u);
}

TEST_F(Hostile, RandomBytesAreDropped) {
  for (size_t round = 0; round < rounds() / 4; ++round) {
    std::vector<FrameIn> burst;
    for (size_t i = 0; i < kBurstMax; ++i) {
      Blob bytes(below(120));
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
      if (bytes.size() >= 15) {
        std::copy(kOutsideB.bytes.begin(), kOutsideB.bytes.end(), bytes.begin());
        const bool v4 = below(2) == 0;
        bytes[12] = v4 ? 0x08 : 0x86;
        bytes[13] = v4 ? 0x00 : 0xdd;
        if (below(4) != 0) bytes[14] = v4 ? 0x45 : 0x60;
      }
      burst.push_back({.bytes = std::move(bytes),
                       .room = {.head = 0, .tail = 0},
                       .ipv4_checksum = any_verdict()});
    }
    const Turn turn = pair.b.receive(static_cast<PortIndex>(below(2)), std::move(burst));
    ASSERT_EQ(turn.finished, kBurstMax) << "seed " << seed;
    if (HasFailure()) FAIL() << "seed " << seed << " round " << round;
  }
}

TEST_F(Hostile, AnAuthenticPeerThatSendsGarbageIsAccountedFor) {
  for (size_t round = 0; round < rounds() / 4; ++round) {
    std::vector<FrameIn> burst;
    for (size_t i = 0; i < kBurstMax; ++i) {
      Blob text = below(2) == 0 ? pair.a_to_b(below(2) == 0 ? Family::V4 : Family::V6, below(80))
                                : Blob(below(70));
      spoil(text);
      burst.push_back(
          {.bytes = pair.sealed_text(pair.session, text), .room = {.head = 0, .tail = 0}});
    }
    const Turn turn = pair.b.receive(0, std::move(burst));
    ASSERT_EQ(turn.sent.size() + turn.finished, kBurstMax) << "seed " << seed;
    ASSERT_EQ(turn.drops_of(DropReason::AuthenticationFailed), 0u) << "seed " << seed;
    if (HasFailure()) FAIL() << "seed " << seed << " round " << round;
  }
}

}  // namespace
}  // namespace turnpike::pipeline::test
