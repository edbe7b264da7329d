// Signal handlers that only set a flag.
#include "trainers/stop_signal.h"

#include <atomic>
#include <csignal>

namespace gentrain::trainers {

namespace {

std::atomic<bool> asked{false};
std::atomic<bool> asked_by_terminal{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // usable in a handler

void on_request(int /*signal*/) {
  asked.store(true, std::memory_order_relaxed);
}

void on_terminal(int signal) {
  asked.store(true, std::memory_order_relaxed);
  if (asked_by_terminal.exchange(true, std::memory_order_relaxed)) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

void install(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

}  // namespace

void heed_stop_signals(bool terminal) {
  install(SIGUSR1, on_request);
  if (terminal) {
    // A terminal that closes sends SIGHUP more than once.
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
      struct sigaction before {};
      if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler != SIG_IGN) {  // nohup
        install(signal, signal == SIGHUP ? on_request : on_terminal);
      }
    }
  }
}

bool stop_asked() {
  return asked.load(std::memory_order_relaxed);
}

}  // namespace gentrain::trainers
