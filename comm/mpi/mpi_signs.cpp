// Signs of life over MPI: one receive and one send at a time, under a tag of their own.
#include "comm/mpi/mpi_signs.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace gentrain::comm {

namespace {

constexpr int kSignTag = 65000;  // beyond those of all other operations

class MpiSigns : public SignRing {
 public:
  MpiSigns(MpiControl& control, MPI_Comm comm, std::size_t bytes)
      : control_(control),
        comm_(comm),
        in_(std::make_shared<std::vector<std::byte>>(bytes)),
        out_(std::make_shared<std::vector<std::byte>>(bytes)) {
    const std::lock_guard lock(control.mutex);
    int rank = 0;
    int size = 1;
    check_mpi(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(comm, &size), "MPI_Comm_size");
    next_ = (rank + 1) % size;
    previous_ = (rank + size - 1) % size;
    post();
  }
  ~MpiSigns() override {
    const std::lock_guard lock(control_.mutex);
    MPI_Cancel(&receive_);
    MPI_Request_free(&receive_);
    if (send_ != MPI_REQUEST_NULL) {
      MPI_Request_free(&send_);
    }
    control_.abandoned.push_back(std::move(in_));  // a message may still come or go
    control_.abandoned.push_back(std::move(out_));
  }
  MpiSigns(const MpiSigns&) = delete;
  MpiSigns& operator=(const MpiSigns&) = delete;

  void send(std::span<const std::byte> signs) override {
    const auto lock = lock_soon();
    if (!lock || !ended(send_)) {
      return;
    }
    std::copy(signs.begin(), signs.end(), out_->begin());
    check_mpi(MPI_Isend(out_->data(), static_cast<int>(out_->size()), MPI_BYTE, next_, kSignTag,
                        comm_, &send_),
              "MPI_Isend");
  }

  bool receive(std::span<std::byte> signs) override {
    const auto lock = lock_soon();
    bool any = false;
    while (lock && ended(receive_)) {
      std::copy(in_->begin(), in_->end(), signs.begin());
      any = true;
      post();
    }
    return any;
  }

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
    constexpr int kTries = 100;
    std::unique_lock lock(control_.mutex, std::try_to_lock);
    for (int i = 0; !lock && i < kTries; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      lock.try_lock();
    }
    return lock;
  }

  static bool ended(MPI_Request& request) {
    int flag = 0;
    check_mpi(MPI_Test(&request, &flag, MPI_STATUS_IGNORE), "MPI_Test");
    return flag != 0;
  }

  void post() {
    check_mpi(MPI_Irecv(in_->data(), static_cast<int>(in_->size()), MPI_BYTE, previous_, kSignTag,
                        comm_, &receive_),
              "MPI_Irecv");
  }

  MpiControl& control_;
  MPI_Comm comm_;
  std::shared_ptr<std::vector<std::byte>> in_;
  std::shared_ptr<std::vector<std::byte>> out_;
  int next_ = 0;
  int previous_ = 0;
  MPI_Request receive_ = MPI_REQUEST_NULL;
  MPI_Request send_ = MPI_REQUEST_NULL;
};

}  // namespace

std::unique_ptr<SignRing> make_mpi_signs(MpiControl& control, MPI_Comm comm, std::size_t bytes) {
  return std::make_unique<MpiSigns>(control, comm, bytes);
}

}  // namespace gentrain::comm
