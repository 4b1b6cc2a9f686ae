#include "control/daemon/what_stays.h"

namespace turnpike::daemon {

std::vector<std::string> what_stays(const Result<std::vector<Generation>, std::string>& from_file) {
  std::vector<std::string> lines;
  if (!from_file) return lines;
  for (const Generation generation : *from_file) {
    lines.push_back("generation " + std::to_string(generation) +
                    " came from the file: addresses, routes and MTUs that it changed stay as they "
                    "are; to change them edit the file and reload");
  }
  return lines;
}

}  // namespace turnpike::daemon
