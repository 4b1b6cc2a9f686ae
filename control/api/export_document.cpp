#include "control/api/export_document.h"

#include <span>
#include <utility>
#include <vector>

#include "config/exporter.h"
#include "dataplane/base/text.h"

namespace turnpike::api {
namespace {

// Peers that one slice of keys looks at.
constexpr size_t kPeersPerSlice = 128;
// Of those that stand in no file.
constexpr size_t kKeysNamed = 5;

size_t number_of(const config::Config& config, const config::Tunnel& tunnel) {
  return static_cast<size_t>(&tunnel - config.tunnels.data());
}

// What the file applied last named stays so; the rest is to be found beside the new file.
config::SecretFiles present_files(const config::Config& config) {
  const config::SecretFiles made = config::secret_names("");
  return {
      .private_key =
          [&config, made](const config::Tunnel& tunnel) {
            const auto* file = config::find_secret_file(config, number_of(config, tunnel));
            return file != nullptr ? file->path : made.private_key(tunnel);
          },
      .preshared_key =
          [&config, made](const config::Tunnel& tunnel, const config::Peer& peer, size_t index) {
            const auto* file =
                config::find_secret_file(config, number_of(config, tunnel), peer.public_key);
            return file != nullptr ? file->path : made.preshared_key(tunnel, peer, index);
          },
      .missing =
          [&config](const config::Tunnel& tunnel, const config::Peer* peer) {
            return config::find_secret_file(config, number_of(config, tunnel),
                                            peer != nullptr ? peer->public_key : PublicKey{}) ==
                   nullptr;
          }};
}

std::vector<std::string> comments_of(const gateway::RunningConfig& running, bool with_keys) {
  std::vector<std::string> comments{"What turnpiked ran at generation " +
                                    std::to_string(running.generation) +
                                    ", made by turnpike export."};
  for (const std::string& note : running.notes) comments.push_back("note: " + note);
  if (with_keys || running.keys_without_file == 0) return comments;
  std::string whose;
  for (size_t i = 0; i < running.named_without_file.size() && i < kKeysNamed; ++i) {
    whose += ", " + running.named_without_file[i];
  }
  if (running.keys_without_file > kKeysNamed) whose += " and others";
  comments.push_back("note: " + std::to_string(running.keys_without_file) +
                     " keys were given inline or at run time and stand in no file" + whose +
                     "; --secrets DIR writes all keys");
  return comments;
}

class ExportSource final : public BodySource {
 public:
  ExportSource(std::shared_ptr<const gateway::RunningConfig> running,
               const std::optional<std::string>& directory)
      : running_(std::move(running)),
        names_(config::secret_names("")),
        exporter_(running_->config,
                  directory ? config::secret_names(*directory) : present_files(running_->config),
                  comments_of(*running_, directory.has_value())),
        keys_left_(directory.has_value()) {}

  bool next(std::string& out) override {
    if (!keys_left_) return exporter_.next(out);
    keys_left_ = keys(out);
    if (!keys_left_) out += '\n';
    return true;
  }

 private:
  // False when all have been written.
  bool keys(std::string& out) {
    const std::vector<config::Tunnel>& tunnels = running_->config.tunnels;
    if (tunnel_ == tunnels.size()) return false;
    const config::Tunnel& tunnel = tunnels[tunnel_];
    if (peer_ == 0 && !tunnel.private_key.is_zero()) {
      key(out, names_.private_key(tunnel), tunnel.private_key.bytes());
    }
    for (size_t looked = 0; looked < kPeersPerSlice && peer_ < tunnel.peers.size(); ++looked) {
      const config::Peer& peer = tunnel.peers[peer_];
      if (peer.preshared_key) {
        key(out, names_.preshared_key(tunnel, peer, peer_), peer.preshared_key->bytes());
      }
      ++peer_;
    }
    if (peer_ == tunnel.peers.size()) {
      ++tunnel_;
      peer_ = 0;
    }
    return true;
  }

  static void key(std::string& out, const std::string& file,
                  std::span<const uint8_t, kKeyBytes> bytes) {
    std::string text = base::key_to_base64(bytes);
    out += file;
    out += ' ';
    out += text;
    out += '\n';
    wipe(text.data(), text.size());
  }

  std::shared_ptr<const gateway::RunningConfig> running_;
  config::SecretFiles names_;
  config::Exporter exporter_;
  bool keys_left_;
  size_t tunnel_ = 0;
  size_t peer_ = 0;
};

}  // namespace

std::unique_ptr<BodySource> make_export(std::shared_ptr<const gateway::RunningConfig> running,
                                        std::optional<std::string> directory) {
  return std::make_unique<ExportSource>(std::move(running), directory);
}

}  // namespace turnpike::api
