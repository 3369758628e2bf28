/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Owed flushes (A4b): one leaf table that stays, several removals under way in it at once.
 *
 * Shows: a zap that returns takes with it every translation of its frames that there was when it locked the table,
 * whoever removed it; a filler never makes a second translation of a frame, although ranges are flushed out of order,
 * flushes are begun and waited for much later, and tickets are used again.
 *
 * Bounds: two frames, two zaps of one frame or of both, one of them twice (ticket numbers go on), two faults, each on
 * either frame, each with new memory; an MMU.
 *
 * Not here: cut-off and levels (invalidate.pml), sequence checks (every fault brings memory never seen before, so an
 * old one would be told apart).
 */
#include "protocol.h"

byte te[2], next = 3; /* entries; versions of memory */
bool lock;
OWED(1, 2)
byte tlb[2];

/* Did a walk by somebody with nothing cached find what others have cached? */
#define TWINS(g) (te[g] != 0 && tlb[g] != 0 && tlb[g] != te[g])

/* The promise: nothing is cached of what was mapped when the zap looked. */
#define GONE d_step { \
	assert(tlb[0] == 0 || tlb[0] >= old0); \
	assert(tlb[1] == 0 || tlb[1] >= old1); \
	old0 = 0; \
	old1 = 0 \
}

/* tdp_zap(): zap_run(), set_removed_leaf(), tdpi_gather_finish(), twice. */
proctype zap(byte me, rounds)
{
	byte g, nr = 1;
	byte old0, old1; /* ghosts: first versions that came after the looks */
	bool flush0, flush1, begun0, begun1, both;

	do
	:: rounds == 0 -> break
	:: rounds > 0 ->
		rounds--;
		if :: g = 0; both = false :: g = 1; both = false :: g = 0; both = true fi;
		LOCK(lock);
		TAKE_OVER(0,
			flush0 = flush0 || g == 0 || both;
			flush1 = flush1 || g == 1 || both);
		if
		:: te[g] != 0 ->
			REMOVED(0, me,
				flush0 = flush0 || g == 0;
				flush1 = flush1 || g == 1,
				flush0 = true;
				flush1 = true);
			te[g] = 0
		:: else
		fi;
		if
		:: both && te[1] != 0 ->
			REMOVED(0, me, flush1 = true, flush0 = true; flush1 = true);
			te[1] = 0
		:: else
		fi;
		atomic {
			if :: g == 0 || both -> old0 = next :: else fi;
			if :: g == 1 || both -> old1 = next :: else fi
		};
		UNLOCK(lock);
		if
		:: rounds > 0 /* not now: the walk was thrown back to the root (iter_stale()) */
		:: rounds > 0 && (flush0 || flush1) -> /* tdpi_gather_ahead() */
			begun0 = begun0 || flush0;
			begun1 = begun1 || flush1;
			flush0 = false;
			flush1 = false
		:: flush0 || flush1 || begun0 || begun1 -> /* tdpi_gather_finish() */
			atomic {
				if :: flush0 -> tlb[0] = 0; flush0 = false :: else fi;
				if :: flush1 -> tlb[1] = 0; flush1 = false :: else fi
			};
#ifndef NO_BEGUN_WAIT
			atomic { /* as late as can be */
				if :: begun0 -> tlb[0] = 0 :: else fi;
				if :: begun1 -> tlb[1] = 0 :: else fi
			};
#endif
			begun0 = false;
			begun1 = false;
			COMPLETE(me);
			GONE
		:: !flush0 && !flush1 && !begun0 && !begun1 -> GONE
		fi
	od
}

/* tdp_fault() from map_run() on: settle_owed(), map_entry(). */
proctype fault()
{
	byte g, seen, seen_removals;

	if :: g = 0 :: g = 1 fi;
again:
	LOCK(lock);
#ifndef FILLER_IGNORES_OWED
	if
#ifdef FORGET_REMOVALS
	:: OWES(0) && seen != OWED_BY(0) + 1 ->
#else
	:: OWES(0) && !(seen == OWED_BY(0) + 1 && seen_removals == removals[0]) ->
#endif
		atomic { seen = OWED_BY(0) + 1; seen_removals = removals[0] };
		UNLOCK(lock);
		tlb[g] = 0;
		goto again
	:: else
	fi;
#endif
	if
	:: te[g] == 0 -> atomic { te[g] = next; next++ }
	:: else
	fi;
	UNLOCK(lock)
}

active proctype mmu()
{
	byte g;

end:	do
	:: atomic {
		if :: g = 0 :: g = 1 fi;
		assert(!TWINS(g));
		if :: tlb[g] == 0 -> tlb[g] = te[g] :: else fi;
		g = 0 }
	od
} /* unreached: never ends */

init
{
	atomic {
		te[0] = 1;
		te[1] = 2;
		run zap(0, 2);
		run zap(1, 1);
		run fault();
		run fault()
	}
}
