// What the API needs of the daemon. The daemon implements it, tests fake it over a state of their own.
//   Threads: control thread only, both ways.
//   Cost:    every function is called between two slices of an answer, so each takes microseconds; the
//            *_status() of one object take constant time.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "config/error.h"
#include "control/gateway/file_diff.h"
#include "control/gateway/running_config.h"
#include "control/state/refusal.h"
#include "control/state/state.h"
#include "control/state/transaction.h"
#include "control/store/store.h"
#include "dataplane/base/result.h"
#include "dataplane/base/time.h"

namespace turnpike::api {

struct PeerStatus {
  Endpoint endpoint;  // where it was heard last; none: show the configured one
  WallTime last_handshake;  // zero: never
  uint64_t rx_bytes = 0;
  uint64_t tx_bytes = 0;
};

struct TunnelStatus {
  std::string outside;  // ports
  std::string inside;
  uint16_t mtu = 0;
  std::vector<InterfaceAddress> addresses;
};

struct PortStatus {
  std::string name;
  bool up = false;
  MacAddress mac;
  uint64_t rx_packets = 0;
  uint64_t tx_packets = 0;
  uint64_t missed = 0;
  uint64_t no_mbuf = 0;
};

struct WorkerStatus {
  uint32_t lcore = 0;
  Generation generation = 0;  // of the newest commit that it has acknowledged
  double busy = 0;  // share of turns with work, 0 to 1
  double cycles_per_packet = 0;
  std::optional<uint32_t> numa_node;  // of its CPU; nothing where the kernel knows of none
  std::string idle = "polls";  // while nothing comes; or: sleeps, waits-for-interrupts
  uint64_t interrupts = 0;  // that ended such a wait
};

struct DropCount {
  std::string reason;
  uint64_t count = 0;
};

struct TunnelTraffic {
  std::string name;
  uint64_t outbound_packets = 0, outbound_bytes = 0;  // inner ones that were encrypted
  uint64_t inbound_packets = 0, inbound_bytes = 0;  // and that were decrypted
};

struct QueueFill {
  uint32_t lcore = 0;
  uint64_t punt = 0, inject = 0;  // entries that wait
};

// What the look-up tables take, in the copy that the workers of one NUMA node read.
struct TableMemory {
  std::optional<uint32_t> numa_node;  // nothing: of all nodes
  uint64_t bytes = 0;
};

struct SessionThreadTime {
  std::string name;
  uint32_t cpu = 0;
  Duration used{};  // of the CPU, since it began
};

struct Totals {
  std::string version;
  WallTime started;
  uint64_t peers = 0, prefixes = 0;
  uint64_t commits = 0, refusals = 0, commit_failures = 0;
  uint64_t reloads = 0, failed_reloads = 0;
  bool last_reload_good = true;
  WallTime last_reload;  // that was good; the start is one, unless it was refused
  uint64_t handshakes = 0, events_lost = 0, readers_cut_off = 0;
  uint64_t computations_handed_over = 0;  // of handshakes, to further session threads
  std::optional<uint64_t> crypto_sessions;  // of the crypto device, where one is in use
  std::vector<SessionThreadTime> session_threads;
  std::vector<TunnelTraffic> tunnels;
  std::vector<QueueFill> queues;
  std::vector<TableMemory> tables;
  uint64_t buffers = 0, buffers_in_use = 0;  // of packets, for all ports
};

// What a caller may do; by the socket's credentials.
enum class Access : uint8_t { None, Read, All };

// Who asks, by the socket's credentials; for access, history and log.
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
};

struct CommitOptions {
  Caller caller;
  bool dry_run = false;
  std::optional<Duration> confirm;  // undo unless confirmed within it
};

struct Committed {
  Generation generation = 0;  // of a dry run, and when nothing changed: the present one
  bool changed = true;  // false: all was so already, there is no new generation
  bool visible = true;  // every worker has it
  std::vector<uint32_t> late_lcores;  // those that do not
  std::vector<std::string> warnings;
};

// A failure that is not the transaction's: no memory, the store cannot be written. Nothing has changed.
struct CommitFailure {
  std::string what;
};

using CommitAnswer = std::variant<Committed, state::Refusal, CommitFailure>;

// Of a reload.
struct FileOptions {
  CommitOptions commit;
  std::optional<Generation> if_generation;
  std::string comment;
};

// Of a rollback, too.
using ChangeRequest = FileOptions;

// The file cannot be applied as it is: mistakes, or keys that are read at start. Nothing has changed.
struct FileMistakes {
  std::vector<config::ConfigError> mistakes;
};

