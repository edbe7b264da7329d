// The frame of a test program that mpirun starts: a watchdog, one communicator for all tests, and
// an exit code that says whether this rank's tests passed.
#pragma once

#include <memory>

#include <gtest/gtest.h>
#include <unistd.h>

#include "comm/communicator.h"

namespace gentrain::test {

/// The communicator of the tests, made at the first call and given up at the end of the program.
inline comm::Communicator& communicator() {
  static const std::unique_ptr<comm::Communicator> ranks = comm::make_communicator();
  return *ranks;
}

/// Runs all tests on every rank; a rank that hangs ends after a minute and takes the others along.
inline int run_mpi_tests(int argc, char** argv) {
  alarm(60);
  ::testing::InitGoogleTest(&argc, argv);
  communicator().barrier();
  return RUN_ALL_TESTS();
}

}  // namespace gentrain::test
