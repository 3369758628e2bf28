#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Assertions by tier (lib/base/assert.h): switched off they cost no instruction and are still type-checked;
# switched on they trap.
set -eu

if [ "$TDP_FREESTANDING" = 1 ]; then
	echo "what this build's compiler makes does not run here"
	exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# program ASSERTION: a function with it, and a main that calls it with 1 argument.
program()
{
	cat <<-EOF2
	#include "base/assert.h"
	int f(int a);
	int f(int a) { $1 return a * 3; }
	int main(int argc, char **argv) { (void)argv; return f(argc) - 3; }
	EOF2
}

# object TIER OPTIMISATION NAME: compile NAME.c; the code of its functions on standard output.
object()
{
	"$CC" -std=c11 -Wall -Wextra -Werror "$2" -DTDP_DEBUG="$1" -I"$TDP_SOURCE_DIR/lib" \
		-c "$scratch/$3.c" -o "$scratch/$3.o" 2>"$scratch/$3.err" &&
		objdump -d --no-show-raw-insn "$scratch/$3.o" | sed 1,3d
}

wrong()
{
	echo "$1"
	failed=1
}

program '' >"$scratch/plain.c"
program 'TDPI_ASSERT(a > 1);' >"$scratch/first.c"
program 'TDPI_ASSERT_DEBUG(a > 1);' >"$scratch/second.c"
program 'TDPI_ASSERT(b > 1);' >"$scratch/wrong.c"
for opt in -O0 -O2; do
	object 0 $opt plain >"$scratch/plain"
	for name in first second; do
		object 0 $opt $name >"$scratch/$name"
		cmp -s "$scratch/plain" "$scratch/$name" || wrong "$opt: $name costs something at tier 0"
	done
	object 1 $opt second >"$scratch/second"
	cmp -s "$scratch/plain" "$scratch/second" || wrong "$opt: a tier 2 assertion is on at tier 1"
	object 1 $opt first >"$scratch/first"
	cmp -s "$scratch/plain" "$scratch/first" && wrong "$opt: a tier 1 assertion is off at tier 1"
	object 2 $opt second >"$scratch/second"
	cmp -s "$scratch/plain" "$scratch/second" && wrong "$opt: a tier 2 assertion is off at tier 2"
done
object 0 -O2 wrong >/dev/null && wrong 'what is switched off is not type-checked'

for tier in 0 1; do
	"$CC" -std=c11 -DTDP_DEBUG=$tier -I"$TDP_SOURCE_DIR/lib" "$scratch/first.c" -o "$scratch/run"
	if "$scratch/run" 2>/dev/null; then trapped=0; else trapped=1; fi
	[ $trapped = $tier ] || wrong "tier $tier: a false assertion trapped $trapped times"
done
exit $failed
