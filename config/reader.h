// Nodes into the sections of the configuration. What one section can know alone is checked here;
// what takes two places of the file, in check.h.
#pragma once

#include <filesystem>
#include <vector>

#include "config/config.h"
#include "config/document.h"
#include "config/report.h"

namespace turnpike::config {

// After a mistake the values are placeholders (an empty name, a family None, an all-zero public
// key) so that items keep their place in lists; the report is then not clean and nobody but check()
// sees them.
class DocumentReader final : public PeerSink {
 public:
  DocumentReader(std::filesystem::path base, Report& report)
      : base_(std::move(base)), report_(report) {}

  void take_peer(size_t tunnel, size_t index, Node&& peer) override;
  [[nodiscard]] Config read(Node& root);
  // A key that stands in the text itself, if there is one.
  [[nodiscard]] bool has_inline_secret() const { return has_inline_secret_; }
  [[nodiscard]] Location inline_secret_at() const { return inline_secret_at_; }

 private:
  void note_inline_secret(Location at);

  std::filesystem::path base_;
  Report& report_;
  std::vector<std::vector<Peer>> peers_;  // of each tunnel
  size_t peer_count_ = 0;
  std::vector<SecretFile> secret_files_;
  bool has_inline_secret_ = false;
  Location inline_secret_at_;
};

}  // namespace turnpike::config
