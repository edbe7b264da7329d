// Whether somebody watches what is printed.
#pragma once

namespace gentrain::jobs {

/// Whether standard output is a terminal that shows it. mpirun may give a rank a terminal of its
/// own and pass on what appears there, perhaps to a file: under a launcher, the standard output of
/// the parent must be a terminal too, and one that cannot be looked at counts as none.
bool on_terminal();

}  // namespace gentrain::jobs
