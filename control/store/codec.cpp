#include "control/store/codec.h"

#include <algorithm>
#include <string>
#include <utility>

namespace turnpike::store {
namespace {

// The first byte of what may be given further fields one day.
constexpr uint8_t kForm = 1;
// Transactions: what 1 has, then what is known of what goes back.
constexpr uint8_t kTransactionForm = 2;

class Writer {
 public:
  explicit Writer(size_t room = 24) { out_.reserve(room); }
  void byte(uint8_t value) { out_.push_back(value); }
  void flag(bool value) { byte(value ? 1 : 0); }
  void number(uint64_t value) {  // seven bits at a time: most are small
    for (; value >= 0x80; value >>= 7) byte(static_cast<uint8_t>(value | 0x80));
    byte(static_cast<uint8_t>(value));
  }
  void raw(Bytes bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void text(std::string_view value) {
    number(value.size());
    raw({reinterpret_cast<const uint8_t*>(value.data()), value.size()});
  }
  void address(const IpAddress& address) {
    byte(static_cast<uint8_t>(address.family));
    if (!address.is_none()) raw({address.bytes.data(), address.size_bytes()});
  }
  void prefix(const Prefix& value) {
    address(value.address);
    byte(value.length);
  }
  void endpoint(const Endpoint& value) {
    address(value.address);
    if (!value.is_none()) number(value.port);
  }
  [[nodiscard]] Buffer take() { return std::move(out_); }

 private:
  Buffer out_;
};

class Reader {
 public:
  explicit Reader(Bytes bytes) : left_(bytes) {}

  // Everything was there, and nothing is left over.
  [[nodiscard]] bool complete() const noexcept { return good_ && left_.empty(); }
  [[nodiscard]] bool good() const noexcept { return good_; }
  void refuse() noexcept { good_ = false; }

