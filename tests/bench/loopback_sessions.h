// The generator's peers: handshakes with the gateway as their initiators, and the keys that come of them.
//   Threads: one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/crypto/aead.h"
#include "dataplane/crypto/system_random.h"
#include "dataplane/wireguard/handshake.h"
#include "tests/bench/loopback_link.h"

namespace turnpike::bench {

class Sessions {
 public:
  // Private keys are made from the peers' numbers, so that the gateway's file can be written without us.
  [[nodiscard]] static std::vector<PublicKey> public_keys(uint32_t peers);

  Sessions(Link& link, const PublicKey& gateway, uint32_t peers);

  // New sessions for all, confirmed by a keepalive of each. False when one is not answered within some seconds.
  [[nodiscard]] bool handshake();
  // Says to the gateway that every peer is alive, so that it begins no handshake by itself.
  void keepalive();

  [[nodiscard]] uint32_t count() const noexcept { return static_cast<uint32_t>(peers_.size()); }
  // The frame of the next data message of `peer` with `text` (already padded) in it. Gives back its length.
  size_t seal(uint32_t peer, std::span<const uint8_t> text, uint8_t* frame);
  // Of a data message that the gateway sent, in place: the text, or nothing when it is not authentic.
  [[nodiscard]] std::span<const uint8_t> open(std::span<uint8_t> message);

 private:
  struct Peer {
    wireguard::StaticIdentity identity;
    wireguard::PeerHandshake handshake;
    wireguard::DerivedKeys keys;
    uint64_t counter = 0;  // of the next message
    bool established = false;
  };

  void send_initiation(uint32_t peer);
  void take_responses();

  Link& link_;
  std::vector<std::unique_ptr<Peer>> peers_;
  crypto::SystemRandom random_;
  std::unique_ptr<crypto::Aead> aead_;
};

// Ethernet, IPv4 and UDP of a datagram from a peer to the gateway; gives back their length.
size_t write_outer(uint8_t* frame, uint32_t peer, size_t datagram_bytes);

}  // namespace turnpike::bench
