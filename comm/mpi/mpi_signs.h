// Signs of life over MPI.
#pragma once

#include <memory>

#include "comm/mpi/mpi_requests.h"
#include "comm/signs.h"

namespace gentrain::comm {

/// The ring of the ranks of `comm`, for signs of `bytes` bytes. Its receive is posted at once; to
/// be destroyed before MPI ends. `control` must outlive it.
std::unique_ptr<SignRing> make_mpi_signs(MpiControl& control, MPI_Comm comm, std::size_t bytes);

}  // namespace gentrain::comm