  uint8_t byte() {
    const Bytes one = raw(1);
    return one.empty() ? 0 : one[0];
  }
  bool flag() {
    const uint8_t value = byte();
    if (value > 1) refuse();
    return value == 1;
  }
  uint64_t number() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const uint8_t next = byte();
      value |= uint64_t{next & 0x7fu} << shift;
      if ((next & 0x80) == 0) return value;
    }
    refuse();
    return 0;
  }
  template <typename T>
  T narrow() {
    const uint64_t value = number();
    if (value > std::numeric_limits<T>::max()) refuse();
    return static_cast<T>(value);
  }
  template <typename Enum>
  Enum enumerator(Enum last) {
    const uint8_t value = byte();
    if (value > static_cast<uint8_t>(last)) refuse();
    return static_cast<Enum>(value);
  }
  Bytes raw(size_t length) {
    if (!good_ || length > left_.size()) {
      refuse();
      return {};
    }
    const Bytes bytes = left_.first(length);
    left_ = left_.subspan(length);
    return bytes;
  }
  std::string text() {
    const Bytes bytes = raw(number());
    return bytes.empty() ? std::string()
                         : std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  // How many items follow, each of at least one byte.
  size_t count() {
    const uint64_t value = number();
    if (value > left_.size()) refuse();
    return good_ ? value : 0;
  }
  template <size_t N>
  std::array<uint8_t, N> fixed() {
    std::array<uint8_t, N> out{};
    const Bytes bytes = raw(N);
    if (!bytes.empty()) std::ranges::copy(bytes, out.begin());
    return out;
  }
  template <typename Key>
  Key secret() {
    const Bytes bytes = raw(kKeyBytes);
    return bytes.empty() ? Key() : Key(std::span<const uint8_t, kKeyBytes>(bytes));
  }
  IpAddress address() {
    switch (static_cast<Family>(byte())) {
      case Family::None:
        return {};
      case Family::V4:
        if (const Bytes four = raw(4); !four.empty()) return IpAddress::v4_bytes(four.data());
        return {};
      case Family::V6:
        if (const Bytes sixteen = raw(16); !sixteen.empty()) {
          return IpAddress::v6_bytes(sixteen.data());
        }
        return {};
    }
    refuse();
    return {};
  }
  Prefix prefix() {
    const IpAddress at = address();
    const uint8_t length = byte();
    if (at.is_none() || length > at.width_bits()) {
      refuse();
      return {};
    }
    const Prefix value = Prefix::masked(at, length);
    if (value.address != at) refuse();
    return value;
  }
  Endpoint endpoint() {
    const IpAddress at = address();
    return at.is_none() ? Endpoint{} : Endpoint{at, narrow<uint16_t>()};
  }

 private:
  Bytes left_;
  bool good_ = true;
};

template <typename Value>
std::optional<Value> whole(const Reader& reader, Value value) {
  if (!reader.complete()) return std::nullopt;
  return value;
}

void write(Writer& out, const state::PeerSelector& selector) {
  out.byte(static_cast<uint8_t>(selector.index()));
  if (const auto* name = std::get_if<std::string>(&selector)) {
    out.text(*name);
  } else if (const auto* key = std::get_if<PublicKey>(&selector)) {
    out.raw(key->bytes);
  } else {
    out.number(static_cast<uint64_t>(std::get<PeerId>(selector)));
  }
}

state::PeerSelector read_selector(Reader& in) {
  switch (in.byte()) {
    case 0:
      return in.text();
    case 1:
      return PublicKey{in.fixed<kKeyBytes>()};
    case 2:
      return PeerId{in.number()};
    default:
      in.refuse();
      return {};
  }
}

template <typename Value, typename Write>
void optional(Writer& out, const std::optional<Value>& value, Write&& write_it) {
  out.flag(value.has_value());
  if (value) write_it(*value);
}

void write(Writer& out, const state::PeerPatch& patch) {
  optional(out, patch.name, [&](const auto& v) { out.text(v); });
  optional(out, patch.description, [&](const auto& v) { out.text(v); });
  optional(out, patch.preshared_key, [&](const auto& v) { out.raw(v.bytes()); });
  optional(out, patch.endpoint, [&](const auto& v) { out.endpoint(v); });
  optional(out, patch.persistent_keepalive, [&](auto v) { out.number(v); });
  optional(out, patch.enabled, [&](bool v) { out.flag(v); });
}

state::PeerPatch read_patch(Reader& in) {
  state::PeerPatch patch;
  if (in.flag()) patch.name = in.text();
  if (in.flag()) patch.description = in.text();
  if (in.flag()) patch.preshared_key = in.secret<PresharedKey>();
  if (in.flag()) patch.endpoint = in.endpoint();
  if (in.flag()) patch.persistent_keepalive = in.narrow<uint16_t>();
  if (in.flag()) patch.enabled = in.flag();
  return patch;
}

void write(Writer& out, const state::Tunnel& tunnel) {
  out.text(tunnel.name);
  out.number(tunnel.index);
  out.byte(static_cast<uint8_t>(tunnel.conflicts));
  out.number(tunnel.listen_port);
  out.number(tunnel.fwmark);
  out.raw(tunnel.private_key.bytes());
  out.raw(tunnel.public_key.bytes);
}

std::shared_ptr<const state::Tunnel> read_tunnel(Reader& in) {
  auto tunnel = std::make_shared<state::Tunnel>();
  tunnel->name = in.text();
  tunnel->index = in.narrow<TunnelIndex>();
  tunnel->conflicts = in.enumerator(state::ConflictPolicy::Move);
  tunnel->listen_port = in.narrow<uint16_t>();
  tunnel->fwmark = in.narrow<uint32_t>();
  tunnel->private_key = in.secret<PrivateKey>();
  tunnel->public_key.bytes = in.fixed<kKeyBytes>();
  return tunnel;
}

void write(Writer& out, const state::Edit& edit) {
  out.byte(static_cast<uint8_t>(edit.op));
  out.byte(static_cast<uint8_t>(edit.origin));
  out.text(edit.tunnel);
  write(out, edit.peer);
  write(out, edit.to);
  out.raw(edit.public_key.bytes);
  out.number(edit.prefixes.size());
  for (const Prefix& prefix : edit.prefixes) out.prefix(prefix);
  optional(out, edit.patch, [&](const auto& patch) { write(out, patch); });
  out.flag(edit.new_tunnel != nullptr);
  if (edit.new_tunnel != nullptr) write(out, *edit.new_tunnel);
  optional(out, edit.known_patch, [&](const auto& patch) { write(out, patch); });
  out.flag(edit.known_tunnel != nullptr);
  if (edit.known_tunnel != nullptr) write(out, *edit.known_tunnel);
}

state::Edit read_edit(Reader& in, uint8_t form) {
  state::Edit edit;
  edit.op = in.enumerator(state::Op::TunnelRemove);
  edit.origin = in.enumerator(state::Origin::Api);
  edit.tunnel = in.text();
  edit.peer = read_selector(in);
  edit.to = read_selector(in);
  edit.public_key.bytes = in.fixed<kKeyBytes>();
  const size_t prefixes = in.count();
  for (size_t i = 0; i < prefixes && in.good(); ++i) edit.prefixes.push_back(in.prefix());
  if (in.flag()) edit.patch = read_patch(in);
  if (in.flag()) edit.new_tunnel = read_tunnel(in);
  if (form == kForm) return edit;
  if (in.flag()) edit.known_patch = read_patch(in);
  if (in.flag()) edit.known_tunnel = read_tunnel(in);
  return edit;
}

}  // namespace

Buffer encode(const Prefix& prefix) {
  Writer out;
  out.prefix(prefix);
  return out.take();
}

std::optional<Prefix> decode_prefix(Bytes bytes) {
  Reader in(bytes);
  const Prefix prefix = in.prefix();
  return whole(in, prefix);
}

Buffer encode(const Endpoint& endpoint) {
  Writer out;
  if (!endpoint.is_none()) out.endpoint(endpoint);
  return out.take();
}

std::optional<Endpoint> decode_endpoint(Bytes bytes) {
  if (bytes.empty()) return Endpoint{};
  Reader in(bytes);
  const Endpoint endpoint = in.endpoint();
  return whole(in, endpoint);
}

Buffer encode(const state::Transaction& transaction) {
  Writer out(192);  // of a move
  out.byte(kTransactionForm);
  out.number(transaction.edits.size());
  for (const state::Edit& edit : transaction.edits) write(out, edit);
  return out.take();
}

std::optional<state::Transaction> decode_transaction(Bytes bytes) {
  Reader in(bytes);
  const uint8_t form = in.byte();
  if (form != kForm && form != kTransactionForm) in.refuse();
  state::Transaction transaction;
  const size_t edits = in.count();
  for (size_t i = 0; i < edits && in.good(); ++i) transaction.edits.push_back(read_edit(in, form));
  return whole(in, std::move(transaction));
}

Buffer encode(const config::Tunnel& tunnel) {
  Writer out;
  out.byte(kForm);
  out.raw(tunnel.private_key.bytes());
  out.number(tunnel.listen_port);
  out.text(tunnel.outside);
  out.text(tunnel.inside);
  out.number(tunnel.mtu);
  out.byte(static_cast<uint8_t>(tunnel.conflicts));
  out.flag(tunnel.peer_to_peer);
  out.number(tunnel.addresses.size());
  for (const config::OwnAddress& own : tunnel.addresses) {
    out.address(own.value.address);
    out.byte(own.value.length);
  }
  return out.take();
}

std::optional<config::Tunnel> decode_file_tunnel(Bytes bytes) {
  Reader in(bytes);
  if (in.byte() != kForm) in.refuse();
  config::Tunnel tunnel;
  tunnel.private_key = in.secret<PrivateKey>();
  tunnel.listen_port = in.narrow<uint16_t>();
  tunnel.outside = in.text();
  tunnel.inside = in.text();
  tunnel.mtu = in.narrow<uint16_t>();
  tunnel.conflicts = in.enumerator(config::ConflictPolicy::Move);
  tunnel.peer_to_peer = in.flag();
  const size_t addresses = in.count();
  for (size_t i = 0; i < addresses && in.good(); ++i) {
    config::OwnAddress own;
    own.value.address = in.address();
    own.value.length = in.byte();
    if (own.value.address.is_none() || own.value.length > own.value.address.width_bits()) {
      in.refuse();
    }
    tunnel.addresses.push_back(own);
  }
  return whole(in, std::move(tunnel));
}

Buffer encode(const config::Peer& peer) {
  Writer out;
  out.byte(kForm);
  out.text(peer.name);
  out.text(peer.description);
  optional(out, peer.preshared_key, [&](const auto& key) { out.raw(key.bytes()); });
  out.endpoint(peer.endpoint);
  out.number(peer.persistent_keepalive);
  out.flag(peer.enabled);
  out.number(peer.allowed_ips.size());
  for (const config::AllowedIp& allowed : peer.allowed_ips) out.prefix(allowed.prefix);
  return out.take();
}

std::optional<config::Peer> decode_file_peer(Bytes bytes) {
  Reader in(bytes);
  if (in.byte() != kForm) in.refuse();
  config::Peer peer;
  peer.name = in.text();
  peer.description = in.text();
  if (in.flag()) peer.preshared_key = in.secret<PresharedKey>();
  peer.endpoint = in.endpoint();
  peer.persistent_keepalive = in.narrow<uint16_t>();
  peer.enabled = in.flag();
  const size_t prefixes = in.count();
  for (size_t i = 0; i < prefixes && in.good(); ++i) {
    peer.allowed_ips.push_back({.prefix = in.prefix(), .at = {}});
  }
  return whole(in, std::move(peer));
}

}  // namespace turnpike::store
