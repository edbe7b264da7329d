// What `gentrain launch` is told, as plain values, and the mpirun command line that follows from
// it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace gentrain::jobs {

/// A host of -H and how many ranks it takes.
struct HostSlots {
  std::string name;
  int slots = 1;
};
bool operator==(const HostSlots& a, const HostSlots& b);

struct LaunchOptions {
  int ranks = 1;
  std::vector<HostSlots> hosts;  // -H; none: this host, or those of the allocation
  int max_restarts = 3;          // restarts in a row without progress before it gives up
  double grace_seconds = 60;     // for the ranks to end after a request
  std::filesystem::path mpirun;  // the program
  std::string mpirun_name;       // what it is called by; a path makes OpenMPI take its own folders
  std::string
      network_interface;     // empty: "lo" where all ranks are on this host, else OpenMPI's choice
  std::string remote_shell;  // starts programs on other hosts, "ssh" and its options
  std::vector<std::string> mpirun_options;  // words that go to mpirun as they are
  bool mpirun_texts = false;                // print what mpirun says of ends, too

  std::filesystem::path program;      // gentrain itself
  std::string job;                    // the job file
  std::vector<std::string> settings;  // options of training that every attempt gets
  std::vector<std::string> first;     // --overwrite, --resume: until the run has begun
  std::filesystem::path output;       // the run's folder
};

/// "h1:4,h2:4,h2" as hosts with their slots, 1 where none is given; a host named twice has both.
/// Throws JobError for an empty name or slots that are no number from 1 on.
std::vector<HostSlots> parse_hosts(std::string_view text);

/// Whether two names are of one host: equal, or one the other's short form.
bool same_host(std::string_view a, std::string_view b);

/// Whether the name is this host's.
bool is_this_host(std::string_view name);

/// One start of mpirun.
struct Attempt {
  int ranks = 1;
  std::vector<HostSlots> hosts;
  bool resume = false;                 // --resume auto in place of LaunchOptions::first
  std::string session_folder;          // of OpenMPI, on every host
  std::vector<std::string> variables;  // names of environment variables for all ranks
};

/// The words of mpirun's command line. A parameter that LaunchOptions::mpirun_options names is left
/// to them.
std::vector<std::string> mpirun_command(const LaunchOptions& options, const Attempt& attempt);

}  // namespace gentrain::jobs
