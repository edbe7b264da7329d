// Ranks over MPI. One thread calls MPI; every operation is non-blocking underneath, so that a
// request to abort is seen while waiting.
#define OMPI_SKIP_MPICXX 1  // the C interface only: the C++ one would need another library
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <limits>
#include <memory>
#include <numeric>
#include <thread>

#include <fmt/format.h>
#include <mpi.h>
#include <unistd.h>

#include "comm/communicator.h"
#include "kernels/error.h"

namespace gentrain::comm {

namespace {

constexpr std::size_t kChunk = std::size_t{1} << 30;  // MPI counts in int
constexpr int kSpins = 2000;  // polls before a blocking call begins to sleep

void check(int code, const char* call) {
  if (code != MPI_SUCCESS) {
    std::array<char, MPI_MAX_ERROR_STRING> text{};
    int length = 0;
    MPI_Error_string(code, text.data(), &length);
    throw CommError(fmt::format("{}: {}", call, text.data()));
  }
}

int to_int(std::size_t count, const char* operation) {
  if (count > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
    throw CommError(fmt::format("{}: {} elements in one message, at most {}", operation, count,
                                std::numeric_limits<int>::max()));
  }
  return static_cast<int>(count);
}

/// The pieces that go from one rank to another: one message.
class Message {
 public:
  void add(const void* data, std::size_t size) {
    if (empty()) {
      first_ = data;
    }
    for (std::size_t done = 0; done < size; done += kChunk) {
      MPI_Aint address = 0;
      check(MPI_Get_address(static_cast<const std::byte*>(data) + done, &address),
            "MPI_Get_address");
      addresses_.push_back(address);
      lengths_.push_back(static_cast<int>(std::min(kChunk, size - done)));
    }
  }
  [[nodiscard]] bool empty() const { return lengths_.empty(); }
  [[nodiscard]] std::size_t bytes() const {
    return std::accumulate(lengths_.begin(), lengths_.end(), std::size_t{0});
  }
  void clear() {
    addresses_.clear();
    lengths_.clear();
  }

  /// Calls post(address, count, type), which begins the transfer.
  template <class Post>
  void post(const Post& post) const {
    if (lengths_.size() == 1) {
      post(first_, lengths_.front(), MPI_BYTE);
      return;
    }
    MPI_Datatype type = MPI_DATATYPE_NULL;
    check(MPI_Type_create_hindexed(static_cast<int>(lengths_.size()), lengths_.data(),
                                   addresses_.data(), MPI_BYTE, &type),
          "MPI_Type_create_hindexed");
    check(MPI_Type_commit(&type), "MPI_Type_commit");
    post(MPI_BOTTOM, 1, type);
    check(MPI_Type_free(&type), "MPI_Type_free");  // lives on until the transfer has ended
  }

 private:
  std::vector<MPI_Aint> addresses_;
  std::vector<int> lengths_;
  const void* first_ = nullptr;
};

/// The thread that calls MPI, and the wish of any thread to end the job.
struct Control {
  std::thread::id thread = std::this_thread::get_id();
  std::atomic<int> abort_code{0};
  std::atomic<bool> abort_asked{false};
  std::vector<std::unique_ptr<std::vector<float>>> abandoned;  // buffers of sums given up

  void heed_abort() const {
    if (abort_asked.load(std::memory_order_acquire)) {
      MPI_Abort(MPI_COMM_WORLD, abort_code.load());
    }
  }
};

class Requests : public Transfer {
 public:
  explicit Requests(const Control& control) : control_(control) {}
  ~Requests() override {
    for (std::size_t i = 0; !done_ && i < requests_.size(); ++i) {
      if (requests_[i] != MPI_REQUEST_NULL) {
        if (i < received_bytes_.size()) {
          MPI_Cancel(&requests_[i]);
        }
        MPI_Request_free(&requests_[i]);
      }
    }
  }
  Requests(const Requests&) = delete;
  Requests& operator=(const Requests&) = delete;

