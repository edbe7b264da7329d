// Signs of life over MPI: one receive and one send at a time for each neighbour.
#include "comm/mpi/mpi_signs.h"

#include <algorithm>
#include <chrono>
#include <optional>

namespace gentrain::comm {

namespace {

constexpr int kToNext = 65000;  // tags beyond those of all other operations
constexpr int kToPrevious = 65001;

bool ended(MPI_Request& request) {
  int flag = 0;
  check_mpi(MPI_Test(&request, &flag, MPI_STATUS_IGNORE), "MPI_Test");
  return flag != 0;
}

/// Both ways between this rank and a neighbour. All calls under the control's mutex.
class Channel {
 public:
  Channel(MPI_Comm comm, std::size_t bytes, int peer, int tag_in, int tag_out)
      : comm_(comm),
        peer_(peer),
        tag_in_(tag_in),
        tag_out_(tag_out),
        in_(std::make_shared<std::vector<std::byte>>(bytes)),
        out_(std::make_shared<std::vector<std::byte>>(bytes)) {
    post();
  }

  void send(std::span<const std::byte> signs) {
    if (ended(send_)) {
      std::copy(signs.begin(), signs.end(), out_->begin());
      check_mpi(MPI_Isend(out_->data(), static_cast<int>(out_->size()), MPI_BYTE, peer_, tag_out_,
                          comm_, &send_),
                "MPI_Isend");
    }
  }

  bool receive(std::span<std::byte> signs) {
    bool any = false;
    for (; ended(receive_); post()) {
      std::copy(in_->begin(), in_->end(), signs.begin());
      any = true;
    }
    return any;
  }

  /// What a message may still go into or come from must live on: it is handed over.
  void give_up(std::vector<std::shared_ptr<void>>& abandoned) {
    MPI_Cancel(&receive_);
    MPI_Request_free(&receive_);
    if (send_ != MPI_REQUEST_NULL) {
      MPI_Request_free(&send_);
    }
    abandoned.push_back(std::move(in_));
    abandoned.push_back(std::move(out_));
  }

 private:
  void post() {
    check_mpi(MPI_Irecv(in_->data(), static_cast<int>(in_->size()), MPI_BYTE, peer_, tag_in_, comm_,
                        &receive_),
              "MPI_Irecv");
  }

  MPI_Comm comm_;
  int peer_;
  int tag_in_;
  int tag_out_;
  std::shared_ptr<std::vector<std::byte>> in_;
  std::shared_ptr<std::vector<std::byte>> out_;
  MPI_Request receive_ = MPI_REQUEST_NULL;
  MPI_Request send_ = MPI_REQUEST_NULL;
};

class MpiSigns : public SignRing {
 public:
  MpiSigns(MpiControl& control, MPI_Comm comm, std::size_t bytes) : control_(control) {
    const std::lock_guard lock(control.mutex);
    int rank = 0;
    int size = 1;
    check_mpi(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(comm, &size), "MPI_Comm_size");
    previous_.emplace(comm, bytes, (rank + size - 1) % size, kToNext, kToPrevious);
    next_.emplace(comm, bytes, (rank + 1) % size, kToPrevious, kToNext);
  }
  ~MpiSigns() override {
    const std::lock_guard lock(control_.mutex);
    previous_->give_up(control_.abandoned);
    next_->give_up(control_.abandoned);
  }
  MpiSigns(const MpiSigns&) = delete;
  MpiSigns& operator=(const MpiSigns&) = delete;

  void send(std::span<const std::byte> signs) override {
    if (const auto lock = lock_soon()) {
      previous_->send(signs);
      next_->send(signs);
    }
  }

  bool receive(Neighbour from, std::span<std::byte> signs) override {
    const auto lock = lock_soon();
    return lock && (from == Neighbour::kPrevious ? previous_ : next_)->receive(signs);
  }

  [[nodiscard]] bool hears() const override { return hears_; }
  [[nodiscard]] std::uint64_t polls() const override { return control_.polls.load(); }
  [[nodiscard]] std::uint64_t collectives() const override { return control_.collectives.load(); }

  std::vector<int> missing() override {
    std::vector<int> ranks;
    if (const auto lock = lock_soon()) {
      for (const MpiRequests* requests : control_.under_way) {
        requests->add_missing(ranks);
      }
    }
    std::sort(ranks.begin(), ranks.end());
    ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
    return ranks;
  }

 private:
  /// The lock, or none if the communicator's thread hangs with it.
  std::unique_lock<std::mutex> lock_soon() {
    constexpr int kTries = 25;
    std::unique_lock lock(control_.mutex, std::try_to_lock);
    for (int i = 0; !lock && i < kTries; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      lock.try_lock();
    }
    hears_ = lock.owns_lock();
    return lock;
  }

  MpiControl& control_;
  bool hears_ = true;
  std::optional<Channel> previous_;
  std::optional<Channel> next_;
};

}  // namespace

std::unique_ptr<SignRing> make_mpi_signs(MpiControl& control, MPI_Comm comm, std::size_t bytes) {
  return std::make_unique<MpiSigns>(control, comm, bytes);
}

}  // namespace gentrain::comm
