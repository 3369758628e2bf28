#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# examples/explore_backend.c: right as it is in a known number of orders; each of its mistakes is found, told, and
# found again in the order that is printed.
set -eu
[ "${TDP_HAVE_POSIX:-0}" = 1 ] && [ "${TDP_HAVE_EMU:-0}" = 1 ] ||
	{ echo "needs tdp::posix and tdp::emu"; exit 77; }
case ,${TDP_SANITIZERS:-}, in
*,thread,*) echo "actors share one thread: other tests race for ThreadSanitizer"; exit 77 ;;
esac
program=$TDP_BINARY_DIR/examples/explore_backend
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
	echo "explore_broken.sh: $*"
	cat "$scratch/out" "$scratch/err"
	exit 1
}
# exits STATUS ARGUMENT...
exits() {
	want=$1
	shift
	got=0
	"$program" "$@" >"$scratch/out" 2>"$scratch/err" || got=$?
	[ "$got" = "$want" ] || fail "exit $got, not $want: $*"
}
# says PROGRAM WORDS: its line ends with them.
says() {
	grep -q "^$1 .* orders of up to .* steps: $2\$" "$scratch/out" || fail "$1 is not: $2"
}

exits 0
for name in fault-zap access-zap protect invalidate; do
	says $name 'all are right'
	orders=$(sed -n "s/^$name .* \([0-9]*\) orders.*/\1/p" "$scratch/out")
	[ "$orders" -ge 10 ] || fail "$name: only $orders orders"
done
[ "$(wc -l <"$scratch/out")" = 4 ] || fail "more than four lines"

# again REASON: the order that was printed goes wrong again, for the same reason, and is told up to there.
again() {
	command=$(tail -n 1 "$scratch/out")
	for run in 1 2; do
		got=0
		$command >"$scratch/run$run" 2>"$scratch/err" || got=$?
		[ "$got" = 1 ] || fail "exit $got: $command"
	done
	cp "$scratch/run1" "$scratch/out"
	cmp -s "$scratch/run1" "$scratch/run2" || fail "a replay is not the same twice"
	grep -q "^WRONG: $1\$" "$scratch/out" || fail "the replay does not tell: $1"
	[ "$(grep -c " 1 orders of .* steps: $1\$" "$scratch/out")" = 1 ] || fail "it is another one"
	# Without the mistake that order does not exist, or nothing is wrong in it.
	got=0
	# shellcheck disable=SC2086 # words
	${command%% *} ${command##* } >"$scratch/out" 2>"$scratch/err" || got=$?
	[ "$got" = 0 ] || [ "$got" = 3 ] || fail "exit $got without the mistake"
	! grep -q WRONG "$scratch/out" || fail "wrong without a mistake"
}

exits 1 --broken=ack
says fault-zap 'memory was used after its zap'
says access-zap 'memory was used after its zap'
says protect 'a write got through after the protection'
says invalidate 'all are right'
again 'memory was used after its zap'
exits 1 --broken=entry
says fault-zap 'all are right'
says access-zap 'memory was used after its zap'
says protect 'a write got through after the protection'
says invalidate 'a root was used after its invalidation'
again 'memory was used after its zap'

exits 2 --broken=other
exits 2 --replay=nothing:ab
exits 3 --replay=protect:c
exits 3 --replay=protect:aaaa