  /// All receives are posted before the first send.
  void receive(const Message& message, int from, int tag, MPI_Comm comm) {
    message.post([&](const void* data, int count, MPI_Datatype type) {
      // MPI writes here: the address came in as a Bytes.
      check(MPI_Irecv(const_cast<void*>(data), count, type, from, tag, comm, add()), "MPI_Irecv");
    });
    received_bytes_.push_back(message.bytes());
  }
  void send(const Message& message, int to, int tag, MPI_Comm comm) {
    message.post([&](const void* data, int count, MPI_Datatype type) {
      check(MPI_Isend(data, count, type, to, tag, comm, add()), "MPI_Isend");
    });
  }

  bool poll() override {
    control_.heed_abort();
    if (!done_) {
      int flag = 0;
      statuses_.resize(requests_.size());
      const int code = MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &flag,
                                   statuses_.data());
      for (std::size_t i = 0; code == MPI_ERR_IN_STATUS && i < statuses_.size(); ++i) {
        if (statuses_[i].MPI_ERROR != MPI_ERR_PENDING) {
          check(statuses_[i].MPI_ERROR,
                i < received_bytes_.size() ? "a message came in" : "a message went out");
        }
      }
      check(code, "MPI_Testall");
      if (flag != 0) {
        check_sizes();
        done_ = true;
      }
    }
    return done_;
  }

 private:
  /// MPI takes a message that is too short for a whole one.
  void check_sizes() const {
    for (std::size_t i = 0; i < received_bytes_.size(); ++i) {
      MPI_Count bytes = 0;
      check(MPI_Get_elements_x(&statuses_[i], MPI_BYTE, &bytes), "MPI_Get_elements_x");
      if (static_cast<std::size_t>(bytes) != received_bytes_[i]) {
        throw CommError(fmt::format("a message came in: {} bytes where {} were needed", bytes,
                                    received_bytes_[i]));
      }
    }
  }
  MPI_Request* add() { return &requests_.emplace_back(MPI_REQUEST_NULL); }

  const Control& control_;
  std::vector<MPI_Request> requests_;
  std::vector<MPI_Status> statuses_;
  std::vector<std::size_t> received_bytes_;  // of the first requests, which are the receives
  bool done_ = false;
};

/// MPI_Ireduce_scatter: the sum arrives in a buffer of its own, as the other parts are only read.
class LibrarySum : public Transfer {
 public:
  LibrarySum(Control& control, std::span<const std::span<float>> parts, int rank, MPI_Comm comm)
      : control_(control),
        target_(parts[static_cast<std::size_t>(rank)]),
        buffer_(std::make_unique<std::vector<float>>()) {
    std::size_t total = 0;
    for (const std::span<float>& part : parts) {
      counts_.push_back(to_int(part.size(), "reduce_scatter"));
      total += part.size();
    }
    buffer_->reserve(total + target_.size());
    for (const std::span<float>& part : parts) {
      buffer_->insert(buffer_->end(), part.begin(), part.end());
    }
    buffer_->resize(total + target_.size());
    result_ = buffer_->data() + total;
    check(MPI_Ireduce_scatter(buffer_->data(), result_, counts_.data(), MPI_FLOAT, MPI_SUM, comm,
                              &request_),
          "MPI_Ireduce_scatter");
  }
  ~LibrarySum() override {
    if (!done_) {
      control_.abandoned.push_back(std::move(buffer_));
    }
  }
  LibrarySum(const LibrarySum&) = delete;
  LibrarySum& operator=(const LibrarySum&) = delete;

  bool poll() override {
    control_.heed_abort();
    if (!done_) {
      int flag = 0;
      check(MPI_Test(&request_, &flag, MPI_STATUS_IGNORE), "MPI_Test");
      if (flag != 0) {
        std::copy_n(result_, target_.size(), target_.begin());
        done_ = true;
      }
    }
    return done_;
  }

