// Rounds: rank 0 deals batches, then the rows of the round before are gathered, while workers are
// at the new ones. What a round holds depends on how fast names come; what a batch holds does not.
#include "trainers/streaming.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "comm/backoff.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::trainers {

namespace {

/// Between two looks of a thread that waits.
constexpr std::chrono::milliseconds kLook{100};

using Items = std::vector<StreamItem>;

/// A batch of this rank.
struct Batch {
  std::int64_t first = 0;  // index of its first item
  Items items;
  std::vector<std::string> errors;  // by item
  std::vector<float> values;
  bool done = false;
};

/// Texts and numbers one behind the other, and back: names need not be UTF-8.
class Packer {
 public:
  void number(std::int64_t value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void text(const std::string& value) {
    number(std::ssize(value));
    text_ += value;
  }
  [[nodiscard]] const std::string& packed() const { return text_; }

 private:
  std::string text_;
};

class Unpacker {
 public:
  explicit Unpacker(std::string_view text) : text_(text) {}
  std::int64_t number() {
    std::int64_t value = 0;
    std::memcpy(&value, text_.data(), sizeof value);
    text_.remove_prefix(sizeof value);
    return value;
  }
  std::string text() {
    const auto size = static_cast<std::size_t>(number());
    std::string value(text_.substr(0, size));
    text_.remove_prefix(size);
    return value;
  }

 private:
  std::string_view text_;
};

std::jthread start_thread(std::function<void(const std::stop_token&)> body) {
  try {
    return std::jthread(std::move(body));
  } catch (const std::system_error& error) {
    throw DeviceError(fmt::format("a thread cannot be started: {}", error.what()));
  }
}

/// Reads names ahead, on a thread of its own.
class NameReader {
 public:
  NameReader(const StreamSource& source, std::int64_t batch, std::int64_t ahead)
      : source_(source), batch_(static_cast<std::size_t>(batch)), ahead_(ahead) {
    thread_ = start_thread([this](const std::stop_token& stop) { read(stop); });
  }

  /// Up to `most` batches that are complete, or the last one. With `wait` at least one, unless all
  /// names are read; then it throws what the source threw, once the names before that are taken:
  /// who waits has no rows under way that would be lost.
  std::vector<Items> take(std::int64_t most, bool wait) {
    std::unique_lock lock(mutex_);
    while (wait && !available() && !ended_) {
      changed_.wait_for(lock, kLook);
      progress::tick();  // who waits for names is not stuck
    }
    std::vector<Items> taken;
    while (std::ssize(taken) < most && available()) {
      const auto count = static_cast<std::ptrdiff_t>(std::min(batch_, items_.size()));
      taken.emplace_back(std::make_move_iterator(items_.begin()),
                         std::make_move_iterator(items_.begin() + count));
      items_.erase(items_.begin(), items_.begin() + count);
    }
    if (wait && taken.empty() && error_) {
      std::rethrow_exception(error_);
    }
    changed_.notify_all();
    return taken;
  }
  /// Whether nothing is left to take.
  [[nodiscard]] bool at_end() const {
    const std::lock_guard lock(mutex_);
    return ended_ && items_.empty() && !error_;
  }

 private:
  [[nodiscard]] bool available() const {
    return items_.size() >= batch_ || (ended_ && !items_.empty());
  }

