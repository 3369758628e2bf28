#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The core has no writable data: two mms share nothing but code, and the core can live in ROM.
set -eu
[ -z "${TDP_SANITIZERS:-}" ] || { echo "a sanitizer adds data of its own"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# writable OBJECT...: the sections of objects or archives that are writable at run time and not empty.
# Constants that hold addresses (.data.rel.ro) are written by the loader only and are not counted.
writable()
{
	for object in "$@"; do
		"$READELF" -SW "$object" | sed -n 's/^ *\[ *[0-9]*\] //p' | awk -v o="$object" '
			$1 ~ /^\.(t?data|t?bss|s?data|s?bss)(\.|$)/ && $1 !~ /^\.data\.rel\.ro/ &&
			$5 !~ /^0+$/ { print o ": " $1 " has 0x" $5 " bytes" }'
		"$NM" "$object" | awk -v o="$object" '$2 == "C" { print o ": common " $3 }'
	done
}

core=$TDP_BINARY_DIR/lib/libtdp-core.a
[ -f "$core" ] || { echo "$core is not there"; exit 1; }
found=$(writable "$core")
[ -z "$found" ] || { echo "$found"; exit 1; }

for text in 'int a;' 'int a = 3;' 'static int a; int f(void); int f(void) { return a++; }' \
	'int f(void); int f(void) { static int a = 1; return a++; }' \
	'extern int b; int *a = &b;'; do
	printf '%s\n' "$text" >"$scratch/a.c"
	"$CC" -O1 -c "$scratch/a.c" -o "$scratch/a.o"
	[ -n "$(writable "$scratch/a.o")" ] || { echo "not seen: $text"; exit 1; }
done
printf 'extern int b; int *const a[] = {&b}; const char s[] = "x";\n' >"$scratch/a.c"
"$CC" -fPIC -O1 -c "$scratch/a.c" -o "$scratch/a.o"
[ -z "$(writable "$scratch/a.o")" ] || { echo "constants are seen as state"; exit 1; }
