#include "tests/unit/api/fake_backend.h"

#include "control/state/nested.h"
#include "control/state/plan.h"
#include "dataplane/base/check.h"
#include "dataplane/base/text.h"

namespace turnpike::api {

using state::Edit;
using state::Op;

FakeBackend::FakeBackend() {
  auto tunnel = std::make_shared<state::Tunnel>();
  tunnel->listen_port = 51820;
  tunnel->private_key.bytes()[0] = 8;
  tunnel->public_key = public_key(tunnel->private_key);
  apply({{.op = Op::TunnelAdd, .tunnel = "wg0", .new_tunnel = tunnel}});
  for (const char* name : {"outside", "inside"}) {
    config::Port& port = started.ports.emplace_back();
    port.name = name;
    port.device = std::string("net_tap_") + name;
    topology.ports.push_back({.name = name, .mac = {}, .addresses = {}, .routes = {}});
  }
  topology.ports[0].addresses = {*parse_interface_address("192.0.2.1/24")};
  topology.tunnels = {{.name = "wg0", .outside = 0, .inside = 1, .addresses = {}}};
}

void FakeBackend::running_config(ExportRequest request, std::function<void(RunningAnswer)> answer) {
  last_export = request;
  if (!busy_exports.empty()) return answer(Busy{busy_exports});
  answer(std::make_shared<const gateway::RunningConfig>(
      gateway::running_config(state_, topology, started, applied)));
}

PeerStatus FakeBackend::peer_status(PeerId peer) const {
  if (peer != PeerId{1}) return {};
  return {.endpoint = *parse_endpoint("198.51.100.7:51820"),
          .last_handshake = {.nanoseconds = 1'767'225'600'000'000'007ULL},
          .rx_bytes = 1000,
          .tx_bytes = 2'000'000};
}

TunnelStatus FakeBackend::tunnel_status(TunnelIndex) const {
  return {.outside = "outside",
          .inside = "inside",
          .mtu = 1420,
          .addresses = {*parse_interface_address("10.8.0.1/24")}};
}

std::vector<PortStatus> FakeBackend::ports() const {
  return {{.name = "outside",
           .up = true,
           .mac = {.bytes = {2, 0, 0, 0, 0, 1}},
           .rx_packets = 5,
           .tx_packets = 6,
           .missed = 7,
           .no_mbuf = 8}};
}

std::vector<WorkerStatus> FakeBackend::workers() const {
  return {{.lcore = 1,
           .generation = state_.generation(),
           .busy = 0.25,
           .cycles_per_packet = 812.5,
           .numa_node = 1,
           .idle = "waits-for-interrupts",
           .interrupts = 9},
          {.lcore = 2, .generation = state_.generation()}};
}

std::vector<DropCount> FakeBackend::drops() const { return {{"no_allowed_ip", 3}}; }

void FakeBackend::commit(state::Transaction transaction, CommitOptions options,
                         std::function<void(CommitAnswer)> answer) {
  last_options = options;
  last_comment = transaction.comment;
  CommitAnswer outcome;
  if (!failure.empty()) {
    outcome = CommitFailure{failure};
  } else if (auto change = state::plan(state_, transaction); !change) {
    outcome = std::move(change.error());
  } else {
    Committed committed{.changed = !change->empty()};
    if (options.dry_run) {
      for (const auto& nested : state::nested_prefixes(state_, *change, 100)) {
        committed.warnings.push_back(state::describe(nested));
      }
    } else {
      state_.apply(*change);
      committed.late_lcores = late_lcores;
      committed.visible = late_lcores.empty();
    }
    committed.generation = state_.generation();
    outcome = std::move(committed);
  }
  auto tell = [answer = std::move(answer), outcome = std::move(outcome)] { answer(outcome); };
  if (hold_answers) {
    held_.push_back(std::move(tell));
  } else {
    tell();
  }
}

void FakeBackend::commit(MakeTransaction make, bool, CommitOptions options,
                         std::function<void(CommitAnswer)> answer) {
  commit(make(state_), std::move(options), std::move(answer));
}

void FakeBackend::when_ready(std::function<void()> run) {
  if (!busy) return run();
  waiting_.push_back(std::move(run));
}

void FakeBackend::rest() {
  busy = false;
  for (auto& run : std::exchange(waiting_, {})) run();
}

Totals FakeBackend::totals() const {
  Totals totals{.version = "1.2.3"};
  totals.peers = state_.peer_count();
  totals.commits = 7;
  totals.tunnels = {{.name = "wg0", .outbound_packets = 11, .inbound_bytes = 12}};
  totals.crypto_sessions = 6;
  totals.session_threads = {{.name = "session-1", .cpu = 3, .used = 1'500ms}};
  totals.queues = {{.lcore = 1, .punt = 3, .inject = 4}};
  totals.buffers = 512;
  totals.buffers_in_use = 17;
  totals.tables = {{.numa_node = 1, .bytes = 4'096}, {.numa_node = {}, .bytes = 8'192}};
  return totals;
}

void FakeBackend::reload(FileOptions options, std::function<void(FileAnswer)> answer) {
  last_options = options.commit;
  last_comment = options.comment;
  answer(file_answer);
}

void FakeBackend::rollback(Generation generation, ChangeRequest request,
                           std::function<void(RollbackAnswer)> answer) {
  last_generation = generation;
  last_options = request.commit;
  last_comment = request.comment;
  answer(rollback_answer);
}

void FakeBackend::confirm(std::optional<Generation> generation,
                          std::function<void(ConfirmAnswer)> answer) {
  last_generation = generation;
  answer(confirm_answer);
}

void FakeBackend::diff(std::string path, std::function<void(DiffAnswer)> answer) {
  last_path = std::move(path);
  answer(diff_answer);
}

void FakeBackend::release() {
  for (auto& tell : std::exchange(held_, {})) tell();
}

// Not X25519, but one key for each.
PublicKey FakeBackend::public_key(const PrivateKey& key) const {
  PublicKey out;
  for (size_t i = 0; i < kKeyBytes; ++i) {
    out.bytes[i] = static_cast<uint8_t>(key.bytes()[i] ^ 0x5a);
  }
  return out;
}

void FakeBackend::apply(std::vector<Edit> edits) {
  const auto change = state::plan(state_, {.edits = std::move(edits)});
  CHECK(change.has_value());
  state_.apply(*change);
}

PublicKey test_key(uint8_t number) {
  PublicKey key;
  key.bytes.fill(number);
  return key;
}

std::string test_key_text(uint8_t number) { return base::key_to_base64(test_key(number).bytes); }

void add_three_peers(FakeBackend& backend) {
  const auto add = [](uint8_t number, const std::string& name, std::vector<Prefix> prefixes) {
    return Edit{.op = Op::PeerAdd,
                .tunnel = "wg0",
                .public_key = test_key(number),
                .prefixes = std::move(prefixes),
                .patch = state::PeerPatch{.name = name}};
  };
  backend.apply({add(1, "alice", {*parse_prefix("10.8.0.2"), *parse_prefix("fd00:8::2")}),
                 add(2, "bob", {*parse_prefix("10.8.0.3")}), add(3, "", {})});
}

}  // namespace turnpike::api
