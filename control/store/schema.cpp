#include "control/store/schema.h"

#include <array>

namespace turnpike::store {
namespace {

// A step is never changed once it is released: files in the field have been through it. Prefixes and endpoints
// are in the form of codec.h; secrets are in here in the clear, which is why the file is 0600.
constexpr std::array kSteps = {
    // 1: what is committed
    R"sql(
CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), generation INTEGER NOT NULL, next_peer_id INTEGER NOT NULL);
INSERT INTO meta VALUES (1, 0, 1);
CREATE TABLE tunnel (tunnel INTEGER PRIMARY KEY, name TEXT NOT NULL, conflicts INTEGER NOT NULL,
  listen_port INTEGER NOT NULL, fwmark INTEGER NOT NULL, private_key BLOB NOT NULL, public_key BLOB NOT NULL);
CREATE TABLE peer (id INTEGER PRIMARY KEY, tunnel INTEGER NOT NULL, public_key BLOB NOT NULL,
  preshared_key BLOB NOT NULL, endpoint BLOB NOT NULL, keepalive INTEGER NOT NULL, enabled INTEGER NOT NULL,
  origin INTEGER NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL);
CREATE TABLE claim (tunnel INTEGER NOT NULL, prefix BLOB NOT NULL, peer INTEGER NOT NULL, origin INTEGER NOT NULL,
  PRIMARY KEY (tunnel, prefix)) WITHOUT ROWID;
CREATE TABLE dormant (peer INTEGER NOT NULL, prefix BLOB NOT NULL, origin INTEGER NOT NULL,
  PRIMARY KEY (peer, prefix)) WITHOUT ROWID;
CREATE TABLE file_tunnel (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE file_peer (tunnel TEXT NOT NULL, public_key BLOB NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (tunnel, public_key)) WITHOUT ROWID;
)sql",
    // 2: the way back, and commits that wait to be confirmed
    R"sql(
CREATE TABLE history (generation INTEGER PRIMARY KEY, at INTEGER NOT NULL, uid INTEGER NOT NULL, pid INTEGER NOT NULL,
  cause INTEGER NOT NULL, peers INTEGER NOT NULL, prefixes INTEGER NOT NULL, comment TEXT NOT NULL,
  undo BLOB NOT NULL);
CREATE TABLE unconfirmed (generation INTEGER PRIMARY KEY, until INTEGER NOT NULL, within INTEGER NOT NULL);
)sql",
    // 3: what keeps replays out and our own clock from going back
    R"sql(
CREATE TABLE handshake (peer INTEGER PRIMARY KEY, received BLOB NOT NULL);
CREATE TABLE clock (id INTEGER PRIMARY KEY CHECK (id = 1), sent_mark INTEGER NOT NULL);
INSERT INTO clock VALUES (1, 0);
)sql",
};

}  // namespace

int schema_version() { return static_cast<int>(kSteps.size()); }

const char* schema_step(int version) { return kSteps.at(static_cast<size_t>(version) - 1); }

Result<void, std::string> judge_marks(int64_t application_id, int64_t user_version) {
  if (application_id != kApplicationId) {
    return fail(
        std::string("is a database of another program; give control.state a file of its own"));
  }
  if (user_version > schema_version()) {
    return fail("was written by a newer version (schema " + std::to_string(user_version) +
                ", this one knows " + std::to_string(schema_version()) +
                "); start that version, or move the file away to begin anew with what the "
                "configuration file says");
  }
  return {};
}

void add_what_is_missing(Database& database) {
  const int64_t version = database.number("PRAGMA user_version");
  if (version >= schema_version()) return;
  for (int64_t step = version + 1; step <= schema_version(); ++step) {
    database.execute(schema_step(static_cast<int>(step)));
  }
  database.execute("PRAGMA application_id = " + std::to_string(kApplicationId));
  database.execute("PRAGMA user_version = " + std::to_string(schema_version()));
}

}  // namespace turnpike::store
