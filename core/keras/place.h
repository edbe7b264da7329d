// Errors that say where: the place is put before the reason on the way out.
#pragma once

#include <string>

#include "kernels/error.h"

namespace gentrain::keras {

/// Runs an action and puts the place before what it has to say; errors of shapes become IoError.
template <class Action>
auto at(const std::string& where, const Action& action) {
  try {
    return action();
  } catch (const IoError& error) {
    throw IoError(where + ": " + error.what());
  } catch (const ShapeError& error) {
    throw IoError(where + ": " + error.what());
  }
}

}  // namespace gentrain::keras
