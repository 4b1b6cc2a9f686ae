#include "control/store/store.h"

#include <algorithm>
#include <limits>

#include "control/store/files.h"
#include "control/store/parts.h"
#include "control/store/schema.h"

namespace turnpike::store {
namespace {

constexpr const char* kNoLog = "is on a file system that cannot hold a write-ahead log";

void set_up(Database& database) {
  if (database.number("PRAGMA user_version") == schema_version()) return;
  database.execute("BEGIN IMMEDIATE");
  add_what_is_missing(database);
  database.execute("COMMIT");
}

// Of a file that is there, and whose own header is a state's. What must be changed is found good as a whole before it is.
Result<void, std::string> bring_up_to_date(Database& database, const std::string& path) {
  database.checkpoint_on_close(false);
  const int64_t application = database.number("PRAGMA application_id");
  if (application != kApplicationId) return fail(wrong_log(path, "is of another database"));
  const int64_t version = database.number("PRAGMA user_version");
  if (auto known = judge_marks(application, version); !known) return known;
  if (version == schema_version() && database.text("PRAGMA journal_mode") == "wal") return {};
  database.execute("BEGIN IMMEDIATE");
  add_what_is_missing(database);
  if (const auto good = load_all(database); !good) {
    database.roll_back();
    return fail(damaged(good.error()));
  }
  database.execute("COMMIT");
  if (database.text("PRAGMA journal_mode = WAL") != "wal") return fail(std::string(kNoLog));
  return {};
}

// Under a name of its own until it is one, so that an empty file is never a state.
Result<void, std::string> make_new(const std::string& path) {
  const auto file = begin_new_file(path);
  if (!file) return fail(std::string(file.error()));
  {
    Database database(*file, kSettings);
    if (database.text("PRAGMA journal_mode = WAL") != "wal") return fail(std::string(kNoLog));
    set_up(database);
    (void)database.number(
        "PRAGMA wal_checkpoint(TRUNCATE)");  // closing it would not say that there is no room
  }
  return finish_new_file(*file, path);
}

constexpr int kErasedMax = 64;  // of the history, with a commit

uint32_t count(size_t number) {
  return static_cast<uint32_t>(std::min<size_t>(number, UINT32_MAX));
}

}  // namespace

std::string_view to_string(Cause cause) {
  switch (cause) {
    case Cause::Api:
      return "api";
    case Cause::File:
      return "file";
    case Cause::Rollback:
      return "rollback";
    case Cause::Unconfirmed:
      return "unconfirmed";
    case Cause::Withdrawn:
      return "withdrawn";
  }
  return "";
}

Store::Parts::Parts(std::string file) : path(std::move(file)), database(path, kSettings) {}

bool Store::Parts::make_ready(Database& database) {
  database.checkpoint_on_close(false);
  set_up(database);
  return true;
}

Store::Store(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

Result<Store, std::string> Store::open(const std::string& path) {
  const auto about = [&](const std::string& what) {
    return fail("control.state: " + path + " " + what);
  };
  const auto found = look_at_files(path);
  if (!found) return about(found.error());
  try {
    if (*found == Found::Nothing) {
      if (auto made = make_new(path); !made) return about(made.error());
    } else {
      Database database(path, kSettings);
      if (auto made = bring_up_to_date(database, path); !made) return about(made.error());
    }
    auto parts = std::make_unique<Parts>(path);
    parts->load_history();
    return Store(std::move(parts));
  } catch (const SqlError& error) {
    if (error.is_corrupt()) return about(damaged(error.what()));
    return about(std::string("cannot be used: ") + error.what() +
                 (error.is_full() ? "; make room there, then start again" : ""));
  }
}

Store Store::in_memory() {
  auto parts = std::make_unique<Parts>(":memory:");
  parts->keep_state = false;
  return Store(std::move(parts));
}

std::string Store::Parts::describe(const SqlError& error) const {
  const char* what_to_do = error.is_sync_failure() ? "see to its disk, then restart"
                           : error.is_full()       ? "make room there, and transactions work again"
                                                   : "see to its disk";
  return "the state cannot be written (" + path + ": " + error.what() + "); " + what_to_do;
}

Result<void, std::string> Store::write(std::span<const Entry> entries) {
  begin();
  for (const Entry& entry : entries) add(entry);
  return sync();
}

void Store::begin() {
  Parts& p = *parts_;
  p.pending = {};
  if (p.broken) {
    p.pending.failure = "the state cannot be written: syncing " + p.path +
                        " failed before; see to its disk, then restart";
    return;
  }
  if (!std::exchange(p.trusted, true)) p.database.checkpoint_on_close(true);
  p.attempt([&] { p.begin.run(); });
}

void Store::add(const Entry& entry) {
  Parts& p = *parts_;
  p.attempt([&] { std::visit([&](const auto& value) { p.write(value); }, entry); });
}

Result<void, std::string> Store::sync() {
  Parts& p = *parts_;
  p.attempt([&] { p.finish(); });
  if (!p.pending.failure.empty()) return fail(std::move(p.pending.failure));
  return {};
}

// Where it fails, nothing of the open transaction is left, and the rest of it is passed over.
template <typename Step>
void Store::Parts::attempt(Step&& step) {
  if (!pending.failure.empty()) return;
  try {
    step();
  } catch (const SqlError& error) {
    database.roll_back();
    for (; pending.old > 0; --pending.old) kept_bytes += kept[pending.old - 1].bytes;
    for (; pending.commits > 0; --pending.commits) {
      kept_bytes -= kept.back().bytes;
      kept.pop_back();
    }
    broken = error.is_sync_failure();
    pending.failure = describe(error);
  }
}

// What is the same for all commits of it, then the sync.
void Store::Parts::finish() {
  if (pending.commits > 0) set_meta.run(kept.back().generation, pending.next_peer_id);
  commit.run();
  kept.erase(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(pending.old));
}

void Store::Parts::write(const Record& record) {
  if (record.change != nullptr) {
    if (keep_state) write_change(*record.change);
    write_history(record);
    pending.next_peer_id = static_cast<uint64_t>(record.change->next_peer_id);
  }
  if (record.file != nullptr && keep_state) write_file(*record.file);
  if (record.unconfirmed) {
    put_unconfirmed.run(record.entry.generation, record.unconfirmed->until.nanoseconds,
                        record.unconfirmed->within.count());
  }
  for (const Generation undone : record.settled) erase_unconfirmed.run(undone);
}

void Store::Parts::write(const Confirmed& confirmed) {
  erase_unconfirmed.run(confirmed.generation);
}

void Store::Parts::write(const Handshakes& handshakes) {
  if (!keep_state) return;
  for (const auto& [peer, stamp] : handshakes.received) {
    put_handshake.run(static_cast<uint64_t>(peer), Bytes(stamp));
  }
  set_clock.run(handshakes.sent_mark.nanoseconds);
}

void Store::Parts::write_peer(const state::PeerAdded& peer) {
  const state::PeerAttributes& a = peer.attributes;
  const Buffer endpoint = encode(a.endpoint);
  put_peer.run(static_cast<uint64_t>(peer.id), peer.tunnel, Bytes(a.public_key.bytes),
               Bytes(a.preshared_key.bytes()), Bytes(endpoint), a.persistent_keepalive,
               a.enabled ? 1 : 0, static_cast<uint8_t>(a.origin), std::string_view(a.name),
               std::string_view(a.description));
}

// What goes before what comes: a peer, a prefix or the number of a tunnel may do both in one change.
void Store::Parts::write_change(const state::Change& change) {
  for (const state::TunnelChange& tunnel : change.tunnels) {
    if (tunnel.after.index == kNoTunnel) erase_tunnel.run(tunnel.before.index);
  }
  for (const state::PeerRemoved& peer : change.peers_removed) {
    const auto id = static_cast<uint64_t>(peer.id);
    erase_peer.run(id);
    erase_dormants.run(id);
    erase_handshake.run(id);
  }
  for (const state::TunnelChange& tunnel : change.tunnels) {
    const state::Tunnel& t = tunnel.after;
    if (t.index == kNoTunnel) continue;
    put_tunnel.run(t.index, std::string_view(t.name), static_cast<uint8_t>(t.conflicts),
                   t.listen_port, t.fwmark, Bytes(t.private_key.bytes()),
                   Bytes(t.public_key.bytes));
  }
  for (const state::PeerAdded& peer : change.peers_added) write_peer(peer);
  for (const state::PeerChanged& peer : change.peers_changed) {
    write_peer({.id = peer.id, .tunnel = peer.tunnel, .attributes = peer.after});
  }
  for (const state::PrefixChange& p : change.prefixes) {
    const Buffer prefix = encode(p.prefix);
    if (p.new_owner == state::kNoPeerId) {
      erase_claim.run(p.tunnel, Bytes(prefix));
    } else {
      put_claim.run(p.tunnel, Bytes(prefix), static_cast<uint64_t>(p.new_owner),
                    static_cast<uint8_t>(p.new_origin));
    }
  }
  for (const state::DormantChange& d : change.dormant) {
    const Buffer prefix = encode(d.prefix);
    if (d.noted) {
      put_dormant.run(static_cast<uint64_t>(d.peer), Bytes(prefix), static_cast<uint8_t>(d.origin));
    } else {
      erase_dormant.run(static_cast<uint64_t>(d.peer), Bytes(prefix));
    }
  }
  for (const state::OriginChange& o : change.origins) {
    const Buffer prefix = encode(o.prefix);
    const auto peer = static_cast<uint64_t>(o.peer);
    const auto origin = static_cast<uint8_t>(o.after);
    set_claim_origin.run(origin, peer, Bytes(prefix));
    if (database.changed_rows() == 0) set_dormant_origin.run(origin, peer, Bytes(prefix));
  }
}

void Store::Parts::write_file(const FileRows& rows) {
  for (const FileRows::Tunnel& tunnel : rows.tunnels) {
    if (tunnel.body.empty()) {
      erase_file_tunnel.run(std::string_view(tunnel.name));
      erase_file_peers.run(std::string_view(tunnel.name));
    } else {
      put_file_tunnel.run(std::string_view(tunnel.name), Bytes(tunnel.body));
    }
  }
  for (const FileRows::Peer& peer : rows.peers) {
    if (peer.body.empty()) {
      erase_file_peer.run(std::string_view(peer.tunnel), Bytes(peer.public_key.bytes));
    } else {
      put_file_peer.run(std::string_view(peer.tunnel), Bytes(peer.public_key.bytes),
                        Bytes(peer.body));
    }
  }
}

void Store::Parts::write_history(const Record& record) {
  const state::Change& change = *record.change;
  const HistoryEntry& entry = record.entry;
  put_history.run(
      entry.generation, entry.at.nanoseconds, entry.uid, entry.pid,
      static_cast<uint8_t>(entry.cause),
      count(change.peers_added.size() + change.peers_removed.size() + change.peers_changed.size()),
      count(change.prefixes.size()), std::string_view(entry.comment), Bytes(record.undo));
  kept.push_back({entry.generation, record.undo.size()});
  kept_bytes += record.undo.size();
  ++pending.commits;
  // What was kept for a confirmation goes little by little, so that no commit waits for it.
  for (int erased = 0; erased < kErasedMax && is_too_long(); ++erased) {
    erase_history.run(kept[pending.old].generation);
    kept_bytes -= kept[pending.old++].bytes;
  }
}

bool Store::Parts::is_too_long() {
  const size_t count = kept.size() - pending.old;
  if (kept_bytes > kHistoryBytesMax && count > 1) return true;
  if (count <= kHistoryMax || count > kHistoryAwaitedMax) return count > kHistoryMax;
  // Once for a sync: what comes meanwhile is newer, what is settled goes later.
  if (!pending.awaited) {
    pending.awaited = std::numeric_limits<Generation>::max();
    find_awaited.begin();
    while (find_awaited.step()) {
      pending.awaited = static_cast<Generation>(find_awaited.integer(0));
    }
  }
  return kept[pending.old].generation < *pending.awaited;
}

void Store::Parts::load_history() {
  Statement rows(database, "SELECT generation, length(undo) FROM history ORDER BY generation");
  rows.begin();
  while (rows.step()) {
    kept.push_back(
        {static_cast<Generation>(rows.integer(0)), static_cast<uint64_t>(rows.integer(1))});
    kept_bytes += kept.back().bytes;
  }
}

Result<std::vector<HistoryEntry>, std::string> Store::history() {
  try {
    Statement rows(parts_->database,
                   "SELECT generation, at, uid, pid, cause, peers, prefixes, comment FROM history "
                   "ORDER BY generation DESC LIMIT " +
                       std::to_string(kHistoryMax));
    std::vector<HistoryEntry> entries;
    rows.begin();
    while (rows.step()) {
      entries.push_back({.generation = static_cast<Generation>(rows.integer(0)),
                         .at = {static_cast<uint64_t>(rows.integer(1))},
                         .uid = static_cast<uint32_t>(rows.integer(2)),
                         .pid = static_cast<uint32_t>(rows.integer(3)),
                         .cause = static_cast<Cause>(rows.integer(4)),
                         .peers = static_cast<uint32_t>(rows.integer(5)),
                         .prefixes = static_cast<uint32_t>(rows.integer(6)),
                         .comment = std::string(rows.text(7))});
    }
    return entries;
  } catch (const SqlError& error) {
    return fail("the history cannot be read (" + parts_->path + ": " + error.what() + ")");
  }
}

Result<std::vector<state::Transaction>, std::string> Store::ways_back_to(Generation generation) {
  return ways_back(generation, generation + 1);
}

Result<std::vector<state::Transaction>, std::string> Store::ways_back_before(
    Generation generation) {
  return ways_back(generation, generation);
}

bool Store::knows(Generation generation) const noexcept {
  return std::ranges::binary_search(parts_->kept, generation, {}, &Parts::Kept::generation);
}

Generation Store::newest() const noexcept {
  return parts_->kept.empty() ? 0 : parts_->kept.back().generation;
}

Result<std::vector<Generation>, std::string> Store::from_file(Generation first, Generation last) {
  try {
    Statement rows(parts_->database,
                   "SELECT generation FROM history WHERE generation BETWEEN ? AND ? AND cause = ? "
                   "ORDER BY generation DESC");
    std::vector<Generation> generations;
    rows.begin(first, last, static_cast<uint8_t>(Cause::File));
    while (rows.step()) generations.push_back(static_cast<Generation>(rows.integer(0)));
    return generations;
  } catch (const SqlError& error) {
    return fail("the history cannot be read (" + parts_->path + ": " + error.what() + ")");
  }
}

// From the newest down to `oldest`, where the history knows of `generation`.
Result<std::vector<state::Transaction>, std::string> Store::ways_back(Generation generation,
                                                                      Generation oldest) {
  const auto& kept = parts_->kept;
  if (!knows(generation)) {
    return fail("the history has no generation " + std::to_string(generation) +
                (kept.empty() ? std::string("; it is empty")
                              : "; it reaches from " + std::to_string(kept.front().generation) +
                                    " to " + std::to_string(kept.back().generation)));
  }
  std::vector<state::Transaction> ways;
  for (auto at = kept.rbegin(); at != kept.rend() && at->generation >= oldest; ++at) {
    auto way = way_back_from(at->generation);
    if (!way) return fail(std::move(way.error()));
    ways.push_back(std::move(*way));
  }
  return ways;
}

Result<state::Transaction, std::string> Store::way_back_from(Generation generation) {
  try {
    Statement rows(parts_->database, "SELECT undo FROM history WHERE generation = ?");
    rows.begin(generation);
    if (!rows.step()) {
      return fail("the history has no generation " + std::to_string(generation));
    }
    auto transaction = decode_transaction(rows.blob(0));
    if (!transaction) {
      return fail("the way back from generation " + std::to_string(generation) + " is damaged (" +
                  parts_->path + ")");
    }
    return std::move(*transaction);
  } catch (const SqlError& error) {
    return fail("the history cannot be read (" + parts_->path + ": " + error.what() + ")");
  }
}

}  // namespace turnpike::store
