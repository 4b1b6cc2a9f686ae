// Everything that state.db holds, judged: what is read here is given to State::apply(), which takes it on trust.
#include <unordered_map>
#include <unordered_set>

#include "control/store/files.h"
#include "control/store/parts.h"

namespace turnpike::store {
namespace {

struct PeerFacts {
  TunnelIndex tunnel;
  bool enabled;
};

class Loader {
 public:
  explicit Loader(Database& database) : database_(database) {}

  Result<Loaded, std::string> run() {
    load_meta();
    load_tunnels();
    load_peers();
    load_claims();
    load_dormant();
    load_file();
    load_rest();
    if (!mistake_.empty()) return fail(std::move(mistake_));
    return std::move(out_);
  }

 private:
  void wrong(std::string what) {
    if (mistake_.empty()) mistake_ = std::move(what);
  }

  template <size_t N>
  std::array<uint8_t, N> fixed(const Statement& row, int column, const char* what) {
    std::array<uint8_t, N> value{};
    const Bytes bytes = row.blob(column);
    if (bytes.size() == N) {
      std::ranges::copy(bytes, value.begin());
    } else {
      wrong(std::string(what) + " has " + std::to_string(bytes.size()) + " bytes");
    }
    return value;
  }

  template <typename Key>
  Key secret(const Statement& row, int column, const char* what) {
    auto bytes = fixed<kKeyBytes>(row, column, what);
    const Key key(bytes);
    wipe(bytes.data(), bytes.size());
    return key;
  }

  template <typename T>
  T number(const Statement& row, int column, uint64_t limit, const char* what) {
    const int64_t value = row.integer(column);
    if (value < 0 || static_cast<uint64_t>(value) > limit) {
      wrong(std::string(what) + " is " + std::to_string(value));
      return T{};
    }
    return static_cast<T>(value);
  }

  state::Origin origin(const Statement& row, int column) {
    return number<state::Origin>(row, column, 1, "an origin");
  }

  std::optional<Prefix> prefix(const Statement& row, int column) {
    auto value = decode_prefix(row.blob(column));
    if (!value) wrong("a prefix is none");
    return value;
  }

  const PeerFacts* peer(const Statement& row, int column) {
    const auto found = peers_.find(row.integer(column));
    if (found == peers_.end()) {
      wrong("a prefix belongs to peer " + std::to_string(row.integer(column)) +
            ", which there is not");
      return nullptr;
    }
    return &found->second;
  }

  void load_meta() {
    Statement rows(database_, "SELECT generation, next_peer_id FROM meta");
    rows.begin();
    if (!rows.step()) return wrong("the generation is missing");
    out_.generation = number<Generation>(rows, 0, INT64_MAX, "the generation");
    out_.content.next_peer_id = number<PeerId>(rows, 1, INT64_MAX, "the next peer's number");
    out_.content.base = out_.generation == 0 ? 0 : out_.generation - 1;
    // Both are written by each commit; pages of two files give themselves away here.
    const auto newest = database_.number("SELECT max(generation) FROM history");
    if (newest != 0 && static_cast<Generation>(newest) != out_.generation) {
      wrong("the state is of generation " + std::to_string(out_.generation) + ", its history of " +
            std::to_string(newest));
    }
  }

  void load_tunnels() {
    Statement rows(database_, "SELECT * FROM tunnel");
    rows.begin();
    while (rows.step()) {
      state::Tunnel tunnel;
      tunnel.index = number<TunnelIndex>(rows, 0, kMaxTunnels - 1, "a tunnel's number");
      tunnel.name = rows.text(1);
      tunnel.conflicts = number<state::ConflictPolicy>(rows, 2, 1, "a tunnel's policy");
      tunnel.listen_port = number<uint16_t>(rows, 3, UINT16_MAX, "a port");
      tunnel.fwmark = number<uint32_t>(rows, 4, UINT32_MAX, "a mark");
      tunnel.private_key = secret<PrivateKey>(rows, 5, "a private key");
      tunnel.public_key.bytes = fixed<kKeyBytes>(rows, 6, "a public key");
      if (tunnel.name.empty() || !tunnel_names_.insert(tunnel.name).second) {
        wrong("two tunnels have one name");
      }
      tunnels_.insert(tunnel.index);
      out_.content.tunnels.push_back({.before = {}, .after = std::move(tunnel)});
    }
  }

  void load_peers() {
    const auto count = static_cast<size_t>(database_.number("SELECT count(*) FROM peer"));
    if (count > kMaxPeers) return wrong("there are " + std::to_string(count) + " peers");
    out_.content.peers_added.reserve(count);
    peers_.reserve(count);
    keys_.reserve(count);
    Statement rows(database_, "SELECT * FROM peer ORDER BY id");
    rows.begin();
    while (rows.step()) {
      state::PeerAdded peer;
      state::PeerAttributes& a = peer.attributes;
      peer.id = number<PeerId>(rows, 0, INT64_MAX, "a peer's number");
      peer.tunnel = number<TunnelIndex>(rows, 1, kMaxTunnels - 1, "a tunnel's number");
      a.public_key.bytes = fixed<kKeyBytes>(rows, 2, "a public key");
      a.preshared_key = secret<PresharedKey>(rows, 3, "a preshared key");
      const auto endpoint = decode_endpoint(rows.blob(4));
      if (!endpoint) wrong("an endpoint is none");
      a.endpoint = endpoint.value_or(Endpoint{});
      a.persistent_keepalive = number<uint16_t>(rows, 5, UINT16_MAX, "a keepalive");
      a.enabled = number<bool>(rows, 6, 1, "a switch");
      a.origin = origin(rows, 7);
      a.name = rows.text(8);
      a.description = rows.text(9);
      if (peer.id == state::kNoPeerId || peer.id >= out_.content.next_peer_id) {
        wrong("a peer's number was never given out");
      }
      if (!tunnels_.contains(peer.tunnel)) wrong("a peer's tunnel is missing");
      if (!keys_.insert({peer.tunnel, a.public_key}).second) {
        wrong("two peers of a tunnel have one key");
      }
      // Any name will do: what a file or the API may call a peer has changed over time.
      if (!a.name.empty() && !names_.insert(std::to_string(peer.tunnel) + "/" + a.name).second) {
        wrong("two peers of a tunnel have one name");
      }
      peers_.emplace(rows.integer(0), PeerFacts{peer.tunnel, a.enabled});
      out_.content.peers_added.push_back(std::move(peer));
    }
  }

