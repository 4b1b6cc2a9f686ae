#include "control/cli/secret_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "config/exporter.h"
#include "config/plain_text.h"
#include "dataplane/base/text.h"

namespace turnpike::cli {
namespace {

Result<void, std::string> write_key(SecretDirectory& directory, const std::string& name,
                                    std::span<const uint8_t, kKeyBytes> key) {
  std::string text = base::key_to_base64(key);
  auto written = directory.write(name, text);
  wipe(text.data(), text.size());
  return written;
}

}  // namespace

Result<SecretPlace, std::string> place_of_secrets(std::string directory,
                                                  const std::string& output) {
  namespace fs = std::filesystem;
  while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
  std::error_code error;  // the working directory may be gone
  const fs::path absolute = fs::absolute(directory, error).lexically_normal();
  if (error) return fail(directory + ": " + error.message());
  std::string named = absolute.string();
  if (!output.empty()) {
    const fs::path beside = fs::absolute(output, error).lexically_normal().parent_path();
    if (error) return fail(output + ": " + error.message());
    const fs::path relative = absolute.lexically_relative(beside);
    if (!relative.empty() && *relative.begin() != "..") named = relative.string();
  }
  std::string plain = config::plain_text(named, false);
  if (plain != named) {
    return fail(std::move(plain) +
                ": a configuration cannot name this directory; its path has to be UTF-8 without "
                "control characters");
  }
  return SecretPlace{.path = std::move(directory), .named = std::move(named)};
}

Result<SecretDirectory, std::string> SecretDirectory::open(std::string path, bool replace) {
  SecretDirectory directory(std::move(path), replace);
  const std::string& name = directory.path_;
  const auto failed = [&name](const std::string& why) { return fail(name + ": " + why); };
  if (::mkdir(name.c_str(), 0700) == 0) {
    directory.made_directory_ = true;
  } else if (errno != EEXIST) {
    return failed(std::strerror(errno));
  }
  directory.directory_ = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat status{};
  if (directory.directory_ < 0 || ::fstat(directory.directory_, &status) != 0) {
    return failed(std::strerror(errno));
  }
  // Whoever may write to it can put keys of their own in the place of ours.
  if (status.st_uid != ::geteuid() && status.st_uid != 0) {
    return failed("is the directory of another user (" + std::to_string(status.st_uid) + ")");
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return failed("others may write to this directory; chmod go-w makes it yours alone");
  }
  return directory;
}

SecretDirectory::SecretDirectory(SecretDirectory&& other) noexcept
    : path_(std::move(other.path_)),
      replace_(other.replace_),
      directory_(std::exchange(other.directory_, -1)),
      made_directory_(std::exchange(other.made_directory_, false)),
      names_(std::move(other.names_)),
      made_(std::exchange(other.made_, {})) {}

SecretDirectory::~SecretDirectory() {
  for (const std::string& name : made_) ::unlinkat(directory_, name.c_str(), 0);
  if (directory_ >= 0) ::close(directory_);
  if (made_directory_) ::rmdir(path_.c_str());
}

void SecretDirectory::keep() {
  made_.clear();
  made_directory_ = false;
}

std::string SecretDirectory::error_of(const std::string& name) const {
  return path_ + "/" + name + ": " + std::strerror(errno);
}

// Empty when it was written.
std::string SecretDirectory::write_file(const std::string& name, std::string_view key) const {
  const int file = ::openat(directory_, name.c_str(),
                            O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return error_of(name);
  std::string text;
  text.reserve(key.size() + 1);  // at once, so that no copy is left where the text grew
  text = key;
  text += '\n';
  const bool written = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  wipe(text.data(), text.size());
  if (::close(file) == 0 && written) return {};
  if (!written) errno = error;
  std::string what = error_of(name);
  ::unlinkat(directory_, name.c_str(), 0);
  return what;
}

Result<void, std::string> SecretDirectory::write(std::string_view name, std::string_view key) {
  // The name comes from another process.
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string_view::npos) {
    return fail("\"" + std::string(name) + "\" is no name of a file of keys");
  }
  const std::string to(name);
  if (names_.contains(to)) return fail(path_ + "/" + to + ": two keys have this name");
  struct stat status{};
  const bool replaces =
      replace_ && ::fstatat(directory_, to.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
  const std::string first = replaces ? to + ".new" : to;
  if (replaces) ::unlinkat(directory_, first.c_str(), 0);  // of a run that was killed
  if (std::string error = write_file(first, key); !error.empty()) return fail(std::move(error));
  if (!replaces) {
    made_.push_back(to);
  } else if (::renameat(directory_, first.c_str(), directory_, to.c_str()) != 0) {
    std::string error = error_of(to);
    ::unlinkat(directory_, first.c_str(), 0);
    return fail(std::move(error));
  }
  names_.insert(to);
  return {};
}

Result<void, std::string> SecretDirectory::sync() {
  // The whole file system at once: there may be very many files.
  if (::syncfs(directory_) == 0) return {};
  return fail(path_ + ": " + std::strerror(errno));
}

Result<size_t, std::string> write_secrets(const config::Config& config, const std::string& path) {
  auto directory = SecretDirectory::open(path, false);
  if (!directory) return fail(std::move(directory.error()));
  const config::SecretFiles names = config::secret_names("");
  for (const config::Tunnel& tunnel : config.tunnels) {
    auto written = write_key(*directory, names.private_key(tunnel), tunnel.private_key.bytes());
    for (size_t i = 0; written && i < tunnel.peers.size(); ++i) {
      const config::Peer& peer = tunnel.peers[i];
      if (!peer.preshared_key) continue;
      written =
          write_key(*directory, names.preshared_key(tunnel, peer, i), peer.preshared_key->bytes());
    }
    if (!written) return fail(std::move(written.error()));
  }
  if (auto synced = directory->sync(); !synced) return fail(std::move(synced.error()));
  directory->keep();
  return directory->files();
}

}  // namespace turnpike::cli
