#include "control/session/computation.h"

namespace turnpike::session {

void OpenInitiation::run(RandomSource&) noexcept {
  opened = wireguard::open_initiation(*identity, received.datagram);
}

void CreateResponse::run(RandomSource& random) noexcept {
  created = wireguard::create_response(accepted, *handshake, local_index, now, random);
}

void CreateInitiation::run(RandomSource& random) noexcept {
  datagram = wireguard::create_initiation(*identity, *handshake, local_index, now, random);
}

void ConsumeResponse::run(RandomSource&) noexcept {
  keys = wireguard::consume_response(*identity, *handshake, received.datagram);
}

}  // namespace turnpike::session
