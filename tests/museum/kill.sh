#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Does each test of the museum notice the bug it is named after?
#
#   tests/museum/kill.sh [--check] [ID...]      from any directory; without IDs all of them
#
# <ID>.c is the test, <ID>.patch brings a bug of that kind back into the library (the mutant), or
# <ID>.na says in a few words why the library has nothing that could break like that. The sources
# as they stand in the working tree are copied and built once; each test must pass there. Then, for
# each ID, the patch is applied, that one test is built and run, and must fail. One line for each
# ID, and at the end
#   N killed, M survived, K not applicable
# Exit status 0 only if nothing survived; a patch that does not apply or build has survived.
#
# --check only looks whether all is there and every patch applies: that is the CTest museum/kill.
# KEEP=DIR: work in DIR and leave it, so that the next run builds on it. JOBS: compilers at once
# (2). LIMIT: seconds that a test may take (120).
set -u

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
check=${KILL_CHECK:-}
[ "${1:-}" != --check ] || { check=1; shift; }
jobs=${JOBS:-2}
command -v git >/dev/null || { echo "needs git to apply patches"; exit 77; }
killed=0 survived=0 none=0

if [ $# -eq 0 ]; then
	set -- $(cd "$here" && ls | grep -E '^[A-Z][0-9][0-9]\.(c|patch|na)$' | cut -c1-3 | sort -u)
fi

if [ -n "${KEEP:-}" ]; then
	mkdir -p "$KEEP"
	work=$(cd "$KEEP" && pwd)
else
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM
fi
src=$work/src bin=$work/build

# The sources; files that did not change keep their times, so that a kept build stays valid.
copy()
{
	rm -rf "$work/new"
	mkdir -p "$work/new" "$src"
	if git -C "$root" rev-parse --git-dir >/dev/null 2>&1; then
		(cd "$root" && { git ls-files; ls tests/museum/*; } | sort -u |
			while read -r file; do [ ! -f "$file" ] || echo "$file"; done |
			tar cf - -T -) | tar xf - -C "$work/new"
	else
		(cd "$root" && tar cf - --exclude=./build .) | tar xf - -C "$work/new"
	fi
	(cd "$src" && find . -type f) | while read -r file; do
		[ -f "$work/new/$file" ] || rm -f "$src/$file"
	done
	(cd "$work/new" && find . -type f) | while read -r file; do
		cmp -s "$work/new/$file" "$src/$file" && continue
		mkdir -p "$(dirname "$src/$file")"
		cp "$work/new/$file" "$src/$file"
	done
}

configure()
{
	cmake -S "$src" -B "$bin" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DTDP_DEBUG=2 -DTDP_WERROR=ON \
		-DTDP_BUILD_SHARED=OFF -DTDP_BUILD_EXAMPLES=OFF -DTDP_BUILD_BENCH=OFF \
		>"$work/log" 2>&1
}

# A patch belongs to the copy, wherever that is: no repository around it is to be looked at.
patched()
{
	(cd "$src" && GIT_CEILING_DIRECTORIES=$work git apply "$@")
}

build()
{
	ninja -C "$bin" -j "$jobs" "$@" >"$work/log" 2>&1
}

# 0: the test passes; 124: it did not end.
run()
{
	timeout "${LIMIT:-120}" "$bin/tests/museum/test_museum_$1" >"$work/log" 2>&1
}

say()
{
	printf '%-4s %s\n' "$1" "$2"
}

survivor()
{
	say "$1" "$2"
	survived=$((survived + 1))
}

# What a test says first when it fails.
complaint()
{
	sed -n 's/.*\[   LINE   \] --- .*museum\/\([^ ]*\): error.*/\1/p' "$work/log" | head -n 1
}

# Without any patch: what does not pass here cannot kill. All at once: the library is built once.
pass_all()
{
	rm -f "$work"/passes.*
	targets=
	for id in "$@"; do
		[ ! -f "$here/$id.c" ] || targets="$targets test_museum_$id"
	done
	build -k 0 $targets
	for id in "$@"; do
		[ -f "$here/$id.c" ] && run "$id" && : >"$work/passes.$id"
	done
}

kill_one()
{
	id=$1
	if [ -f "$here/$id.na" ]; then
		say "$id" "not applicable: $(cat "$here/$id.na")"
		none=$((none + 1))
		return
	fi
	if [ ! -f "$here/$id.c" ] || [ ! -f "$here/$id.patch" ]; then
		survivor "$id" "SURVIVED: has no test or no patch"
		return
	fi
	if ! patched --check "$here/$id.patch" 2>"$work/log"; then
		survivor "$id" "SURVIVED: patch does not apply"
		return
	fi
	if [ -n "$check" ]; then
		say "$id" "patch applies"
		return
	fi
	if [ ! -e "$work/passes.$id" ]; then
		survivor "$id" "SURVIVED: the test fails without the patch"
		return
	fi
	patched "$here/$id.patch"
	if ! build "test_museum_$id"; then
		survivor "$id" "SURVIVED: does not build with the patch"
	elif run "$id"; then
		survivor "$id" "SURVIVED"
	else
		status=$?
		[ $status -ne 124 ] || echo "did not end" >"$work/log"
		say "$id" "killed ($(complaint | grep . || echo "exit status $status"))"
		killed=$((killed + 1))
	fi
	patched -R "$here/$id.patch"
}

copy
if [ -z "$check" ] && ! configure; then
	cat "$work/log"
	exit 1
fi
[ -n "$check" ] || pass_all "$@"
for id in "$@"; do
	kill_one "$id"
done
if [ -n "$check" ]; then
	[ $survived -eq 0 ]
	exit
fi
echo "$killed killed, $survived survived, $none not applicable"
[ $survived -eq 0 ]
