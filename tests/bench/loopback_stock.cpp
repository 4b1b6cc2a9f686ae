#include "tests/bench/loopback_stock.h"

#include "dataplane/pipeline/headers.h"

namespace turnpike::bench {
namespace {

using namespace pipeline;

constexpr size_t kNumberAt = kIpv4Bytes + kUdpBytes;
static_assert(Stock::kMinInnerBytes >= kNumberAt + 8);

void make_inner(uint8_t* ip, uint16_t bytes, uint64_t number, uint32_t source,
                uint32_t destination) {
  std::memset(ip, 0, kNumberAt);
  ip[0] = 0x45;
  ip[1] = static_cast<uint8_t>(number % kProbeEvery == 0 ? Ecn::Ect0 : Ecn::NotEct);
  store_be16(ip + 2, bytes);
  ip[8] = 64;
  ip[9] = static_cast<uint8_t>(Protocol::Udp);
  store_be32(ip + 12, source);
  store_be32(ip + 16, destination);
  store_le16(ip + 10, finish_checksum(sum_words(ip, kIpv4Bytes)));
  store_be16(ip + kIpv4Bytes, 1024);
  store_be16(ip + kIpv4Bytes + 2, 9);
  store_be16(ip + kIpv4Bytes + 4, static_cast<uint16_t>(bytes - kIpv4Bytes));
  set_number(ip, number);
}

}  // namespace

uint64_t number_of(const uint8_t* ip) noexcept { return load_le64(ip + kNumberAt); }
void set_number(uint8_t* ip, uint64_t number) noexcept { store_le64(ip + kNumberAt, number); }

void Stock::make(Flow flow, uint16_t inner_bytes, size_t count, Sessions& sessions) {
  const size_t text_bytes = wireguard::padded_bytes(inner_bytes, kTunnelMtu);
  CHECK(count >= Link::kBurst);  // a frame is in a burst once: it goes from where it lies
  count_ = count;
  frame_bytes_ = static_cast<uint16_t>(flow == Flow::Outbound
                                           ? kEthernetBytes + inner_bytes
                                           : kEthernetBytes + kIpv4Bytes + kUdpBytes +
                                                 wireguard::kDataOverheadBytes + text_bytes);
  frame_lines_ = (frame_bytes_ + kCacheLine - 1) / kCacheLine;
  memory_.resize(count * frame_lines_);
  std::vector<uint8_t> text(text_bytes, 0);
  for (size_t i = 0; i < count; ++i) {
    const auto peer = static_cast<uint32_t>(i % sessions.count());
    uint8_t* frame = this->frame(i);
    if (flow == Flow::Outbound) {
      write_ethernet(frame, kGatewayInsideMac, kOwnInsideMac, kEtherTypeIpv4);
      make_inner(frame + kEthernetBytes, inner_bytes, i, kInsideHost, kPeerNet + peer);
    } else {
      make_inner(text.data(), inner_bytes, i, kPeerNet + peer, kInsideHost);
      CHECK(sessions.seal(peer, text, frame) == frame_bytes_);
    }
  }
}

}  // namespace turnpike::bench
