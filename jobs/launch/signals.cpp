// signalfd(2).
#include "jobs/launch/signals.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "kernels/error.h"

namespace gentrain::jobs {
namespace {

sigset_t wanted_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGCHLD);
  for (const int number : {SIGINT, SIGHUP}) {
    struct sigaction action {};
    sigaction(number, nullptr, &action);
    if (action.sa_handler != SIG_IGN) {
      sigaddset(&set, number);
    }
  }
  return set;
}

}  // namespace

Signals::Signals() {
  const sigset_t set = wanted_signals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  descriptor_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (descriptor_ < 0) {
    throw DeviceError(fmt::format("signals cannot be received: {}", std::strerror(errno)));
  }
}

Signals::~Signals() {
  while (next() != 0) {  // what nobody asked for any more must not end this process now
  }
  close(descriptor_);
  const sigset_t set = wanted_signals();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

int Signals::next() const {
  signalfd_siginfo info{};
  while (read(descriptor_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo != SIGCHLD) {
      return static_cast<int>(info.ssi_signo);
    }
  }
  return 0;
}

int Signals::wait(double seconds) const {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  for (;;) {
    if (const int number = next(); number != 0) {
      return number;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0) {
      return 0;
    }
    pollfd wait{descriptor_, POLLIN, 0};
    poll(&wait, 1, static_cast<int>(left.count()));
  }
}

const char* signal_name(int number) {
  switch (number) {
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    case SIGHUP:
      return "SIGHUP";
    default:
      return "SIGUSR1";
  }
}

}  // namespace gentrain::jobs
