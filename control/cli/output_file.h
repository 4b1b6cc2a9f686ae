// A file that is there as a whole, or not at all.
#pragma once

#include <string>
#include <string_view>

#include "dataplane/base/result.h"

namespace turnpike::cli {

class OutputFile {
 public:
  // Written beside `path`, under a name of its own and for its owner alone, until finish(). `replace`: a file that
  // is there is replaced; without it, that is an error. Errors are one line.
  [[nodiscard]] static Result<OutputFile, std::string> open(std::string path, bool replace);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  // A failure is told by finish().
  void write(std::string_view bytes);
  // It is there, under its name and on the disk, when this returns without an error.
  [[nodiscard]] Result<void, std::string> finish();

 private:
  OutputFile(std::string path, bool replace) : path_(std::move(path)), replace_(replace) {}
  [[nodiscard]] Result<void, std::string> place();

  std::string path_;
  std::string temporary_;  // empty: there is none (any more)
  bool replace_;
  int file_ = -1;
  int error_ = 0;  // the first
};

}  // namespace turnpike::cli
