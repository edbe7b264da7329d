// The exceptions of gentrain. Every message says what came, what was needed and where.
#pragma once

#include <stdexcept>

namespace gentrain {

/// Base of everything that gentrain throws on purpose; the message is one line for the user.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Tensors, layers or arguments that do not fit together.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// A device, library or instruction set that is missing, out of memory or failing.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// A file that is missing, damaged, unreadable or unwritable; the message names it.
class IoError : public Error {
 public:
  using Error::Error;
};

/// A job file or command line that asks for something impossible.
class JobError : public Error {
 public:
  using Error::Error;
};

/// A loss or tensor that is no longer finite; the message names step and tensor.
class NumericError : public Error {
 public:
  using Error::Error;
};

/// Ranks that disagree, are missing or failed.
class CommError : public Error {
 public:
  using Error::Error;
};

}  // namespace gentrain
