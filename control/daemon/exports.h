// What runs as a configuration, for whoever asks: made by the helper thread when its turn comes among the commits,
// so that it is of one moment and durable. Commits wait meanwhile, questions do not.
//   Threads: control.
//   Bounds:  kAtATime, whose answers are still being made or sent, of them kOfReaders who may only look; each takes
//            memory as a loaded file does.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "config/config.h"
#include "control/api/backend.h"
#include "control/api/request.h"
#include "control/gateway/committer.h"
#include "control/gateway/running_config.h"

namespace turnpike::daemon {

class Exports {
 public:
  static constexpr size_t kAtATime = 4;
  static constexpr size_t kOfReaders = 1;  // so that slow ones of them keep nobody out

  struct Parts {
    std::shared_ptr<const config::Config> started;
    std::function<std::shared_ptr<const config::Config>()> applied;  // the file applied last
    const gateway::Topology& topology;
    std::function<void(gateway::Committer::Request)> submit;
    api::Offload offload;  // large values are let go there
    std::function<void(const api::Caller&)> keys_given;  // for the log
  };
  explicit Exports(Parts parts);

  void begin(const api::ExportRequest& request, std::function<void(api::RunningAnswer)> answer);

 private:
  Parts parts_;
  std::shared_ptr<const api::Offload> offload_;  // while this object lives
  struct Running {
    std::weak_ptr<const gateway::RunningConfig> config;
    bool reader;
  };
  std::vector<Running> running_;
};

}  // namespace turnpike::daemon
