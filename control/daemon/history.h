// Past commits while the gateway runs: who made them, the way back to one, and those that are undone unless they
// are confirmed.
//   Threads: control. The history is read on the journal's thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control/api/backend.h"
#include "control/gateway/committer.h"
#include "control/store/journal.h"

namespace turnpike::daemon {

class History {
 public:
  struct Parts {
    boost::asio::io_context& io;
    store::Journal& journal;
    std::function<Generation()> generation;  // of the newest commit that is durable
    std::function<void(gateway::Committer::Request)> submit;
    // Commits that will await their confirmation, but are not answered yet (Committer::to_be_confirmed()).
    std::function<const std::set<Generation>&()> coming;
    std::function<WallTime()> wall;
    // The API's words for an outcome; logs a commit.
    std::function<api::CommitAnswer(gateway::Committer::Outcome, const store::HistoryEntry&,
                                    bool dry_run)>
        told;
    // Where the undo could not be read or written.
    Duration undo_again_after = std::chrono::seconds(10);
  };
  explicit History(Parts parts) : parts_(std::move(parts)) {}

  void list(std::function<void(api::HistoryAnswer)> answer);
  void roll_back(Generation generation, api::ChangeRequest request,
                 std::function<void(api::RollbackAnswer)> answer);

  // From now on this commit is undone when `within` is over. Where a later one stands in its way (changed the same
  // further, or awaits its own confirmation of it) all that came after it is undone with it: a safety net that a later
  // edit takes away would be none.
  void await(Generation generation, Duration within);
  // All that wait, or this one. What cannot be written waits on, until its time is over, and is told.
  void confirm(std::optional<Generation> generation,
               std::function<void(api::ConfirmAnswer)> answer);

 private:
  using Clock = std::chrono::steady_clock;
  using Deadline = Clock::time_point;
  struct Waiting {
    boost::asio::steady_timer timer;
    Deadline until;
  };
  void await_until(Generation generation, Deadline until);
  void undo(Generation generation);
  void undo_alone(Generation generation);
  void undo_with_later(Generation generation);
  // Also what is on its way: undone after this one, it would bring back what it was judged on.
  [[nodiscard]] std::vector<Generation> awaited_after(Generation generation) const;
  [[nodiscard]] store::HistoryEntry entry_of_undo() const;
  void undone(Generation generation, const std::vector<Generation>& settled,
              const std::vector<std::string>& warnings, gateway::Committer::Outcome outcome,
              const store::HistoryEntry& entry);
  void forget(const std::vector<Generation>& undone);
  void forget(Generation undone);
  void give_up(Generation generation, const std::string& why);
  void await_no_more(Generation generation);

  Parts parts_;
  std::map<Generation, Waiting> waiting_;
  std::set<Generation> undoing_;  // their time is over; a rollback takes them out
  // Undone before they were answered: what comes then has nothing to await. All are durable, so that no other commit
  // gets their number.
  std::set<Generation> undone_early_;
};

}  // namespace turnpike::daemon
