#include "control/cli/read_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "dataplane/base/keys.h"

namespace turnpike::cli {

Result<std::string, std::string> read_file(const std::string& path) {
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  const std::unique_ptr<std::FILE, Closer> file(std::fopen(path.c_str(), "rbe"));
  if (file == nullptr) return fail(path + ": cannot be read: " + std::strerror(errno));
  std::setvbuf(file.get(), nullptr, _IONBF, 0);  // no second copy of what may be a key
  std::string text;
  char piece[64 * 1024];
  while (const size_t got = std::fread(piece, 1, sizeof(piece), file.get())) {
    text.append(piece, got);
    if (text.size() > kMaxInputBytes) {
      return fail(path + ": is above " + std::to_string(kMaxInputBytes >> 20) + " MiB");
    }
  }
  const int error = std::ferror(file.get()) != 0 ? errno : 0;
  wipe(piece, sizeof(piece));
  if (error != 0) return fail(path + ": cannot be read: " + std::strerror(error));
  return text;
}

}  // namespace turnpike::cli
