// A working directory that was removed, as long as this lives.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>

#include "dataplane/base/check.h"

namespace turnpike::test {

class GoneDirectory {
 public:
  GoneDirectory() {
    std::string name = testing::TempDir() + "turnpike-gone-XXXXXX";
    CHECK(before_ >= 0 && mkdtemp(name.data()) != nullptr);
    CHECK(chdir(name.c_str()) == 0 && rmdir(name.c_str()) == 0);
  }
  ~GoneDirectory() {
    CHECK(fchdir(before_) == 0);
    close(before_);
  }
  GoneDirectory(const GoneDirectory&) = delete;
  GoneDirectory& operator=(const GoneDirectory&) = delete;

 private:
  int before_ = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
};

}  // namespace turnpike::test
