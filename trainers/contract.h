// The contract: all that the bytes of a run depend on beside the job, in words. Printed, stored
// with the model, compared across ranks before the start.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "kernels/device.h"
#include "trainers/options.h"

namespace gentrain::trainers {

/// "16 shards, op_threads 1, cpu v3, oneDNN 2.6.3, f32, canonical exchange"; behind it, unless it
/// is empty, the image library: ", OpenCV 4.6.0".
std::string contract_text(const TrainOptions& options, const DeviceIdentity& device,
                          std::string_view image_library = {});

/// What every rank must have alike, and its name: "contract".
struct NamedText {
  const char* name;
  std::string text;
};

/// Collective; throws CommError naming the rank that differs, in what, and both texts. A lone rank
/// does not make the texts.
void check_equal_on_all_ranks(comm::Communicator& communicator,
                              const std::function<std::vector<NamedText>()>& make_parts);

/// Checks that all ranks run the same program on the same job under the same contract. `job` is a
/// text that is equal for equal jobs. As check_equal_on_all_ranks.
void check_same_on_all_ranks(comm::Communicator& communicator, const std::string& contract,
                             const std::string& job);

/// "f32", "bf16", "bf16_emulated" or "tf32".
std::string_view name_of(Precision precision);
/// Why this version cannot compute in it, to stand behind "precision is "; "" if it can.
std::string why_not(Precision precision);

/// SHA-256 of this program's file.
std::string program_hash();

/// Throws JobError for what this version cannot do (another device or precision, op_threads above
/// 1) and for more ranks than shards, naming the fix.
void check_supported(const TrainOptions& options, int ranks);

/// Worker threads that a rank would like to have: `threads` of the job, or else max(1, allowed
/// cores / ranks on this host).
std::int64_t wanted_workers(const TrainOptions& options, const comm::Communicator& communicator);
/// Worker threads of a rank: those wanted, at most the shards that the rank owns.
int worker_count(const TrainOptions& options, const comm::Communicator& communicator);

/// The device that the job names. Throws DeviceError.
std::unique_ptr<Device> make_device(const TrainOptions& options);

}  // namespace gentrain::trainers
