#include "dataplane/wireguard/messages.h"

namespace turnpike::wireguard {
namespace {

// Reads fields one after the other; the caller has checked the length of the whole.
class FieldReader {
 public:
  explicit FieldReader(const uint8_t* at) noexcept : at_(at) {}
  uint32_t u32() noexcept {
    const uint32_t value = load_le32(at_);
    at_ += 4;
    return value;
  }
  template <size_t N>
  void bytes(std::array<uint8_t, N>& out) noexcept {
    std::memcpy(out.data(), at_, N);
    at_ += N;
  }

 private:
  const uint8_t* at_;
};

class FieldWriter {
 public:
  FieldWriter(uint8_t* at, MessageType type) noexcept : at_(at) {
    u32(static_cast<uint32_t>(type));
  }
  void u32(uint32_t value) noexcept {
    store_le32(at_, value);
    at_ += 4;
  }
  template <size_t N>
  void bytes(const std::array<uint8_t, N>& in) noexcept {
    std::memcpy(at_, in.data(), N);
    at_ += N;
  }

 private:
  uint8_t* at_;
};

constexpr size_t kTypeBytes = 4;

}  // namespace

std::optional<Initiation> parse_initiation(Bytes datagram) noexcept {
  if (peek_type(datagram) != MessageType::Initiation) return std::nullopt;
  FieldReader read(datagram.data() + kTypeBytes);
  Initiation message;
  message.sender_index = read.u32();
  read.bytes(message.ephemeral.bytes);
  read.bytes(message.encrypted_static);
  read.bytes(message.encrypted_timestamp);
  read.bytes(message.mac1);
  read.bytes(message.mac2);
  return message;
}

std::optional<Response> parse_response(Bytes datagram) noexcept {
  if (peek_type(datagram) != MessageType::Response) return std::nullopt;
  FieldReader read(datagram.data() + kTypeBytes);
  Response message;
  message.sender_index = read.u32();
  message.receiver_index = read.u32();
  read.bytes(message.ephemeral.bytes);
  read.bytes(message.encrypted_nothing);
  read.bytes(message.mac1);
  read.bytes(message.mac2);
  return message;
}

std::optional<CookieReply> parse_cookie_reply(Bytes datagram) noexcept {
  if (peek_type(datagram) != MessageType::CookieReply) return std::nullopt;
  FieldReader read(datagram.data() + kTypeBytes);
  CookieReply message;
  message.receiver_index = read.u32();
  read.bytes(message.nonce);
  read.bytes(message.encrypted_cookie);
  return message;
}

InitiationBytes write_initiation(const Initiation& message) noexcept {
  InitiationBytes out;
  FieldWriter write(out.data(), MessageType::Initiation);
  write.u32(message.sender_index);
  write.bytes(message.ephemeral.bytes);
  write.bytes(message.encrypted_static);
  write.bytes(message.encrypted_timestamp);
  write.bytes(message.mac1);
  write.bytes(message.mac2);
  return out;
}

ResponseBytes write_response(const Response& message) noexcept {
  ResponseBytes out;
  FieldWriter write(out.data(), MessageType::Response);
  write.u32(message.sender_index);
  write.u32(message.receiver_index);
  write.bytes(message.ephemeral.bytes);
  write.bytes(message.encrypted_nothing);
  write.bytes(message.mac1);
  write.bytes(message.mac2);
  return out;
}

CookieReplyBytes write_cookie_reply(const CookieReply& message) noexcept {
  CookieReplyBytes out;
  FieldWriter write(out.data(), MessageType::CookieReply);
  write.u32(message.receiver_index);
  write.bytes(message.nonce);
  write.bytes(message.encrypted_cookie);
  return out;
}

}  // namespace turnpike::wireguard
