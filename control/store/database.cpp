#include "control/store/database.h"

#include <sqlite3.h>
#include <string.h>

namespace turnpike::store {
namespace {

// With what the system said, where it is the system that failed.
SqlError error_of(sqlite3* handle, int code) {
  if (handle == nullptr) return {code, sqlite3_errstr(code)};
  const int extended = sqlite3_extended_errcode(handle);
  std::string what = sqlite3_errmsg(handle);
  const int primary = extended & 0xff;
  const int system = sqlite3_system_errno(handle);
  if (system != 0 && (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN)) {
    what += std::string(" (") + strerror(system) + ")";
  }
  return {extended, std::move(what)};
}

[[noreturn]] void fail_with(sqlite3* handle, int code) { throw error_of(handle, code); }

}  // namespace

bool SqlError::is_corrupt() const noexcept {
  const int primary = code_ & 0xff;
  return primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB || primary == SQLITE_ERROR;
}

bool SqlError::is_full() const noexcept { return (code_ & 0xff) == SQLITE_FULL; }

bool SqlError::is_sync_failure() const noexcept {
  return code_ == SQLITE_IOERR_FSYNC || code_ == SQLITE_IOERR_DIR_FSYNC;
}

Database::Database(const std::string& path, const std::string& settings) {
  const int code =
      sqlite3_open_v2(path.c_str(), &handle_,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (code == SQLITE_OK) {
    sqlite3_extended_result_codes(handle_, 1);
    char* message = nullptr;
    const int set = sqlite3_exec(handle_, settings.c_str(), nullptr, nullptr, &message);
    if (set == SQLITE_OK) return;
    const SqlError error(set, message != nullptr ? message : sqlite3_errstr(set));
    sqlite3_free(message);
    sqlite3_close(handle_);
    throw error;
  }
  const SqlError error = error_of(handle_, code);
  sqlite3_close(handle_);
  throw error;
}

Database::~Database() { sqlite3_close(handle_); }

void Database::execute(const std::string& sql) {
  if (const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr)) {
    fail_with(handle_, code);
  }
}

int64_t Database::number(const std::string& sql) {
  Statement statement(*this, sql);
  statement.begin();
  return statement.step() ? statement.integer(0) : 0;
}

std::string Database::text(const std::string& sql) {
  Statement statement(*this, sql);
  statement.begin();
  return statement.step() ? std::string(statement.text(0)) : std::string();
}

void Database::checkpoint_on_close(bool does) noexcept {
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, does ? 0 : 1, nullptr);
}

int64_t Database::changed_rows() const noexcept { return sqlite3_changes64(handle_); }

void Database::roll_back() noexcept {
  // Some errors (a full disk among them) have ended the transaction already.
  if (sqlite3_get_autocommit(handle_) == 0) {
    sqlite3_exec(handle_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
}

Statement::Statement(Database& database, std::string_view sql) : database_(database) {
  const int code = sqlite3_prepare_v3(database.handle(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
  if (code != SQLITE_OK) fail_with(database.handle(), code);
}

Statement::~Statement() { sqlite3_finalize(statement_); }

void Statement::reset() noexcept {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

bool Statement::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    reset();
    return false;
  }
  const SqlError error = error_of(database_.handle(), code);
  reset();
  throw error;
}

void Statement::bind_integer(int at, int64_t value) {
  if (const int code = sqlite3_bind_int64(statement_, at, value)) {
    fail_with(database_.handle(), code);
  }
}

void Statement::bind(int at, std::string_view value) {
  const int code = sqlite3_bind_text64(statement_, at, value.data() != nullptr ? value.data() : "",
                                       value.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (code != SQLITE_OK) fail_with(database_.handle(), code);
}

void Statement::bind(int at, Bytes value) {
  const void* from = value.data() != nullptr ? static_cast<const void*>(value.data()) : "";
  if (const int code = sqlite3_bind_blob64(statement_, at, from, value.size(), SQLITE_STATIC)) {
    fail_with(database_.handle(), code);
  }
}

int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }

Bytes Statement::blob(int column) const {
  const auto* from = static_cast<const uint8_t*>(sqlite3_column_blob(statement_, column));
  return {from, static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

std::string_view Statement::text(int column) const {
  const auto* from = sqlite3_column_text(statement_, column);
  const auto length = static_cast<size_t>(sqlite3_column_bytes(statement_, column));
  return from == nullptr ? std::string_view()
                         : std::string_view(reinterpret_cast<const char*>(from), length);
}

}  // namespace turnpike::store
