#include "control/cli/secret_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "dataplane/base/text.h"

namespace turnpike::cli {
namespace {

std::string hex_prefix(const PublicKey& key) {
  constexpr size_t kShownBytes = 8;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < kShownBytes; ++i) {
    out += kDigits[key.bytes[i] >> 4];
    out += kDigits[key.bytes[i] & 15];
  }
  return out;
}

// Empty when it was written.
std::string write_secret(const std::string& path, std::span<const uint8_t, kKeyBytes> key) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return path + ": " + std::strerror(errno);
  std::array<uint8_t, kKeyBytes> bytes;
  std::ranges::copy(key, bytes.begin());
  std::string text = base::key_to_base64(bytes) + "\n";
  const bool written = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  wipe(bytes.data(), bytes.size());
  wipe(text.data(), text.size());
  return ::close(file) == 0 && written ? "" : path + ": " + std::strerror(error);
}

}  // namespace

config::SecretFiles secret_names(const std::string& directory) {
  const std::string below = directory.empty() ? "" : directory + "/";
  return {
      .private_key = [below](const config::Tunnel& tunnel) { return below + tunnel.name + ".key"; },
      .preshared_key =
          [below](const config::Tunnel& tunnel, const config::Peer& peer, size_t) {
            return below + tunnel.name + "-" + hex_prefix(peer.public_key) + ".psk";
          }};
}

Result<size_t, std::string> write_secrets(const config::Config& config,
                                          const std::string& directory) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail(directory + ": " + std::strerror(errno));
  }
  const config::SecretFiles names = secret_names(directory);
  size_t files = 0;
  for (const config::Tunnel& tunnel : config.tunnels) {
    if (std::string error = write_secret(names.private_key(tunnel), tunnel.private_key.bytes());
        !error.empty()) {
      return fail(std::move(error));
    }
    ++files;
    for (size_t i = 0; i < tunnel.peers.size(); ++i) {
      const config::Peer& peer = tunnel.peers[i];
      if (!peer.preshared_key) continue;
      if (std::string error =
              write_secret(names.preshared_key(tunnel, peer, i), peer.preshared_key->bytes());
          !error.empty()) {
        return fail(std::move(error));
      }
      ++files;
    }
  }
  return files;
}

}  // namespace turnpike::cli
