#include "control/cli/secret_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "config/exporter.h"
#include "dataplane/base/text.h"

namespace turnpike::cli {
namespace {

std::string error_of(const std::string& path) { return path + ": " + std::strerror(errno); }

// Empty when it was written.
std::string write_file(const std::string& path, std::string_view key) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return error_of(path);
  std::string text = std::string(key) + "\n";
  const bool written = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  wipe(text.data(), text.size());
  if (::close(file) == 0 && written) return {};
  ::unlink(path.c_str());
  return path + ": " + std::strerror(written ? errno : error);
}

Result<void, std::string> write_key(SecretDirectory& directory, const std::string& name,
                                    std::span<const uint8_t, kKeyBytes> key) {
  std::string text = base::key_to_base64(key);
  auto written = directory.write(name, text);
  wipe(text.data(), text.size());
  return written;
}

}  // namespace

Result<SecretDirectory, std::string> SecretDirectory::open(std::string path, bool replace) {
  SecretDirectory directory(std::move(path), replace);
  if (::mkdir(directory.path_.c_str(), 0700) == 0) {
    directory.made_.push_back(directory.path_);
  } else if (errno != EEXIST) {
    return fail(error_of(directory.path_));
  }
  struct stat status{};
  if (::stat(directory.path_.c_str(), &status) != 0) return fail(error_of(directory.path_));
  if (!S_ISDIR(status.st_mode)) return fail(directory.path_ + ": is no directory");
  return directory;
}

SecretDirectory::~SecretDirectory() {
  // The directory stands first, so it goes last.
  for (auto at = made_.rbegin(); at != made_.rend(); ++at) std::remove(at->c_str());
}

Result<void, std::string> SecretDirectory::write(std::string_view name, std::string_view key) {
  // The name comes from another process.
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string_view::npos) {
    return fail("\"" + std::string(name) + "\" is no name of a file of keys");
  }
  const std::string path = path_ + "/" + std::string(name);
  struct stat status{};
  const bool replaces = replace_ && ::lstat(path.c_str(), &status) == 0;
  const std::string first = replaces ? path + ".new" : path;
  if (replaces) ::unlink(first.c_str());  // of a run that was killed
  if (std::string error = write_file(first, key); !error.empty()) return fail(std::move(error));
  if (!replaces) {
    made_.push_back(path);
  } else if (::rename(first.c_str(), path.c_str()) != 0) {
    std::string error = error_of(path);
    ::unlink(first.c_str());
    return fail(std::move(error));
  }
  ++files_;
  return {};
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
  directory->keep();
  return directory->files();
}

}  // namespace turnpike::cli
