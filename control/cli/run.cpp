// The command line itself: which words there are, and what each of them means.
#include <CLI/CLI.hpp>
#include <functional>
#include <ostream>
#include <sstream>

#include "config/nearest.h"
#include "control/cli/commands.h"
#include "control/cli/environment.h"
#include "control/cli/export.h"
#include "control/cli/file_commands.h"
#include "control/cli/history_commands.h"
#include "control/cli/import.h"
#include "control/cli/top.h"
#include "control/cli/watch.h"

namespace turnpike::cli {
namespace {

constexpr const char* kDefaultSocket = "/run/turnpike/control.sock";

// What is wrong with a command, and how it is written.
std::string usage_text(const CLI::App* app, const CLI::Error& error) {
  std::string name = app->get_name();
  while (!app->get_subcommands().empty()) {
    app = app->get_subcommands().front();
    name += " " + app->get_name();
  }
  std::string text = name + ": " + error.what() + "\n";
  // A command's own footer is its example.
  if (app->get_parent() != nullptr && !app->get_footer().empty()) text += app->get_footer() + "\n";
  return text + "More: " + name + " --help\n";
}

class CommandLine {
 public:
  explicit CommandLine(Environment& environment) : environment_(environment) {
    common_.socket = environment.socket.empty() ? kDefaultSocket : environment.socket;
    app_.require_subcommand(1);
    app_.set_help_all_flag("--help-all", "the help of all commands");
    app_.footer(
        "Exit status: 0 done, 1 error, 2 usage, 3 refused for conflicts, 4 stale generation.\n"
        "PEER is a name or a public key. Every command has an example in its --help.");
    app_.get_formatter()->column_width(34);
    app_.failure_message(usage_text);
    // Also before the command, where a script sets them once for all.
    add_common(app_);
    add_check();
    add_show();
    add_owner();
    add_peer();
    add_ips();
    add_apply();
    add_reload();
    add_diff();
    add_history();
    add_rollback();
    add_confirm();
    add_watch();
    add_top();
    add_import();
    add_export();
  }

  int run(std::vector<std::string> arguments) {
    try {
      std::ranges::reverse(arguments);  // as CLI11 takes a vector
      app_.parse(arguments);
    } catch (const CLI::ParseError& e) {
      if (const std::string unknown = unknown_command(); !unknown.empty()) {
        environment_.err << "turnpike: " << unknown << "\n";
        return kUsage;
      }
      std::ostringstream out, err;
      const bool help = e.get_exit_code() == 0;
      app_.exit(e, out, err);
      environment_.out << out.str();
      environment_.err << err.str();
      return help ? kDone : kUsage;
    }
    return action_();
  }

 private:
  CLI::App* command(CLI::App& parent, const std::string& name, const std::string& what,
                    const std::string& example) {
    CLI::App* made = parent.add_subcommand(name, what);
    made->footer("Example:\n  " + example);
    return made;
  }
  // Of a word in the place of a command that is none: a sentence, or nothing. The library says that a
  // command is missing, whatever was written.
  std::string unknown_command() {
    CLI::App* last = &app_;
    while (!last->get_subcommands().empty()) last = last->get_subcommands().front();
    std::vector<std::string_view> names;
    for (const CLI::App* command : last->get_subcommands({})) names.push_back(command->get_name());
    const std::vector<std::string> rest = last->remaining();
    if (names.empty() || rest.empty() || rest.front().starts_with('-')) return {};
    const std::string before = last == &app_ ? "" : last->get_name() + " ";
    const std::string_view near = config::nearest(names, rest.front());
    std::string text = "there is no command \"" + before + rest.front() + "\"; ";
    if (!near.empty()) return text + "did you mean " + before + std::string(near) + "?";
    text += "there are ";
    for (const std::string_view name : names) {
      text += (name == names.front() ? "" : ", ") + before + std::string(name);
    }
    return text;
  }

