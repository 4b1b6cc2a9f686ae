#include <algorithm>
#include <tuple>

#include "config/config.h"

namespace turnpike::config {
namespace {

auto order(const SecretFile& file) { return std::tie(file.tunnel, file.peer); }

}  // namespace

const SecretFile* find_secret_file(const Config& config, size_t tunnel, const PublicKey& peer) {
  const auto number = static_cast<uint32_t>(tunnel);
  const auto found =
      std::ranges::lower_bound(config.secret_files, std::tie(number, peer), {}, order);
  if (found == config.secret_files.end() || found->tunnel != tunnel || found->peer != peer) {
    return nullptr;
  }
  return &*found;
}

void sort_secret_files(Config& config) { std::ranges::sort(config.secret_files, {}, order); }

}  // namespace turnpike::config
