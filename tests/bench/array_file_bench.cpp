// What a checkpoint of 100 MB costs: processor time (it is written beside the training), and memory
// beyond its arrays.
#include <filesystem>
#include <fstream>

#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/io/array_file.h"

namespace gentrain::io {
namespace {

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

// A line of /proc/self/status, in MiB.
double memory_mib(const std::string& name) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(name, 0) == 0) {
      return std::stod(line.substr(name.size())) / 1024;
    }
  }
  return 0;
}

// `arrays` arrays of 100 MB in all.
ArrayFile checkpoint(int arrays) {
  ArrayFile file;
  file.kind = FileKind::kCheckpoint;
  file.header = {{"job", "bench"}, {"step", 10}};
  const int elements = 25'000'000 / arrays;
  for (int i = 0; i < arrays; ++i) {
    file.arrays.push_back({"weights/layer" + std::to_string(i) + "/weight", {elements}, {}});
    file.arrays.back().values.resize(static_cast<std::size_t>(elements), 0.5F);
  }
  return file;
}

void write_checkpoint(benchmark::State& state) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("gentrain-bench-" + std::to_string(getpid()));
  const ArrayFile file = checkpoint(static_cast<int>(state.range(0)));
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak begins anew
  const double resident = memory_mib("VmRSS:");
  rusage before{};
  getrusage(RUSAGE_SELF, &before);
  for (auto _ : state) {
    write_array_file(path, file);
  }
  rusage after{};
  getrusage(RUSAGE_SELF, &after);
  std::filesystem::remove(path);
  using benchmark::Counter;
  state.counters["user_s"] =
      Counter(seconds(after.ru_utime) - seconds(before.ru_utime), Counter::kAvgIterations);
  state.counters["system_s"] =
      Counter(seconds(after.ru_stime) - seconds(before.ru_stime), Counter::kAvgIterations);
  state.counters["memory_MiB"] = memory_mib("VmHWM:") - resident;
}

BENCHMARK(write_checkpoint)->Arg(1)->Arg(50)->Arg(1000)->Unit(benchmark::kMillisecond);

void parse_checkpoint(benchmark::State& state) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("gentrain-bench-" + std::to_string(getpid()));
  write_array_file(path, checkpoint(static_cast<int>(state.range(0))));
  for (auto _ : state) {
    benchmark::DoNotOptimize(read_array_file(path, FileKind::kCheckpoint));
  }
  std::filesystem::remove(path);
}

BENCHMARK(parse_checkpoint)->Arg(50)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gentrain::io