  void add_common(CLI::App& command) {
    command.add_option("--socket", common_.socket, "the daemon's socket, else $TURNPIKE_SOCKET")
        ->type_name("PATH")
        ->default_str(common_.socket);
    command.add_flag("--json", common_.json, "for programs");
  }
  void add_change(CLI::App& command) {
    add_common(command);
    command.add_flag("--dry-run", options_.dry_run, "only say what would happen");
    command
        .add_option("--if-generation", options_.if_generation,
                    "only if the state is still at this generation")
        ->type_name("N");
    command
        .add_option_function<std::string>(
            "--confirm",
            [this](const std::string& text) {
              options_.confirm_seconds = parse_duration(text);
              if (!options_.confirm_seconds) {
                throw CLI::ValidationError(
                    "--confirm", "wants a duration such as 60s, 5m or 1h, of at most a day");
              }
            },
            "undo it unless it is confirmed within this time")
        ->type_name("DURATION");
    command.add_option("--comment", options_.comment, "kept in the history")->type_name("TEXT");
  }

  void add_check() {
    CLI::App* c = command(app_, "check", "read a configuration file and name all its mistakes",
                          "turnpike check /etc/turnpike/turnpike.yaml");
    c->add_option("FILE", file_)->required()->type_name("");
    c->add_flag("--json", common_.json, "for programs");
    on(c, [this] { return check(file_, common_.json, environment_); });
  }

  void add_show() {
    CLI::App* c = command(app_, "show", "what runs, and what it has counted",
                          "turnpike show peers --tunnel wg0");
    c->add_option("SECTION", section_,
                  "tunnels, peers, ports, workers or drops; all of them if absent")
        ->check(CLI::IsMember({"tunnels", "peers", "ports", "workers", "drops"}))
        ->type_name("");
    c->add_option("--tunnel", tunnel_, "only this one")->type_name("TUNNEL");
    add_common(*c);
    on(c, [this] { return show(section_, tunnel_, common_, environment_); });
  }

  void add_owner() {
    CLI::App* c = command(app_, "owner", "who gets the packets for an address, or owns a prefix",
                          "turnpike owner wg0 10.8.0.2");
    c->add_option("TUNNEL", tunnel_)->required()->type_name("");
    c->add_option("ADDRESS-OR-PREFIX", target_, "address: longest match; prefix: exactly that one")
        ->required()
        ->type_name("");
    add_common(*c);
    on(c, [this] { return owner(tunnel_, target_, common_, environment_); });
  }

  void add_attributes(CLI::App& c) {
    c.add_option("--description", peer_.description)->type_name("TEXT");
    c.add_option("--preshared-key-file", peer_.preshared_key_file,
                 "a file with the key in base64; - is standard input, \"\" is no key")
        ->type_name("FILE");
    c.add_option("--endpoint", peer_.endpoint, "where to reach it; \"\" forgets it")
        ->type_name("ADDRESS:PORT");
    c.add_option("--persistent-keepalive", peer_.persistent_keepalive, "0 is off")
        ->type_name("SECONDS");
    c.add_option("--enabled", peer_.enabled,
                 "a disabled peer keeps its attributes and owns nothing")
        ->type_name("true|false");
  }

  void add_peer() {
    CLI::App* peer = app_.add_subcommand("peer", "add, change and remove peers");
    peer->require_subcommand(1);
    const auto sub = [&](const char* name, const char* op, const char* what, const char* example) {
      CLI::App* c = command(*peer, name, what, example);
      c->add_option("TUNNEL", peer_.tunnel)->required()->type_name("");
      c->add_option("PEER", peer_.peer, "its name or its public key")->required()->type_name("");
      on(c, [this, op] { return change_peer(op, peer_, options_, common_, environment_); });
      return c;
    };
    CLI::App* add = sub("add", "peer_add", "add a peer, with prefixes if you like",
                        "turnpike peer add wg0 alice --public-key KEY --allowed-ips 10.8.0.2/32");
    add->add_option("--public-key", peer_.public_key, "needed unless PEER is the key")
        ->type_name("KEY");
    add->add_option("--allowed-ips", peer_.prefixes, "prefixes that it claims")
        ->delimiter(',')
        ->type_name("PREFIX,...");
    add_attributes(*add);
    add_change(*add);
    CLI::App* set = sub("set", "peer_set", "change what is named, and nothing else",
                        "turnpike peer set wg0 alice --endpoint 198.51.100.7:51820");
    set->add_option("--name", peer_.name, "a new name; \"\" takes it away")->type_name("NAME");
    add_attributes(*set);
    add_change(*set);
    add_change(*sub("remove", "peer_remove", "remove a peer and free its prefixes",
                    "turnpike peer remove wg0 alice"));
  }

