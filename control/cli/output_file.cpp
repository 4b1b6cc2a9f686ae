#include "control/cli/output_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace turnpike::cli {
namespace {

std::string there_already(const std::string& path) {
  return path + " is there already; --force replaces it";
}

}  // namespace

Result<OutputFile, std::string> OutputFile::open(std::string path, bool replace) {
  OutputFile output(std::move(path), replace);
  struct stat status{};
  if (::lstat(output.path_.c_str(), &status) == 0) {
    if (!replace) return fail(there_already(output.path_));
    if (!S_ISREG(status.st_mode)) return fail(output.path_ + " is no regular file");
  }
  std::string name = output.path_ + ".XXXXXX";
  output.file_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (output.file_ < 0) return fail(output.path_ + ": " + std::strerror(errno));
  output.temporary_ = std::move(name);
  return output;
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      replace_(other.replace_),
      file_(std::exchange(other.file_, -1)),
      error_(other.error_) {}

OutputFile::~OutputFile() {
  if (file_ >= 0) ::close(file_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void OutputFile::write(std::string_view bytes) {
  while (error_ == 0 && !bytes.empty()) {
    const ssize_t written = ::write(file_, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes.remove_prefix(static_cast<size_t>(written));
    } else if (errno != EINTR) {
      error_ = errno;
    }
  }
}

Result<void, std::string> OutputFile::finish() {
  if (error_ == 0 && ::fsync(file_) != 0) error_ = errno;
  if (::close(std::exchange(file_, -1)) != 0 && error_ == 0) error_ = errno;
  if (error_ != 0) return fail(path_ + ": " + std::strerror(error_));
  const std::string parent = std::filesystem::path(path_).parent_path().string();
  const int directory =
      ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return fail(parent + ": " + std::strerror(errno));
  auto placed = place();
  // Its name is on the disk, too.
  if (placed && ::fsync(directory) != 0) placed = fail(parent + ": " + std::strerror(errno));
  ::close(directory);
  return placed;
}

Result<void, std::string> OutputFile::place() {
  // link() says no where somebody else was faster, rename() would not.
  if (replace_ ? ::rename(temporary_.c_str(), path_.c_str()) != 0
               : ::link(temporary_.c_str(), path_.c_str()) != 0) {
    return fail(errno == EEXIST ? there_already(path_) : path_ + ": " + std::strerror(errno));
  }
  if (!replace_) ::unlink(temporary_.c_str());
  temporary_.clear();
  return {};
}

}  // namespace turnpike::cli
