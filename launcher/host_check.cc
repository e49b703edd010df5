// The hidden command `host-check`: what `ternion launch` asks of a host before it starts a job there. Prints a HostReport.
#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <memory>

#include "kernels/device_memory_query.h"
#include "kernels/status.h"
#include "launcher/commands.h"
#include "launcher/host.h"
#include "launcher/host_report.h"
#include "launcher/model.h"
#include "launcher/options.h"
#include "net/listener.h"

namespace ternion {
namespace {

struct HostCheckOptions {
  JobOptions job;
  int first_rank = 0;
  int ranks = 1;
  std::string listen_host;
  int listen_port = -1;  // none
};

// Takes the port as the server will, and gives it back.
absl::Status CheckPort(const HostCheckOptions& options) {
  boost::asio::io_context io;
  TERNION_ASSIGN_OR_RETURN(const auto endpoints,
                           ResolveHost(io, options.listen_host, static_cast<uint16_t>(options.listen_port)));
  for (const auto& endpoint : endpoints) TERNION_RETURN_IF_ERROR(Listener::Open(io, endpoint).status());
  return absl::OkStatus();
}

absl::Status CheckModel(const HostCheckOptions& options, HostReport* report) {
  TERNION_RETURN_IF_ERROR(CheckConvertedGrid(options.job));
  TERNION_ASSIGN_OR_RETURN(const auto source, OpenModel(options.job));
  TERNION_RETURN_IF_ERROR(CheckSharding(source->config().shape, options.job.tp, options.job.pp));
  report->digest = source->Digest();
  for (int i = 0; i < options.ranks; ++i) {
    const ProcessGrid grid{options.job.tp, options.job.pp, options.first_rank + i};
    const int64_t bytes = PredictWeightMemory(source->config(), grid, report->on_gpus).total();
    report->memory_needed =
        report->on_gpus ? std::max(report->memory_needed, bytes) : report->memory_needed + bytes;
  }
  return absl::OkStatus();
}

void FindDevices(const HostCheckOptions& options, HostReport* report) {
  const int devices = options.job.device == "cpu" ? 0 : CudaDeviceCount();
  for (int device = 0; device < devices; ++device) report->gpus.push_back(CudaDeviceName(device));
  report->on_gpus = devices >= options.ranks;
  report->memory_available = AvailableHostMemory();
  if (!report->on_gpus) return;
  for (int device = 0; device < options.ranks; ++device) {
    const absl::StatusOr<DeviceMemory> memory = QueryCudaMemory(device);
    const int64_t free = memory.ok() ? memory->free_bytes : 0;
    report->memory_available = device == 0 ? free : std::min(report->memory_available, free);
  }
}

int HostCheck(const HostCheckOptions& options) {
  HostReport report;
  report.version = TERNION_VERSION;
  report.cores = OwnCores();
  FindDevices(options, &report);
  report.model_error = std::string(CheckModel(options, &report).message());
  if (options.listen_port > 0) report.port_error = std::string(CheckPort(options).message());
  std::printf("%s\n", report.ToJson().c_str());
  return kDone;
}

}  // namespace

void AddHostCheck(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("host-check", "what ternion launch asks of a host");
  command->group("");  // not in --help
  auto options = std::make_shared<HostCheckOptions>();
  AddJobOptions(*command, options->job);
  command->add_option("--first-rank", options->first_rank, "the first rank that will run here");
  command->add_option("--ranks", options->ranks, "how many will");
  command->add_option("--listen-host", options->listen_host, "address that rank 0 will listen on");
  command->add_option("--listen-port", options->listen_port, "its port");
  command->callback([options, &chosen] { chosen.run_alone = [options] { return HostCheck(*options); }; });
}

}  // namespace ternion
