#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The core has no writable data: two mms share nothing but code, and the core can live in ROM. Debug builds on a
# host have the lock checker (lib/mm/lockcheck.c): one record for each thread, and none in all other builds.
set -eu
[ -z "${TDP_SANITIZERS:-}" ] || { echo "a sanitizer adds data of its own"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# writable OBJECT...: the sections of objects or archives (by member) that are writable at run time and not empty.
# Constants that hold addresses (.data.rel.ro) are written by the loader only and are not counted.
writable()
{
	for object in "$@"; do
		"$READELF" -SW "$object" | sed -n 's/^ *\[ *[0-9]*\] //p; /^File: /p' | awk -v o="$object" '
			$1 == "File:" { o = $2; sub(/.*\(/, "", o); sub(/\)$/, "", o) }
			$1 ~ /^\.(t?data|t?bss|s?data|s?bss)(\.|$)/ && $1 !~ /^\.data\.rel\.ro/ &&
			$5 !~ /^0+$/ { print o ": " $1 " has 0x" $5 " bytes" }'
		"$NM" "$object" | awk -v o="$object" '$2 == "C" { print o ": common " $3 }'
	done
}

core=$TDP_BINARY_DIR/lib/libtdp-core.a
[ -f "$core" ] || { echo "$core is not there"; exit 1; }
# The record is all that the checker may keep; where it is not wanted nothing of it is there.
record='^lockcheck\.c\.[a-z]*: \.tbss has '
if [ "${TDP_LOCKCHECK:-0}" = 1 ]; then
	writable "$core" | grep -qE "$record" || { echo "the lock checker has no record"; exit 1; }
else
	record='^$'
	"$NM" --defined-only "$core" | awk '/lockcheck/ && NF == 3 { print; bad = 1 } END { exit bad }' ||
		{ echo "something of the lock checker is there"; exit 1; }
fi
found=$(writable "$core" | grep -vE "$record" || :)
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
