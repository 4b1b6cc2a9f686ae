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

// Makes the tables, or adds what an older file lacks, in one transaction. The error, one line, says what to do
// with a file that is newer or no state of a gateway. Throws SqlError.
[[nodiscard]] Result<void, std::string> bring_up_to_date(Database& database);

}  // namespace turnpike::store
