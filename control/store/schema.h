// The tables of state.db and how an older file gets them.
#pragma once

#include <string>

#include "control/store/database.h"
#include "dataplane/base/result.h"

namespace turnpike::store {

// "Turn": PRAGMA application_id, so that nobody else's database is taken for a state.
inline constexpr int64_t kApplicationId = 0x5475726e;

// PRAGMA user_version of a file that this version writes.
[[nodiscard]] int schema_version();
// Which step made which version; tests bring a file to an older one.
[[nodiscard]] const char* schema_step(int version);  // 1 to schema_version()

// Whether a database with these is a state that this version knows. The error, one line, says what to do.
[[nodiscard]] Result<void, std::string> judge_marks(int64_t application_id, int64_t user_version);

// Makes the tables that an empty or older database lacks, within the caller's transaction. Throws SqlError.
void add_what_is_missing(Database& database);

}  // namespace turnpike::store
