#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Does each test of the museum notice the bug it is named after, and each ordering's test its loss?
#
#   tests/museum/kill.sh [--check] [ID...]      from any directory; without IDs all of them
#
# <ID>.c is the test, <ID>.patch brings a bug of that kind back into the library (the mutant), or
# <ID>.na says in a few words why the library has nothing that could break like that. The mutants of
# tests/order (ID: A1-publish ...) break what lib/ORDERING.md lists; each says which test must fail:
#   Test: [VARIABLE=VALUE...] LABEL/NAME
#   Sanitizer: thread                           if it takes one
# The sources as they stand in the working tree are copied and built once; each test must pass there.
# Then, for each ID, the patch is applied, that one test is built and run, and must fail. One line for
# each ID, and at the end
#   N killed, M survived, K not applicable
# Exit status 0 only if nothing survived; a patch that does not apply or build has survived.
#
# --check only looks whether all is there and every patch applies: that is the CTest museum/kill.
# KEEP=DIR: work in DIR and leave it, so that the next run builds on it. JOBS: compilers at once
# (2). LIMIT: seconds that a test may take (120).
set -u

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
order=$root/tests/order
check=${KILL_CHECK:-}
[ "${1:-}" != --check ] || { check=1; shift; }
jobs=${JOBS:-2}
command -v git >/dev/null || { echo "needs git to apply patches"; exit 77; }
killed=0 survived=0 none=0

if [ $# -eq 0 ]; then
	set -- $(cd "$here" && ls | grep -E '^[A-Z][0-9][0-9]\.(c|patch|na)$' | cut -c1-3 | sort -u) \
		$(cd "$order" && ls | sed -n 's/\.patch$//p')
fi

if [ -n "${KEEP:-}" ]; then
	mkdir -p "$KEEP"
	work=$(cd "$KEEP" && pwd)
else
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM
fi
src=$work/src
export TSAN_OPTIONS="suppressions=$src/tests/support/tsan.supp:halt_on_error=1"

# The sources; files that did not change keep their times, so that a kept build stays valid.
copy()
{
	rm -rf "$work/new"
	mkdir -p "$work/new" "$src"
	if git -C "$root" rev-parse --git-dir >/dev/null 2>&1; then
		(cd "$root" && { git ls-files; ls tests/museum/* tests/order/*; } | sort -u |
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

# What ID names: $patch, $test and the $vars of its environment, where it is built ($bin, $target).
named()
{
	patch=$here/$1.patch test=museum/$1 vars='' sanitizer=''
	if [ -f "$order/$1.patch" ]; then
		patch=$order/$1.patch
		vars=$(sed -n 's/^Test: //p' "$patch")
		test=${vars##* }
		vars=${vars%"$test"}
		sanitizer=$(sed -n 's/^Sanitizer: //p' "$patch")
	fi
	bin=$work/build${sanitizer:+-$sanitizer}
	target=test_${test%/*}_${test#*/}
	passes=$work/passes.$(echo "$sanitizer $vars$test" | tr -c 'a-zA-Z0-9\n' _)
}

configure()
{
	compiler=''
	[ "$sanitizer" != thread ] || compiler=-DCMAKE_C_COMPILER=clang # gcc warns about fences
	cmake -S "$src" -B "$bin" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DTDP_DEBUG=2 -DTDP_WERROR=ON \
		-DTDP_BUILD_SHARED=OFF -DTDP_BUILD_EXAMPLES=OFF -DTDP_BUILD_BENCH=OFF \
		-DTDP_SANITIZE="$sanitizer" $compiler >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
	: >"$bin/targets"
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
	eval "$vars timeout ${LIMIT:-120} \"\$bin/tests/${test%/*}/\$target\"" >"$work/log" 2>&1
}

say()
{
	printf '%-11s %s\n' "$1" "$2"
}

survivor()
{
	say "$1" "$2"
	survived=$((survived + 1))
}

# What a test says first when it fails.
complaint()
{
	sed -n 's/.*\[   LINE   \] --- .*\/\([^ /]*\): error.*/\1/p
		s/.*ThreadSanitizer: \(data race\).*/\1/p' "$work/log" | head -n 1
}

# Without any patch: what does not pass here cannot kill. All at once: each library is built once.
pass_all()
{
	rm -f "$work"/passes.* "$work"/build*/targets
	for id in "$@"; do
		named "$id"
		[ -f "$bin/targets" ] || configure
		[ ! -f "$src/tests/$test.c" ] || echo "$target" >>"$bin/targets"
	done
	for bin in "$work"/build*; do
		[ ! -f "$bin/targets" ] || build -k 0 $(sort -u "$bin/targets")
	done
	for id in "$@"; do
		named "$id"
		[ -e "$passes" ] || { [ -f "$src/tests/$test.c" ] && run && : >"$passes"; }
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
	named "$id"
	if [ ! -f "$src/tests/$test.c" ] || [ ! -f "$patch" ]; then
		survivor "$id" "SURVIVED: has no test or no patch"
		return
	fi
	if ! patched --check "$patch" 2>"$work/log"; then
		survivor "$id" "SURVIVED: patch does not apply"
		return
	fi
	if [ -n "$check" ]; then
		say "$id" "patch applies"
		return
	fi
	if [ ! -e "$passes" ]; then
		survivor "$id" "SURVIVED: the test fails without the patch"
		return
	fi
	patched "$patch"
	if ! build "$target"; then
		survivor "$id" "SURVIVED: does not build with the patch"
	elif run; then
		survivor "$id" "SURVIVED"
	else
		status=$?
		[ $status -ne 124 ] || echo "did not end" >"$work/log"
		say "$id" "killed ($(complaint | grep . || echo "exit status $status"))"
		killed=$((killed + 1))
	fi
	patched -R "$patch"
}

copy
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
