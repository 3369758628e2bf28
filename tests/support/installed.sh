# SPDX-License-Identifier: BSD-2-Clause
# Sourced by the install tests: the tree under test installed to $prefix, skipped where that makes no sense.
set -eu
[ "${TDP_FREESTANDING:-0}" = 0 ] || { echo "nothing is linked for a bare target"; exit 77; }
[ -z "${TDP_SANITIZERS:-}" ] || { echo "sanitized libraries are not for installing"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/first
"$CMAKE" --install "$TDP_BINARY_DIR" --prefix "$prefix" >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
# An installed tree can be moved.
mv "$prefix" "$scratch/prefix"
prefix=$scratch/prefix
libdir=$(dirname "$(find "$prefix" -name libtdp-core.a)")
all=0
[ "$TDP_HAVE_POSIX$TDP_HAVE_EMU" != 11 ] || all=1
# The users' sources stand alone, too.
cp "$TDP_SOURCE_DIR"/tests/install/consumer/core.c "$TDP_SOURCE_DIR"/tests/install/consumer/CMakeLists.txt \
	"$TDP_SOURCE_DIR"/examples/hello.c "$TDP_SOURCE_DIR"/examples/explore_backend.c "$scratch"
