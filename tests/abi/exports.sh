#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Each shared object exports what its public headers declare TDP_API, and nothing else.
set -eu
[ "${TDP_FREESTANDING:-0}" = 0 ] || { echo "no shared objects for a bare target"; exit 77; }
. "$TDP_SOURCE_DIR/tests/support/rule.sh"

# declared HEADER...: the names behind TDP_API, sorted.
declared()
{
	code "$@" | sed -e 's/^[^:]*: //' -e '/^[[:space:]]*#/d' | tr '\n\t' '  ' | tr ';{}' '\n\n\n' | sed -n \
		-e 's/.*TDP_API [^(]*[ *]\(tdp_[a-z0-9_]*\)(.*/\1/p;t' \
		-e 's/.*TDP_API [^(]*[ *]\(tdp_[a-z0-9_]*\) *$/\1/p' | sort
}

# exported OBJECT: its dynamic symbols; each must carry the version node.
exported()
{
	"$NM" -D --defined-only "$1" | awk '$2 != "A" { print $3 }' | sort >"$scratch/versioned"
	grep -v '@@TDP_0\.1$' "$scratch/versioned" | sed 's/$/ (no version)/' || :
	sed -n 's/@@TDP_0\.1$//p' "$scratch/versioned"
}

include=$TDP_SOURCE_DIR/include/tdp
headers="$include/base.h $include/env.h $include/backend.h $include/tdp.h $include/walk.h $include/decode.h $include/gate.h $include/job.h $include/share.h"

# same NAME OBJECT HEADER...: print the difference, fail when there is one.
same()
{
	name=$1 object=$2
	shift 2
	declared "$@" >"$scratch/declared"
	exported "$object" >"$scratch/exported"
	[ -s "$scratch/declared" ] || { echo "$name: no declarations were read"; return 1; }
	diff -u --label "declared in $name's headers" --label "exported by libtdp-$name" \
		"$scratch/declared" "$scratch/exported"
}

object()
{
	find "$TDP_BINARY_DIR/lib" "$TDP_BINARY_DIR/backends" -name "libtdp-$1.so" 2>/dev/null
}

# shellcheck disable=SC2086
same core "$(object core)" $headers || failed=1
[ "$TDP_HAVE_POSIX" = 0 ] || same posix "$(object posix)" "$include/posix.h" || failed=1
[ "$TDP_HAVE_EMU" = 0 ] || same emu "$(object emu)" "$include/emu.h" || failed=1
[ "$failed" = 0 ] || exit 1

# The negatives: a declaration nobody exports, and an export nobody declares.
cp $headers "$scratch"
printf 'TDP_API int\ntdp_nobody(int (*fn)(void), /* TDP_API int tdp_x(void); */\n\tint a);\n' \
	>>"$scratch/walk.h"
! same core "$(object core)" "$scratch"/*.h >"$scratch/out" || { echo "tdp_nobody is not missed"; exit 1; }
grep -q '^-tdp_nobody$' "$scratch/out"
! grep -q 'tdp_x' "$scratch/out"
! same core "$(object core)" "$include/base.h" >"$scratch/out" || { echo "exports are not seen"; exit 1; }
grep -q '^+tdp_mm_create$' "$scratch/out"
