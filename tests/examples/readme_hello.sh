#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The program that README.md shows is examples/hello.c, which is compiled and run.
set -eu
shown=$(mktemp)
trap 'rm -f "$shown"' EXIT
sed -n '/^```c$/,/^```$/p' "$TDP_SOURCE_DIR/README.md" | sed '1d;$d' >"$shown"
diff -u "$TDP_SOURCE_DIR/examples/hello.c" "$shown" || {
	echo "README.md shows another program than examples/hello.c" >&2
	exit 1
}
# Every file that the README points to is there.
status=0
for file in $(grep -o '](\([^)#]*\)' "$TDP_SOURCE_DIR/README.md" | cut -c3-); do
	case $file in http*) continue ;; esac
	[ -e "$TDP_SOURCE_DIR/$file" ] || { echo "README.md links $file: not there" >&2; status=1; }
done
exit $status
