#include "control/session/fragments.h"

#include <algorithm>

namespace turnpike::session {
namespace {

constexpr uint16_t kDontFragment = 0x4000;
constexpr uint16_t kMoreFragments = 0x2000;
constexpr uint16_t kOffsetMask = 0x1fff;
constexpr size_t kOffsetUnitBytes = 8;

constexpr uint8_t kEndOfOptions = 0;
constexpr uint8_t kNoOperation = 1;
constexpr uint8_t kCopied = 0x80;

// The options of the fragments after the first: those whose copied flag is set (RFC 791, 3.1), padded. What cannot
// be parsed ends the list.
Packet copied_options(Bytes options) {
  Packet copied;
  while (!options.empty() && options[0] != kEndOfOptions) {
    const size_t length = options[0] == kNoOperation ? 1 : options.size() > 1 ? options[1] : 0;
    if (length > options.size() || (options[0] != kNoOperation && length < 2)) break;
    if ((options[0] & kCopied) != 0) {
      copied.insert(copied.end(), options.begin(), options.begin() + static_cast<long>(length));
    }
    options = options.subspan(length);
  }
  copied.resize((copied.size() + 3) / 4 * 4, kEndOfOptions);
  return copied;
}

void finish_header(MutableBytes header, size_t total_bytes, size_t flags_and_offset) {
  header[0] = static_cast<uint8_t>(0x40 | header.size() / 4);
  store_be16(&header[2], static_cast<uint16_t>(total_bytes));
  store_be16(&header[6], static_cast<uint16_t>(flags_and_offset));
  store_be16(&header[10], 0);
  store_be16(&header[10], internet_checksum(header));
}

}  // namespace

bool for_each_fragment(Bytes packet, size_t mtu_bytes, const std::function<void(Bytes)>& visit) {
  if (packet.size() < kIpv4HeaderBytes || packet[0] >> 4 != 4) return false;
  const size_t header_bytes = size_t{packet[0] & 0xfu} * 4;
  const size_t total = load_be16(&packet[2]);
  const uint16_t field = load_be16(&packet[6]);
  if (header_bytes < kIpv4HeaderBytes || total < header_bytes || total > packet.size() ||
      mtu_bytes < header_bytes + kOffsetUnitBytes || (field & kDontFragment) != 0) {
    return false;
  }
  Packet header(packet.begin(), packet.begin() + static_cast<long>(header_bytes));
  Bytes rest = packet.subspan(header_bytes, total - header_bytes);
  size_t offset = field & kOffsetMask;
  Packet fragment;
  do {
    const size_t room = mtu_bytes - header.size();
    const bool last = rest.size() <= room;
    const size_t taken = last ? rest.size() : room / kOffsetUnitBytes * kOffsetUnitBytes;
    const size_t more = last ? field & kMoreFragments : kMoreFragments;
    finish_header(header, header.size() + taken, more | offset);
    fragment.assign(header.begin(), header.end());
    fragment.insert(fragment.end(), rest.begin(), rest.begin() + static_cast<long>(taken));
    visit(fragment);
    if ((offset == 0) && header_bytes > kIpv4HeaderBytes) {
      const Packet options =
          copied_options(packet.subspan(kIpv4HeaderBytes, header_bytes - kIpv4HeaderBytes));
      header.resize(kIpv4HeaderBytes);
      header.insert(header.end(), options.begin(), options.end());
    }
    offset += taken / kOffsetUnitBytes;
    rest = rest.subspan(taken);
  } while (!rest.empty());
  return true;
}

}  // namespace turnpike::session