// What the file asks for collides with what runs. Nothing has changed.
struct FileConflicts {
  state::Refusal refusal;
  std::vector<config::ConfigError> at;  // the place of each conflict
};

using FileAnswer = std::variant<Committed, FileMistakes, FileConflicts, CommitFailure>;
using DiffAnswer = std::variant<gateway::FileDiff, FileMistakes, FileConflicts, CommitFailure>;

// What was asked for does not exist.
struct NotFound {
  std::string what;
};

struct History {
  Generation generation = 0;  // the present one
  std::vector<store::HistoryEntry> commits;  // the newest first
  std::vector<std::pair<Generation, uint64_t>> unconfirmed;  // undone in so many seconds
};
using HistoryAnswer = std::variant<History, CommitFailure>;
using RollbackAnswer = std::variant<CommitAnswer, NotFound>;

struct Confirmed {
  std::vector<Generation> generations;
};
using ConfirmAnswer = std::variant<Confirmed, NotFound, CommitFailure>;

// Who wants what runs as a configuration; for the log, if it is with keys, and for the caller's share of places.
struct ExportRequest {
  Caller caller;
  Access access = Access::All;
  bool with_keys = false;
};
// There is no place for another one; later there is.
struct Busy {
  std::string what;
};
using RunningAnswer =
    std::variant<std::shared_ptr<const gateway::RunningConfig>, Busy, CommitFailure>;
class BodySource;

class Backend {
 public:
  virtual ~Backend() = default;

  // May be ahead of what is durable by the time of a sync, and so is its number: to be shown is generation().
  [[nodiscard]] virtual const state::State& state() const = 0;
  // Of the newest commit that is durable. Only grows, over restarts too.
  [[nodiscard]] virtual Generation generation() const = 0;
  [[nodiscard]] virtual PeerStatus peer_status(PeerId peer) const = 0;
  [[nodiscard]] virtual TunnelStatus tunnel_status(TunnelIndex tunnel) const = 0;
  [[nodiscard]] virtual std::vector<PortStatus> ports() const = 0;
  [[nodiscard]] virtual std::vector<WorkerStatus> workers() const = 0;
  [[nodiscard]] virtual std::vector<DropCount> drops() const = 0;

  // Lines of events from now on, for one reader; nullptr when there are too many (of those with such access).
  [[nodiscard]] virtual std::unique_ptr<BodySource> events(Access access) = 0;
  // What is counted beside what stands above; for metrics.
  [[nodiscard]] virtual Totals totals() const = 0;

  // False while a large transaction is made true on another thread. Then nothing above may be asked; who
  // begins something, or goes on with it, does so by when_ready().
  [[nodiscard]] virtual bool ready() const = 0;
  // At once if ready(), else as soon as it is so again.
  virtual void when_ready(std::function<void()> run) = 0;

  // Judged when its turn comes, one after the other, against state() as it is then. `answer` is called once,
  // at once or later, from the control thread, when ready(). A dry run changes nothing and warns of nested
  // prefixes.
  virtual void commit(state::Transaction transaction, CommitOptions options,
                      std::function<void(CommitAnswer)> answer) = 0;
  // The same for a transaction that depends on the state: `make` is called when its turn comes, maybe on
  // another thread; `large` says that it takes long.
  using MakeTransaction = std::function<state::Transaction(const state::State&)>;
  virtual void commit(MakeTransaction make, bool large, CommitOptions options,
                      std::function<void(CommitAnswer)> answer) = 0;
  // The configuration file, read anew, as one transaction.
  virtual void reload(FileOptions options, std::function<void(FileAnswer)> answer) = 0;
  // What that would do, were the file the one at `path` (of the daemon's file system).
  virtual void diff(std::string path, std::function<void(DiffAnswer)> answer) = 0;
  virtual void history(std::function<void(HistoryAnswer)> answer) = 0;
  // What was committed after `generation` is undone, by one new commit.
  virtual void rollback(Generation generation, ChangeRequest request,
                        std::function<void(RollbackAnswer)> answer) = 0;
  // Of one commit, or of all that wait for it.
  virtual void confirm(std::optional<Generation> generation,
                       std::function<void(ConfirmAnswer)> answer) = 0;
  // What runs, all of one moment, and durable.
  virtual void running_config(ExportRequest request, std::function<void(RunningAnswer)> answer) = 0;
  // The public key of a private one (X25519 is the data plane's): for wg(8), which sets private keys.
  [[nodiscard]] virtual PublicKey public_key(const PrivateKey& key) const = 0;
};

}  // namespace turnpike::api
