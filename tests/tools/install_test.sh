#!/bin/sh
# `cmake --install` puts a gentrain on the PATH that starts from anywhere: install_test.sh CMAKE BUILD.
set -eu
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
"$1" --install "$2" --prefix "$prefix" >/dev/null
cd "$prefix"
PATH=$prefix/bin:$PATH
command -v gentrain
gentrain --version
test -f lib/gentrain/libgentrain_image.so
test -f lib/gentrain/libgentrain_net.so
test -f lib/gentrain/libgentrain_onnx.so