  void add_ips() {
    CLI::App* ips = app_.add_subcommand("ips", "change who owns which prefixes");
    ips->require_subcommand(1);
    const auto sub = [&](const char* op, const char* what, const char* example) {
      CLI::App* c = command(*ips, op, what, example);
      c->add_option("TUNNEL", owners_.tunnel, "its name")->required()->type_name("");
      on(c, [this, op] {
        owners_.op = op;
        return change_owner(owners_, options_, common_, environment_);
      });
      return c;
    };
    const auto with_peer = [&](const char* op, const char* what, const char* example,
                               bool may_be_empty) {
      CLI::App* c = sub(op, what, example);
      c->add_option("PEER", owners_.peer, "a name or a public key")->required()->type_name("");
      auto* prefixes =
          c->add_option("PREFIX", owners_.prefixes, "such as 10.8.0.2/32 or fd00:8::/64")
              ->type_name("...");
      if (!may_be_empty) prefixes->required();
      add_change(*c);
    };
    with_peer("claim", "take prefixes that nobody else owns",
              "turnpike ips claim wg0 alice 10.8.0.2/32 fd00:8::2/128", false);
    with_peer("release", "give up prefixes", "turnpike ips release wg0 alice 10.8.0.2/32", false);
    with_peer("replace", "own exactly these prefixes",
              "turnpike ips replace wg0 alice 10.8.0.2/32 10.9.0.0/24", true);
    CLI::App* move = sub("move", "hand prefixes over, without losing a packet",
                         "turnpike ips move wg0 --from alice --to bob 10.8.0.2/32");
    move->add_option("--from", owners_.peer, "who owns them")->required()->type_name("PEER");
    move->add_option("--to", owners_.to, "who gets them")->required()->type_name("PEER");
    move->add_option("PREFIX", owners_.prefixes, "such as 10.8.0.2/32 or fd00:8::/64")
        ->required()
        ->type_name("...");
    add_change(*move);
  }

  void add_apply() {
    CLI::App* c =
        command(app_, "apply", "commit a transaction document, JSON or YAML",
                "turnpike apply hand-over.yaml --dry-run\n\n"
                "  edits:\n"
                "    - {op: move, tunnel: wg0, from: alice, to: bob, prefixes: [10.8.0.2/32]}\n"
                "    - {op: peer_remove, tunnel: wg0, peer: alice}");
    c->add_option("FILE", file_, "- is standard input")->required()->type_name("");
    add_change(*c);
    on(c, [this] { return apply_document(file_, options_, common_, environment_); });
  }

  void add_reload() {
    CLI::App* c = command(
        app_, "reload", "read the configuration file anew, without ending sessions",
        "turnpike reload --dry-run\n\n"
        "What is different from the file applied last becomes one transaction: all of it, or "
        "nothing.\nWhat edits at run time override is listed.");
    add_change(*c);
    on(c, [this] { return reload(options_, common_, environment_); });
  }

  void add_diff() {
    CLI::App* c = command(app_, "diff", "what a reload of this file would do",
                          "turnpike diff /etc/turnpike/turnpike.yaml");
    c->add_option("FILE", file_, "on the gateway; the daemon reads it")->required()->type_name("");
    add_common(*c);
    on(c, [this] { return diff(file_, common_, environment_); });
  }

  void add_history() {
    CLI::App* c = command(app_, "history", "the last commits: who, when, what", "turnpike history");
    add_common(*c);
    on(c, [this] { return history(common_, environment_); });
  }

