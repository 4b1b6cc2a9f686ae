// SQLite as far as the store needs it.
//   Threads: one at a time.
//   Errors:  SqlError, which ends at the functions of Store: they make results of it.
#pragma once

#include <concepts>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

#include "dataplane/base/bytes.h"

struct sqlite3;
struct sqlite3_stmt;

namespace turnpike::store {

class SqlError : public std::exception {
 public:
  SqlError(int code, std::string what) : code_(code), what_(std::move(what)) {}
  [[nodiscard]] const char* what() const noexcept override { return what_.c_str(); }
  [[nodiscard]] int code() const noexcept { return code_; }  // an extended result code
  // The file is none of SQLite's, or damaged, or lacks what it must have.
  [[nodiscard]] bool is_corrupt() const noexcept;
  // There is no room.
  [[nodiscard]] bool is_full() const noexcept;
  // What was written may or may not have reached the disk.
  [[nodiscard]] bool is_sync_failure() const noexcept;

 private:
  int code_;
  std::string what_;
};

class Database {
 public:
  // `settings` are executed before anything else.
  explicit Database(const std::string& path, const std::string& settings = "");
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void execute(const std::string& sql);
  // The first column of the first row.
  [[nodiscard]] int64_t number(const std::string& sql);
  [[nodiscard]] std::string text(const std::string& sql);
  // Of the last statement.
  [[nodiscard]] int64_t changed_rows() const noexcept;
  // Whether closing it works the log into the file and removes the log, as it does unless told otherwise.
  void checkpoint_on_close(bool does) noexcept;
  // Ends a transaction that failed, if it still is open.
  void roll_back() noexcept;
  [[nodiscard]] sqlite3* handle() const noexcept { return handle_; }

 private:
  sqlite3* handle_ = nullptr;
};

// One prepared statement. What is bound must live until the next call.
class Statement {
 public:
  Statement(Database& database, std::string_view sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Binds the values and runs it to its end.
  template <typename... Values>
  void run(const Values&... values) {
    begin(values...);
    while (step()) {
    }
  }
  // Binds the values; then step() gives row after row.
  template <typename... Values>
  void begin(const Values&... values) {
    reset();
    int at = 0;
    (bind(++at, values), ...);
  }
  // False at the end.
  [[nodiscard]] bool step();

  [[nodiscard]] int64_t integer(int column) const;
  [[nodiscard]] Bytes blob(int column) const;  // until the next step()
  [[nodiscard]] std::string_view text(int column) const;

 private:
  void reset() noexcept;
  void bind(int at, std::integral auto value) { bind_integer(at, static_cast<int64_t>(value)); }
  void bind(int at, std::string_view value);
  void bind(int at, Bytes value);
  void bind_integer(int at, int64_t value);

  Database& database_;
  sqlite3_stmt* statement_ = nullptr;
};

}  // namespace turnpike::store
