#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# examples/freestanding.c and the core together need nothing from outside but four memory functions.
set -eu
[ "${TDP_HAVE_POSIX:-0}" = 1 ] || { echo "needs tdp::posix"; exit 77; }
[ -z "${TDP_SANITIZERS:-}" ] || { echo "a sanitizer has needs of its own"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$CC" -std=c11 -O2 -ffreestanding -I"$TDP_SOURCE_DIR/include" -c \
	"$TDP_SOURCE_DIR/examples/freestanding.c" -o "$scratch/example.o"
core=$(find "$TDP_BINARY_DIR/lib" -name libtdp-core.a)
# Only what the example pulls out of the archive counts; the rest stays undefined and is listed.
"$LD" -r -o "$scratch/all.o" "$scratch/example.o" --start-group "$core" --end-group
foreign=$("$NM" -u "$scratch/all.o" | awk '{print $2}' |
	grep -vxE 'memcpy|memset|memmove|memcmp|_GLOBAL_OFFSET_TABLE_' || :)
[ -z "$foreign" ] || { echo "needed from outside: $foreign"; exit 1; }
"$NM" "$scratch/all.o" | grep -q ' T tdp_mm_create$' || { echo "the core was not linked"; exit 1; }
