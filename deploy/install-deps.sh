#!/usr/bin/env bash
# Installs what gentrain needs from Debian 12's own packages: only what is missing, and nothing at all
# (not even the package lists) when everything is there.
set -euo pipefail

usage() {
  cat <<'END'
usage: deploy/install-deps.sh [--dev] [--list]
  --dev   also what developers need: clang 14 with its sanitizers, clang-format 14, clang-tidy 14,
          shellcheck, git, python3-venv
  --list  print the package names and end
Needs root, or a user who may use sudo, when something is missing.
END
}

packages=(
  g++ cmake ninja-build ccache pkg-config                 # build tools
  libopenmpi-dev openmpi-bin                              # ranks
  libdnnl-dev                                             # convolutions and matrix products
  libhdf5-dev zlib1g-dev libssl-dev                       # files: HDF5, gzip, SHA-256
  libopencv-imgcodecs-dev libopencv-objdetect-dev         # image files, resizing, faces
  opencv-data                                             # the cascade that finds faces
  libzip-dev                                              # archives of Keras 3
  libcurl4-openssl-dev libarchive-dev                     # downloads, unpacking them
  libonnx-dev libprotobuf-dev protobuf-compiler           # the schema of ONNX files, its messages
  libyaml-cpp-dev libboost-program-options-dev            # job files, command line
  nlohmann-json3-dev libspdlog-dev libfmt-dev             # metrics, log, messages
  libgtest-dev libgmock-dev libbenchmark-dev              # tests, benchmarks
  python3 python3-h5py                                    # tests of the house, golden files
)
dev_packages=(clang-14 libclang-rt-14-dev llvm-14 clang-format-14 clang-tidy-14 shellcheck git python3-venv)

fail() {
  echo "install-deps: $*" >&2
  exit 1
}

list=0
for argument in "$@"; do
  case "$argument" in
    --dev) packages+=("${dev_packages[@]}") ;;
    --list) list=1 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail "unknown option '$argument'" ;;
  esac
done
if [ "$list" = 1 ]; then
  printf '%s\n' "${packages[@]}"
  exit 0
fi

command -v dpkg-query apt-get | grep -q apt-get ||
  fail "this system has no apt; install by hand what 'deploy/install-deps.sh --list' prints"

installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p')
missing=()
for package in "${packages[@]}"; do
  grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null || true)
[ "$codename" = bookworm ] ||
  echo "install-deps: made for Debian 12 (bookworm), this is '${codename:-something else}'; names and versions may differ" >&2

as_root=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null ||
    fail "needs root to install ${missing[*]}: run it as root, or install sudo"
  as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# apt TEXT ARGUMENTS...: apt-get, silent unless it fails.
apt() {
  local what=$1
  shift
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o DPkg::Lock::Timeout=300 \
    -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1 </dev/null || {
    echo "install-deps: $what failed; apt-get said:" >&2
    { grep -E '^(E|W|dpkg):' "$log" || tail -n 20 "$log"; } | sed 's/^/    /' >&2
    exit 1
  }
}

echo "install-deps: installing ${#missing[@]} packages: ${missing[*]}"
apt "reading the package lists" update
apt "installing ${missing[*]}" install --no-install-recommends "${missing[@]}"
