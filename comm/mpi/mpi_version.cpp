// The version of the MPI library.
#define OMPI_SKIP_MPICXX 1  // the C interface only: the C++ one would need another library
#include <array>

#include <mpi.h>

#include "comm/communicator.h"

namespace gentrain::comm {

std::string mpi_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  if (MPI_Get_library_version(text.data(), &length) != MPI_SUCCESS) {
    return "MPI of unknown version";
  }
  const std::string whole(text.data(), static_cast<std::size_t>(length));
  return whole.substr(0, whole.find(','));
}

}  // namespace gentrain::comm
