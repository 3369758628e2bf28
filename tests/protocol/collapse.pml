/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Collapse beside a zap, a cut-off and faults.
 *
 * Shows: a zap finds what it has to remove although the table it was on its way to became a leaf (tdpi_table.cuts);
 * the merged leaf maps what the small ones mapped, even when one of them goes at the same moment; the old table is
 * freed only after the flush; collapse owes no flush and still nobody sees two translations; a flush that spares what
 * a table does not know of (tdpi_table.cached: sizes, and the way to tables below) leaves nothing that can be used.
 *
 * Bounds: one interior table P with one entry, a leaf table of two frames, a collapse, a zap of
 * frame 0 (it descends, and splits a huge leaf), a zap of both frames (it cuts off), a fault on either frame with new
 * memory of its own, NT leaf tables in all, an MMU.
 *
 * Not here: invalidations (a zap alone promises less: only what was mapped when it came by), permissions (protect.pml).
 */
#include "protocol.h"

#define NT 3
#define HUGE 8

byte pe = 1, te[2 * (NT + 1)], used = 1;
byte cuts; /* of P */
bool lock[NT + 1], stale[NT + 1], retired[NT + 1];
OWED(NT + 1, 2)
byte tlb[2], big, pwc; /* small pages, the huge one, the way to the table */
byte cached[NT + 1]; /* of each table: bits of */
#define SMALL 1
#define BIG   2
#define ALL   7

#define OLD 1 /* the memory there was at first; a fault brings NEW */
#define NEW 2

/* What a walk of the frame finds in the tables. */
#define SEES(g) (pe >= HUGE -> pe - HUGE : (pe == 0 -> 0 : te[2 * pe + g]))

/* tdp_collapse(): collapse_root(), collapse(), mergeable(), collapse_locked(). */
proctype collapse()
{
	byte below;

	below = pe;
	if :: below == 0 || below >= HUGE -> goto out :: else fi;
	LOCK(lock[0]);
	if :: pe != below -> UNLOCK(lock[0]); goto out :: else fi;
#ifndef BELOW_UNLOCKED
	LOCK(lock[below]);
	assert(!stale[below]); /* nobody unlinks it while P is locked */
#endif
	if
	:: te[2 * below] != 0 && te[2 * below] == te[2 * below + 1] ->
#ifndef MERGE_UNNOTED
		cuts++; /* note_cut() */
#endif
#ifndef MERGE_FORGETS
		cached[0] = ALL;
#endif
		pe = HUGE + te[2 * below];
		stale[below] = true;
#ifndef BELOW_UNLOCKED
		UNLOCK(lock[below]);
#endif
		UNLOCK(lock[0]);
#ifdef FREE_BEFORE_FLUSH
		retired[below] = true;
#endif
		atomic { tlb[0] = 0; tlb[1] = 0; big = 0; pwc = 0 };
		retired[below] = true
	:: else ->
#ifndef BELOW_UNLOCKED
		UNLOCK(lock[below]);
#endif
		UNLOCK(lock[0])
	fi;
out:
	skip
}

