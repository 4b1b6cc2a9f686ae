// What can be asked, and who may. openapi.yaml describes the same table; a test holds them together.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "control/api/backend.h"
#include "control/api/request.h"

namespace turnpike::api {

class Routes {
 public:
  Routes(Backend& backend, Offload offload) : backend_(backend), offload_(std::move(offload)) {}

  // Calls `respond` once, now or later.
  void handle(Request request, Respond respond);
  // What is wrong with a request, as far as that is known without its body; nothing: go on.
  [[nodiscard]] static std::optional<Response> refuse(const Request& request);

  struct Route {
    std::string_view method;
    std::string_view path;
    Access needs;
    void (Routes::*run)(Request&, Respond);
    // Its query parameters; others are refused.
    std::span<const std::string_view> parameters;
  };
  [[nodiscard]] static std::span<const Route> table();

 private:
  [[nodiscard]] static const Route* find_route(const Request& request);
  void show(Request& request, Respond respond);
  void owner(Request& request, Respond respond);
  void peer(Request& request, Respond respond);
  void transactions(Request& request, Respond respond);
  void reload(Request& request, Respond respond);
  void diff(Request& request, Respond respond);
  void history(Request& request, Respond respond);
  void rollback(Request& request, Respond respond);
  void confirm(Request& request, Respond respond);
  void events(Request& request, Respond respond);
  void export_running(Request& request, Respond respond);
  void export_with_keys(Request& request, Respond respond);

  Backend& backend_;
  Offload offload_;
};

}  // namespace turnpike::api
