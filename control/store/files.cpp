#include "control/store/files.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>

#include "control/store/schema.h"
#include "dataplane/base/bytes.h"

namespace turnpike::store {
namespace {

using Failure = std::unexpected<std::string>;

class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  File& operator=(File&&) = delete;
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  [[nodiscard]] int descriptor() const { return descriptor_; }
  [[nodiscard]] uint64_t size() const {
    struct stat status{};
    return fstat(descriptor_, &status) == 0 ? static_cast<uint64_t>(status.st_size) : 0;
  }
  [[nodiscard]] bool read(uint64_t offset, std::span<uint8_t> into) const {
    const ssize_t got = pread(descriptor_, into.data(), into.size(), static_cast<off_t>(offset));
    return got == static_cast<ssize_t>(into.size());
  }

 private:
  int descriptor_;
};

std::string because(const char* what) { return std::string(what) + ": " + strerror(errno); }

// Nothing where there is no such file.
Result<std::optional<File>, std::string> open_own(const std::string& path) {
  File file(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.descriptor() < 0) {
    if (errno == ENOENT) return std::optional<File>();
    if (errno == ELOOP) return Failure("is a symbolic link; name the file itself");
    if (errno == EISDIR) return Failure("is a directory; a file is expected");
    return Failure(because("cannot be opened"));
  }
  struct stat status{};
  if (fstat(file.descriptor(), &status) != 0) return Failure(because("cannot be looked at"));
  if (!S_ISREG(status.st_mode)) return Failure("is no regular file");
  // Keys are in it, and whoever owns it may read and write it.
  if (status.st_uid != geteuid()) {
    return Failure("belongs to uid " + std::to_string(status.st_uid) +
                   ", and the keys in it are for uid " + std::to_string(geteuid()) +
                   " alone; if it is the right file, chown it");
  }
  return std::optional<File>(std::move(file));
}

Result<void, std::string> close_to_others(const File& file) {
  struct stat status{};
  const bool is_closed = fstat(file.descriptor(), &status) == 0 && (status.st_mode & 07777) == 0600;
  if (is_closed || fchmod(file.descriptor(), 0600) == 0) return {};
  return Failure(because("must have mode 0600"));
}

// SQLite's file formats, sections 1.3 (the database header) and 4.1 (the log's and its frames').
constexpr size_t kDatabaseHeaderBytes = 100, kLogHeaderBytes = 32, kFrameHeaderBytes = 24;
constexpr size_t kRollbackHeaderBytes = 28;  // section 3
constexpr std::string_view kMagic("SQLite format 3\0", 16);

uint32_t be32(std::span<const uint8_t> bytes, size_t at) { return load_be32(&bytes[at]); }

bool log_header_is_right(std::span<const uint8_t, kLogHeaderBytes> header) {
  const uint32_t magic = be32(header, 0);
  if ((magic & ~1u) != 0x377f0682) return false;
  uint32_t a = 0, b = 0;
  for (size_t at = 0; at < 24; at += 8) {
    const auto word = [&](size_t where) {
      return (magic & 1) != 0 ? load_be32(&header[where]) : load_le32(&header[where]);
    };
    a += word(at) + b;
    b += word(at + 4) + a;
  }
  return a == be32(header, 24) && b == be32(header, 28);
}

uint32_t page_bytes(std::span<const uint8_t, kDatabaseHeaderBytes> header) {
  const uint32_t stored = load_be16(&header[16]);
  return stored == 1 ? 65'536 : stored;
}

bool is_database(std::span<const uint8_t, kDatabaseHeaderBytes> header) {
  return std::ranges::equal(header.first(kMagic.size()), kMagic,
                            [](uint8_t a, char b) { return a == static_cast<uint8_t>(b); });
}

// SQLite changes a database by opening it as we do, and a file of somebody else's is none of our business.
Result<void, std::string> judge_header(const File& file) {
  if (file.size() == 0) return Failure(damaged("it is empty"));
  std::array<uint8_t, kDatabaseHeaderBytes> header{};
  if (file.size() < header.size()) return Failure(damaged("it is no database"));
  if (!file.read(0, header)) return Failure(because("cannot be read"));
  if (!is_database(header)) return Failure(damaged("it is no database"));
  return judge_marks(be32(header, 68), static_cast<int32_t>(be32(header, 60)));
}

// Whether SQLite would read the log at all: it passes over one that it does not understand. What is in it is SQLite's to
// judge: behind its end lie frames of before, and one that was cut off in the middle looks like any other.
Result<void, std::string> look_at_log(const File& database, const File& log) {
  std::array<uint8_t, kLogHeaderBytes> header{};
  if (log.size() < header.size()) return {};
  if (!log.read(0, header)) return Failure("cannot be read");
  const auto is_nothing = [](std::span<const uint8_t> bytes) {
    return std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; });
  };
  if (is_nothing(header)) {
    // The power went before the first sync of it, which SQLite waits for before it writes a frame. Commits behind zeros
    // are there still, and it would pass over them.
    std::array<uint8_t, kFrameHeaderBytes> frame{};
    if (!log.read(header.size(), frame) || is_nothing(frame)) return {};
    return Failure("has zeros where it should begin");
  }
  if (!log_header_is_right(header)) return Failure("is no log of a database");
  std::array<uint8_t, kDatabaseHeaderBytes> page{};
  if (!database.read(0, page)) return Failure("belongs to a file that cannot be read");
  if (be32(header, 8) != page_bytes(page)) return Failure("is of another database");
  return {};
}

