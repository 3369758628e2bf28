#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Every public header compiles alone and twice, as C11, as C++11 and for a freestanding target.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
warn='-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wundef -Werror'
# C++ names a constructor where C only has a tag, and has no other way to zero a structure than {0}.
warn_cxx='-Wall -Wextra -Wpedantic -Wconversion -Wundef -Wno-missing-field-initializers -Werror'
target=${CC_TARGET:+--target=$CC_TARGET}
freestanding=${TDP_FREESTANDING:-0}

# ways DIR NAME: compile <tdp/NAME> of DIR in all ways; its status.
ways()
{
	printf '#include <tdp/%s>\n#include <tdp/%s>\nextern int tdp_x;\n' "$2" "$2" >"$scratch/a.c"
	cp "$scratch/a.c" "$scratch/a.cc"
	# shellcheck disable=SC2086
	"$CC" $target -std=c11 $warn -Wstrict-prototypes -I"$1" -fsyntax-only "$scratch/a.c" &&
	"$CC" $target -std=c11 -ffreestanding $warn -I"$1" -fsyntax-only "$scratch/a.c" || return 1
	[ "$freestanding" = 0 ] && [ -n "${CXX##*NOTFOUND}" ] || return 0
	# shellcheck disable=SC2086
	"$CXX" -std=c++11 $warn_cxx -I"$1" -fsyntax-only "$scratch/a.cc"
}

for header in "$TDP_SOURCE_DIR"/include/tdp/*.h; do
	name=$(basename "$header")
	ways "$TDP_SOURCE_DIR/include" "$name" || { echo "<tdp/$name> does not stand alone"; exit 1; }
done

# breaks TEXT: a header with this line added is refused.
breaks()
{
	rm -rf "$scratch/include"
	cp -r "$TDP_SOURCE_DIR/include" "$scratch/include"
	printf '%s\n' "$1" >>"$scratch/include/tdp/env.h"
	if ways "$scratch/include" env.h 2>/dev/null; then
		echo "accepted: $1"
		exit 1
	fi
}
breaks 'struct tdp_twice { int a; };'
breaks 'static inline size_t tdp_f(FILE *f) { return sizeof(*f); }'
breaks 'static inline char tdp_f(int a) { return a; }'
if [ "$freestanding" = 0 ] && [ -n "${CXX##*NOTFOUND}" ]; then
	breaks 'extern _Atomic(int) tdp_a;'
	# Names must not be mangled.
	for header in "$TDP_SOURCE_DIR"/include/tdp/*.h; do
		grep -q 'extern "C"' "$header" || { echo "$header: no extern \"C\""; exit 1; }
	done
else
	echo "C++ left out: no compiler for this target"
fi