 private:
  Control& control_;
  std::span<float> target_;
  std::unique_ptr<std::vector<float>> buffer_;  // the summands, then the sum
  float* result_ = nullptr;
  std::vector<int> counts_;
  MPI_Request request_ = MPI_REQUEST_NULL;
  bool done_ = false;
};

class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator() {
    int before = 0;
    int after = 0;
    MPI_Initialized(&before);
    MPI_Finalized(&after);
    if (before != 0 || after != 0) {
      throw CommError("MPI was initialised before: a process has one MPI communicator at most");
    }
    int provided = MPI_THREAD_SINGLE;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    if (provided < MPI_THREAD_FUNNELED) {
      throw CommError("this MPI does not work in a program with threads (MPI_THREAD_FUNNELED)");
    }
    check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    check(MPI_Comm_dup(MPI_COMM_WORLD, &comm_), "MPI_Comm_dup");
    check(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
    check(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
    MPI_Comm host = MPI_COMM_NULL;
    check(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &host),
          "MPI_Comm_split_type");
    check(MPI_Comm_size(host, &ranks_on_host_), "MPI_Comm_size");
    check(MPI_Comm_free(&host), "MPI_Comm_free");
  }

  /// Ends MPI together with all ranks. When an exception passes it does not, as the others would
  /// not come: the launcher then sees a process that ends without, and ends the job.
  ~MpiCommunicator() override {
    if (std::uncaught_exceptions() == 0) {
      for (SumTags& tags : sum_tags_) {
        MPI_Comm_free(&tags.comm);
      }
      MPI_Comm_free(&comm_);
      MPI_Finalize();
    }
  }
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] std::string where() const override { return host_and_process(); }
  [[nodiscard]] int ranks_on_host() const override { return ranks_on_host_; }

  std::unique_ptr<Transfer> all_to_all(std::span<const std::vector<ConstBytes>> send,
                                       std::span<const std::vector<Bytes>> receive,
                                       int tag) override {
    check_parts("all_to_all", send.size());
    check_parts("all_to_all", receive.size());
    auto transfer = std::make_unique<Requests>(control_);
    Message message;
    for (int i = 1; i < size_; ++i) {
      const int from = (rank_ + i) % size_;
      message.clear();
      for (const Bytes& piece : receive[static_cast<std::size_t>(from)]) {
        message.add(piece.data, piece.size);
      }
      if (!message.empty()) {
        transfer->receive(message, from, 2 * tag, comm_);
      }
    }
    for (int i = 1; i < size_; ++i) {
      const int to = (rank_ + size_ - i) % size_;
      message.clear();
      for (const ConstBytes& piece : send[static_cast<std::size_t>(to)]) {
        message.add(piece.data, piece.size);
      }
      if (!message.empty()) {
        transfer->send(message, to, 2 * tag, comm_);
      }
    }
    return transfer;
  }

  std::unique_ptr<Transfer> all_gather(std::span<const Bytes> parts, int tag) override {
    check_parts("all_gather", parts.size());
    auto transfer = std::make_unique<Requests>(control_);
    Message message;
    for (int i = 1; i < size_; ++i) {
      const int from = (rank_ + i) % size_;
      const Bytes& part = parts[static_cast<std::size_t>(from)];
      message.clear();
      message.add(part.data, part.size);
      if (!message.empty()) {
        transfer->receive(message, from, 2 * tag + 1, comm_);
      }
    }
    const Bytes& own = parts[static_cast<std::size_t>(rank_)];
    message.clear();
    message.add(own.data, own.size);
    for (int i = 1; i < size_ && !message.empty(); ++i) {
      transfer->send(message, (rank_ + size_ - i) % size_, 2 * tag + 1, comm_);
    }
    return transfer;
  }

  std::unique_ptr<Transfer> reduce_scatter(std::span<const std::span<float>> parts,
                                           int tag) override {
    check_parts("reduce_scatter", parts.size());
    MPI_Comm comm = comm_;
    for (const SumTags& tags : sum_tags_) {
      if (tag >= tags.first && tag < tags.first + tags.count) {
        comm = tags.comm;
      }
    }
    return std::make_unique<LibrarySum>(control_, parts, rank_, comm);
  }

