// Contract and preflight.
#include "trainers/contract.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sched.h>

#include "comm/shards.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "trainers/json_members.h"

namespace gentrain::trainers {

namespace {

int allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

}  // namespace

std::string contract_text(const TrainOptions& options, const DeviceIdentity& device,
                          std::string_view image_library) {
  return fmt::format("{} shards, op_threads {}, {} {}, {}, {}, {} exchange{}{}",
                     options.batch.shards, options.op_threads, device.kind, device.isa,
                     device.libraries, name_of(options.precision),
                     options.exchange == comm::ExchangeMode::kCanonical ? "canonical" : "library",
                     image_library.empty() ? "" : ", ", image_library);
}

void check_equal_on_all_ranks(comm::Communicator& communicator,
                              const std::function<std::vector<NamedText>()>& make_parts) {
  if (communicator.size() == 1) {
    return;
  }
  const std::vector<NamedText> parts = make_parts();
  nlohmann::json mine = {communicator.where()};
  for (const NamedText& part : parts) {
    mine.push_back(part.text);
  }
  std::vector<std::vector<std::string>> all;
  for (const std::string& text :
       communicator.all_gather_text(mine.dump(-1, ' ', false, kReplace))) {
    all.push_back(nlohmann::json::parse(text).get<std::vector<std::string>>());
  }
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    for (std::size_t part = 0; part < parts.size(); ++part) {
      const std::string& here = all[rank].at(part + 1);
      const std::string& there = all[0].at(part + 1);
      if (here != there) {
        throw CommError(
            fmt::format("rank {} ({}) runs with another {} than rank 0 ({}): {} against {}", rank,
                        all[rank][0], parts[part].name, all[0][0], here, there));
      }
    }
  }
}

void check_same_on_all_ranks(comm::Communicator& communicator, const std::string& contract,
                             const std::string& job) {
  check_equal_on_all_ranks(communicator, [&]() -> std::vector<NamedText> {
    return {{"contract", contract},
            {"gentrain program", program_hash()},
            {"job", io::sha256(std::as_bytes(std::span(job)))}};
  });
}

std::string program_hash() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  io::Sha256 hash;
  std::vector<char> block(std::size_t{1} << 20);
  while (file) {
    file.read(block.data(), static_cast<std::streamsize>(block.size()));
    hash.update(block.data(), static_cast<std::size_t>(file.gcount()));
  }
  return hash.finish();
}

std::string_view name_of(Precision precision) {
  switch (precision) {
    case Precision::kBf16:
      return "bf16";
    case Precision::kBf16Emulated:
      return "bf16_emulated";
    case Precision::kTf32:
      return "tf32";
    case Precision::kF32:
      break;
  }
  return "f32";
}

std::string why_not(Precision precision) {
  switch (precision) {
    case Precision::kBf16:
      return "bf16, but this version has no bf16 products for any processor: f32 is faster. "
             "bf16_emulated keeps tensors in bf16 all the same and computes in f32";
    case Precision::kTf32:
      return "tf32, but only CUDA devices have it";
    case Precision::kF32:
    case Precision::kBf16Emulated:
      break;
  }
  return "";
}

void check_supported(const TrainOptions& options, int ranks) {
  if (options.device == DeviceChoice::kCuda) {
    throw DeviceError("device: cuda: this build has no CUDA backend; use device: cpu");
  }
  if (const std::string why = why_not(options.precision); !why.empty()) {
    throw JobError("precision is " + why);
  }
  if (options.op_threads != 1) {
    throw JobError(fmt::format(
        "op_threads: {}: no operation of this version is cut into parts; only 1 is there",
        options.op_threads));
  }
  if (ranks > options.batch.shards) {
    throw JobError(
        fmt::format("{} ranks but only {} shards, and a shard is computed by one rank: start at "
                    "most {} ranks, or "
                    "set batch.shards to {} or more (another number of shards gives other bytes)",
                    ranks, options.batch.shards, options.batch.shards, ranks));
  }
}

std::int64_t wanted_workers(const TrainOptions& options, const comm::Communicator& communicator) {
  return options.threads > 0 ? options.threads
                             : std::max(1, allowed_cores() / communicator.ranks_on_host());
}

int worker_count(const TrainOptions& options, const comm::Communicator& communicator) {
  const std::int64_t owned =
      comm::part_of(options.batch.shards, communicator.size(), communicator.rank()).size();
  return static_cast<int>(std::clamp<std::int64_t>(wanted_workers(options, communicator), 1,
                                                   std::max<std::int64_t>(owned, 1)));
}

std::unique_ptr<Device> make_device(const TrainOptions& options) {
  switch (options.isa) {
    case IsaChoice::kV3:
      return make_cpu_device(Isa::kV3);
    case IsaChoice::kV4:
      return make_cpu_device(Isa::kV4);
    case IsaChoice::kAuto:
      break;
  }
  return make_cpu_device(Isa::kAuto);
}

}  // namespace gentrain::trainers
