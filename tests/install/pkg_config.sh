#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# An installed libtdp is found by pkg-config, static and shared, and runs.
. "$TDP_SOURCE_DIR/tests/support/installed.sh"
command -v pkg-config >/dev/null || { echo "no pkg-config"; exit 77; }
export PKG_CONFIG_PATH="$libdir/pkgconfig"

# build_and_run SOURCE MODULE OPTIONS
build_and_run()
{
	# shellcheck disable=SC2046,SC2086
	"$CC" -std=c11 $(pkg-config $3 --cflags "$2") "$scratch/$1" -o "$scratch/a.out" \
		$(pkg-config $3 --libs "$2")
	LD_LIBRARY_PATH=$libdir "$scratch/a.out"
	ldd "$scratch/a.out" | grep -F libtdp- >"$scratch/shared" || :
}

version=$(pkg-config --modversion tdp-core)
grep -q "VERSION_MAJOR ${version%%.*}\$" "$prefix/include/tdp/base.h"
modules='core.c:tdp-core'
[ "$all" = 0 ] || modules='core.c:tdp-core hello.c:tdp'
for module in $modules; do
	build_and_run "${module%:*}" "${module#*:}" ''
	[ -s "$scratch/shared" ] || { echo "$module: not linked to the shared object"; exit 1; }
done
# With only archives there the same line links them.
find "$libdir" -name 'libtdp-*.so*' -delete
[ "$all" = 0 ] || modules="$modules explore_backend.c:tdp-explore"
for module in $modules; do
	build_and_run "${module%:*}" "${module#*:}" --static
	[ ! -s "$scratch/shared" ] || { echo "$module: linked to $(cat "$scratch/shared")"; exit 1; }
done
