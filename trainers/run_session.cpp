// RunSession.
#include "trainers/run_session.h"

#include <algorithm>
#include <new>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "kernels/error.h"
#include "trainers/preflight.h"
#include "trainers/run_log.h"
#include "trainers/units.h"

namespace gentrain::trainers {

namespace {

nlohmann::json environment(TrainingRun& run, const RunSetting& setting) {
  const DeviceIdentity& device = run.device().identity();
  nlohmann::json left_out = nlohmann::json::array();
  for (const image::BadFile& file : run.left_out()) {
    left_out.push_back(file.reason);
  }
  return {{"contract", run.contract()},
          {"version", setting.version},
          {"processor", device.name},
          {"device", device.kind},
          {"isa", device.isa},
          {"libraries", device.libraries},
          {"image_library", run.image_library()},
          {"ranks", run.communicator().size()},
          {"threads", run.workers()},
          {"notes", run.objective().notes()},
          {"rank0", run.communicator().where()},
          {"images_left_out", std::move(left_out)}};
}

}  // namespace

RunSession::RunSession(const RunSetting& setting, const TrainOptions& options,
                       comm::Communicator& communicator)
    : setting_(setting),
      communicator_(communicator),
      folder_(setting.output),
      alarms_{communicator} {
  const bool first_rank = communicator.rank() == 0;
  if (first_rank && !is_done(setting, options, folder_)) {
    take_lock();
  }
  beginning_ = choose_beginning(setting, options, folder_, communicator);
  if (nothing_to_do()) {
    return;
  }
  bool late = first_rank && !lock_;
  communicator.broadcast({&late, sizeof late}, 0);
  if (late) {  // another run may have come and gone meanwhile
    if (first_rank) {
      take_lock();
    }
    beginning_ = choose_beginning(setting, options, folder_, communicator);
    if (nothing_to_do()) {
      return;
    }
  }
  id_ = lock_ ? lock_->id() : std::string(32, ' ');
  communicator.broadcast({id_.data(), id_.size()}, 0);
  folder_.write_as(id_);
  // A run that never begins leaves an earlier one as it is.
  bool empty = first_rank && !folder_.holds_run();
  communicator.broadcast({&empty, sizeof empty}, 0);
  if (empty) {
    take_folder();
  }
}

void RunSession::take_lock() {
  folder_.prepare();
  lock_.emplace(folder_.path());
}

void RunSession::take_folder() {
  if (taken_) {
    return;
  }
  if (communicator_.rank() == 0) {
    folder_.make_ready(beginning_.earlier);
    log_to_file(folder_.log(), beginning_.earlier == RunFolder::Earlier::kStays);
  }
  taken_ = true;
  open_alarms();
  communicator_.barrier();
}

/// From here on the watchdog's words go to the folder too.
void RunSession::open_alarms() {
  communicator_.activity().set_log([this](const std::string& words, bool ends) {
    folder_.append_error(words);
    if (ends) {
      folder_.write_status("failed", communicator_.activity().step(), comm::kRankTroubleCode);
    }
  });
}

void RunSession::write_records(TrainingRun& run, std::int64_t steps) const {
  // A finished run that goes on ceases to be finished first; otherwise run.json comes first:
  // without it nobody could tell whose run is under way.
  const bool recorded = !folder_.read_run().is_null();
  if (recorded) {
    folder_.write_status("running", steps, 0);
  }
  folder_.write_run({{"job", setting_.job},
                     {"run", id_},
                     {"from", beginning_.from},
                     {"same_job", setting_.same_job},
                     {"identity", setting_.identity}});
  if (!recorded) {
    folder_.write_status("running", steps, 0);
  }
  folder_.write_job(setting_.resolved);
  folder_.write_environment(environment(run, setting_));
}

void RunSession::record_failure(std::int64_t steps, const std::exception& error) const {
  if (!taken_) {
    return;
  }
  if (dynamic_cast<const LostLockError*>(&error) != nullptr) {
    leave_log_file();
    return;
  }
  const bool memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr;
  folder_.append_error(fmt::format("rank {} ({}): {}", communicator_.rank(), communicator_.where(),
                                   memory ? "there is not enough memory" : error.what()));
  try {
    folder_.write_status("failed", steps, setting_.exit_code_of(error));
  } catch (const IoError&) {  // the error itself matters more
    spdlog::debug("status.json could not be written");
  }
}

PeakMemory memory_of_ranks(TrainingRun& run) {
  const double tensors = static_cast<double>(run.device().memory().stats().peak_bytes) / kMib;
  const nlohmann::json mine = {peak_rss_mib(), tensors};
  PeakMemory peak;
  for (const std::string& text : run.communicator().all_gather_text(mine.dump())) {
    const nlohmann::json one = nlohmann::json::parse(text);
    peak.largest = std::max(peak.largest, one[0].get<double>());
    peak.all += one[0].get<double>();
    peak.tensors = std::max(peak.tensors, one[1].get<double>());
  }
  return peak;
}

}  // namespace gentrain::trainers
