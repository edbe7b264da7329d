// Running and timing dreams.
#include "trainers/dreams.h"

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "core/io/sha256.h"
#include "kernels/error.h"
#include "kernels/shared_blocks.h"
#include "trainers/contract.h"
#include "trainers/dream_folder.h"
#include "trainers/dream_sources.h"
#include "trainers/dreamer.h"
#include "trainers/evaluate.h"
#include "trainers/json_members.h"
#include "trainers/preflight.h"
#include "trainers/pretrained_weights.h"
#include "trainers/run_lock.h"
#include "trainers/stop_signal.h"
#include "trainers/units.h"
#include "trainers/worker_pool.h"

namespace gentrain::trainers {

namespace {

constexpr std::uint64_t kWeightsKey = 0x44524557;
constexpr std::uint64_t kJitterKey = 0x4452454A;

bool is_bf16(const TrainOptions& options) {
  return options.precision == Precision::kBf16Emulated;
}

void check_supported_dreams(const TrainOptions& options) {
  if (options.device == DeviceChoice::kCuda) {
    throw DeviceError("device: cuda: this build has no CUDA backend; use device: cpu");
  }
  if (const std::string why = why_not(options.precision); !why.empty()) {
    throw JobError("precision is " + why);
  }
}

std::string contract_of(const TrainOptions& options, const DeviceIdentity& device) {
  return fmt::format("op_threads {}, {} {}, {}, {}, {}", options.op_threads, device.kind,
                     device.isa, device.libraries, name_of(options.precision),
                     image::image_library().version());
}

/// Checks that the network takes an image in all its sizes. Throws JobError naming it.
void check_size(const DreamNetwork& network, const DreamOptions& dream, const DreamSource& source,
                const Shape& size) {
  for (std::int64_t octave = 0; octave < dream.octaves; ++octave) {
    const Shape extents = octave_size(dream, octave, size[0], size[1]);
    try {
      [[maybe_unused]] const auto terms = network.terms(network.part_for(extents[0], extents[1]));
    } catch (const JobError& error) {
      throw JobError(fmt::format("{}: {}", source.name, error.what()));
    }
  }
}

/// The largest image, once all have been looked at.
struct Largest {
  std::size_t index = 0;
  Shape size;
  std::int64_t bytes = 0;  // that its dream takes
  std::string hash;        // of all files together
};

Largest look_at_sizes(const DreamNetwork& network, const TrainOptions& options,
                      const DreamOptions& dream, const std::vector<DreamSource>& sources) {
  Largest largest;
  io::Sha256 hash;
  std::set<std::array<std::int64_t, 2>> seen;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto [size, sha256] = inspect_source(sources[i], dream);
    hash.update(sha256.c_str(), sha256.size() + 1);
    if (!seen.insert({size[0], size[1]}).second) {
      continue;
    }
    check_size(network, dream, sources[i], size);
    if (i == 0 || size.elements() > largest.size.elements()) {
      largest = {i, size, 0, {}};
    }
  }
  largest.bytes =
      dream_bytes(network.part_for(largest.size[0], largest.size[1]), dream, is_bf16(options));
  largest.hash = hash.finish();
  return largest;
}

std::int64_t weight_bytes(const DreamNetwork& network) {
  return network.parameters().arena_elements() * static_cast<std::int64_t>(sizeof(float));
}

/// What a rank takes of `ranks` on its host, which have the weights once.
std::int64_t bytes_of_a_rank(const DreamNetwork& network, const Largest& largest, int ranks) {
  return largest.bytes + weight_bytes(network) / ranks;
}

/// The threads of a rank: as many as there are parts, or fewer, which then compute several.
class PartWorkers {
 public:
  PartWorkers(const TrainOptions& options, const comm::Communicator& communicator)
      : pool_(static_cast<int>(std::clamp<std::int64_t>(wanted_workers(options, communicator), 1,
                                                        options.op_threads)),
              true) {}

  [[nodiscard]] int threads() const { return pool_.workers(); }
  [[nodiscard]] RunParts runner() {
    return [this](int parts, const std::function<void(int)>& part) {
      pool_.run([&](int worker) {
        for (int i = worker; i < parts; i += pool_.workers()) {
          part(i);
        }
      });
    };
  }