  /// Sums of the library have no tags: each reservation gets a communicator of its own.
  int reserve_tags(int count, bool library_sums) override {
    const int first = Communicator::reserve_tags(count, library_sums);
    if (library_sums) {
      MPI_Comm comm = MPI_COMM_NULL;
      check(MPI_Comm_dup(comm_, &comm), "MPI_Comm_dup");
      sum_tags_.push_back({first, count, comm});
    }
    return first;
  }

  void broadcast(Bytes data, int root) override {
    for (std::size_t done = 0; done < data.size; done += kChunk) {
      check(MPI_Ibcast(static_cast<std::byte*>(data.data) + done,
                       static_cast<int>(std::min(kChunk, data.size - done)), MPI_BYTE, root, comm_,
                       &blocking_),
            "MPI_Ibcast");
      wait();
    }
  }

  std::vector<std::string> all_gather_text(const std::string& text) override {
    const auto ranks = static_cast<std::size_t>(size_);
    const int length = to_int(text.size(), "all_gather_text");
    std::vector<int> lengths(ranks);
    check(MPI_Iallgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, comm_, &blocking_),
          "MPI_Iallgather");
    wait();
    std::vector<int> offsets(ranks);
    std::size_t total = 0;
    for (std::size_t r = 0; r < ranks; ++r) {
      offsets[r] = to_int(total, "all_gather_text");
      total += static_cast<std::size_t>(lengths[r]);
    }
    std::string all(static_cast<std::size_t>(to_int(total, "all_gather_text")), '\0');
    check(MPI_Iallgatherv(text.data(), length, MPI_CHAR, all.data(), lengths.data(), offsets.data(),
                          MPI_CHAR, comm_, &blocking_),
          "MPI_Iallgatherv");
    wait();
    std::vector<std::string> texts;
    for (std::size_t r = 0; r < ranks; ++r) {
      texts.push_back(
          all.substr(static_cast<std::size_t>(offsets[r]), static_cast<std::size_t>(lengths[r])));
    }
    return texts;
  }

  void barrier() override {
    check(MPI_Ibarrier(comm_, &blocking_), "MPI_Ibarrier");
    wait();
  }

  [[noreturn]] void abort(int exit_code) noexcept override {
    try {
      std::thread([exit_code] {
        std::this_thread::sleep_for(std::chrono::seconds(1));
        _exit(exit_code);
      }).detach();
    } catch (...) {
      _exit(exit_code);
    }
    std::fflush(nullptr);  // may block
    if (std::this_thread::get_id() != control_.thread) {
      // The thread that calls MPI does it when it next looks; if it does not look, this one does.
      control_.abort_code.store(exit_code);
      control_.abort_asked.store(true, std::memory_order_release);
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
    }
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    _exit(exit_code);
  }

 private:
  struct SumTags {
    int first = 0;
    int count = 0;
    MPI_Comm comm = MPI_COMM_NULL;
  };

  void check_parts(const char* operation, std::size_t parts) const {
    if (parts != static_cast<std::size_t>(size_)) {
      throw CommError(fmt::format("{}: {} parts for {} ranks", operation, parts, size_));
    }
  }

  void wait() {
    int flag = 0;
    for (int polls = 0;;) {
      control_.heed_abort();
      check(MPI_Test(&blocking_, &flag, MPI_STATUS_IGNORE), "MPI_Test");
      if (flag != 0) {
        return;
      }
      if (polls < kSpins) {
        ++polls;
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    }
  }

  Control control_;
  MPI_Comm comm_ = MPI_COMM_NULL;
  MPI_Request blocking_ = MPI_REQUEST_NULL;  // of the blocking operation under way
  int rank_ = 0;
  int size_ = 1;
  int ranks_on_host_ = 1;
  std::vector<SumTags> sum_tags_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi() {
  return std::make_unique<MpiCommunicator>();
}

}  // namespace gentrain::comm
