#include "control/cli/import.h"

#include <filesystem>
#include <ostream>

#include "config/exporter.h"
#include "config/importer.h"
#include "control/cli/read_file.h"
#include "control/cli/requests.h"
#include "control/cli/secret_files.h"
#include "dataplane/base/keys.h"
#include "dataplane/crypto/x25519.h"

namespace turnpike::cli {

int import_file(const std::string& file, const std::string& tunnel, const std::string& secrets,
                Environment& environment) {
  SecretPlace place;
  if (!secrets.empty()) {
    auto found = place_of_secrets(secrets, "");
    if (!found) return complain(environment, found.error());
    place = std::move(*found);
  }
  auto text = read_file(file);
  if (!text) return complain(environment, text.error());
  config::ImportOptions options;
  options.public_key_of = crypto::public_key;
  // wg-quick calls the interface as the file is called.
  options.tunnel_name = tunnel.empty() ? std::filesystem::path(file).stem().string() : tunnel;
  const auto imported = config::import_wg(*text, file, options);
  wipe(text->data(), text->size());
  if (!imported) {
    for (const config::ConfigError& mistake : imported.error()) {
      environment.err << config::to_string(mistake) << "\n";
    }
    return kError;
  }
  if (!secrets.empty()) {
    const auto written = write_secrets(imported->config, place.path);
    if (!written) return complain(environment, written.error());
  }
  environment.out << config::export_config(imported->config, config::secret_names(place.named));
  for (const config::ConfigError& note : imported->notes) {
    environment.err << "note: " << config::to_string(note) << "\n";
  }
  environment.err << "note: ports are examples: set device and addresses of outside and inside\n";
  if (secrets.empty()) {
    environment.err << "note: no key was written; --secrets DIR writes the files that are named\n";
  }
  return kDone;
}

}  // namespace turnpike::cli
