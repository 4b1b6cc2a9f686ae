// Keys as files that nobody else can read, for commands that write configurations.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "dataplane/base/keys.h"
#include "dataplane/base/result.h"

namespace turnpike::cli {

// A directory that files of keys are written to; config::secret_names() says how they are called.
//   Failure: what was made is taken away again unless keep() is called; what `replace` wrote over is not brought
//            back.
class SecretDirectory {
 public:
  // Makes it (0700) where it is missing. `replace`: a file that is there already is replaced, as a whole;
  // without it, that is an error. The error is one line.
  [[nodiscard]] static Result<SecretDirectory, std::string> open(std::string path, bool replace);
  SecretDirectory(SecretDirectory&&) noexcept = default;
  SecretDirectory& operator=(SecretDirectory&&) = delete;
  ~SecretDirectory();

  // A file (0600) of one line, `key` in base64. The error is one line.
  [[nodiscard]] Result<void, std::string> write(std::string_view name, std::string_view key);
  void keep() { made_.clear(); }
  [[nodiscard]] size_t files() const { return files_; }

 private:
  SecretDirectory(std::string path, bool replace) : path_(std::move(path)), replace_(replace) {}

  std::string path_;
  bool replace_;
  size_t files_ = 0;
  std::vector<std::string>
      made_;  // paths that were not there before; the directory first, if it was made
};

// All keys of a configuration, none written over. The error is one line.
[[nodiscard]] Result<size_t, std::string> write_secrets(const config::Config& config,
                                                        const std::string& directory);

}  // namespace turnpike::cli