  void load_claims() {
    const auto count = static_cast<size_t>(database_.number("SELECT count(*) FROM claim"));
    if (count > state::kMaxPrefixes) return wrong("there are " + std::to_string(count) + " claims");
    out_.content.prefixes.reserve(count);
    Statement rows(database_, "SELECT tunnel, prefix, peer, origin FROM claim");
    rows.begin();
    while (rows.step()) {
      const auto value = prefix(rows, 1);
      const PeerFacts* owner = peer(rows, 2);
      if (!value || owner == nullptr) return;
      if (owner->tunnel != rows.integer(0) || !owner->enabled) {
        return wrong(turnpike::to_string(*value) + " belongs to a peer that cannot own it");
      }
      out_.content.prefixes.push_back({.tunnel = owner->tunnel,
                                       .prefix = *value,
                                       .new_owner = PeerId(rows.integer(2)),
                                       .new_origin = origin(rows, 3)});
    }
  }

  void load_dormant() {
    Statement rows(database_, "SELECT peer, prefix, origin FROM dormant");
    rows.begin();
    while (rows.step()) {
      const auto value = prefix(rows, 1);
      const PeerFacts* owner = peer(rows, 0);
      if (!value || owner == nullptr) return;
      if (owner->enabled) return wrong("a peer that is enabled remembers a prefix");
      out_.content.dormant.push_back({.peer = PeerId(rows.integer(0)),
                                      .prefix = *value,
                                      .origin = origin(rows, 2),
                                      .noted = true});
    }
  }

  void load_file() {
    Statement tunnels(database_, "SELECT name, body FROM file_tunnel ORDER BY name");
    tunnels.begin();
    while (tunnels.step()) {
      auto tunnel = decode_file_tunnel(tunnels.blob(1));
      if (!tunnel) return wrong("a tunnel of the file applied last is damaged");
      tunnel->name = tunnels.text(0);
      out_.file.tunnels.push_back(std::move(*tunnel));
    }
    Statement peers(database_, "SELECT tunnel, public_key, body FROM file_peer ORDER BY tunnel");
    peers.begin();
    size_t at = 0;  // both are in order of the tunnels' names
    while (peers.step()) {
      auto peer = decode_file_peer(peers.blob(2));
      while (at < out_.file.tunnels.size() && out_.file.tunnels[at].name < peers.text(0)) ++at;
      if (!peer || at == out_.file.tunnels.size() || out_.file.tunnels[at].name != peers.text(0)) {
        return wrong("a peer of the file applied last is damaged");
      }
      peer->public_key.bytes = fixed<kKeyBytes>(peers, 1, "a public key");
      out_.file.tunnels[at].peers.push_back(std::move(*peer));
    }
  }

  void load_rest() {
    Statement handshakes(database_, "SELECT peer, received FROM handshake");
    handshakes.begin();
    while (handshakes.step()) {
      out_.received.emplace_back(PeerId(handshakes.integer(0)),
                                 fixed<std::tuple_size_v<Timestamp>>(handshakes, 1, "a timestamp"));
    }
    out_.sent_mark.nanoseconds =
        static_cast<uint64_t>(database_.number("SELECT sent_mark FROM clock"));
    Statement waiting(database_, "SELECT generation, until, within FROM unconfirmed");
    waiting.begin();
    while (waiting.step()) {
      out_.unconfirmed.push_back({.generation = static_cast<Generation>(waiting.integer(0)),
                                  .until = {static_cast<uint64_t>(waiting.integer(1))},
                                  .within = Duration(waiting.integer(2))});
    }
  }

  struct HashOfKey {
    size_t operator()(const std::pair<TunnelIndex, PublicKey>& key) const noexcept {
      return std::hash<PublicKey>()(key.second) + key.first;
    }
  };

  Database& database_;
  Loaded out_;
  std::string mistake_;  // the first
  std::unordered_set<TunnelIndex> tunnels_;
  std::unordered_set<std::string> tunnel_names_, names_;
  std::unordered_map<int64_t, PeerFacts> peers_;
  std::unordered_set<std::pair<TunnelIndex, PublicKey>, HashOfKey> keys_;
};

}  // namespace

Result<Loaded, std::string> load_all(Database& database) {
  std::string structure = database.text("PRAGMA quick_check(1)");
  if (structure != "ok") return fail(std::move(structure));
  return Loader(database).run();
}

Result<Loaded, std::string> Store::load() {
  std::string why;
  try {
    auto loaded = load_all(parts_->database);
    if (loaded) {
      parts_->trusted = true;
      parts_->database.checkpoint_on_close(true);
      return loaded;
    }
    why = loaded.error();
  } catch (const SqlError& error) {
    why = error.what();
  }
  return fail("control.state: " + parts_->path + " " + damaged(std::move(why)));
}

}  // namespace turnpike::store
