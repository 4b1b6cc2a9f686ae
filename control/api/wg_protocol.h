// The cross-platform userspace interface of wg(8): its requests as values, and the state as its answer. Pure.
// Source: https://www.wireguard.com/xplatform/ and wireguard-tools' ipc-uapi.h.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/api/backend.h"
#include "control/api/request.h"
#include "control/state/transaction.h"

namespace turnpike::api {

inline constexpr size_t kMaxWgLineBytes = 4096;
inline constexpr size_t kMaxWgRequestBytes = size_t{256} << 20;

// One block of a set request. Blocks stay in their order; a key may have several.
struct WgPeer {
  PublicKey public_key;
  bool remove = false;
  bool update_only = false;
  bool replace_allowed_ips = false;
  std::optional<PresharedKey> preshared_key;
  std::optional<Endpoint> endpoint;
  std::optional<uint16_t> persistent_keepalive;
  struct AllowedIp {
    Prefix prefix;
    bool remove = false;  // allowed_ip=-PREFIX
  };
  std::vector<AllowedIp> allowed_ips;
};

struct WgRequest {
  bool set = false;  // or get
  std::optional<PrivateKey> private_key;
  PublicKey
      public_key;  // of the private one; whoever has X25519 fills it in before wg_transaction()
  std::optional<uint16_t> listen_port;
  std::optional<uint32_t> fwmark;
  bool replace_peers = false;
  std::deque<WgPeer> peers;  // grows without moving what is there: it comes line by line
};

// Takes a request line by line, as it comes.
class WgParser {
 public:
  // Without its newline. True when the request is complete (a blank line); ask error() then.
  [[nodiscard]] bool line(std::string_view text);
  // 0, or the errno value of the first mistake.
  [[nodiscard]] int error() const noexcept { return error_; }
  [[nodiscard]] WgRequest& request() noexcept { return request_; }
  [[nodiscard]] size_t bytes() const noexcept { return bytes_; }

 private:
  [[nodiscard]] int set_key(std::string_view key, std::string_view value);
  [[nodiscard]] int peer_key(std::string_view key, std::string_view value);

  WgRequest request_;
  bool begun_ = false;
  int error_ = 0;
  size_t bytes_ = 0;
};

// What a set request asks for, as one transaction on this tunnel of this state. Follows stock semantics where
// they do no harm: removing what is not there is no error, a removed prefix need not have been the peer's,
// a peer with the tunnel's own key is left out. Peers that the request does not change are in no edit;
// a peer that replace_peers removes and a later block adds again stays the same peer. Disabled peers do not
// exist for wg(8), and a block for one enables it.
// A tunnel that is not there (any more) is the transaction's conflict.
[[nodiscard]] state::Transaction wg_transaction(const state::State& state,
                                                const std::string& tunnel,
                                                const WgRequest& request);

// The answer to a get, without its errno line, in slices.
[[nodiscard]] std::unique_ptr<BodySource> make_wg_get(const Backend& backend, TunnelIndex tunnel);

// The errno of an answer to a set (positive; the wire has it negative), and the lines that explain it.
struct WgAnswer {
  int error = 0;
  std::string lines;
};
[[nodiscard]] WgAnswer wg_answer(const state::State& state, const CommitAnswer& answer);

}  // namespace turnpike::api
