#include "launcher/cluster_file.h"

#include <toml++/toml.h>

#include <functional>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status.h"

namespace ternion {
namespace {

class Reader {
 public:
  Reader(std::string file, const std::set<std::string>& serve_options)
      : file_(std::move(file)), serve_options_(serve_options) {}

  absl::Status Read(const toml::table& table);
  absl::Status CheckWhole() const;
  Cluster Take() { return std::move(cluster_); }

 private:
  using Handlers = std::map<std::string, std::function<absl::Status(const toml::node&)>>;

  absl::Status Fault(const toml::node& node, const std::string& message) const {
    return absl::InvalidArgumentError(absl::StrCat(file_, ":", node.source().begin.line, ": ", message));
  }
  // Calls the handler of every key; one without a handler is refused with those that there are.
  absl::Status Visit(const toml::table& table, const std::string& where, const Handlers& handlers) const;

  Handlers::mapped_type Text(const std::string& key, std::string* out) const;
  Handlers::mapped_type Number(const std::string& key, int least, int most, int* out) const;
  Handlers::mapped_type Flag(const std::string& key, bool* out) const;
  Handlers::mapped_type Texts(const std::string& key, std::vector<std::string>* out) const;
  Handlers::mapped_type Variables(const std::string& key, std::map<std::string, std::string>* out) const;
  absl::Status ReadHosts(const toml::node& node);
  absl::Status ReadServe(const toml::node& node);
  absl::Status ReadServeOption(const std::string& name, const toml::node& value);

