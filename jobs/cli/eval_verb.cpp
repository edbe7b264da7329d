// gentrain eval MODEL [DATA]: loss and accuracy of a trained model.
#include <iostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "comm/watchdog.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/model_options.h"
#include "jobs/cli/verbs.h"
#include "trainers/observers.h"

namespace gentrain::jobs {

int eval_verb(Session& session, const Arguments& arguments) {
  OptionSet options(
      "[mpirun -np N] gentrain eval MODEL [DATA] [options]",
      "Loss and accuracy of a model over a data set: a folder with MNIST's test set, "
      "'digits', or an\n.h5 file with /x and /y; without DATA MNIST's test set, or the "
      "built-in digits where it is not found.\nThe last line is one JSON object.");
  add_model_options(options);
  options.add_argument("data");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  const comm::Watchdog watchdog(session.communicator);
  trainers::Inference inference(options.required("model"), inference_options(options),
                                session.communicator);
  const trainers::InferenceData data = trainers::load_inference_data(
      options.has("data") ? options.get<std::string>("data") : "", inference.workers());
  const trainers::Evaluation result = inference.evaluate(*data.samples);
  if (session.communicator.rank() == 0) {
    const nlohmann::json json = {{"top1", result.top1()},
                                 {"correct", result.correct},
                                 {"samples", result.samples},
                                 {"loss", result.loss}};
    std::cout << data.note << "\n"
              << fmt::format("{} of {} right ({:.4f}), loss {:.4f}\n",
                             trainers::with_commas(result.correct),
                             trainers::with_commas(result.samples), result.top1(), result.loss)
              << json.dump() << std::endl;
  }
  session.communicator.barrier();
  return kSuccess;
}

}  // namespace gentrain::jobs
