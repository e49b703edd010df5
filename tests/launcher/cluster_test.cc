// A cluster's file, and the commands that are made of it.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>
#include <vector>

#include "launcher/cluster_command.h"
#include "launcher/host_report.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using testing::TestWithParam;

const std::set<std::string> kServeOptions = {"tp",     "pp",        "port",   "host",
                                             "device", "synthetic", "wire",   "metrics-open",
                                             "config", "api-key",   "threads"};

constexpr char kHead[] = "program = \"/opt/ternion\"\ndirectory = \"/srv\"\n";

absl::StatusOr<Cluster> Parse(const std::string& text) { return ParseCluster(text, "c.toml", kServeOptions); }

struct Composition {
  const char* name;
  std::string text;
  std::string shown;
};

class ClusterCommand : public TestWithParam<Composition> {};

TEST_P(ClusterCommand, IsShownAsOneWouldTypeIt) {
  const auto cluster = Parse(kHead + GetParam().text);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  const auto job = ComposeJob(*cluster, /*as_root=*/false);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(ShowCommand(*job), "TERNION_TELL_STATUS=1 mpirun --enable-recovery " + GetParam().shown);
}

INSTANTIATE_TEST_SUITE_P(
    Table, ClusterCommand,
    testing::Values(
        Composition{
            "OneHost", "[[host]]\nname = \"localhost\"\n[serve]\nmodel = \"configs/demo\"\n",
            "-np 1 --host localhost:1 --map-by slot --bind-to none --wdir /srv -x TERNION_TELL_STATUS "
            "/opt/ternion serve configs/demo"},
        Composition{
            "TwoHosts",
            "interface = \"10.0.0.0/24\"\nssh = \"/usr/bin/my ssh\"\nbind-to = \"core\"\n"
            "[[host]]\nname = \"a\"\nslots = 4\n[[host]]\nname = \"b\"\nslots = 4\n"
            "[serve]\nmodel = \"m\"\ntp = 4\npp = 2\nwire = \"int8\"\nmetrics-open = true\n",
            "-np 8 --host a:4,b:4 --map-by slot --bind-to core --wdir /srv --mca btl_tcp_if_include "
            "10.0.0.0/24 --mca oob_tcp_if_include 10.0.0.0/24 --mca plm_rsh_agent '/usr/bin/my ssh' -x "
            "TERNION_TELL_STATUS /opt/ternion serve m --metrics-open --pp=2 --tp=4 --wire=int8"},
        Composition{
            "OversubscribedSynthetic",
            "oversubscribe = true\nmpirun-options = [\"--tag-output\"]\n[[host]]\nname = \"localhost\"\n"
            "slots = 2\n[serve]\nsynthetic = \"s.json\"\ntp = 2\nmetrics-open = false\n",
            "-np 2 --host localhost:2 --map-by slot --bind-to none --wdir /srv --oversubscribe --mca "
            "mpi_yield_when_idle 1 -x TERNION_TELL_STATUS --tag-output /opt/ternion serve "
            "--synthetic=s.json --tp=2"}),
    [](const auto& one) { return std::string(one.param.name); });

