// Jobs of the kind deepdream: images dealt over the ranks, each dreamt by one of them, whose
// threads compute the fixed parts of its operations. Neither ranks nor threads leave a trace in the
// bytes.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

#include "comm/communicator.h"
#include "trainers/bench.h"
#include "trainers/dream_options.h"
#include "trainers/options.h"

namespace gentrain::trainers {

/// What a job of dreams is told. Of the options seed, isa, precision, threads, op_threads and
/// weights.file count.
struct DreamSetting {
  const TrainOptions& options;
  const DreamOptions& dream;
  std::filesystem::path output;
  std::string identity;    // a text that is equal for equal jobs
  std::string resolved;    // the job in full, for the record
  bool anew = false;       // do not go on with what is there
  bool overwrite = false;  // nor refuse another job's dreams
};

/// Dreams all images and writes them to `output`: of each a picture behind every iteration, the
/// dream and its record; at the end metrics.jsonl, all iterations in the order of the images.
/// Finished dreams stay, one that was interrupted goes on behind its last iteration. Collective.
///
/// Result: false if it was asked to stop (stop_asked()) and dreams are missing.
///
/// Throws on some rank JobError: what DreamNetwork throws, naming the image if it does not fit, and
/// another job's dreams in `output`; IoError: an image or weights that are missing or damaged,
/// `output` that cannot be written; DeviceError: too little memory, which is looked at before the
/// first dream, naming the largest image; NumericError naming the image; CommError: ranks that
/// differ in job, program or images.
bool run_dreams(const DreamSetting& setting, comm::Communicator& communicator);

/// What a job would take, without its weights.
struct DreamEstimate {
  std::string contract;
  std::size_t images = 0;
  std::string note;     // which image stands in for none; may be empty
  std::string largest;  // the name of the largest image
  std::int64_t h = 0;   // of that one
  std::int64_t w = 0;
  std::int64_t bytes = 0;       // of a rank at least: what the largest image needs, its part of the
                                // weights, which a host has once
  double gflop = 0;             // of one gradient of that image; multiply-adds count two
  std::int64_t parameters = 0;  // that are needed
  std::string missing;          // weights that are not there; empty if nothing is missing
};
/// ranks: on the host. Throws as run_dreams() would before the first dream, but for missing weights
/// and memory.
DreamEstimate estimate_dreams(const TrainOptions& options, const DreamOptions& dream,
                              int ranks = 1);

/// Times gradients of the whole loss by the first image, with weights drawn at random: every rank
/// computes them for itself, and each counts as an image. Writes nothing. Collective. Throws
/// JobError for counts that are impossible, a stage and a forward pass, which dreams have not; as
/// run_dreams().
BenchResult bench_dreams(const DreamSetting& setting, const BenchOptions& bench,
                         std::chrono::system_clock::time_point process_start,
                         comm::Communicator& communicator);

}  // namespace gentrain::trainers
