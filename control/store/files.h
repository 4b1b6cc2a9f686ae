// The files of a state, looked at before SQLite opens them. SQLite takes an empty file for a new database, applies
// whatever log or rollback journal lies beside a database, and passes over a log that it does not understand: each would
// be a state that nobody committed, without a word. (A log of another gateway's state is of the right kind, and is not
// told apart.)
#pragma once

#include <string>

#include "dataplane/base/result.h"

namespace turnpike::store {

enum class Found { Nothing, State };

// What is at `path`, and its logs: a state of ours that this version knows, ours alone (mode 0600 from here on), and of one
// database as far as their headers say. The error is one line that follows the path: what is wrong, and what to do; the
// files are as they were then.
[[nodiscard]] Result<Found, std::string> look_at_files(const std::string& path);

// An empty file (0600) with the name's place for it, which nobody takes for a state: leftovers there are removed. The error
// follows the path.
[[nodiscard]] Result<std::string, std::string> begin_new_file(const std::string& path);
// Gives it the name; it is on the disk then, or there is an error that follows the path.
[[nodiscard]] Result<void, std::string> finish_new_file(const std::string& made,
                                                        const std::string& path);

// What to do where `what` is wrong with the log; it follows the path.
[[nodiscard]] std::string wrong_log(const std::string& path, const std::string& what);

// What to do with a file that is damaged: `why` in a sentence that follows the path.
[[nodiscard]] std::string damaged(std::string why);

}  // namespace turnpike::store
