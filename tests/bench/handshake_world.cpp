#include "tests/bench/handshake_world.h"

#include <algorithm>
#include <bit>

#include "control/session/frames.h"
#include "control/session/neighbour_messages.h"
#include "dataplane/base/check.h"
#include "dataplane/wireguard/messages.h"

namespace turnpike::bench {

using publish::InjectKind;
using publish::NextHopKind;
using publish::PuntKind;
using session::testing::ip;
using session::testing::kOutside;

namespace {

constexpr uint64_t kSeed = 20261125;
constexpr uint32_t kFirstAddress = 0x0b00'0000;  // 11.0.0.0: one address for each peer
constexpr uint16_t kPeerPort = 51'820;
const IpAddress kOwn = ip("192.0.2.1");
const IpAddress kRouter = ip("192.0.2.254");
constexpr MacAddress kRouterMac{{2, 0, 0, 0, 9, 9}};

}  // namespace

FarPeer::FarPeer(const PublicKey& gateway, RandomSource& random)
    : identity_(wireguard::StaticIdentity::of(crypto::generate_private_key(random))),
      gateway_(wireguard::PeerHandshake::of(identity_, gateway, {})) {}

std::vector<uint8_t> FarPeer::initiate(const Now& now, RandomSource& random) {
  const auto datagram =
      wireguard::create_initiation(identity_, gateway_, random.next_u32(), now, random);
  CHECK(datagram);
  return {datagram->begin(), datagram->end()};
}

std::vector<uint8_t> FarPeer::receive(std::span<const uint8_t> datagram, const Now& now,
                                      RandomSource& random) {
  switch (wireguard::peek_type(datagram).value_or(wireguard::MessageType::Data)) {
    case wireguard::MessageType::Initiation: {
      const auto opened = wireguard::open_initiation(identity_, datagram);
      CHECK(opened);
      const auto accepted = wireguard::accept_initiation(*opened, gateway_, now.instant);
      CHECK(accepted);
      const auto created =
          wireguard::create_response(*accepted, gateway_, random.next_u32(), now.instant, random);
      CHECK(created);
      return {created->datagram.begin(), created->datagram.end()};
    }
    case wireguard::MessageType::Response:
      if (wireguard::consume_response(identity_, gateway_, datagram)) has_session_ = true;
      return {};
    case wireguard::MessageType::CookieReply:
      if (const auto reply = wireguard::parse_cookie_reply(datagram)) {
        (void)gateway_.cookies.consume(*reply, now.instant);
      }
      return {};
    case wireguard::MessageType::Data:
      return {};
  }
  return {};
}

// Keypairs: `next` of this round and `previous` of the last ones wait for their epoch beside those in use.
HandshakeWorld::HandshakeWorld(uint32_t peers, size_t threads)
    : gateway_(kSeed, 1, 1, std::bit_ceil(std::max(1'024u, 4 * peers))) {
  gateway_.outside.add_interface("192.0.2.1/24");
  gateway_.outside.add("0.0.0.0/0", {.kind = NextHopKind::Via, .via = kRouter, .source = kOwn});
  for (size_t i = 1; i < threads; ++i) {
    session::ComputingThread& thread = computing_.emplace_back();
    gateway_.ring_pointers.push_back(&thread.ring());
    (void)thread.start("session-" + std::to_string(i), std::nullopt);
  }
  gateway_.start(clock_.now);
  for (uint32_t peer = 0; peer < peers; ++peer) {
    far_.emplace_back(gateway_.public_key, random_);
    gateway_.session->add_peer({.ref = {.index = peer, .incarnation = 1},
                                .tunnel = 0,
                                .public_key = far_.back().public_key(),
                                .preshared_key = {},
                                .endpoint = endpoint_of(peer)});
  }
  turns();
  // The router says where it is, and answers whenever it is asked.
  answer_arp();
  turns();
  (void)take_sent();
}

void HandshakeWorld::answer_arp() {
  const session::Packet arp = session::write_arp({.operation = session::ArpOperation::Reply,
                                                  .sender_mac = kRouterMac,
                                                  .sender = kRouter,
                                                  .target_mac = gateway_.outside_mac,
                                                  .target = kOwn});
  session::Packet frame(session::kEthernetHeaderBytes);
  session::write_ethernet(std::span<uint8_t, session::kEthernetHeaderBytes>(frame),
                          gateway_.outside_mac, kRouterMac, session::kEtherTypeArp);
  frame.insert(frame.end(), arp.begin(), arp.end());
  gateway_.punt({.kind = PuntKind::Arp, .port = kOutside}, frame);
}

Endpoint HandshakeWorld::endpoint_of(uint32_t peer) const noexcept {
  return {IpAddress::v4(kFirstAddress + peer), kPeerPort};
}

bool HandshakeWorld::punt_datagram(const Datagram& datagram) {
  if (!ring_has_room()) return false;
  gateway_.punt({.kind = PuntKind::Handshake,
                 .port = kOutside,
                 .tunnel = 0,
                 .remote = endpoint_of(datagram.peer),
                 .local = kOwn},
                datagram.bytes);
  return true;
}

void HandshakeWorld::punt_needs_handshake(uint32_t peer) {
  static const std::vector<uint8_t> packet(64);
  gateway_.needs_handshake({.index = peer, .incarnation = 1}, packet);
}

void HandshakeWorld::turns() {
  while (turn() != 0 || gateway_.session->computing() != 0) {
  }
}

std::vector<Datagram> HandshakeWorld::take_sent() {
  std::vector<Datagram> sent;
  bool asked = false;
  for (const session::testing::Injected& entry : gateway_.take_injected()) {
    if (entry.header.kind != InjectKind::Frame) {
      ++data_sent_;
      continue;
    }
    const auto ethernet = session::parse_ethernet(entry.bytes);
    if (ethernet && ethernet->ether_type == session::kEtherTypeArp) {
      asked = true;
      continue;
    }
    const auto packet = ethernet ? session::parse_ip_packet(ethernet->payload) : std::nullopt;
    if (!packet || packet->protocol != session::kProtocolUdp) continue;
    const auto bytes = packet->payload.subspan(session::kUdpHeaderBytes);
    const uint32_t peer = load_be32(packet->destination.bytes.data()) - kFirstAddress;
    sent.push_back({.peer = peer, .bytes = {bytes.begin(), bytes.end()}});
  }
  if (asked) answer_arp();
  return sent;
}

}  // namespace turnpike::bench