// By a rollback journal SQLite undoes what was begun when the file was not in WAL mode: ours is not only while a start
// brings it back from somebody who changed that. One whose first byte is zero is over, and SQLite does not look into it.
bool may_be_undone_by(const File& database, const File& journal) {
  std::array<uint8_t, kRollbackHeaderBytes> header{};
  if (journal.size() == 0 || (journal.read(0, std::span(header).first(1)) && header[0] == 0)) {
    return true;
  }
  std::array<uint8_t, kDatabaseHeaderBytes> page{};
  constexpr uint8_t kWalMode = 2;
  return journal.read(0, header) && database.read(0, page) && page[18] != kWalMode &&
         be32(header, 0) == 0xd9d505f9 && be32(header, 4) == 0x20a163d7 &&
         be32(header, 24) == page_bytes(page);
}

std::string about_journal(const std::string& path, const std::string& what) {
  return "cannot be used: beside it lies " + path + "-journal, which " + what;
}

std::string about_log(const std::string& path, const std::string& what) {
  return "cannot be used: its log " + path + "-wal " + what;
}

Result<void, std::string> sync_directory_of(const std::string& path) {
  // Not made absolute: that throws where the working directory is gone.
  std::string directory = std::filesystem::path(path).parent_path().string();
  if (directory.empty()) directory = ".";
  const File file(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.descriptor() < 0 || fsync(file.descriptor()) != 0) {
    return Failure(because("cannot be made"));
  }
  return {};
}

}  // namespace

std::string damaged(std::string why) {
  std::ranges::replace(why, '\n', ' ');
  return "is damaged (" + why +
         "); move it away together with its -wal file. Then put a copy of it back, or start "
         "without: the "
         "gateway begins with what the configuration file says, and edits made at run time are "
         "lost";
}

std::string wrong_log(const std::string& path, const std::string& what) {
  return about_log(path, what) +
         ". Put the right one back; without any, the gateway begins with what was in the file "
         "when the log began, and later commits are lost";
}

Result<Found, std::string> look_at_files(const std::string& path) {
  auto database = open_own(path);
  if (!database) return Failure(std::move(database.error()));
  auto log = open_own(path + "-wal");
  if (!log) return Failure(about_log(path, log.error()));
  auto journal = open_own(path + "-journal");
  if (!journal) return Failure(about_journal(path, journal.error()));
  if (!*database) {
    const bool has_log = *log && (*log)->size() != 0;
    if (!has_log && (!*journal || (*journal)->size() == 0)) return Found::Nothing;
    return Failure("is missing, but its log " + path + (has_log ? "-wal" : "-journal") +
                   " is there; put both back, or move the log away, too: the gateway then begins "
                   "with what the configuration file says, and edits made at run time are lost");
  }
  if (auto good = judge_header(**database); !good) return Failure(std::move(good.error()));
  if (*journal && !may_be_undone_by(**database, **journal)) {
    return Failure(about_journal(
        path,
        "is not of a state (its log is the -wal file), and by which SQLite would change it; move "
        "it away. If another program was stopped while it changed this file's journal mode, have "
        "it finished instead: sqlite3 " +
            path + " 'PRAGMA quick_check'"));
  }
  if (*log) {
    if (auto good = look_at_log(**database, **log); !good) {
      return Failure(wrong_log(path, good.error()));
    }
    if (auto closed = close_to_others(**log); !closed)
      return Failure(about_log(path, closed.error()));
  }
  if (auto closed = close_to_others(**database); !closed) return Failure(std::move(closed.error()));
  return Found::State;
}

Result<std::string, std::string> begin_new_file(const std::string& path) {
  std::string made = path + ".new";
  for (const char* suffix : {"", "-wal", "-journal"}) unlink((made + suffix).c_str());
  const File file(open(made.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.descriptor() < 0) return Failure(because("cannot be made"));
  return made;
}

Result<void, std::string> finish_new_file(const std::string& made, const std::string& path) {
  const File file(open(made.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (file.descriptor() < 0 || fsync(file.descriptor()) != 0 ||
      rename(made.c_str(), path.c_str()) != 0) {
    return Failure(because("cannot be made"));
  }
  return sync_directory_of(path);
}

}  // namespace turnpike::store