TEST(ClusterSecrets, AreNeitherShownNorArguments) {
  const TempFolder folder;
  folder.Write("key", "from-a-file\n");
  setenv("CLUSTER_TEST_SECRET", "from-outside", 1);
  const auto cluster = Parse(std::string(kHead) + "secrets = [\"CLUSTER_TEST_SECRET\"]\n" +
                             "[environment]\nNCCL_DEBUG = \"it's on\"\n[secret-files]\nTERNION_API_KEY = \"" +
                             (folder.path() / "key").string() +
                             "\"\n[[host]]\nname = \"localhost\"\n[serve]\nmodel = \"m\"\n");
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  const auto job = ComposeJob(*cluster, /*as_root=*/true);
  unsetenv("CLUSTER_TEST_SECRET");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->secrets.at("TERNION_API_KEY"), "from-a-file");
  EXPECT_EQ(job->secrets.at("CLUSTER_TEST_SECRET"), "from-outside");
  EXPECT_EQ(
      ShowCommand(*job),
      "CLUSTER_TEST_SECRET=(secret) TERNION_API_KEY=(secret) NCCL_DEBUG='it'\\''s on' TERNION_TELL_STATUS=1 "
      "mpirun --enable-recovery --allow-run-as-root -np 1 --host localhost:1 --map-by slot --bind-to none "
      "--wdir /srv -x NCCL_DEBUG -x TERNION_TELL_STATUS -x CLUSTER_TEST_SECRET -x TERNION_API_KEY "
      "/opt/ternion serve m");
  EXPECT_EQ(ComposeJob(*cluster, true).status().message(),
            "secret CLUSTER_TEST_SECRET is not in the environment; set it, or name a file in [secret-files]");
}

struct BadFile {
  std::string text;
  std::string message;
};

class BadClusterFile : public TestWithParam<BadFile> {};

TEST_P(BadClusterFile, IsRefusedByLineAndKey) {
  const auto cluster = Parse(GetParam().text);
  EXPECT_EQ(cluster.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(cluster.status().message()).rfind(GetParam().message, 0), 0u) << cluster.status();
}

const std::string kHost = "[[host]]\nname = \"a\"\n";
const std::string kServe = "[serve]\nmodel = \"m\"\n";

INSTANTIATE_TEST_SUITE_P(
    Table, BadClusterFile,
    testing::Values(
        BadFile{"interface = \n", "c.toml:1: "},
        BadFile{"\nslots = 3\n",
                "c.toml:2: no key of the file is named slots; there are bind-to, directory, "},
        BadFile{"[[host]]\nname = \"a\"\nslotz = 4\n",
                "c.toml:3: no key of [[host]] is named slotz; there are name, slots"},
        BadFile{"[[host]]\nname = \"a\"\nslots = 0\n", "c.toml:3: slots needs a whole number from 1 to 4096"},
        BadFile{"[[host]]\nslots = 1\n", "c.toml:1: this [[host]] has no name"},
        BadFile{"[[host]]\nname = \"-oProxyCommand=x\"\n",
                "c.toml:1: \"-oProxyCommand=x\" is no host's name or address"},
        BadFile{kHost + kHost, "c.toml:3: host a is there twice; give it more slots"},
        BadFile{"[host]\nname = \"a\"\n", "c.toml:1: hosts are tables: [[host]] with name and slots"},
        BadFile{kHost + "[serve]\nmodle = \"m\"\n", "c.toml:4: ternion serve has no option modle; "},
        BadFile{kHost + "[serve]\nwire = [1]\n", "c.toml:4: wire needs a text, a number or a boolean"},
        BadFile{kHost + "[serve]\ntp = \"2\"\n", "c.toml:4: tp needs a whole number from 1 to 4096"},
        BadFile{kHost + "[serve]\napi-key = \"k\"\n", "c.toml:4: a key would stand on command lines; "},
        BadFile{kHost + "[serve]\nconfig = \"k\"\n", "c.toml:4: write the options of that file here"},
        BadFile{"secrets = \"A\"\n", "c.toml:1: secrets needs an array of texts"},
        BadFile{"oversubscribe = 1\n", "c.toml:1: oversubscribe needs true or false"},
        BadFile{"environment = 3\n", "c.toml:1: environment is a table: [environment]"},
        BadFile{kServe, "c.toml: there is no [[host]]; name localhost, at least"},
        BadFile{kHost, "c.toml: [serve] needs either a model or synthetic"},
        BadFile{kHost + kServe + "tp = 2\n",
                "c.toml: the hosts have 1 slots, but tp 2 x pp 1 makes 2 ranks; "}));

