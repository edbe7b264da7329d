// usage: mpi_abort CASE. Rank 1 ends the job with exit code 7 while the others wait or work; a rank
// that survives it writes SURVIVED.
//
//   caller  rank 1 calls abort() on the thread that calls MPI
//   thread  rank 1 calls it on another thread, while its first thread waits for a message
//   busy    the same while its first thread computes and never looks
//   throw   an exception passes the communicator of rank 1, which ends with 7 without MPI_Finalize
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "comm/communicator.h"

namespace {

using gentrain::comm::Bytes;
using gentrain::comm::Communicator;
using gentrain::comm::ConstBytes;

void run_rank_1(Communicator& ranks, const std::string& which) {
  if (which == "caller") {
    ranks.abort(7);
  }
  if (which == "throw") {
    throw std::runtime_error("rank 1 has an error");
  }
  std::thread([&ranks] { ranks.abort(7); }).detach();
  while (which == "busy") {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  // A message that nobody sends.
  const auto size = static_cast<std::size_t>(ranks.size());
  const std::vector<std::vector<ConstBytes>> send(size);
  std::vector<std::vector<Bytes>> receive(size);
  char byte = 0;
  receive[0].push_back({&byte, 1});
  const auto transfer = ranks.all_to_all(send, receive, 0);
  while (!transfer->poll()) {
  }
}

int run(const std::string& which) {
  const auto ranks = gentrain::comm::make_communicator();
  ranks->barrier();
  if (ranks->rank() == 1) {
    run_rank_1(*ranks, which);
  } else if (ranks->rank() % 2 == 0) {
    ranks->barrier();  // rank 1 never comes
  } else {
    std::this_thread::sleep_for(std::chrono::seconds(30));
  }
  std::puts("SURVIVED");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  alarm(60);
  try {
    return run(argc > 1 ? argv[1] : "caller");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 7;
  }
}
