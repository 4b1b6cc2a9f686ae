#include "config/load.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "config/check.h"
#include "config/document.h"
#include "config/plain_text.h"
#include "config/reader.h"
#include "config/report.h"
#include "dataplane/base/keys.h"

namespace turnpike::config {
namespace {

// The file's bytes; they may hold keys.
class SecretText {
 public:
  SecretText() = default;
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;
  ~SecretText() { forget(); }

  [[nodiscard]] std::string_view view() const { return {bytes_.get(), size_}; }

  // 0, or an errno. EFBIG above kMaxFileBytes.
  int read_all(int fd, size_t expected_bytes) {
    // One more than expected, so that the end is seen without growing.
    grow(expected_bytes + 1);
    for (;;) {
      if (size_ == capacity_) grow(2 * capacity_);
      const ssize_t got = ::read(fd, bytes_.get() + size_, capacity_ - size_);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return errno;
      if (got == 0) return 0;
      size_ += static_cast<size_t>(got);
      if (size_ > kMaxFileBytes) return EFBIG;
    }
  }

 private:
  void grow(size_t capacity) {
    auto larger = std::make_unique_for_overwrite<char[]>(capacity);
    std::copy_n(bytes_.get(), size_, larger.get());
    forget();
    bytes_ = std::move(larger);
    capacity_ = capacity;
  }
  void forget() { wipe(bytes_.get(), capacity_); }

  std::unique_ptr<char[]> bytes_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

// YAML allows no control characters, and the library takes U+0004 for the end of the file.
bool check_characters(std::string_view text, Report& report) {
  Location at{1, 1};
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7f) {
      report.mistake(
          at, Path(),
          cat({"control character ", quote(text.substr(i, 1)), "; a configuration is plain text"}));
      return false;
    }
    const size_t length = utf8_length(text, i);
    if (length == 0) {
      report.mistake(at, Path(), "this is no UTF-8; save the file in that encoding");
      return false;
    }
    i += length;
    at.column += static_cast<uint32_t>(length);
    if (byte == '\n') at = {at.line + 1, 1};
  }
  return true;
}

Result<Config, std::vector<ConfigError>> parse(std::string_view text,
                                               const std::filesystem::path& base, bool open_to_all,
                                               PublicKeyOf public_key_of, Report& report) {
  if (!check_characters(text, report)) return fail(report.take_mistakes());
  DocumentReader reader(base, report);
  std::optional<Node> root = read_document(text, report, reader);
  if (!root) return fail(report.take_mistakes());
  Config config = reader.read(*root);
  check(config, public_key_of, report);
  if (open_to_all && reader.has_inline_secret()) {
    report.warning(reader.inline_secret_at(), Path(),
                   "a secret key stands in a file that all users may read; chmod 600 closes it");
  }
  if (!report.clean()) return fail(report.take_mistakes());
  config.warnings = report.take_warnings();
  return config;
}

Result<Config, std::vector<ConfigError>> unreadable(const std::string& name,
                                                    const std::string& why) {
  return fail(std::vector<ConfigError>{{name, 0, 0, "", why}});
}

}  // namespace

Result<Config, std::vector<ConfigError>> parse_config(std::string_view text,
                                                      const std::string& file,
                                                      const std::filesystem::path& base,
                                                      PublicKeyOf public_key_of) {
  if (text.size() > kMaxFileBytes) return unreadable(file, "is above 1 GiB");
  Report report(file);
  return parse(text, base, false, public_key_of, report);
}

Result<Config, std::vector<ConfigError>> load_config(const std::filesystem::path& file,
                                                     PublicKeyOf public_key_of) {
  const std::string name = file.string();
  const auto failed = [&](const char* what) {
    return unreadable(name, cat({what, std::generic_category().message(errno)}));
  };
  const int fd = ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return failed("cannot be opened: ");
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } closer{fd};
  struct stat status{};
  if (::fstat(fd, &status) != 0) return failed("cannot be read: ");
  if (!S_ISREG(status.st_mode)) return unreadable(name, "is no regular file");
  const auto size = static_cast<size_t>(status.st_size);
  SecretText text;
  errno = size > kMaxFileBytes ? EFBIG : text.read_all(fd, size);
  if (errno == EFBIG) return unreadable(name, "is above 1 GiB");
  if (errno != 0) return failed("cannot be read: ");
  Report report(name);
  return parse(text.view(), file.parent_path(), (status.st_mode & S_IROTH) != 0, public_key_of,
               report);
}

}  // namespace turnpike::config
