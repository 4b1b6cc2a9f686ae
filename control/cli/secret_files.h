// Keys as files that nobody else can read, for commands that write configurations.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "config/config.h"
#include "dataplane/base/keys.h"
#include "dataplane/base/result.h"

namespace turnpike::cli {

// A directory of keys, for system calls and in the configuration that names it.
struct SecretPlace {
  std::string path;
  std::string named;
};

// Named relative to the configuration's own file, `output`, where it lies below the directory of that, so that both can
// be moved together; else, and where nobody knows where the file will be (empty), with its whole path. The error
// is one line: a configuration is plain text, and cannot name everything.
[[nodiscard]] Result<SecretPlace, std::string> place_of_secrets(std::string directory,
                                                                const std::string& output);

// A directory that files of keys are written to; config::secret_names() says how they are called.
//   Failure: what was made is taken away again unless keep() is called; what `replace` wrote over is not brought
//            back.
class SecretDirectory {
 public:
  // Makes it (0700) where it is missing. One that is there has to be of the caller or of root, and nobody else
  // may write to it. `replace`: a file that is there already is replaced, as a whole; without it, that is an
  // error. The error is one line.
  [[nodiscard]] static Result<SecretDirectory, std::string> open(std::string path, bool replace);
  SecretDirectory(SecretDirectory&& other) noexcept;
  SecretDirectory& operator=(SecretDirectory&&) = delete;
  ~SecretDirectory();

  // A file (0600) of one line, `key` in base64. No name twice, whatever `replace` says: the first key would be
  // gone. The error is one line.
  [[nodiscard]] Result<void, std::string> write(std::string_view name, std::string_view key);
  // All files are on the disk when it returns.
  [[nodiscard]] Result<void, std::string> sync();
  void keep();
  [[nodiscard]] size_t files() const { return names_.size(); }

 private:
  SecretDirectory(std::string path, bool replace) : path_(std::move(path)), replace_(replace) {}
  [[nodiscard]] std::string error_of(const std::string& name) const;
  [[nodiscard]] std::string write_file(const std::string& name, std::string_view key) const;

  std::string path_;  // for messages, and to take away what was made
  bool replace_;
  // All files are named below it, so that they are in the directory that was looked at, whoever renames what.
  int directory_ = -1;
  bool made_directory_ = false;
  std::unordered_set<std::string> names_;  // of the files written
  std::vector<std::string> made_;  // of these, what was not there before
};

// All keys of a configuration, none written over. The error is one line.
[[nodiscard]] Result<size_t, std::string> write_secrets(const config::Config& config,
                                                        const std::string& directory);

}  // namespace turnpike::cli
