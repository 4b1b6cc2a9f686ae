// The four messages of the paper (section 5.4) as values: bytes in, value out, and back.
//   Threads: pure functions, any thread.
//   Bounds:  the handshake's messages have exact lengths; a data message is at least 32 bytes.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>

#include "dataplane/base/bytes.h"
#include "dataplane/base/keys.h"
#include "dataplane/wireguard/constants.h"

namespace turnpike::wireguard {

inline constexpr size_t kTagBytes = 16;
inline constexpr size_t kMacBytes = 16;
inline constexpr size_t kCookieNonceBytes = 24;
inline constexpr size_t kTimestampBytes = 12;

// The first word of a message, little endian: one byte of type and three reserved zero bytes.
enum class MessageType : uint32_t { Initiation = 1, Response = 2, CookieReply = 3, Data = 4 };

struct Initiation {
  uint32_t sender_index = 0;
  PublicKey ephemeral;
  std::array<uint8_t, kKeyBytes + kTagBytes> encrypted_static{};
  std::array<uint8_t, kTimestampBytes + kTagBytes> encrypted_timestamp{};
  std::array<uint8_t, kMacBytes> mac1{};
  std::array<uint8_t, kMacBytes> mac2{};
  friend bool operator==(const Initiation&, const Initiation&) = default;
};

struct Response {
  uint32_t sender_index = 0;
  uint32_t receiver_index = 0;
  PublicKey ephemeral;
  std::array<uint8_t, kTagBytes> encrypted_nothing{};
  std::array<uint8_t, kMacBytes> mac1{};
  std::array<uint8_t, kMacBytes> mac2{};
  friend bool operator==(const Response&, const Response&) = default;
};

struct CookieReply {
  uint32_t receiver_index = 0;
  std::array<uint8_t, kCookieNonceBytes> nonce{};
  std::array<uint8_t, kMacBytes + kTagBytes> encrypted_cookie{};
  friend bool operator==(const CookieReply&, const CookieReply&) = default;
};

struct DataHeader {
  uint32_t receiver_index = 0;
  uint64_t counter = 0;
  friend bool operator==(const DataHeader&, const DataHeader&) = default;
};

using InitiationBytes = std::array<uint8_t, kInitiationBytes>;
using ResponseBytes = std::array<uint8_t, kResponseBytes>;
using CookieReplyBytes = std::array<uint8_t, kCookieReplyBytes>;

// What a datagram claims to be, where its length allows it; nothing for all others, which are
// dropped without an answer.
[[nodiscard]] inline std::optional<MessageType> peek_type(Bytes datagram) noexcept {
  if (datagram.size() < kDataOverheadBytes) return std::nullopt;
  const size_t length = datagram.size();
  // One load looks at the type and the three reserved zero bytes after it.
  switch (const auto type = static_cast<MessageType>(load_le32(datagram.data()))) {
    case MessageType::Initiation:
      return length == kInitiationBytes ? std::optional(type) : std::nullopt;
    case MessageType::Response:
      return length == kResponseBytes ? std::optional(type) : std::nullopt;
    case MessageType::CookieReply:
      return length == kCookieReplyBytes ? std::optional(type) : std::nullopt;
    case MessageType::Data:
      return type;
  }
  return std::nullopt;
}

// On the path of every packet, hence here: of a data message the header; its text follows.
[[nodiscard]] inline std::optional<DataHeader> parse_data(Bytes datagram) noexcept {
  if (peek_type(datagram) != MessageType::Data) return std::nullopt;
  return DataHeader{.receiver_index = load_le32(&datagram[4]), .counter = load_le64(&datagram[8])};
}

inline void write_data_header(std::span<uint8_t, kDataHeaderBytes> out,
                              const DataHeader& header) noexcept {
  store_le32(out.data(), static_cast<uint32_t>(MessageType::Data));
  store_le32(out.data() + 4, header.receiver_index);
  store_le64(out.data() + 8, header.counter);
}

[[nodiscard]] std::optional<Initiation> parse_initiation(Bytes datagram) noexcept;
[[nodiscard]] std::optional<Response> parse_response(Bytes datagram) noexcept;
[[nodiscard]] std::optional<CookieReply> parse_cookie_reply(Bytes datagram) noexcept;

[[nodiscard]] InitiationBytes write_initiation(const Initiation& message) noexcept;
[[nodiscard]] ResponseBytes write_response(const Response& message) noexcept;
[[nodiscard]] CookieReplyBytes write_cookie_reply(const CookieReply& message) noexcept;

// The length of the text that an inner packet becomes: padded with zeros to a multiple of 16, but
// never beyond the tunnel's MTU (paper, 5.4.6; kernel: calculate_skb_padding). A packet longer than
// the MTU, which only segmentation makes, is padded as its last segment would be.
[[nodiscard]] constexpr uint32_t padded_bytes(uint32_t inner_bytes, uint32_t mtu) noexcept {
  constexpr auto multiple = static_cast<uint32_t>(kPaddingMultiple);
  const uint32_t last = mtu != 0 && inner_bytes > mtu ? inner_bytes % mtu : inner_bytes;
  const uint32_t aligned = (last + multiple - 1) / multiple * multiple;
  const uint32_t padded = mtu != 0 ? std::min(mtu, aligned) : aligned;
  return inner_bytes - last + padded;
}

}  // namespace turnpike::wireguard