  void read(const std::stop_token& stop) {
    const progress::Background reading;
    try {
      while (std::optional<StreamItem> item = source_(stop)) {
        std::unique_lock lock(mutex_);
        while (std::ssize(items_) >= ahead_ && !stop.stop_requested()) {
          changed_.wait_for(lock, kLook);
        }
        if (stop.stop_requested()) {
          return;
        }
        items_.push_back(std::move(*item));
        if (items_.size() % batch_ == 0) {
          changed_.notify_all();
        }
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      error_ = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

  const StreamSource& source_;
  std::size_t batch_;
  std::int64_t ahead_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<StreamItem> items_;
  std::exception_ptr error_;
  bool ended_ = false;
  std::jthread thread_;  // the last member: it uses the others
};

/// Loads and computes batches, on threads that take them in order.
class BatchWorkers {
 public:
  BatchWorkers(StepRunner& runner, const StreamWork& work, std::int64_t batch)
      : work_(work), batch_(static_cast<std::size_t>(batch)) {
    for (int i = 0; i < runner.pool().workers(); ++i) {
      threads_.push_back(start_thread(
          [this, &worker = runner.worker(i)](const std::stop_token& stop) { run(worker, stop); }));
    }
  }
  ~BatchWorkers() {
    for (std::jthread& thread : threads_) {
      thread.request_stop();
    }
    changed_.notify_all();
  }
  BatchWorkers(const BatchWorkers&) = delete;
  BatchWorkers& operator=(const BatchWorkers&) = delete;

  /// `batch` must live until it is done.
  void add(Batch& batch) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(&batch);
    changed_.notify_all();
  }
  /// Returns when the batch is done. Throws what a worker threw.
  void wait_for(const Batch& batch, comm::Activity& activity) {
    std::unique_lock lock(mutex_);
    while (!batch.done && !error_) {
      activity.look();
      changed_.wait_for(lock, kLook);
    }
    if (error_) {
      std::rethrow_exception(error_);
    }
  }

 private:
  void run(Worker& worker, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
      if (waiting_.empty() || error_) {
        changed_.wait_for(lock, kLook);
        continue;
      }
      Batch& batch = *waiting_.front();
      waiting_.pop_front();
      lock.unlock();
      std::exception_ptr thrown;
      try {
        compute(worker, batch);
      } catch (...) {
        thrown = std::current_exception();
      }
      lock.lock();
      error_ = error_ ? error_ : thrown;
      batch.done = true;
      changed_.notify_all();
    }
  }

  /// A short batch is filled up: what is computed together, and so the last bits of a row, does not
  /// depend on how many items there are.
  void compute(Worker& worker, Batch& batch) const {
    const std::size_t bytes = work_.item_bytes();
    std::vector<std::uint8_t> samples(batch_ * bytes);
    batch.errors.resize(batch.items.size());
    std::span<const std::uint8_t> loaded;  // the last one
    for (std::size_t i = 0; i < batch.items.size(); ++i) {
      const auto sample = std::span(samples).subspan(i * bytes, bytes);
      try {
        work_.load(batch.items[i], batch.first + static_cast<std::int64_t>(i), sample);
        loaded = sample;
      } catch (const IoError& error) {
        batch.errors[i] = error.what();
        std::ranges::fill(sample, std::uint8_t{0});
      }
      progress::tick();
    }
    if (!loaded.empty()) {
      for (std::size_t i = batch.items.size(); i < batch_; ++i) {
        std::ranges::copy(loaded, samples.begin() + static_cast<std::ptrdiff_t>(i * bytes));
      }
      batch.values = work_.compute(worker, samples, static_cast<std::int64_t>(batch_));
      check(batch);
    }
    batch.values.resize(batch.items.size() * work_.row_values());
    progress::tick();
  }

  /// Rows of loaded items that are none become errors.
  void check(Batch& batch) const {
    const std::size_t width = work_.row_values();
    for (std::size_t i = 0; i < batch.items.size(); ++i) {
      if (!batch.errors[i].empty()) {
        continue;
      }
      try {
        work_.check(batch.items[i], std::span(batch.values).subspan(i * width, width));
      } catch (const IoError& error) {
        batch.errors[i] = error.what();
      }
    }
  }

  const StreamWork& work_;
  std::size_t batch_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch*> waiting_;
  std::exception_ptr error_;
  std::vector<std::jthread> threads_;  // the last member: they use the others
};

/// Batches that were dealt together: the k-th one is rank k mod ranks'.
struct Round {
  bool last = false;
  std::vector<Batch> batches;  // of all ranks, in order; values and errors of own ones alone
};

/// One stream on one rank.
class Stream {
 public:
  Stream(comm::Communicator& communicator, StepRunner& runner, const StreamSource& source,
         const StreamWork& work, std::int64_t batch)
      : communicator_(communicator),
        ranks_(communicator.size()),
        rank_(communicator.rank()),
        tag_(communicator.reserve_tags(1, false)),
        work_(work),
        most_(most_at_once(communicator, runner)),
        workers_(runner, work, batch) {
    if (rank_ == 0) {
      names_ = std::make_unique<NameReader>(source, batch, 2 * most_ * batch);
    }
  }

  StreamSummary run(const std::function<void(const StreamRow&)>& row) {
    do {
      const bool under_way = before_ != nullptr && !before_->batches.empty();
      now_ = std::make_unique<Round>(deal(under_way));
      for (std::size_t k = own(); k < now_->batches.size(); k += step()) {
        workers_.add(now_->batches[k]);
      }
      if (before_ != nullptr) {
        collect(*before_, row);
      }
      before_ = std::move(now_);
    } while (!before_->last);
    collect(*before_, row);
    return summary_;
  }

 private:
  [[nodiscard]] std::size_t own() const { return static_cast<std::size_t>(rank_); }
  [[nodiscard]] std::size_t step() const { return static_cast<std::size_t>(ranks_); }

  /// Batches of a round: two for each worker of the rank that has most, and as many for each rank.
  static std::int64_t most_at_once(comm::Communicator& communicator, StepRunner& runner) {
    std::int64_t most = 1;
    for (const std::string& text :
         communicator.all_gather_text(std::to_string(runner.pool().workers()))) {
      most = std::max<std::int64_t>(most, std::stoll(text));
    }
    return 2 * most * communicator.size();
  }