/* tdp_zap() of frame 0, or of both. */
proctype zap(byte me; bool both)
{
	bool flush0, flush1, passed;
	byte t, cut, was, levels, nr = 1;

top:
	was = cuts; /* iter_enter() */
	t = pe; /* iter_pass() */
	if
	:: t != 0 && t < HUGE && !both -> passed = true; goto below
	:: passed = false /* other entries in its range are not tables */
	fi;
	LOCK(lock[0]);
	TAKE_OVER(0, flush0 = true; flush1 = flush1 || both; levels = ALL);
	if
	:: pe == 0 -> UNLOCK(lock[0]); goto finish
	:: pe >= HUGE && !both && used < NT -> /* split_locked() */
		atomic { used++; te[2 * used] = pe - HUGE; te[2 * used + 1] = pe - HUGE;
#ifdef SPLIT_FORGETS
			cached[used] = SMALL;
#else
			cached[used] = SMALL | cached[0];
#endif
			pe = used };
		UNLOCK(lock[0])
	:: pe >= HUGE && (both || used == NT) ->
		pe = 0;
		REMOVED(0, me, flush0 = true; flush1 = true; levels = levels | cached[0], skip); /* unreached: whoever owes P took all of it */
		UNLOCK(lock[0]);
		goto finish
	:: pe != 0 && pe < HUGE && both ->
		cut = pe;
		CUT(pe = 0);
		REMOVED(0, me, flush0 = true; flush1 = true; levels = ALL, skip); /* unreached: whoever owes P took all of it */
		UNLOCK(lock[0]);
		LOCK(lock[cut]);
		stale[cut] = true;
		UNLOCK(lock[cut]);
		goto finish
	:: pe != 0 && pe < HUGE && !both -> UNLOCK(lock[0])
	fi;
below:
	t = pe; /* iter_move() */
	if
	:: (t == 0 || t >= HUGE) && CUT_SINCE -> goto top /* iter_cut() */
	:: (t == 0 || t >= HUGE) && !CUT_SINCE -> goto finish
	:: t != 0 && t < HUGE
	fi;
	LOCK(lock[t]);
	if :: stale[t] -> UNLOCK(lock[t]); goto top :: else fi;
	TAKE_OVER(t, flush0 = true; levels = ALL); /* unreached: nobody else removes from a leaf table, see owed.pml */
	if
	:: te[2 * t] != 0 ->
		te[2 * t] = 0;
		REMOVED(t, me, flush0 = true; levels = levels | cached[t], flush1 = true)
	:: else
	fi;
	UNLOCK(lock[t]);
finish:
	if
	:: flush0 || flush1 ->
		atomic {
			if :: levels == ALL -> pwc = 0 :: else fi;
			if :: levels & BIG -> big = 0 :: else fi;
			if :: flush0 && levels & SMALL -> tlb[0] = 0 :: else fi;
			if :: flush1 && levels & SMALL -> tlb[1] = 0 :: else fi
		};
		COMPLETE(me)
	:: else
	fi;
	if :: cut != 0 -> retired[cut] = true :: else fi;
	d_step { /* nothing that was mapped there when it came by can be reached */
		assert(tlb[0] != OLD && big != OLD && SEES(0) != OLD);
		assert(!both || (tlb[1] != OLD && SEES(1) != OLD))
	}
}

/* tdp_fault(): map() of small pages. */
proctype fault()
{
	byte g, t, seen_t, seen, seen_rem;

	if :: g = 0 :: g = 1 fi;
again:
	t = pe;
	if
	:: t >= HUGE -> goto out /* mapped */
	:: t == 0 -> /* grow() */
		LOCK(lock[0]);
		if :: pe != 0 -> UNLOCK(lock[0]); goto again :: else fi; /* unreached: only this links */
		if
		:: OWES(0) && !(seen_t == 1 && seen == OWED_BY(0) && seen_rem == removals[0]) ->
			atomic { seen_t = 1; seen = OWED_BY(0); seen_rem = removals[0] };
			UNLOCK(lock[0]);
			atomic { tlb[0] = 0; tlb[1] = 0; big = 0; pwc = 0 };
			goto again
		:: else
		fi;
		assert(used < NT);
		atomic { used++; cached[used] = SMALL; pe = used };
		UNLOCK(lock[0]);
		goto again
	:: t != 0 && t < HUGE
	fi;
	LOCK(lock[t]);
	if :: stale[t] -> UNLOCK(lock[t]); goto again :: else fi;
	assert(!retired[t]);
	if
	:: OWES(t) && !(seen_t == t + 1 && seen == OWED_BY(t) && seen_rem == removals[t]) ->
		atomic { seen_t = t + 1; seen = OWED_BY(t); seen_rem = removals[t] };
		UNLOCK(lock[t]);
		atomic { tlb[g] = 0; big = 0; pwc = 0 };
		goto again
	:: else
	fi;
	if :: te[2 * t + g] == 0 -> te[2 * t + g] = NEW :: else fi;
	UNLOCK(lock[t]);
out:
	skip
}

active proctype mmu()
{
	byte g;

end:	do
	:: atomic {
		pwc == 0 && pe != 0 ->
		if
		:: pe < HUGE -> pwc = pe; assert(!retired[pwc])
		:: pe >= HUGE && big == 0 -> big = pe - HUGE
		:: else
		fi }
	:: atomic {
		pwc != 0 ->
		assert(!retired[pwc]);
		if :: g = 0 :: g = 1 fi;
		if :: tlb[g] == 0 -> tlb[g] = te[2 * pwc + g] :: else fi;
		g = 0 }
	:: atomic { /* another vCPU with nothing cached */
		if :: g = 0 :: g = 1 fi;
		assert(SEES(g) == 0 || tlb[g] == 0 || tlb[g] == SEES(g));
		assert(SEES(g) == 0 || big == 0 || big == SEES(g));
		g = 0 }
	od
} /* unreached: never ends */

init
{
	atomic {
		te[2] = OLD;
		te[3] = OLD;
		cached[0] = BIG;
		cached[1] = SMALL;
		run collapse();
		run zap(0, false);
		run zap(1, true);
		run fault()
	}
}