 private:
  WorkerPool pool_;
};

std::string words_of(const nlohmann::json& step, const DreamKey& key, const DreamOptions& dream,
                     double seconds) {
  std::string terms;
  for (const auto& [layer, value] : step["layers"].items()) {
    terms += fmt::format("{} {:.5g}, ", layer, value.get<double>());
  }
  const std::string octave =
      dream.octaves == 1
          ? ""
          : fmt::format("octave {} of {}, ", step["octave"].get<std::int64_t>(), dream.octaves);
  return fmt::format(
      "{}, {}iteration {} of {}: loss {:.6g}, {:.6g} before ({}continuity {:.4g}, l2 {:.4g}), {} "
      "gradients, {:.1f} s",
      key.name, octave, step["iteration"].get<std::int64_t>(), dream.iterations,
      step["loss"].get<double>(), step["before"].get<double>(), terms,
      step["continuity"].get<double>(), step["l2"].get<double>(),
      step["evaluations"].get<std::int64_t>(), seconds);
}

/// What the dreams of a rank share.
struct Studio {
  const DreamSetting& setting;
  const DreamNetwork& network;
  const DreamFolder& folder;
  Dreamer& dreamer;
};

/// One image, from its last iteration on. Its steps, or nothing if it was asked to stop.
nlohmann::json dream_image(const Studio& studio, const DreamSource& source, std::size_t index) {
  const DreamOptions& dream = studio.setting.dream;
  const LoadedSource loaded = load_source(source, dream);
  const DreamKey key{index, source.name, loaded.sha256};
  if (const auto steps = studio.folder.finished(key)) {
    spdlog::info("{}: is dreamt already", key.name);
    return *steps;
  }
  DreamState state;
  nlohmann::json steps = nlohmann::json::array();
  if (auto found = studio.folder.unfinished(key);
      found && can_go_on(dream, found->state, loaded.image.h, loaded.image.w)) {
    state = std::move(found->state);
    steps = std::move(found->steps);
    spdlog::info("{}: going on behind iteration {} of octave {}", key.name, state.iterations,
                 state.octave + 1);
  }
  const InputSpace& space = studio.network.space();
  auto start = std::chrono::steady_clock::now();
  const auto watch = [&](const DreamStep& step, const DreamState& now) {
    steps.push_back(to_json(step, dream.layers));
    studio.folder.save(key, now, steps, out_of_space(now.image, space), dream.octaves > 1);
    const auto end = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(end - std::exchange(start, end)).count();
    spdlog::info("{}", words_of(steps.back(), key, dream, seconds));
    return !stop_asked();
  };
  const RngKey noise = RngKey(studio.setting.options.seed).fold(kJitterKey).fold(index);
  try {
    if (!studio.dreamer.run(into_space(loaded.image, space), noise, state, watch)) {
      return nullptr;
    }
  } catch (const NumericError& error) {
    throw NumericError(fmt::format("{}: {}", key.name, error.what()));
  }
  studio.folder.finish(key, steps, out_of_space(state.image, space));
  spdlog::info("{}: wrote {}", key.name, studio.folder.dream_file(key).string());
  return steps;
}

/// All iterations in the order of the images, a line each.
std::string metrics_of(const std::vector<DreamSource>& sources,
                       const std::vector<nlohmann::json>& by_rank) {
  std::string lines;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    for (nlohmann::json line : by_rank[i % by_rank.size()][i / by_rank.size()]) {
      line["image"] = sources[i].name;
      lines += line.dump(-1, ' ', false, kReplace) + "\n";
    }
  }
  return lines;
}

/// The network with its weights on a device, and what a job begins with.
struct Prepared {
  Prepared(const DreamSetting& setting, const std::string& weights,
           comm::Communicator& communicator)
      : network(setting.dream), device(make_device(setting.options)), queue(device->make_queue()) {
    sources = dream_sources(setting.dream, note);
    largest = look_at_sizes(network, setting.options, setting.dream, sources);
    check_needs(communicator);
    const comm::HostMemory memory = communicator.host_memory(
        SharedBlocks::room_for(static_cast<std::size_t>(weight_bytes(network))));
    network.keep_in(std::make_shared<SharedBlocks>(memory.data, memory.bytes));
    network.load(*device, *queue, weights, RngKey(setting.options.seed).fold(kWeightsKey));
  }

  /// Throws DeviceError on all ranks unless there is memory for the largest image.
  void check_needs(comm::Communicator& communicator) const {
    const std::int64_t bytes = bytes_of_a_rank(network, largest, communicator.ranks_on_host());
    const std::string& name = sources[largest.index].name;
    spdlog::info("{} image{}, the largest {} of {} x {} pixels: at least {:.0f} MiB a rank",
                 sources.size(), sources.size() == 1 ? "" : "s", name, largest.size[0],
                 largest.size[1], static_cast<double>(bytes) / kMib);
    try {
      check_memory(communicator, bytes, available_memory());
    } catch (const DeviceError& error) {
      throw DeviceError(
          fmt::format("{}. {} of {} x {} pixels takes {:.0f} MiB of it: a smaller `size` needs "
                      "less",
                      error.what(), name, largest.size[0], largest.size[1],
                      static_cast<double>(largest.bytes) / kMib));
    }
  }

