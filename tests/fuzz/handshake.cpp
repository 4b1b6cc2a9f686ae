// Any datagram against a party that waits for a response: only what its peer really made is
// accepted, and whatever is refused changes nothing.
#include <algorithm>
#include <random>

#include "dataplane/base/check.h"
#include "dataplane/wireguard/handshake.h"

namespace {

using namespace turnpike;
using namespace turnpike::wireguard;

class FixedRandom final : public RandomSource {
 public:
  void fill(std::span<uint8_t> out) noexcept override {
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(engine_());
  }

 private:
  std::mt19937_64 engine_{20'260'101};
};

PrivateKey key_of(uint8_t byte) {
  std::array<uint8_t, kKeyBytes> bytes;
  bytes.fill(byte);
  return PrivateKey(bytes);
}

// We, and a peer that sent us an initiation and got one from us.
struct World {
  World() {
    auto sent = create_initiation(us, peer, 7, now, random);
    CHECK(sent.has_value());
    auto received = create_initiation(them, us_at_them, 9, now, random);
    CHECK(received.has_value());
    genuine_initiation = *received;
    const auto opened = open_initiation(them, *sent);
    CHECK(opened.has_value());
    const auto accepted = accept_initiation(*opened, us_at_them, now.instant);
    CHECK(accepted.has_value());
    const auto created = create_response(*accepted, us_at_them, 11, now.instant, random);
    CHECK(created.has_value());
    genuine_response = created->datagram;
  }
  FixedRandom random;
  Now now{.instant = {1'000'000'000}, .wall = {1'700'000'000'000'000'000}};
  StaticIdentity us = StaticIdentity::of(key_of(1));
  StaticIdentity them = StaticIdentity::of(key_of(2));
  PeerHandshake peer = PeerHandshake::of(us, them.public_key, PresharedKey{});
  PeerHandshake us_at_them = PeerHandshake::of(them, us.public_key, PresharedKey{});
  InitiationBytes genuine_initiation;
  ResponseBytes genuine_response;
};

// Whether `datagram` is `genuine` in all that the Noise transcript covers: not the index of its
// sender, which mac1 alone protects, and not the macs.
template <size_t N>
bool same_transcript(Bytes datagram, const std::array<uint8_t, N>& genuine) {
  return datagram.size() == N && std::ranges::equal(datagram.first(4), Bytes(genuine).first(4)) &&
         std::ranges::equal(datagram.subspan(8, N - 8 - 2 * wireguard::kMacBytes),
                            Bytes(genuine).subspan(8, N - 8 - 2 * wireguard::kMacBytes));
}

void check(const World& world, Bytes datagram) {
  PeerHandshake peer = world.peer;

  if (const auto opened = open_initiation(world.us, datagram)) {
    const auto accepted = accept_initiation(*opened, peer, world.now.instant);
    CHECK(accepted.has_value() == same_transcript(datagram, world.genuine_initiation));
  }
  CHECK((peer.latest_received == Tai64n{}) == peer.accepted_at.is_never());

  const auto keys = consume_response(world.us, peer, datagram);
  CHECK(keys.has_value() == same_transcript(datagram, world.genuine_response));
  CHECK(peer.in_flight.active != keys.has_value());

  if (const auto reply = parse_cookie_reply(datagram)) {
    CHECK(!peer.cookies.consume(*reply, world.now.instant));
    CHECK(!peer.cookies.has_cookie(world.now.instant));
  }
  if (check_mac1(world.us.mac_keys, datagram)) {
    // The corpus has genuine messages; nothing else gets this far but with another mac2.
    const Bytes covered = datagram.first(datagram.size() - wireguard::kMacBytes);
    CHECK(std::ranges::equal(
              covered, Bytes(world.genuine_initiation)
                           .first(std::min(covered.size(), world.genuine_initiation.size()))) ||
          std::ranges::equal(covered,
                             Bytes(world.genuine_response)
                                 .first(std::min(covered.size(), world.genuine_response.size()))));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const World world;
  // What is genuine is accepted, whatever the corpus holds.
  static const bool genuine_checked = [] {
    check(world, world.genuine_initiation);
    check(world, world.genuine_response);
    return true;
  }();
  CHECK(genuine_checked);
  check(world, Bytes(data, size));
  return 0;
}
