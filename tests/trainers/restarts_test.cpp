// What the launcher tells of restarts.
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "trainers/run_folder.h"

namespace gentrain::trainers {
namespace {

using testing::ThrowsMessage;

TEST(Restarts, AreWhatTheEnvironmentSays) {
  unsetenv("GENTRAIN_RESTARTS");
  EXPECT_EQ(restarts(), 0);
  setenv("GENTRAIN_RESTARTS", "12", 1);
  EXPECT_EQ(restarts(), 12);
  for (const char* text : {"-1", "1x", "", "99999999999999999999"}) {
    setenv("GENTRAIN_RESTARTS", text, 1);
    EXPECT_THAT([] { restarts(); },
                ThrowsMessage<JobError>(std::string("GENTRAIN_RESTARTS=") + text +
                                        ": must be a whole number from 0 on"));
  }
  unsetenv("GENTRAIN_RESTARTS");
}

}  // namespace
}  // namespace gentrain::trainers
