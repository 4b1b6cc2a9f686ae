// What the functions of Store share: the database and its statements, prepared once.
#pragma once

#include <deque>
#include <optional>
#include <string>

#include "control/store/database.h"
#include "control/store/schema.h"
#include "control/store/store.h"

namespace turnpike::store {

// Before anything is read. The database is ours alone: the log's index stays in memory, and no -shm file lies
// about. Deleted rows may have held keys.
inline constexpr const char* kSettings =
    "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; PRAGMA secure_delete = FAST;"
    "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 2000";

// All of it, or the first thing that is wrong with it. Throws SqlError.
[[nodiscard]] Result<Loaded, std::string> load_all(Database& database);

struct Store::Parts {
  explicit Parts(std::string file);
  // Nothing is done to the file until it is known to be good: not even by closing it.
  static bool make_ready(Database& database);

  void write(const Record& record);
  void write(const Confirmed& confirmed);
  void write(const Handshakes& handshakes);
  void write_change(const state::Change& change);
  void write_peer(const state::PeerAdded& peer);
  void write_file(const FileRows& rows);
  void write_history(const Record& record);
  template <typename Step>
  void attempt(Step&& step);
  void finish();
  // Reads which commits there are.
  [[nodiscard]] bool is_too_long();  // the history
  void load_history();
  [[nodiscard]] std::string describe(const SqlError& error) const;

  std::string path;
  bool keep_state = true;  // false: history only
  bool trusted = false;  // loaded and found good, or written
  bool broken = false;  // a sync failed: nobody knows what is on the disk
  Database database;
  bool ready = make_ready(database);  // the statements below are prepared for tables that exist

  struct Kept {
    Generation generation;
    uint64_t bytes;
  };
  std::deque<Kept> kept;  // of the history, oldest first; what is committed, then what is pending
  uint64_t kept_bytes = 0;
  struct Pending {  // between begin() and sync()
    size_t commits = 0;
    size_t old = 0;  // of `kept`, from the oldest on, that go with it
    // The oldest that awaits its confirmation, or the last number there is; once it was looked up.
    std::optional<Generation> awaited;
    uint64_t next_peer_id = 0;
    std::string failure;
  } pending;

  Statement begin{database, "BEGIN IMMEDIATE"};
  Statement commit{database, "COMMIT"};
  Statement set_meta{database, "UPDATE meta SET generation = ?, next_peer_id = ? WHERE id = 1"};
  Statement put_tunnel{database, "INSERT OR REPLACE INTO tunnel VALUES (?, ?, ?, ?, ?, ?, ?)"};
  Statement erase_tunnel{database, "DELETE FROM tunnel WHERE tunnel = ?"};
  Statement put_peer{database, "INSERT OR REPLACE INTO peer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"};
  Statement erase_peer{database, "DELETE FROM peer WHERE id = ?"};
  Statement put_claim{database, "INSERT OR REPLACE INTO claim VALUES (?, ?, ?, ?)"};
  Statement erase_claim{database, "DELETE FROM claim WHERE tunnel = ? AND prefix = ?"};
  Statement put_dormant{database, "INSERT OR REPLACE INTO dormant VALUES (?, ?, ?)"};
  Statement erase_dormant{database, "DELETE FROM dormant WHERE peer = ? AND prefix = ?"};
  Statement erase_dormants{database, "DELETE FROM dormant WHERE peer = ?"};
  Statement set_claim_origin{
      database,
      "UPDATE claim SET origin = ?1 WHERE tunnel = (SELECT tunnel FROM peer WHERE id = ?2) AND "
      "prefix = ?3 AND peer = ?2"};
  Statement set_dormant_origin{database,
                               "UPDATE dormant SET origin = ? WHERE peer = ? AND prefix = ?"};
  Statement put_file_tunnel{database, "INSERT OR REPLACE INTO file_tunnel VALUES (?, ?)"};
  Statement erase_file_tunnel{database, "DELETE FROM file_tunnel WHERE name = ?"};
  Statement erase_file_peers{database, "DELETE FROM file_peer WHERE tunnel = ?"};
  Statement put_file_peer{database, "INSERT OR REPLACE INTO file_peer VALUES (?, ?, ?)"};
  Statement erase_file_peer{database, "DELETE FROM file_peer WHERE tunnel = ? AND public_key = ?"};
  Statement put_history{database,
                        "INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"};
  Statement erase_history{database, "DELETE FROM history WHERE generation = ?"};
  Statement put_unconfirmed{database, "INSERT OR REPLACE INTO unconfirmed VALUES (?, ?, ?)"};
  Statement find_awaited{database,
                         "SELECT generation FROM unconfirmed ORDER BY generation LIMIT 1"};
  Statement erase_unconfirmed{database, "DELETE FROM unconfirmed WHERE generation = ?"};
  // A stamp of a peer that went meanwhile is not kept.
  Statement put_handshake{database,
                          "INSERT OR REPLACE INTO handshake SELECT ?1, ?2 WHERE EXISTS (SELECT 1 "
                          "FROM peer WHERE id = ?1)"};
  Statement erase_handshake{database, "DELETE FROM handshake WHERE peer = ?"};
  Statement set_clock{database, "UPDATE clock SET sent_mark = max(sent_mark, ?) WHERE id = 1"};
};

}  // namespace turnpike::store
