// The files of a job's dreams: a picture behind each iteration, the last one as the dream, its
// record, and the state that an unfinished one goes on from.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "trainers/dreamer.h"

namespace gentrain::trainers {

/// {"octave", "iteration" (from 1), "h", "w", "before", "loss", "layers": {NAME: term},
/// "continuity", "l2", "evaluations", "ending"}
nlohmann::json to_json(const DreamStep& step, const std::vector<DreamLayer>& layers);

/// An image among the job's, and what its files hold.
struct DreamKey {
  std::size_t index = 0;  // from 0
  std::string name;
  std::string sha256;  // of its file
};

class DreamFolder {
 public:
  /// identity: of the run; files of another one are not gone on with
  DreamFolder(std::filesystem::path folder, std::string identity)
      : folder_(std::move(folder)), identity_(std::move(identity)) {}

  /// Makes the folder. Throws IoError naming it.
  void make() const;
  /// From now on throws LostLockError, as RunLock::require, before anything is renamed that the run
  /// with this id no longer has the lock for.
  void hold(std::string run) { run_ = std::move(run); }

  /// On rank 0: makes the folder, writes dreams.json, which says whose it is, and the resolved job;
  /// with `anew` or `overwrite`, and where dreams.json is, removes the dreams of other runs:
  /// records and states, their pictures, and metrics.jsonl. Other files stay. Throws JobError if it
  /// holds another run's dreams and neither `anew` nor `overwrite` is set; IoError naming what
  /// cannot be written.
  void open(const std::string& resolved, bool anew, bool overwrite) const;

  /// The steps of a dream that is finished.
  [[nodiscard]] std::optional<nlohmann::json> finished(const DreamKey& key) const;
  /// What an unfinished one has come to, and its steps; a file that is damaged or another dream's
  /// is none. Whether the job has such a state can_go_on() says.
  struct Unfinished {
    DreamState state;
    nlohmann::json steps;
  };
  [[nodiscard]] std::optional<Unfinished> unfinished(const DreamKey& key) const;

  /// Behind an iteration: picture and state. Throw IoError.
  void save(const DreamKey& key, const DreamState& state, const nlohmann::json& steps,
            const image::Image& picture, bool has_octaves) const;
  /// At the end: the dream and its record; its state goes.
  void finish(const DreamKey& key, const nlohmann::json& steps, const image::Image& dream) const;

  /// "FOLDER/003_cat.png" of the third image, cat.jpg.
  [[nodiscard]] std::filesystem::path dream_file(const DreamKey& key) const;
  /// metrics.jsonl; throws IoError.
  void write_metrics(const std::string& lines) const;

 private:
  [[nodiscard]] std::filesystem::path path_of(const DreamKey& key, const char* ending) const;
  void require_lock() const;

  std::filesystem::path folder_;
  std::string identity_;
  std::string run_;  // that has the lock; empty: nobody asks
};

}  // namespace gentrain::trainers
