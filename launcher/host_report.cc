#include "launcher/host_report.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ternion {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(HostReport, version, digest, model_error, cores, gpus, on_gpus,
                                   memory_available, memory_needed, port_error)

namespace {

using Row = std::array<std::string, 7>;

std::string GiB(int64_t bytes) {
  return absl::StrFormat("%.1f GiB", static_cast<double>(bytes) / (int64_t{1} << 30));
}

void JudgeAlone(const Cluster& cluster, CheckedHost& checked) {
  const HostReport& report = *checked.report;
  const auto fault = [&](const std::string& text) { checked.faults.push_back(text); };
  if (report.version != TERNION_VERSION) {
    fault(absl::StrCat("runs version ", report.version, ", this is ", TERNION_VERSION, "; install the same"));
  }
  if (!report.model_error.empty()) fault(report.model_error);
  if (!report.port_error.empty()) fault(report.port_error);
  const int gpus = static_cast<int>(report.gpus.size());
  if (cluster.device == "cuda" && gpus < checked.host.slots) {
    fault(absl::StrCat(gpus, " GPUs for ", checked.host.slots, " ranks; each needs one of its own"));
  }
  if (report.memory_needed > report.memory_available) {
    fault(absl::StrCat("weights need ", GiB(report.memory_needed), ", there are ",
                       GiB(report.memory_available), "; use more ranks on more hosts"));
  }
  if (!report.on_gpus && checked.host.slots > report.cores && !cluster.oversubscribe) {
    checked.warnings.push_back(
        absl::StrCat(checked.host.slots, " ranks on ", report.cores,
                     " cores wait for each other; oversubscribe = true lets them yield"));
  }
}

void JudgeAgainst(const HostReport& first, const std::string& first_name, CheckedHost& checked) {
  const HostReport& report = *checked.report;
  if (report.model_error.empty() && first.model_error.empty() && report.digest != first.digest) {
    checked.faults.push_back(
        absl::StrCat("has another model than ", first_name, "; give every host the same files"));
  }
  if (report.on_gpus != first.on_gpus) {
    checked.faults.push_back(absl::StrCat("computes on ", report.on_gpus ? "GPUs" : "CPUs", ", ", first_name,
                                          " does not; set device = \"cpu\", or give each rank a GPU"));
  }
}

Row RowOf(const CheckedHost& checked) {
  const int last = checked.first_rank + checked.host.slots - 1;
  Row row = {checked.host.name,
             last > checked.first_rank ? absl::StrCat(checked.first_rank, "-", last) : absl::StrCat(last),
             "-",
             "-",
             "-",
             "-",
             checked.faults.empty() ? "ok" : "NOT OK"};
  if (!checked.report.ok()) return row;
  const HostReport& report = *checked.report;
  row[2] = report.version;
  row[3] = report.digest.empty() ? "-" : report.digest;
  row[4] = report.gpus.empty() ? absl::StrCat(report.cores, " cores")
                               : absl::StrCat(report.gpus.size(), " x ", report.gpus.front());
  row[5] = absl::StrCat(GiB(report.memory_needed), " of ", GiB(report.memory_available));
  return row;
}

}  // namespace

std::string HostReport::ToJson() const {
  return nlohmann::json(*this).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::StatusOr<HostReport> HostReport::FromJson(const std::string& text) {
  try {
    return nlohmann::json::parse(text).get<HostReport>();
  } catch (const nlohmann::json::exception&) {
    return absl::DataLossError(
        absl::StrCat("its ternion host-check printed no report, but: ", text.substr(0, 200)));
  }
}

void JudgeHosts(const Cluster& cluster, std::vector<CheckedHost>* hosts) {
  const CheckedHost* first = nullptr;
  for (CheckedHost& checked : *hosts) {
    if (!checked.report.ok()) {
      checked.faults.emplace_back(checked.report.status().message());
      continue;
    }
    JudgeAlone(cluster, checked);
    if (first == nullptr) first = &checked;
    JudgeAgainst(*first->report, first->host.name, checked);
  }
}

bool AllFit(const std::vector<CheckedHost>& hosts) {
  return std::all_of(hosts.begin(), hosts.end(), [](const CheckedHost& host) { return host.faults.empty(); });
}

std::string HostTable(const std::vector<CheckedHost>& hosts) {
  std::vector<Row> rows = {{"host", "ranks", "version", "model", "devices", "weights of free memory", ""}};
  for (const CheckedHost& checked : hosts) rows.push_back(RowOf(checked));
  Row::size_type widths[std::tuple_size_v<Row>] = {};
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string table;
  for (const Row& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i)
      absl::StrAppendFormat(&line, "%-*s  ", static_cast<int>(widths[i]), row[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&table, line, "\n");
  }
  for (const CheckedHost& checked : hosts) {
    for (const std::string& fault : checked.faults)
      absl::StrAppend(&table, checked.host.name, ": ", fault, "\n");
    for (const std::string& warning : checked.warnings) {
      absl::StrAppend(&table, checked.host.name, ": warning: ", warning, "\n");
    }
  }
  return table;
}

}  // namespace ternion
