// Two parties of a handshake, a virtual clock and a seeded source of randomness for the tests here.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "dataplane/crypto/x25519.h"
#include "dataplane/wireguard/handshake.h"

namespace turnpike::wireguard::test {

class SeededRandom final : public RandomSource {
 public:
  explicit SeededRandom(uint64_t seed) : engine_(seed) {}
  void fill(std::span<uint8_t> out) noexcept override {
    std::ranges::generate(out, [this] { return static_cast<uint8_t>(engine_()); });
  }

 private:
  std::mt19937_64 engine_;
};

inline Now at(Duration since_start) {
  const auto offset = static_cast<uint64_t>(since_start.count());
  return {.instant = {1'000'000'000'000 + offset}, .wall = {1'700'000'000'000'000'000 + offset}};
}

struct Parties {
  explicit Parties(uint64_t seed = 1, bool with_preshared_key = false) : random(seed) {
    PresharedKey preshared_key;
    if (with_preshared_key) random.fill(preshared_key.bytes());
    a = StaticIdentity::of(crypto::generate_private_key(random));
    b = StaticIdentity::of(crypto::generate_private_key(random));
    b_at_a = PeerHandshake::of(a, b.public_key, preshared_key);
    a_at_b = PeerHandshake::of(b, a.public_key, preshared_key);
  }

  InitiationBytes initiate(uint32_t index, const Now& now) {
    const auto datagram = create_initiation(a, b_at_a, index, now, random);
    EXPECT_TRUE(datagram.has_value());
    return datagram.value_or(InitiationBytes{});
  }
  // The responder's three steps; the refusal of the first that refuses.
  Result<CreatedResponse, HandshakeRefusal> respond(Bytes initiation, uint32_t index,
                                                    const Now& now) {
    const auto opened = open_initiation(b, initiation);
    if (!opened) return fail(opened.error());
    const auto accepted = accept_initiation(*opened, a_at_b, now.instant);
    if (!accepted) return fail(accepted.error());
    return create_response(*accepted, a_at_b, index, now.instant, random);
  }

  SeededRandom random;
  StaticIdentity a;
  StaticIdentity b;
  PeerHandshake b_at_a;
  PeerHandshake a_at_b;
};

}  // namespace turnpike::wireguard::test