  DreamNetwork network;
  std::unique_ptr<Device> device;
  std::unique_ptr<Queue> queue;
  std::string note;
  std::vector<DreamSource> sources;
  Largest largest;
};

/// Equal for equal dreams: job, contract, weights, and which images.
std::string identity_of(const DreamSetting& setting, const Prepared& prepared) {
  io::Sha256 hash;
  const auto add = [&](const std::string& text) { hash.update(text.c_str(), text.size() + 1); };
  add(setting.identity);
  add(contract_of(setting.options, prepared.device->identity()));
  add(prepared.network.identity());
  for (const DreamSource& source : prepared.sources) {
    add(source.name);
  }
  return hash.finish();
}

/// Of the images the contents too, which are no part of the folder's identity: each dream's files
/// have the hash of its image.
void check_same(const DreamSetting& setting, const Prepared& prepared, const std::string& identity,
                comm::Communicator& communicator) {
  check_same_on_all_ranks(communicator, contract_of(setting.options, prepared.device->identity()),
                          identity + prepared.largest.hash);
}

/// Takes the folder's lock on rank 0, for all, and opens it.
std::unique_ptr<RunLock> take_folder(const DreamSetting& setting, DreamFolder& folder,
                                     comm::Communicator& communicator) {
  std::unique_ptr<RunLock> lock;
  if (communicator.rank() == 0) {
    folder.make();
    lock = std::make_unique<RunLock>(setting.output);
  }
  const std::string id =
      communicator.all_gather_text(lock == nullptr ? std::string() : lock->id())[0];
  check_output_is_shared(communicator, setting.output, id);
  folder.hold(id);
  if (lock != nullptr) {
    folder.open(setting.resolved, setting.anew, setting.overwrite);
  }
  communicator.barrier();
  return lock;
}

DreamHands hands_of(const TrainOptions& options, Prepared& prepared, PartWorkers& workers) {
  return {.device = *prepared.device,
          .run_parts = workers.runner(),
          .parts = static_cast<int>(options.op_threads),
          .bf16 = is_bf16(options)};
}

void check_bench(const BenchOptions& bench) {
  if (!bench.stage.empty() || bench.forward) {
    throw JobError(fmt::format("{}: a job of the kind deepdream has no {}: its gradients are timed",
                               bench.forward ? "--forward" : "--stage",
                               bench.forward ? "forward pass alone" : "stages"));
  }
  if (bench.steps < 1 || bench.warmup < 0) {
    throw JobError(fmt::format("--steps {}, --warmup {}: at least 1 and 0 are needed", bench.steps,
                               bench.warmup));
  }
}

/// The slowest and largest of all ranks.
void combine(BenchResult& result, comm::Communicator& communicator) {
  const nlohmann::json mine = {result.step_ms, result.step_ms_min, result.startup_s,
                               result.peak_rss_mib, result.tensor_peak_mib};
  for (const std::string& text : communicator.all_gather_text(mine.dump())) {
    const nlohmann::json one = nlohmann::json::parse(text);
    result.step_ms = std::max(result.step_ms, one[0].get<double>());
    result.step_ms_min = std::max(result.step_ms_min, one[1].get<double>());
    result.startup_s = std::max(result.startup_s, one[2].get<double>());
    result.peak_rss_mib = std::max(result.peak_rss_mib, one[3].get<double>());
    result.tensor_peak_mib = std::max(result.tensor_peak_mib, one[4].get<double>());
    result.peak_rss_mib_all_ranks += one[3].get<double>();
  }
}

}  // namespace

