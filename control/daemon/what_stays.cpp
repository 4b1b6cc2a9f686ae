#include "control/daemon/what_stays.h"

namespace turnpike::daemon {

std::vector<std::string> what_stays(
    const Result<std::vector<store::HistoryEntry>, std::string>& history, Generation first,
    Generation last) {
  std::vector<std::string> lines;
  if (!history) return lines;
  for (const store::HistoryEntry& entry : *history) {
    if (entry.generation < first || entry.generation > last) continue;
    if (entry.cause != store::Cause::File) continue;
    lines.push_back("generation " + std::to_string(entry.generation) +
                    " came from the file: addresses, routes and MTUs that it changed stay as they "
                    "are; to change them edit the file and reload");
  }
  return lines;
}

}  // namespace turnpike::daemon
