#!/usr/bin/env bash
# Installs what is needed, builds everything in b/ and runs all tests; ends with ctest's summary.
set -euo pipefail

usage() {
  cat <<'END'
usage: deploy/check.sh [--no-install] [CTEST OPTIONS]
  --no-install   install nothing: the packages are there already
  CTEST OPTIONS  for instance -L unit, -R Sha256
$GENTRAIN_CMAKE_ARGS holds further options for cmake, for instance -DGENTRAIN_WERROR=ON.
Tests labelled interop, which install packages from PyPI, run with -L interop alone.
Tests on real MNIST run where $GENTRAIN_DATA/mnist holds it, and say that they are skipped elsewhere.
END
}

install=1
case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  --no-install) install=0; shift ;;
esac

cd "$(dirname "$0")/.."
if [ "$install" = 1 ]; then
  deploy/install-deps.sh
fi
read -ra options <<<"${GENTRAIN_CMAKE_ARGS:-}"
deploy/build.sh "${options[@]}"

# Many ranks on few cores: as root, without binding, waiting ranks giving their core away.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_mpi_yield_when_idle=1
# What others make of exported models takes packages from PyPI: only where it is asked for.
case "$*" in
  *interop*) ;;
  *) set -- -LE '^interop$' "$@" ;;
esac
exec ctest --test-dir b --parallel 2 --output-on-failure --no-tests=error "$@"