  /// The next round, the same on every rank. While another one is under way nobody waits for names.
  Round deal(bool under_way) {
    Packer packer;
    if (rank_ == 0) {
      const std::vector<Items> taken = names_->take(most_, !under_way);
      packer.number(names_->at_end() ? 1 : 0);
      packer.number(std::ssize(taken));
      for (const Items& items : taken) {
        packer.number(std::ssize(items));
        for (const StreamItem& item : items) {
          packer.text(item.name);
          packer.number(item.label);
        }
      }
    }
    const std::vector<std::string> texts = communicator_.all_gather_text(packer.packed());
    Unpacker unpacker(texts.front());
    Round round;
    round.last = unpacker.number() != 0;
    round.batches.resize(static_cast<std::size_t>(unpacker.number()));
    for (Batch& batch : round.batches) {
      batch.first = dealt_;
      batch.items.resize(static_cast<std::size_t>(unpacker.number()));
      for (StreamItem& item : batch.items) {
        item.name = unpacker.text();
        item.label = static_cast<std::int32_t>(unpacker.number());
      }
      dealt_ += std::ssize(batch.items);
    }
    return round;
  }

  /// Every rank learns the errors, rank 0 the values.
  void collect(Round& round, const std::function<void(const StreamRow&)>& row) {
    Packer errors;
    for (std::size_t k = own(); k < round.batches.size(); k += step()) {
      workers_.wait_for(round.batches[k], communicator_.activity());
      for (const std::string& error : round.batches[k].errors) {
        errors.text(error);
      }
    }
    const std::vector<std::string> texts = communicator_.all_gather_text(errors.packed());
    for (std::size_t rank = 0; rank < step(); ++rank) {
      Unpacker unpacker(texts[rank]);
      for (std::size_t k = rank; k < round.batches.size(); k += step()) {
        round.batches[k].errors.resize(round.batches[k].items.size());
        for (std::string& error : round.batches[k].errors) {
          error = unpacker.text();
        }
      }
    }
    gather_values(round);
    for (Batch& batch : round.batches) {
      tell(batch, row);
    }
  }

  void gather_values(Round& round) {
    std::vector<std::vector<comm::ConstBytes>> send(step());
    std::vector<std::vector<comm::Bytes>> receive(step());
    for (std::size_t k = 0; k < round.batches.size(); ++k) {
      Batch& batch = round.batches[k];
      const std::size_t of = k % step();
      if (of != own() && rank_ == 0) {
        batch.values.resize(batch.items.size() * work_.row_values());
        receive[of].push_back({batch.values.data(), batch.values.size() * sizeof(float)});
      } else if (of == own() && rank_ != 0) {
        send[0].push_back({batch.values.data(), batch.values.size() * sizeof(float)});
      }
    }
    const auto transfer = communicator_.all_to_all(send, receive, tag_);
    for (comm::Backoff backoff; !transfer->poll();) {
      communicator_.activity().look();
      backoff.pause();
    }
  }

  void tell(const Batch& batch, const std::function<void(const StreamRow&)>& row) {
    const std::size_t width = work_.row_values();
    for (std::size_t i = 0; i < batch.items.size(); ++i) {
      const std::string& error = batch.errors[i];
      if (!error.empty() && ++summary_.failed == 1) {
        summary_.first_error = error;
      }
      if (rank_ == 0 && row) {
        const auto values = std::span(batch.values).subspan(i * width, error.empty() ? width : 0);
        row({summary_.items, batch.items[i], error, values});
      }
      ++summary_.items;
    }
  }

  comm::Communicator& communicator_;
  int ranks_;
  int rank_;
  int tag_;
  const StreamWork& work_;
  std::int64_t most_;
  std::int64_t dealt_ = 0;  // items
  StreamSummary summary_;
  std::unique_ptr<NameReader> names_;  // of rank 0
  std::unique_ptr<Round> before_;      // they outlive the workers, also where something throws
  std::unique_ptr<Round> now_;
  BatchWorkers workers_;
};

}  // namespace

StreamSummary stream(comm::Communicator& communicator, StepRunner& runner,
                     const StreamSource& source, const StreamWork& work, std::int64_t batch,
                     const std::function<void(const StreamRow&)>& row) {
  if (batch < 1) {
    throw JobError(fmt::format("batches of {}: at least 1 is needed", batch));
  }
  const comm::PhaseScope phase(communicator.activity(), comm::Phase::kEvaluating);
  return Stream(communicator, runner, source, work, batch).run(row);
}

}  // namespace gentrain::trainers
