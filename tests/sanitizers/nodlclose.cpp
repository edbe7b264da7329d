// Linked into every program of a sanitizer build: keeps OpenMPI's plug-ins mapped after
// MPI_Finalize, so that leaks and races inside them have names that the suppression files can
// match.
extern "C" int dlclose(void* handle) {
  static_cast<void>(handle);
  return 0;
}