  const std::string file_;
  const std::set<std::string>& serve_options_;
  Cluster cluster_;
};

absl::Status Reader::Visit(const toml::table& table, const std::string& where,
                           const Handlers& handlers) const {
  for (const auto& [key, value] : table) {
    const std::string name(key.str());
    const auto handler = handlers.find(name);
    if (handler == handlers.end()) {
      const auto names = [](std::string* out, const auto& entry) { out->append(entry.first); };
      return Fault(value, absl::StrCat("no key of ", where, " is named ", name, "; there are ",
                                       absl::StrJoin(handlers, ", ", names)));
    }
    TERNION_RETURN_IF_ERROR(handler->second(value));
  }
  return absl::OkStatus();
}

Reader::Handlers::mapped_type Reader::Text(const std::string& key, std::string* out) const {
  return [this, key, out](const toml::node& node) -> absl::Status {
    const auto text = node.value<std::string>();
    if (!text.has_value() || text->empty()) return Fault(node, absl::StrCat(key, " needs a text in quotes"));
    *out = *text;
    return absl::OkStatus();
  };
}

Reader::Handlers::mapped_type Reader::Number(const std::string& key, int least, int most, int* out) const {
  return [this, key, least, most, out](const toml::node& node) -> absl::Status {
    const auto number = node.value_exact<int64_t>();
    if (!number.has_value() || *number < least || *number > most) {
      return Fault(node, absl::StrCat(key, " needs a whole number from ", least, " to ", most));
    }
    *out = static_cast<int>(*number);
    return absl::OkStatus();
  };
}

Reader::Handlers::mapped_type Reader::Flag(const std::string& key, bool* out) const {
  return [this, key, out](const toml::node& node) -> absl::Status {
    const auto flag = node.value_exact<bool>();
    if (!flag.has_value()) return Fault(node, absl::StrCat(key, " needs true or false"));
    *out = *flag;
    return absl::OkStatus();
  };
}

Reader::Handlers::mapped_type Reader::Texts(const std::string& key, std::vector<std::string>* out) const {
  return [this, key, out](const toml::node& node) -> absl::Status {
    const toml::array* array = node.as_array();
    if (array == nullptr) return Fault(node, absl::StrCat(key, " needs an array of texts"));
    for (const toml::node& entry : *array) {
      std::string text;
      TERNION_RETURN_IF_ERROR(Text(absl::StrCat("an entry of ", key), &text)(entry));
      out->push_back(text);
    }
    return absl::OkStatus();
  };
}

Reader::Handlers::mapped_type Reader::Variables(const std::string& key,
                                                std::map<std::string, std::string>* out) const {
  return [this, key, out](const toml::node& node) -> absl::Status {
    const toml::table* table = node.as_table();
    if (table == nullptr) return Fault(node, absl::StrCat(key, " is a table: [", key, "]"));
    for (const auto& [name, value] : *table) {
      TERNION_RETURN_IF_ERROR(Text(std::string(name.str()), &(*out)[std::string(name.str())])(value));
    }
    return absl::OkStatus();
  };
}

absl::Status Reader::ReadHosts(const toml::node& node) {
  const toml::array* array = node.as_array();
  if (array == nullptr || !array->is_array_of_tables()) {
    return Fault(node, "hosts are tables: [[host]] with name and slots");
  }
  for (const toml::node& entry : *array) {
    ClusterHost host;
    TERNION_RETURN_IF_ERROR(
        Visit(*entry.as_table(), "[[host]]",
              {{"name", Text("name", &host.name)}, {"slots", Number("slots", 1, 4096, &host.slots)}}));
    if (host.name.empty()) return Fault(entry, "this [[host]] has no name");
    if (host.name.find_first_of(" :,\t") != std::string::npos || host.name[0] == '-') {
      return Fault(entry, absl::StrCat("\"", host.name, "\" is no host's name or address"));
    }
    for (const ClusterHost& other : cluster_.hosts) {
      if (other.name == host.name) {
        return Fault(entry, absl::StrCat("host ", host.name, " is there twice; give it more slots"));
      }
    }
    cluster_.hosts.push_back(host);
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadServe(const toml::node& node) {
  const toml::table* table = node.as_table();
  if (table == nullptr) return Fault(node, "serve is a table: [serve]");
  for (const auto& [key, value] : *table) {
    const std::string name(key.str());
    if (name == "model") {
      TERNION_RETURN_IF_ERROR(Text(name, &cluster_.model)(value));
    } else {
      TERNION_RETURN_IF_ERROR(ReadServeOption(name, value));
    }
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadServeOption(const std::string& name, const toml::node& value) {
  if (name == "api-key") {
    return Fault(value,
                 "a key would stand on command lines; put TERNION_API_KEY into secrets or [secret-files]");
  }
  if (name == "config") return Fault(value, "write the options of that file here");
  if (serve_options_.count(name) == 0) {
    return Fault(value,
                 absl::StrCat("ternion serve has no option ", name, "; ternion serve --help lists them"));
  }
  const Handlers known = {{"tp", Number(name, 1, 4096, &cluster_.tp)},
                          {"tensor-parallel-size", Number(name, 1, 4096, &cluster_.tp)},
                          {"pp", Number(name, 1, 4096, &cluster_.pp)},
                          {"pipeline-parallel-size", Number(name, 1, 4096, &cluster_.pp)},
                          {"port", Number(name, 0, 65535, &cluster_.port)},
                          {"host", Text(name, &cluster_.listen_host)},
                          {"device", Text(name, &cluster_.device)},
                          {"synthetic", Text(name, &cluster_.synthetic)}};
  if (const auto handler = known.find(name); handler != known.end()) {
    TERNION_RETURN_IF_ERROR(handler->second(value));
  }
  if (const auto flag = value.value_exact<bool>(); flag.has_value()) {
    if (*flag) cluster_.serve.push_back(absl::StrCat("--", name));
    return absl::OkStatus();
  }
  std::ostringstream text;
  if (const auto* words = value.as_string()) text << words->get();
  if (const auto* number = value.as_integer()) text << number->get();
  if (const auto* number = value.as_floating_point()) text << number->get();
  if (text.str().empty()) return Fault(value, absl::StrCat(name, " needs a text, a number or a boolean"));
  cluster_.serve.push_back(absl::StrCat("--", name, "=", text.str()));
  return absl::OkStatus();
}

absl::Status Reader::Read(const toml::table& table) {
  return Visit(table, "the file",
               {{"program", Text("program", &cluster_.program)},
                {"directory", Text("directory", &cluster_.directory)},
                {"interface", Text("interface", &cluster_.interface)},
                {"ssh", Text("ssh", &cluster_.ssh)},
                {"bind-to", Text("bind-to", &cluster_.bind_to)},
                {"oversubscribe", Flag("oversubscribe", &cluster_.oversubscribe)},
                {"mpirun-options", Texts("mpirun-options", &cluster_.mpirun_options)},
                {"secrets", Texts("secrets", &cluster_.secrets)},
                {"secret-files", Variables("secret-files", &cluster_.secret_files)},
                {"environment", Variables("environment", &cluster_.environment)},
                {"host", [this](const toml::node& node) { return ReadHosts(node); }},
                {"serve", [this](const toml::node& node) { return ReadServe(node); }}});
}

absl::Status Reader::CheckWhole() const {
  const auto fault = [&](const std::string& message) {
    return absl::InvalidArgumentError(absl::StrCat(file_, ": ", message));
  };
  if (cluster_.hosts.empty()) return fault("there is no [[host]]; name localhost, at least");
  if (cluster_.model.empty() == cluster_.synthetic.empty()) {
    return fault("[serve] needs either a model or synthetic");
  }
  int slots = 0;
  for (const ClusterHost& host : cluster_.hosts) slots += host.slots;
  if (slots != cluster_.ranks()) {
    return fault(absl::StrCat("the hosts have ", slots, " slots, but tp ", cluster_.tp, " x pp ", cluster_.pp,
                              " makes ", cluster_.ranks(),
                              " ranks; change either, so that they are the same"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Cluster> ParseCluster(const std::string& text, const std::string& file,
                                     const std::set<std::string>& serve_options) {
  toml::table table;
  try {
    table = toml::parse(text, file);
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ":", error.source().begin.line, ": ", std::string(error.description())));
  }
  Reader reader(file, serve_options);
  TERNION_RETURN_IF_ERROR(reader.Read(table));
  TERNION_RETURN_IF_ERROR(reader.CheckWhole());
  return reader.Take();
}

}  // namespace ternion
