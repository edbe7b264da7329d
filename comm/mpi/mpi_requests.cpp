// Messages and transfers over MPI.
#include "comm/mpi/mpi_requests.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::comm {

void check_mpi(int code, const char* call) {
  if (code != MPI_SUCCESS) {
    std::array<char, MPI_MAX_ERROR_STRING> text{};
    int length = 0;
    MPI_Error_string(code, text.data(), &length);
    throw CommError(fmt::format("{}: {}", call, text.data()));
  }
}

int mpi_count(std::size_t count, const char* operation) {
  if (count > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
    throw CommError(fmt::format("{}: {} elements in one message, at most {}", operation, count,
                                std::numeric_limits<int>::max()));
  }
  return static_cast<int>(count);
}

void MpiMessage::add(const void* data, std::size_t size) {
  if (empty()) {
    first_ = data;
  }
  for (std::size_t done = 0; done < size; done += kMpiChunk) {
    MPI_Aint address = 0;
    check_mpi(MPI_Get_address(static_cast<const std::byte*>(data) + done, &address),
              "MPI_Get_address");
    addresses_.push_back(address);
    lengths_.push_back(static_cast<int>(std::min(kMpiChunk, size - done)));
  }
}

std::size_t MpiMessage::bytes() const {
  return std::accumulate(lengths_.begin(), lengths_.end(), std::size_t{0});
}

void MpiMessage::clear() {
  addresses_.clear();
  lengths_.clear();
}

MPI_Datatype MpiMessage::pieces_type() const {
  MPI_Datatype type = MPI_DATATYPE_NULL;
  check_mpi(MPI_Type_create_hindexed(static_cast<int>(lengths_.size()), lengths_.data(),
                                     addresses_.data(), MPI_BYTE, &type),
            "MPI_Type_create_hindexed");
  check_mpi(MPI_Type_commit(&type), "MPI_Type_commit");
  return type;
}

MpiRequests::MpiRequests(MpiControl& control) : control_(control) {
  const std::lock_guard lock(control.mutex);
  control.under_way.push_back(this);
}

MpiRequests::~MpiRequests() {
  const std::lock_guard lock(control_.mutex);
  std::erase(control_.under_way, this);
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] != MPI_REQUEST_NULL) {
      if (i < receives_.size()) {
        MPI_Cancel(&requests_[i]);
      }
      MPI_Request_free(&requests_[i]);
    }
  }
}

void MpiRequests::receive(const MpiMessage& message, int from, int tag, MPI_Comm comm) {
  message.post([&](const void* data, int count, MPI_Datatype type) {
    // MPI writes here: the address came in as a Bytes.
    check_mpi(MPI_Irecv(const_cast<void*>(data), count, type, from, tag, comm, add()), "MPI_Irecv");
  });
  receives_.push_back({from, message.bytes()});
}

void MpiRequests::send(const MpiMessage& message, int to, int tag, MPI_Comm comm) {
  message.post([&](const void* data, int count, MPI_Datatype type) {
    check_mpi(MPI_Isend(data, count, type, to, tag, comm, add()), "MPI_Isend");
  });
}

bool MpiRequests::poll() {
  control_.heed_abort();
  if (ended_ == requests_.size()) {
    return true;
  }
  completed_.resize(requests_.size());
  statuses_.resize(requests_.size());
  const std::lock_guard lock(control_.mutex);
  int count = 0;
  const int code = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count,
                                completed_.data(), statuses_.data());
  for (int i = 0; code == MPI_ERR_IN_STATUS && i < count; ++i) {
    const bool received =
        completed_[static_cast<std::size_t>(i)] < static_cast<int>(receives_.size());
    check_mpi(statuses_[static_cast<std::size_t>(i)].MPI_ERROR,
              received ? "a message came in" : "a message went out");
  }
  check_mpi(code, "MPI_Testsome");
  take_completed(count);
  return ended_ == requests_.size();
}

/// MPI takes a message that is too short for a whole one.
void MpiRequests::take_completed(int count) {
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    const auto request = static_cast<std::size_t>(completed_[i]);
    if (request < receives_.size()) {
      MPI_Count bytes = 0;
      check_mpi(MPI_Get_elements_x(&statuses_[i], MPI_BYTE, &bytes), "MPI_Get_elements_x");
      if (static_cast<std::size_t>(bytes) != receives_[request].bytes) {
        throw CommError(fmt::format("a message came in: {} bytes where {} were needed", bytes,
                                    receives_[request].bytes));
      }
    }
    ++ended_;
    progress::tick();
  }
}

void MpiRequests::add_missing(std::vector<int>& ranks) const {
  for (std::size_t i = 0; i < receives_.size(); ++i) {
    int came = 0;  // perhaps since the last poll; a request that is null has ended
    check_mpi(MPI_Request_get_status(requests_[i], &came, MPI_STATUS_IGNORE),
              "MPI_Request_get_status");
    if (came == 0) {
      ranks.push_back(receives_[i].from);
    }
  }
}

MpiLibrarySum::MpiLibrarySum(MpiControl& control, std::span<const std::span<float>> parts, int rank,
                             MPI_Comm comm)
    : control_(control),
      target_(parts[static_cast<std::size_t>(rank)]),
      buffer_(std::make_shared<std::vector<float>>()) {
  std::size_t total = 0;
  for (const std::span<float>& part : parts) {
    counts_.push_back(mpi_count(part.size(), "reduce_scatter"));
    total += part.size();
  }
  buffer_->reserve(total + target_.size());
  for (const std::span<float>& part : parts) {
    buffer_->insert(buffer_->end(), part.begin(), part.end());
  }
  buffer_->resize(total + target_.size());
  result_ = buffer_->data() + total;
  const std::lock_guard lock(control.mutex);
  check_mpi(MPI_Ireduce_scatter(buffer_->data(), result_, counts_.data(), MPI_FLOAT, MPI_SUM, comm,
                                &request_),
            "MPI_Ireduce_scatter");
}

MpiLibrarySum::~MpiLibrarySum() {
  if (!done_) {
    const std::lock_guard lock(control_.mutex);
    control_.abandoned.push_back(std::move(buffer_));
  }
}

bool MpiLibrarySum::poll() {
  control_.heed_abort();
  if (!done_) {
    int flag = 0;
    {
      const std::lock_guard lock(control_.mutex);
      check_mpi(MPI_Test(&request_, &flag, MPI_STATUS_IGNORE), "MPI_Test");
    }
    if (flag != 0) {
      std::copy_n(result_, target_.size(), target_.begin());
      done_ = true;
      progress::tick();
    }
  }
  return done_;
}

}  // namespace gentrain::comm
