// Options of networks that need no more than their name.
#pragma once

#include <string>

#include "trainers/options.h"

namespace gentrain::trainers {

inline ModelOptions named(const std::string& name) {
  ModelOptions model;
  model.name = name;
  return model;
}

}  // namespace gentrain::trainers
