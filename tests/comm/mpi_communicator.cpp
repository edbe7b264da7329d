// The communicator over MPI, run by mpirun on several ranks: every operation, large and empty
// messages, operations under way at the same time, and errors.
#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <sys/statvfs.h>

#include "kernels/error.h"
#include "tests/comm/mpi_main.h"
#include "tests/support/compare.h"

namespace gentrain::comm {
namespace {

using test::communicator;

void finish(Transfer& transfer) {
  while (!transfer.poll()) {
    std::this_thread::yield();
  }
}

std::size_t index(int rank) {
  return static_cast<std::size_t>(rank);
}

/// What rank `from` sends to rank `to` as piece `piece`: 0, 1 or many bytes.
std::vector<unsigned char> message(int from, int to, int piece) {
  const std::size_t sizes[] = {1, 0, 300000};
  std::vector<unsigned char> bytes(sizes[piece] * index(from + 1));
  std::iota(bytes.begin(), bytes.end(), static_cast<unsigned char>(16 * from + to + piece));
  return bytes;
}

TEST(Mpi, KnowsTheRanks) {
  Communicator& ranks = communicator();
  const char* size = std::getenv("OMPI_COMM_WORLD_SIZE");
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  ASSERT_TRUE(size != nullptr && rank != nullptr);
  EXPECT_EQ(std::to_string(ranks.size()), size);
  EXPECT_EQ(std::to_string(ranks.rank()), rank);
  EXPECT_EQ(ranks.ranks_on_host(), ranks.size());
  const std::vector<std::string> where = ranks.all_gather_text(ranks.where());
  EXPECT_EQ(where[index(ranks.rank())], ranks.where());
  EXPECT_EQ(std::adjacent_find(where.begin(), where.end()), where.end());
}

TEST(Mpi, AllToAllMovesPieces) {
  Communicator& ranks = communicator();
  const int me = ranks.rank();
  std::vector<std::vector<std::vector<unsigned char>>> out(index(ranks.size()));
  auto in = out;
  std::vector<std::vector<ConstBytes>> send(out.size());
  std::vector<std::vector<Bytes>> receive(out.size());
  for (int r = 0; r < ranks.size(); ++r) {
    for (int piece = 0; r != me && piece < 3; ++piece) {
      out[index(r)].push_back(message(me, r, piece));
      in[index(r)].emplace_back(message(r, me, piece).size());
    }
    for (const auto& piece : out[index(r)]) {
      send[index(r)].push_back({piece.data(), piece.size()});
    }
    for (auto& piece : in[index(r)]) {
      receive[index(r)].push_back({piece.data(), piece.size()});
    }
  }
  const auto transfer = ranks.all_to_all(send, receive, 31999);
  finish(*transfer);
  EXPECT_TRUE(transfer->poll());
  for (int r = 0; r < ranks.size(); ++r) {
    for (int piece = 0; r != me && piece < 3; ++piece) {
      EXPECT_EQ(in[index(r)][index(piece)], message(r, me, piece)) << "from " << r;
    }
  }
}

TEST(Mpi, AllGatherFillsUnequalParts) {
  Communicator& ranks = communicator();
  std::vector<std::vector<int>> values(index(ranks.size()));
  std::vector<Bytes> parts;
  for (int r = 0; r < ranks.size(); ++r) {
    values[index(r)].assign(index(r) * 100000,
                            r == ranks.rank() ? 100 + r : -1);  // rank 0: nothing
    parts.push_back({values[index(r)].data(), values[index(r)].size() * sizeof(int)});
  }
  finish(*ranks.all_gather(parts, 0));
  for (int r = 0; r < ranks.size(); ++r) {
    EXPECT_EQ(values[index(r)], std::vector<int>(index(r) * 100000, 100 + r));
  }
}

TEST(Mpi, TagsKeepOperationsApart) {
  Communicator& ranks = communicator();
  constexpr int kCount = 8;
  std::vector<std::vector<int>> values(kCount, std::vector<int>(index(ranks.size())));
  std::vector<std::unique_ptr<Transfer>> transfers(kCount);
  for (int i = 0; i < kCount; ++i) {
    const int tag = ranks.rank() % 2 == 0 ? i : kCount - 1 - i;  // in another order on odd ranks
    std::vector<Bytes> parts;
    for (int r = 0; r < ranks.size(); ++r) {
      parts.push_back({&values[index(tag)][index(r)], sizeof(int)});
    }
    values[index(tag)][index(ranks.rank())] = 1000 * tag + ranks.rank();
    transfers[index(tag)] = ranks.all_gather(parts, tag);
  }
  for (int tag = 0; tag < kCount; ++tag) {
    finish(*transfers[index(tag)]);
    for (int r = 0; r < ranks.size(); ++r) {
      EXPECT_EQ(values[index(tag)][index(r)], 1000 * tag + r);
    }
  }
}

TEST(Mpi, ReduceScatterLeavesOtherPartsAlone) {
  Communicator& ranks = communicator();
  std::vector<std::vector<float>> values(index(ranks.size()));
  std::vector<std::span<float>> parts;
  for (int r = 0; r < ranks.size(); ++r) {
    values[index(r)].assign(index(10 * r), static_cast<float>(ranks.rank() + r));
    parts.emplace_back(values[index(r)]);
  }
  finish(*ranks.reduce_scatter(parts, 3));
  for (int r = 0; r < ranks.size(); ++r) {
    const int n = ranks.size();
    const int expected = r == ranks.rank() ? n * (n - 1) / 2 + n * r : ranks.rank() + r;
    EXPECT_EQ(values[index(r)], std::vector<float>(index(10 * r), static_cast<float>(expected)));
  }
}

// Two users whose sums interleave differently on different ranks.
TEST(Mpi, ReservedTagsKeepSumsApart) {
  Communicator& ranks = communicator();
  const int first = ranks.reserve_tags(2, true);
  const int second = ranks.reserve_tags(2, true);
  EXPECT_EQ(second, first + 2);
  std::vector<std::vector<float>> values{std::vector<float>(index(ranks.size()), 1.0F),
                                         std::vector<float>(index(ranks.size()), 10.0F)};
  std::vector<std::unique_ptr<Transfer>> transfers(2);
  for (const std::size_t user : {index(ranks.rank() % 2), index(1 - ranks.rank() % 2)}) {
    std::vector<std::span<float>> parts;
    for (float& value : values[user]) {
      parts.emplace_back(&value, 1);
    }
    transfers[user] = ranks.reduce_scatter(parts, user == 0 ? first : second);
  }
  finish(*transfers[0]);
  finish(*transfers[1]);
  EXPECT_EQ(values[0][index(ranks.rank())], static_cast<float>(ranks.size()));
  EXPECT_EQ(values[1][index(ranks.rank())], static_cast<float>(10 * ranks.size()));
}

TEST(Mpi, BroadcastsFromAnyRoot) {
  Communicator& ranks = communicator();
  for (int root = 0; root < ranks.size(); ++root) {
    std::vector<int> data(50000, ranks.rank() == root ? root : -1);
    ranks.broadcast({data.data(), data.size() * sizeof(int)}, root);
    EXPECT_EQ(data, std::vector<int>(50000, root));
    ranks.broadcast({}, root);
  }
}

TEST(Mpi, TextsOfAllRanks) {
  Communicator& ranks = communicator();
  const auto text = [](int rank) {
    return std::string(index(rank * 1000), static_cast<char>('a' + rank));
  };
  const std::vector<std::string> texts = ranks.all_gather_text(text(ranks.rank()));
  ASSERT_EQ(texts.size(), index(ranks.size()));
  for (int r = 0; r < ranks.size(); ++r) {
    EXPECT_EQ(texts[index(r)], text(r));
  }
}

TEST(Mpi, WrongPartsAreNamed) {
  Communicator& ranks = communicator();
  const std::string expected = "all_gather: 1 parts for " + std::to_string(ranks.size()) + " ranks";
  EXPECT_EQ(test::message_of<CommError>([&] { ranks.all_gather(std::vector<Bytes>(1), 0); }),
            expected);
  EXPECT_EQ(test::message_of<CommError>([] { make_mpi(); }),
            "MPI was initialised before: a process has one MPI communicator at most");
  ranks.barrier();
}

TEST(Mpi, UnequalSizesAreAnError) {
  Communicator& ranks = communicator();
  std::vector<std::vector<ConstBytes>> send(index(ranks.size()));
  std::vector<std::vector<Bytes>> receive(index(ranks.size()));
  int values[2] = {1, 2};
  if (ranks.rank() == 0) {
    send[1].push_back({values, sizeof(values)});
    finish(*ranks.all_to_all(send, receive, 5));
  } else if (ranks.rank() == 1) {
    receive[0].push_back({values, sizeof(int)});
    const std::string error =
        test::message_of<CommError>([&] { finish(*ranks.all_to_all(send, receive, 5)); });
    EXPECT_NE(error.find("a message came in: MPI_ERR_TRUNCATE"), std::string::npos) << error;
  }
  ranks.barrier();
  if (ranks.rank() == 0) {
    send[1] = {{values, sizeof(int)}};
    finish(*ranks.all_to_all(send, receive, 5));
  } else if (ranks.rank() == 1) {
    receive[0] = {{values, sizeof(int)}, {values + 1, sizeof(int)}};
    EXPECT_EQ(test::message_of<CommError>([&] { finish(*ranks.all_to_all(send, receive, 5)); }),
              "a message came in: 4 bytes where 8 were needed");
  }
  ranks.barrier();
}

TEST(Mpi, TransfersMayBeGivenUp) {
  Communicator& ranks = communicator();
  std::vector<std::vector<ConstBytes>> send(index(ranks.size()));
  std::vector<std::vector<Bytes>> receive(index(ranks.size()));
  int value = 0;
  for (int r = 0; r < ranks.size(); ++r) {
    if (r != ranks.rank()) {
      receive[index(r)].push_back({&value, sizeof(value)});  // nobody sends
    }
  }
  EXPECT_FALSE(ranks.all_to_all(send, receive, 6)->poll());
  ranks.barrier();
}

TEST(Mpi, HostMemoryIsOneForAllRanks) {
  Communicator& ranks = communicator();
  constexpr std::size_t kBytes = std::size_t{1} << 20;
  const HostMemory memory = ranks.host_memory(kBytes);
  EXPECT_TRUE(memory.shared);
  EXPECT_EQ(memory.bytes, kBytes);
  const auto firsts = ranks.all_gather_text(memory.first ? "first" : "");
  EXPECT_EQ(std::count(firsts.begin(), firsts.end(), "first"), 1);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.data.get()) % 64, 0U);
  auto* const bytes = static_cast<unsigned char*>(memory.data.get());
  EXPECT_EQ(std::count(bytes, bytes + kHostMemoryZeros, 0), std::ptrdiff_t{kHostMemoryZeros});
  ranks.barrier();
  bytes[ranks.rank()] = static_cast<unsigned char>(100 + ranks.rank());
  bytes[kBytes - 1 - index(ranks.rank())] = static_cast<unsigned char>(ranks.rank());
  ranks.barrier();
  for (int r = 0; r < ranks.size(); ++r) {
    EXPECT_EQ(bytes[r], 100 + r);
    EXPECT_EQ(bytes[kBytes - 1 - index(r)], r);
  }
  const HostMemory second = ranks.host_memory(kBytes);
  ranks.barrier();
  EXPECT_EQ(*static_cast<unsigned char*>(second.data.get()), 0);
}

TEST(Mpi, HostMemoryIsEachRanksOwnWithoutRoom) {
  Communicator& ranks = communicator();
  struct statvfs shm {};
  ASSERT_EQ(statvfs("/dev/shm", &shm), 0);
  const HostMemory memory =  // more than is there; pages that are not touched take none
      ranks.host_memory(shm.f_blocks * shm.f_frsize + (std::size_t{1} << 30));
  EXPECT_FALSE(memory.shared);
  EXPECT_TRUE(memory.first);
  auto* const bytes = static_cast<unsigned char*>(memory.data.get());
  bytes[ranks.rank()] = 1;
  ranks.barrier();
  EXPECT_EQ(std::count(bytes, bytes + ranks.size(), 1), 1);
  EXPECT_EQ(
      test::message_of<CommError>(
          [&] { static_cast<void>(make_single()->host_memory(std::size_t{1} << 62)); }),
      "the system has no 4611686018427387904 bytes of memory left for what ranks share: Cannot "
      "allocate memory");
  ranks.barrier();
}

}  // namespace
}  // namespace gentrain::comm

int main(int argc, char** argv) {
  return gentrain::test::run_mpi_tests(argc, argv);
}
