#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The core as one object needs nothing from outside but four memory functions.
set -eu
[ -z "${TDP_SANITIZERS:-}" ] || { echo "a sanitizer calls its run time"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# foreign OUT OBJECT...: what the objects together leave undefined, beyond what is granted.
foreign()
{
	out=$1
	shift
	# shellcheck disable=SC2086
	"$CC" ${CFLAGS:-} -nostdlib -r -o "$out" -Wl,--whole-archive "$@"
	"$NM" -u "$out" | awk '{ print $NF }' |
		grep -vxE 'memcpy|memmove|memset|memcmp|_GLOBAL_OFFSET_TABLE_' || :
}

core=$TDP_BINARY_DIR/lib/libtdp-core.a
[ -f "$core" ] || { echo "$core is not there"; exit 1; }
found=$(foreign "$scratch/core.o" "$core")
[ -z "$found" ] || { echo "needed from outside: $found"; exit 1; }

# The negative: one call of libc beside the same objects is seen.
echo 'int puts(const char *); int tdpi_bad(void); int tdpi_bad(void) { return puts("x"); }' >"$scratch/a.c"
# shellcheck disable=SC2086
"$CC" ${CFLAGS:-} -ffreestanding -c "$scratch/a.c" -o "$scratch/a.o"
[ "$(foreign "$scratch/bad.o" "$core" "$scratch/a.o")" = puts ] || { echo "puts is not seen"; exit 1; }
