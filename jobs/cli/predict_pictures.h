// gentrain predict on pictures: a stream of names in, rows out as they come.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "trainers/model_at_work.h"
#include "trainers/streaming.h"

namespace gentrain::jobs {

struct PicturePredictions {
  std::vector<std::string> names;    // arguments, see PictureNames
  std::optional<std::int64_t> most;  // pictures at most
  std::int64_t top = 5;              // classes that a row tells; fewer if there are fewer
  std::string format = "table";      // csv, jsonl
  std::int64_t batch = 8;
};

/// Prints a row for each picture, on rank 0, and what could not be read. Collective.
///
/// Returns kSuccess, or kBadFile if no picture could be read. Throws IoError if there are no
/// pictures; as trainers::stream(), PictureNames and trainers::PredictionWork.
int predict_pictures(trainers::ModelAtWork& at_work, comm::Communicator& communicator,
                     const PicturePredictions& what);

/// A line on stderr that says how many could not be read, and why the first; none if all could.
/// `things`: "pictures".
void tell_failures(const trainers::StreamSummary& summary, const char* things);

}  // namespace gentrain::jobs