  void add_rollback() {
    CLI::App* c = command(
        app_, "rollback", "undo what was committed after a generation",
        "turnpike rollback 41 --confirm 60s\n\n"
        "It is a new commit: what it undoes can be brought back in the same way. Peers,\n"
        "prefixes and tunnels go back; addresses, routes and MTUs stay those of the file that\n"
        "was applied last, and a warning says so.");
    c->add_option("GENERATION", generation_, "to go back to")->required()->type_name("");
    add_change(*c);
    on(c, [this] { return rollback(*generation_, options_, common_, environment_); });
  }

  void add_confirm() {
    CLI::App* c =
        command(app_, "confirm", "keep what was committed with --confirm", "turnpike confirm");
    c->add_option("GENERATION", generation_, "only this commit")->type_name("");
    add_common(*c);
    on(c, [this] { return confirm(generation_, common_, environment_); });
  }

  void add_watch() {
    CLI::App* c = command(app_, "watch", "what happens, as it happens", "turnpike watch --json");
    add_common(*c);
    on(c, [this] { return watch(common_, environment_); });
  }

  void add_top() {
    CLI::App* c = command(app_, "top", "peers and their traffic, again and again; q ends it",
                          "turnpike top --interval 1");
    c->add_option("--interval", top_.interval_seconds, "seconds between two looks")
        ->check(CLI::Range(1, 3600))
        ->type_name("SECONDS");
    c->add_option("--rounds", top_.rounds, "how often; without it, until q or Ctrl-C")
        ->type_name("N");
    c->add_option("--tunnel", top_.tunnel, "only this one")->type_name("TUNNEL");
    add_common(*c);
    on(c, [this] { return top(top_, common_, environment_); });
  }

  void add_import() {
    CLI::App* c = command(app_, "import", "make a configuration of a file of wg(8) or wg-quick(8)",
                          "turnpike import /etc/wireguard/wg0.conf --secrets keys > turnpike.yaml");
    c->add_option("WG-CONF", file_)->required()->type_name("");
    c->add_option("--tunnel", tunnel_, "the tunnel's name, else the file's")->type_name("NAME");
    c->add_option("--secrets", secrets_, "write the keys as files (0600) into this directory")
        ->type_name("DIR");
    on(c, [this] { return import_file(file_, tunnel_, secrets_, environment_); });
  }

  void add_export() {
    CLI::App* c = command(
        app_, "export", "what runs, edits at run time among it, as a configuration",
        "turnpike export --output new/turnpike.yaml --secrets new/keys\n\n"
        "Without --secrets it names the files of keys that the present configuration names; keys "
        "that stand\nin no file are noted as missing. With it, only root and the daemon's owner "
        "may ask.");
    c->add_option("--output", export_.output, "write it there, not to the standard output")
        ->type_name("FILE");
    c->add_option("--secrets", export_.secrets,
                  "write all keys as files (0600) into this directory")
        ->type_name("DIR");
    c->add_flag("--force", export_.force, "replace files that are there");
    c->add_option("--socket", common_.socket, "the daemon's socket, else $TURNPIKE_SOCKET")
        ->type_name("PATH")
        ->default_str(common_.socket);
    on(c, [this] { return export_running(export_, common_, environment_); });
  }

  void on(CLI::App* command, std::function<int()> action) {
    command->callback([this, action = std::move(action)] { action_ = action; });
  }

  Environment& environment_;
  CLI::App app_{"Turnpike: looks at a WireGuard gateway, and changes its peers and their prefixes.",
                "turnpike"};
  Common common_;
  ChangeOptions options_;
  PeerArguments peer_;
  OwnerArguments owners_;
  TopOptions top_;
  ExportOptions export_;
  std::string file_, section_, tunnel_, target_, secrets_;
  std::optional<uint64_t> generation_;
  std::function<int()> action_;
};

}  // namespace

int run(const std::vector<std::string>& arguments, Environment& environment) {
  return CommandLine(environment).run(arguments);
}

}  // namespace turnpike::cli
