#!/usr/bin/env bash
# Configures and builds in b/, Release with Ninja: deploy/build.sh [CMAKE OPTIONS] [-- TARGETS]. Quiet
# unless something fails.
set -euo pipefail
cd "$(dirname "$0")/.."

options=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  options+=("$1")
  shift
done
[ $# = 0 ] || shift

log=$(mktemp)
trap 'rm -f "$log"' EXIT
cmake --preset release "${options[@]}" >"$log" 2>&1 || {
  cat "$log" >&2
  echo "build: cmake could not configure; deploy/install-deps.sh installs what it needs" >&2
  exit 1
}
quiet=()
[ -t 1 ] || quiet=(--quiet)  # a terminal gets ninja's progress line
ninja -C b "${quiet[@]}" "$@" || {
  echo "build: failed, see above" >&2
  exit 1
}
echo "built in b/"
