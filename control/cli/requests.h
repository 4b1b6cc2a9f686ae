// What commands have in common: a question, a change, a complaint. Each gives the exit status.
#pragma once

#include <functional>
#include <string>

#include "control/cli/commands.h"
#include "control/cli/environment.h"
#include "dataplane/base/result.h"

namespace turnpike::cli {

struct Ask;

// One line to the error output.
int complain(Environment& environment, const std::string& what);

using Readable = std::function<Result<std::string, std::string>(const std::string& body)>;

// A question that changes nothing; `readable` makes its text for a person.
int get(const std::string& target, const Common& common, Environment& environment,
        const Readable& readable);
int get(const Ask& request, const Common& common, Environment& environment,
        const Readable& readable);

struct Change {
  std::string target;
  std::string content_type;
  std::string body;
};
int post(const Change& change, const ChangeOptions& options, const Common& common,
         Environment& environment);

}  // namespace turnpike::cli
