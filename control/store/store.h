// The durable state (design, 7): what is committed, the file applied last, the last commits with their way back,
// and what handshakes must not forget. One SQLite file with a write-ahead log, synced at every write().
//   Threads: one at a time; journal.h has the thread.
//   Bounds:  kHistoryMax commits and kHistoryBytesMax of their ways back, the oldest go. While a commit awaits its
//            confirmation it stays, and so do those after it, as they lead back to it: up to kHistoryAwaitedMax.
//   Errors:  a failed write() leaves everything as it was.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "config/config.h"
#include "control/state/change.h"
#include "control/state/transaction.h"
#include "control/store/codec.h"
#include "control/store/file_rows.h"
#include "dataplane/base/result.h"
#include "dataplane/base/time.h"

namespace turnpike::store {

inline constexpr size_t kHistoryMax = 1'000;
inline constexpr size_t kHistoryAwaitedMax = 100'000;
inline constexpr uint64_t kHistoryBytesMax = uint64_t{256} << 20;

// What made a commit. The text forms are part of the interface.
enum class Cause : uint8_t {
  Api,  // api: a transaction at run time
  File,  // file: start or reload
  Rollback,  // rollback
  Unconfirmed,  // unconfirmed: undoes what was not confirmed
  Withdrawn,  // withdrawn: undoes what the data plane had no memory for
};
[[nodiscard]] std::string_view to_string(Cause cause);

struct HistoryEntry {
  Generation generation = 0;
  WallTime at;
  uint32_t uid = 0;
  uint32_t pid = 0;
  Cause cause = Cause::Api;
  uint32_t peers = 0;  // that were added, removed or changed
  uint32_t prefixes = 0;  // that have another owner
  std::string comment;
  friend bool operator==(const HistoryEntry&, const HistoryEntry&) = default;
};

// A commit is undone at `until` unless it is confirmed. `within` is what was asked for: a clock that was set
// back does not make it longer.
struct Unconfirmed {
  Generation generation = 0;
  WallTime until;
  Duration within{};
};

// A commit: all of it becomes durable, or nothing.
struct Record {
  // As planned; nothing: only the file's text changed, and there is no new generation.
  std::shared_ptr<const state::Change> change;
  HistoryEntry entry;  // its counts are filled in
  // The way back, encoded where it was made: a small one costs less so than what another CPU reads of its parts.
  Buffer undo;
  std::shared_ptr<const FileRows> file;  // to the file applied last
  std::optional<Unconfirmed> unconfirmed;
  std::vector<Generation> settled;  // these no longer wait: they are what is undone
};

// A commit stays.
struct Confirmed {
  Generation generation = 0;
};

// TAI64N. Of the newest initiation that a peer sent.
using Timestamp = std::array<uint8_t, 12>;
struct Handshakes {
  std::vector<std::pair<PeerId, Timestamp>>
      received;  // of peers that exist; others are passed over
  WallTime sent_mark;  // no initiation of ours is later than that
};

using Entry = std::variant<Record, Confirmed, Handshakes>;

// All that is known when the daemon starts.
struct Loaded {
  Generation generation = 0;  // 0: nothing was ever committed
  // From nothing to that generation. With a State(generation - 1, ...) it gives the state.
  state::Change content;
  config::Config file;  // tunnels and peers of the file applied last
  std::vector<std::pair<PeerId, Timestamp>> received;
  WallTime sent_mark;
  std::vector<Unconfirmed> unconfirmed;
};

class Store {
 public:
  // The error is one line: what is wrong with the file, and what to do.
  [[nodiscard]] static Result<Store, std::string> open(const std::string& path);
  // Keeps the history in memory, and nothing else (control.durability: off).
  [[nodiscard]] static Store in_memory();
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  // What is no valid state is an error that says how to go on.
  [[nodiscard]] Result<Loaded, std::string> load();

  // All of it with one sync, or nothing. The error is one line.
  [[nodiscard]] Result<void, std::string> write(std::span<const Entry> entries);
  // The same for entries that come one after the other: any number of add() between begin() and sync(), which
  // tells of the first error of all of them.
  void begin();
  void add(const Entry& entry);
  [[nodiscard]] Result<void, std::string> sync();

  // The newest kHistoryMax, the newest first.
  [[nodiscard]] Result<std::vector<HistoryEntry>, std::string> history();
  // Whether all of the history, what is kept for a confirmation too, has this commit.
  [[nodiscard]] bool knows(Generation generation) const noexcept;
  // 0: it is empty.
  [[nodiscard]] Generation newest() const noexcept;
  // Those of its commits from `first` to `last` that came from the file, the newest first.
  [[nodiscard]] Result<std::vector<Generation>, std::string> from_file(Generation first,
                                                                       Generation last);
  // The ways back from the commits after `generation`, the newest first. An error where the history does not
  // reach back so far.
  [[nodiscard]] Result<std::vector<state::Transaction>, std::string> ways_back_to(
      Generation generation);
  // The same from the newest commit down to this one, itself included.
  [[nodiscard]] Result<std::vector<state::Transaction>, std::string> ways_back_before(
      Generation generation);
  // From this commit alone.
  [[nodiscard]] Result<state::Transaction, std::string> way_back_from(Generation generation);

 private:
  struct Parts;
  [[nodiscard]] Result<std::vector<state::Transaction>, std::string> ways_back(
      Generation generation, Generation oldest);
  explicit Store(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace turnpike::store
