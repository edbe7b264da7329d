// Patterns in a job: names of parameters, and paths of files; see core/pattern.h.
#pragma once

#include <string>

namespace gentrain::trainers {

/// A pattern over names, mostly of parameters: * stands for any characters, ? for one.
struct Pattern {
  std::string text = "*";
  std::string where;  // "jobs/x.yaml:12:5", for the error that it matches nothing
  friend bool operator==(const Pattern& a, const Pattern& b) { return a.text == b.text; }
};

/// A class of images by where its files lie: `pattern` over their paths below data.path.
struct ClassPattern {
  std::string name;
  Pattern pattern;
  friend bool operator==(const ClassPattern&, const ClassPattern&) = default;
};

}  // namespace gentrain::trainers
