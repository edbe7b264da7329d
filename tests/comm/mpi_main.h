// The frame of a test program that mpirun starts: a watchdog, one communicator for all tests, and
// an exit code that says whether this rank's tests passed.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include "comm/communicator.h"

namespace gentrain::test {

/// The communicator of the tests under way.
inline comm::Communicator*& communicator_slot() {
  static comm::Communicator* slot = nullptr;
  return slot;
}
inline comm::Communicator& communicator() {
  return *communicator_slot();
}

/// Runs all tests on every rank; a rank that hangs ends after a minute and takes the others along.
inline int run_mpi_tests(int argc, char** argv) {
  alarm(60);
  ::testing::InitGoogleTest(&argc, argv);
  const auto communicator = comm::make_communicator();
  communicator_slot() = communicator.get();
  return RUN_ALL_TESTS();
}

}  // namespace gentrain::test
