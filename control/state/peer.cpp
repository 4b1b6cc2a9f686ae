#include "control/state/peer.h"

#include <cstring>

#include "dataplane/base/text.h"

namespace turnpike::state {

PeerSelector parse_peer_selector(std::string_view text) {
  if (const auto key = base::key_from_base64(text)) return PublicKey{.bytes = *key};
  return std::string(text);
}

Text::Text(std::string_view text) {
  if (text.empty()) return;
  bytes_ = std::make_unique<char[]>(text.size() + 1);
  std::memcpy(bytes_.get(), text.data(), text.size());
}

PeerAttributes Peer::attributes() const {
  return {.public_key = public_key,
          .preshared_key = preshared_key,
          .endpoint = endpoint,
          .persistent_keepalive = persistent_keepalive,
          .enabled = enabled,
          .origin = origin,
          .name = std::string(name.view()),
          .description = std::string(description.view())};
}

std::string label(const Peer& peer) {
  return peer.name.empty() ? base::key_to_base64(peer.public_key.bytes)
                           : std::string(peer.name.view());
}

std::string label(const PeerAttributes& peer) {
  return peer.name.empty() ? base::key_to_base64(peer.public_key.bytes) : peer.name;
}

std::string label(const PeerSelector& selector) {
  if (const auto* name = std::get_if<std::string>(&selector)) return *name;
  if (const auto* key = std::get_if<PublicKey>(&selector)) return base::key_to_base64(key->bytes);
  return "#" + std::to_string(static_cast<uint64_t>(std::get<PeerId>(selector)));
}

}  // namespace turnpike::state