TEST(HostCheckCommand, GoesOverSshUnlessTheHostIsThisOne) {
  const auto cluster = Parse(std::string(kHead) +
                             "[[host]]\nname = \"localhost\"\nslots = 2\n[[host]]\nname = \"b\"\nslots = 2\n"
                             "[serve]\nmodel = \"my model\"\ntp = 4\nport = 9\n");
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  const std::string common =
      "cd /srv && exec /opt/ternion host-check 'my model' --device=auto --tp=4 --pp=1 ";
  EXPECT_EQ(ComposeHostCheck(*cluster, 0).arguments,
            (std::vector<std::string>{
                "sh", "-c", common + "--first-rank=0 --ranks=2 --listen-host=0.0.0.0 --listen-port=9"}));
  EXPECT_EQ(ComposeHostCheck(*cluster, 1).arguments,
            (std::vector<std::string>{"ssh", "b", common + "--first-rank=2 --ranks=2"}));
}

HostReport GoodReport() {
  HostReport report;
  report.version = TERNION_VERSION;
  report.digest = "00112233";
  report.cores = 8;
  report.memory_available = int64_t{16} << 30;
  report.memory_needed = int64_t{1} << 30;
  return report;
}

void AddHost(const std::string& name, int slots, const absl::StatusOr<HostReport>& report,
             std::vector<CheckedHost>* hosts) {
  ClusterHost host;
  host.name = name;
  host.slots = slots;
  const int first = hosts->empty() ? 0 : hosts->back().first_rank + hosts->back().host.slots;
  hosts->push_back(CheckedHost{host, first, report, {}, {}});
}

TEST(HostTable, TellsEveryFaultOfEveryHost) {
  Cluster cluster;
  HostReport old = GoodReport(), other = GoodReport();
  old.version = "0.0.1";
  old.port_error = "cannot listen on 0.0.0.0:8000: Address already in use";
  old.cores = 1;
  other.digest = "44556677";
  other.memory_needed = int64_t{32} << 30;
  other.gpus = {"H200", "H200"};
  other.on_gpus = true;
  std::vector<CheckedHost> hosts;
  AddHost("a", 2, old, &hosts);
  AddHost("b", 2, other, &hosts);
  AddHost("c", 1, absl::UnavailableError("no route to host"), &hosts);
  AddHost("d", 1, GoodReport(), &hosts);
  JudgeHosts(cluster, &hosts);
  EXPECT_FALSE(AllFit(hosts));
  EXPECT_EQ(HostTable(hosts),
            "host  ranks  version  model     devices   weights of free memory\n"
            "a     0-1    0.0.1    00112233  1 cores   1.0 GiB of 16.0 GiB     NOT OK\n"
            "b     2-3    " TERNION_VERSION
            "    44556677  2 x H200  32.0 GiB of 16.0 GiB    NOT OK\n"
            "c     4      -        -         -         -                       NOT OK\n"
            "d     5      " TERNION_VERSION
            "    00112233  8 cores   1.0 GiB of 16.0 GiB     ok\n"
            "a: runs version 0.0.1, this is " TERNION_VERSION
            "; install the same\n"
            "a: cannot listen on 0.0.0.0:8000: Address already in use\n"
            "a: warning: 2 ranks on 1 cores wait for each other; oversubscribe = true lets them yield\n"
            "b: weights need 32.0 GiB, there are 16.0 GiB; use more ranks on more hosts\n"
            "b: has another model than a; give every host the same files\n"
            "b: computes on GPUs, a does not; set device = \"cpu\", or give each rank a GPU\n"
            "c: no route to host\n");
}

TEST(HostReport, GoesThroughJson) {
  HostReport report = GoodReport();
  report.gpus = {"a", "b"};
  report.model_error = "x";
  const auto back = HostReport::FromJson(report.ToJson());
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->ToJson(), report.ToJson());
  EXPECT_FALSE(HostReport::FromJson("Welcome to node 7!\n").ok());
}

}  // namespace
}  // namespace ternion
