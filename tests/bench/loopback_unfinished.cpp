#include "tests/bench/loopback_unfinished.h"

#include <time.h>

#include <functional>

#include "dataplane/pipeline/headers.h"

namespace turnpike::bench {
namespace {

using namespace pipeline;

constexpr size_t kEach = 24;
constexpr size_t kTcpBytes = 20;
constexpr size_t kL4At = kEthernetBytes + kIpv4Bytes;
constexpr int kWaitMs = 1'000;

// Of an inner packet, by the protocol; the payload is of a length of its own, odd ones among them.
size_t make_plain(uint8_t* ip, Protocol protocol, size_t number, uint32_t source,
                  uint32_t destination) {
  const bool tcp = protocol == Protocol::Tcp;
  const size_t l4_bytes = (tcp ? kTcpBytes : kUdpBytes) + 40 + 3 * number;
  std::memset(ip, 0, kIpv4Bytes);
  ip[0] = 0x45;
  store_be16(ip + 2, static_cast<uint16_t>(kIpv4Bytes + l4_bytes));
  ip[8] = 64;
  ip[9] = static_cast<uint8_t>(protocol);
  store_be32(ip + 12, source);
  store_be32(ip + 16, destination);
  store_le16(ip + 10, finish_checksum(sum_words(ip, kIpv4Bytes)));
  uint8_t* l4 = ip + kIpv4Bytes;
  for (size_t i = 0; i < l4_bytes; ++i) l4[i] = static_cast<uint8_t>(i * 31 + number);
  if (tcp) {
    l4[12] = kTcpBytes / 4 << 4;
  } else {
    store_be16(l4 + 4, static_cast<uint16_t>(l4_bytes));
  }
  return kIpv4Bytes + l4_bytes;
}

// Sends the frame with its checksum left to the port.
void send(Link& link, Side side, uint8_t* frame, size_t bytes) {
  uint8_t* ip = frame + kEthernetBytes;
  const auto protocol = static_cast<Protocol>(ip[9]);
  const bool tcp = protocol == Protocol::Tcp;
  const auto l4_bytes = static_cast<uint16_t>(ipv4_total_bytes(ip) - kIpv4Bytes);
  store_le16(frame + kL4At + (tcp ? 16 : 6), fold(sum_pseudo_header(ip, l4_bytes, protocol)));
  rte_mbuf* mbuf = link.carrier(0, frame, static_cast<uint16_t>(bytes));
  mbuf->l2_len = kEthernetBytes;
  mbuf->l3_len = kIpv4Bytes;
  mbuf->ol_flags = RTE_MBUF_F_TX_IPV4 | (tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM);
  while (link.send(side, &mbuf, 1) == 0) {
  }
  mbuf->ol_flags = 0;  // others have the carrier after us
}

// Until `enough` or nothing more can be expected; what comes to the other side is let go.
void receive(Link& link, Side side, const std::function<void(uint8_t*, size_t)>& take,
             const std::function<bool()>& enough) {
  for (int turn = 0; turn < kWaitMs && !enough(); ++turn) {
    for (rte_mbuf* mbuf : link.poll(side)) {
      take(rte_pktmbuf_mtod(mbuf, uint8_t*), mbuf->data_len);
      rte_pktmbuf_free(mbuf);
    }
    const Side other = side == Side::Outside ? Side::Inside : Side::Outside;
    for (rte_mbuf* mbuf : link.poll(other)) rte_pktmbuf_free(mbuf);
    const timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
    nanosleep(&pause, nullptr);
  }
}

void send_plain(Link& link, Sessions& sessions, UnfinishedResult& result) {
  uint8_t frame[2'048];
  write_ethernet(frame, kGatewayInsideMac, kOwnInsideMac, kEtherTypeIpv4);
  for (size_t i = 0; i < kEach; ++i) {
    for (const Protocol protocol : {Protocol::Tcp, Protocol::Udp}) {
      const size_t bytes = make_plain(frame + kEthernetBytes, protocol, i, kInsideHost, kPeerNet);
      send(link, Side::Inside, frame, kEthernetBytes + bytes);
    }
  }
  const auto take = [&](uint8_t* message, size_t bytes) {
    constexpr size_t kOuter = kL4At + kUdpBytes;
    if (bytes < kOuter + wireguard::kDataOverheadBytes + kIpv4Bytes) return;
    const auto text = sessions.open({message + kOuter, bytes - kOuter});
    if (text.empty()) return;
    const uint8_t* ip = text.data();
    const auto protocol = static_cast<Protocol>(ip[9]);
    const auto l4_bytes = static_cast<uint16_t>(ipv4_total_bytes(ip) - kIpv4Bytes);
    const uint64_t sum =
        sum_pseudo_header(ip, l4_bytes, protocol) + sum_words(ip + kIpv4Bytes, l4_bytes);
    if (fold(sum) != 0xffff) {
      ++result.wrong;
    } else {
      ++(protocol == Protocol::Tcp ? result.tcp : result.udp);
    }
  };
  receive(link, Side::Outside, take,
          [&] { return result.tcp + result.udp + result.wrong == 2 * kEach; });
}

void send_messages(Link& link, Sessions& sessions, UnfinishedResult& result) {
  uint8_t text[1'024], frame[2'048];
  for (size_t i = 0; i < kEach; ++i) {
    const size_t bytes = make_plain(text, Protocol::Udp, i, kPeerNet, kInsideHost);
    std::memset(text + bytes, 0, wireguard::kPaddingMultiple);
    const size_t padded = wireguard::padded_bytes(static_cast<uint16_t>(bytes), kTunnelMtu);
    send(link, Side::Outside, frame, sessions.seal(0, {text, padded}, frame));
  }
  const auto take = [&](const uint8_t* packet, size_t bytes) {
    result.messages += bytes > kL4At && ipv4_destination(packet + kEthernetBytes) == kInsideHost;
  };
  receive(link, Side::Inside, take, [&] { return result.messages == kEach; });
}

}  // namespace

UnfinishedResult send_unfinished(Link& link, Sessions& sessions) {
  UnfinishedResult result{.sent = kEach};
  send_plain(link, sessions, result);
  send_messages(link, sessions, result);
  return result;
}

}  // namespace turnpike::bench
