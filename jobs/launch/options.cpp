// The options of mpirun that a user would have to know; docs/launch.md says what each is for.
#include "jobs/launch/options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include <fmt/format.h>
#include <unistd.h>

#include "kernels/error.h"

namespace gentrain::jobs {
namespace {

std::string this_host() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

std::string_view up_to_dot(std::string_view name) {
  return name.substr(0, name.find('.'));
}

HostSlots parse_host(std::string_view text, std::string_view all) {
  const std::size_t colon = text.find(':');
  HostSlots host{std::string(text.substr(0, colon)), 1};
  if (host.name.empty()) {
    throw JobError(fmt::format("-H {}: a host without a name; needed: HOST[:SLOTS],...", all));
  }
  if (colon != std::string_view::npos) {
    const std::string_view count = text.substr(colon + 1);
    const auto [end, error] =
        std::from_chars(count.data(), count.data() + count.size(), host.slots);
    if (error != std::errc() || end != count.data() + count.size() || host.slots < 1) {
      throw JobError(fmt::format("-H {}: '{}' slots of {}; needed: a number from 1 on", all, count,
                                 host.name));
    }
  }
  return host;
}

/// Whether a resource manager tells mpirun its hosts.
bool in_allocation() {
  constexpr std::array<const char*, 5> kNames = {"SLURM_JOB_ID", "SLURM_JOBID", "PBS_JOBID",
                                                 "LSB_JOBID", "PE_HOSTFILE"};
  return std::any_of(kNames.begin(), kNames.end(),
                     [](const char* name) { return std::getenv(name) != nullptr; });
}

bool all_on_this_host(const LaunchOptions& options) {
  if (options.hosts.empty()) {
    return !in_allocation();
  }
  return std::all_of(options.hosts.begin(), options.hosts.end(),
                     [](const HostSlots& host) { return is_this_host(host.name); });
}

}  // namespace

bool operator==(const HostSlots& a, const HostSlots& b) {
  return a.name == b.name && a.slots == b.slots;
}

std::vector<HostSlots> parse_hosts(std::string_view text) {
  std::vector<HostSlots> hosts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const HostSlots host = parse_host(text.substr(begin, end - begin), text);
    const auto known = std::find_if(hosts.begin(), hosts.end(),
                                    [&](const HostSlots& one) { return one.name == host.name; });
    if (known != hosts.end()) {
      known->slots += host.slots;
    } else {
      hosts.push_back(host);
    }
    begin = end + 1;
  }
  return hosts;
}

bool same_host(std::string_view a, std::string_view b) {
  const bool either_is_short =
      a.find('.') == std::string_view::npos || b.find('.') == std::string_view::npos;
  return a == b || (either_is_short && up_to_dot(a) == up_to_dot(b));
}

bool is_this_host(std::string_view name) {
  return name == "localhost" || name.starts_with("127.") || same_host(name, this_host());
}

std::vector<std::string> mpirun_command(const LaunchOptions& options, const Attempt& attempt) {
  std::vector<std::string> words = {options.mpirun_name};
  const auto add = [&](std::initializer_list<std::string> more) {
    words.insert(words.end(), more.begin(), more.end());
  };
  const auto parameter = [&](const std::string& name, const std::string& value) {
    const auto& given = options.mpirun_options;
    if (!value.empty() && std::find(given.begin(), given.end(), name) == given.end()) {
      add({"--mca", name, value});
    }
  };
  add({"-np", fmt::format("{}", attempt.ranks), "--oversubscribe"});
  if (geteuid() == 0) {
    add({"--allow-run-as-root"});
  }
  parameter("hwloc_base_binding_policy", "none");
  parameter("mpi_yield_when_idle", "1");
  parameter("odls_base_sigkill_timeout", "0");
  parameter("oob_tcp_keepalive_time", "5");
  parameter("oob_tcp_keepalive_intvl", "2");
  parameter("oob_tcp_keepalive_probes", "3");
  parameter("orte_tmpdir_base", attempt.session_folder);
  const std::string network = !options.network_interface.empty() ? options.network_interface
                              : all_on_this_host(options)        ? "lo"
                                                                 : "";
  parameter("btl_tcp_if_include", network);
  parameter("oob_tcp_if_include", network);
  if (!attempt.hosts.empty()) {
    parameter("plm_rsh_agent", options.remote_shell);
    std::string list;
    for (const HostSlots& host : attempt.hosts) {
      list += fmt::format("{}{}:{}", list.empty() ? "" : ",", host.name, host.slots);
    }
    add({"--host", list});
  }
  for (const std::string& name : attempt.variables) {
    add({"-x", name});
  }
  words.insert(words.end(), options.mpirun_options.begin(), options.mpirun_options.end());
  add({options.program.string(), options.job});
  words.insert(words.end(), options.settings.begin(), options.settings.end());
  if (attempt.resume) {
    add({"--resume", "auto"});
  } else {
    words.insert(words.end(), options.first.begin(), options.first.end());
  }
  return words;
}

}  // namespace gentrain::jobs
