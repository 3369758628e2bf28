#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# An installed libtdp is found by find_package(), by component, static and shared, and runs.
. "$TDP_SOURCE_DIR/tests/support/installed.sh"

components=core
[ "$all" = 0 ] || components='core;posix;emu;explore'
"$CMAKE" -S "$scratch" -B "$scratch/build" -G Ninja -DCMAKE_C_COMPILER="$CC" -DCMAKE_BUILD_TYPE=Debug \
	-DCMAKE_PREFIX_PATH="$prefix" "-DCONSUMER_COMPONENTS=$components" \
	-DCONSUMER_EXAMPLE="$scratch/hello.c" -DCONSUMER_EXPLORED="$scratch/explore_backend.c" >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
"$CMAKE" --build "$scratch/build" -j2 >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
"$scratch/build/by_static"
"$scratch/build/by_shared"
if [ "$all" = 1 ]; then
	"$scratch/build/vm_by_static"
	"$scratch/build/vm_by_shared"
	"$scratch/build/explored" >"$scratch/log" || { cat "$scratch/log"; exit 1; }
fi

# A component that is not there is an error, not silence.
if "$CMAKE" -S "$scratch" -B "$scratch/bad" -G Ninja -DCMAKE_C_COMPILER="$CC" \
	-DCMAKE_PREFIX_PATH="$prefix" "-DCONSUMER_COMPONENTS=core;missing" >"$scratch/log" 2>&1; then
	echo "find_package found a component 'missing'"
	exit 1
fi
grep -q "component 'missing'" "$scratch/log" || { cat "$scratch/log"; exit 1; }
