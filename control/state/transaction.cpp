#include "control/state/transaction.h"

namespace turnpike::state {

std::string_view to_string(Op op) {
  switch (op) {
    case Op::Claim:
      return "claim";
    case Op::Release:
      return "release";
    case Op::Replace:
      return "replace";
    case Op::Move:
      return "move";
    case Op::PeerAdd:
      return "peer_add";
    case Op::PeerSet:
      return "peer_set";
    case Op::PeerRemove:
      return "peer_remove";
    case Op::TunnelAdd:
      return "tunnel_add";
    case Op::TunnelSet:
      return "tunnel_set";
    case Op::TunnelRemove:
      return "tunnel_remove";
  }
  return "unknown";
}

}  // namespace turnpike::state