bool run_dreams(const DreamSetting& setting, comm::Communicator& communicator) {
  check_supported_dreams(setting.options);
  Prepared prepared(setting, setting.options.weights.file, communicator);
  const std::string identity = identity_of(setting, prepared);
  const std::string contract = contract_of(setting.options, prepared.device->identity());
  check_same(setting, prepared, identity, communicator);
  DreamFolder folder(setting.output, identity);
  const std::unique_ptr<RunLock> lock = take_folder(setting, folder, communicator);
  PartWorkers workers(setting.options, communicator);
  spdlog::info("{}; {} rank{} x {} thread{}", contract, communicator.size(),
               communicator.size() == 1 ? "" : "s", workers.threads(),
               workers.threads() == 1 ? "" : "s");
  spdlog::info("{}", prepared.network.note());
  if (!prepared.note.empty()) {
    spdlog::warn("{}", prepared.note);
  }
  const comm::PhaseScope phase(communicator.activity(), comm::Phase::kEvaluating);
  Dreamer dreamer(prepared.network, setting.dream, hands_of(setting.options, prepared, workers));
  const Studio studio{setting, prepared.network, folder, dreamer};
  const auto ranks = static_cast<std::size_t>(communicator.size());
  nlohmann::json mine = nlohmann::json::array();
  for (auto i = static_cast<std::size_t>(communicator.rank());
       i < prepared.sources.size() && !stop_asked(); i += ranks) {
    nlohmann::json steps = dream_image(studio, prepared.sources[i], i);
    if (steps.is_null()) {
      break;
    }
    mine.push_back(std::move(steps));
  }
  std::vector<nlohmann::json> by_rank;
  std::size_t done = 0;
  for (const std::string& text : communicator.all_gather_text(mine.dump())) {
    by_rank.push_back(nlohmann::json::parse(text));
    done += by_rank.back().size();
  }
  const bool all = done == prepared.sources.size();
  if (all && communicator.rank() == 0) {
    folder.write_metrics(metrics_of(prepared.sources, by_rank));
  }
  communicator.barrier();
  spdlog::info("{} of {} dreams are in {}", done, prepared.sources.size(), setting.output.string());
  return all;
}

DreamEstimate estimate_dreams(const TrainOptions& options, const DreamOptions& dream, int ranks) {
  check_supported_dreams(options);
  const DreamNetwork network(dream);
  DreamEstimate estimate;
  const auto device = make_device(options);
  estimate.contract = contract_of(options, device->identity());
  const std::vector<DreamSource> sources = dream_sources(dream, estimate.note);
  const Largest largest = look_at_sizes(network, options, dream, sources);
  estimate.images = sources.size();
  estimate.largest = sources[largest.index].name;
  estimate.h = largest.size[0];
  estimate.w = largest.size[1];
  estimate.bytes = bytes_of_a_rank(network, largest, ranks);
  estimate.gflop = 4e-9 * dream_products(network.part_for(estimate.h, estimate.w));
  estimate.parameters = network.parameters().count();
  TrainOptions with_network = options;
  with_network.model.name = dream.network;
  if (dream.model_file.empty()) {
    estimate.missing = missing_weights(with_network);
  }
  return estimate;
}

BenchResult bench_dreams(const DreamSetting& setting, const BenchOptions& bench,
                         std::chrono::system_clock::time_point process_start,
                         comm::Communicator& communicator) {
  check_bench(bench);
  check_supported_dreams(setting.options);
  Prepared prepared(setting, "random", communicator);
  check_same(setting, prepared, identity_of(setting, prepared), communicator);
  PartWorkers workers(setting.options, communicator);
  Dreamer dreamer(prepared.network, setting.dream, hands_of(setting.options, prepared, workers));
  const DreamImage image =
      into_space(load_source(prepared.sources[0], setting.dream).image, prepared.network.space());
  DreamLoss& loss = dreamer.loss_for(image.h, image.w);
  std::vector<double> gradient(image.values.size());
  std::vector<double> times;
  BenchResult result;
  const comm::PhaseScope phase(communicator.activity(), comm::Phase::kEvaluating);
  for (std::int64_t i = 0; i < bench.warmup + bench.steps; ++i) {
    const auto start = std::chrono::steady_clock::now();
    loss.evaluate(image.values, gradient);
    loss.clear();
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
    if (i == 0) {
      result.startup_s =
          std::chrono::duration<double>(std::chrono::system_clock::now() - process_start).count();
    }
    if (i >= bench.warmup) {
      times.push_back(time.count());
    }
  }
  std::ranges::sort(times);
  result.stage = "gradients";
  result.batch = communicator.size();
  result.shards = communicator.size();
  result.ranks = communicator.size();
  result.threads = workers.threads();
  const std::size_t middle = times.size() / 2;
  result.step_ms = times.size() % 2 == 1 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
  result.step_ms_min = times.front();
  result.gflop_per_step = 4e-9 * static_cast<double>(communicator.size()) *
                          dream_products(prepared.network.part_for(image.h, image.w));
  result.peak_rss_mib = peak_rss_mib();
  result.tensor_peak_mib = static_cast<double>(prepared.device->memory().stats().peak_bytes) / kMib;
  combine(result, communicator);
  return result;
}

}  // namespace gentrain::trainers
