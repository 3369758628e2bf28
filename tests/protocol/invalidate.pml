/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults against invalidations (A4), with cut-offs, splits and huge leaves in the interior table.
 *
 * Shows: when an invalidation has returned, no cached translation and no entry leads to what it
 * covered, and no later fault brings it back; no table is freed while an MMU has a pointer to it;
 * no gfn has two translations at once.
 *
 * Bounds: one interior table P with one entry, two frames below it, NT leaf tables, one fault (it
 * comes again after RETRY; small or huge), one invalidation of frame 0 (it descends) or of both (it
 * cuts off), one more zap of either kind beside it whose memory stays, one MMU.
 *
 * Not here: levels above P (each is to the next what P is to its leaf tables), yields, A and D, other
 * roots. A version of memory stands for its pages: frame g of version v. Pointers of software to freed
 * tables are free.pml's.
 */
#include "protocol.h"

#define NT 2
#define HUGE 8 /* P's entry: 0, 1 .. NT a table, HUGE + v a leaf */

byte pe, te[2 * (NT + 1)]; /* the entries of P and of the leaf tables */
byte used;                 /* leaf tables taken from the pool */
byte cuts;                 /* of P */
bool lock[NT + 1], stale[NT + 1], retired[NT + 1];
OWED(NT + 1, 2)

byte tlb[2], pwc; /* the MMU: translations, a pointer to a table */
byte cur[2] = 1, gone[2]; /* version that resolve() finds; the latest one that was freed */
byte seq;
bool running, runs_on[2]; /* mm->inv */

/* settle_owed(): may this walk fill an entry of table x? If not, it was unlocked and flushed. */
inline settle_owed(x, first, last)
{
	settled = true;
#ifndef FILLER_IGNORES_OWED
	if
	:: OWES(x) && !(seen_t == x + 1 && seen == OWED_BY(x) && seen_rem == removals[x]) ->
		atomic { seen_t = x + 1; seen = OWED_BY(x); seen_rem = removals[x] };
		UNLOCK(lock[x]);
		atomic { tlb[first] = 0; tlb[last] = 0; pwc = 0 };
		settled = false
	:: else
	fi
#endif
}

/* tdpi_invalidated(), under the lock of the table that will hold the leaf. */
#ifdef NO_SEQ
#define INVALIDATED(both) false
#else
#define INVALIDATED(both) ((running && (runs_on[g] || (both && runs_on[1 - g]))) || seq != was)
#endif

/* split_locked(): the parts are complete before the table is linked. */
inline split_locked()
{
	atomic {
		used++;
		te[2 * used] = pe - HUGE;
		te[2 * used + 1] = pe - HUGE;
		pe = used
	}
}

/* tdp_fault(): attempt(), map(), map_walk(), map_run(), map_descend(), grow(). */
proctype fault()
{
	byte g, v, was, t, seen_t, seen, seen_rem;
	bool huge, settled;

	if :: g = 0 :: g = 1 fi;
	if :: huge = true :: huge = false fi;
retry:
#ifdef SEQ_AFTER_LOOKUP
	atomic { v = cur[g]; huge = huge && cur[0] == cur[1] };
	was = seq;
#else
	was = seq;
	atomic { v = cur[g]; huge = huge && cur[0] == cur[1] };
#endif
	seen_t = 0;
again:	/* MAP_AGAIN: from the root, with the same lookup */
	atomic {
		t = pe;
		if :: t != 0 && t < HUGE -> huge = false :: else fi
	};
	if
	:: huge -> /* map_run() in P */
		LOCK(lock[0]);
		if :: INVALIDATED(true) -> UNLOCK(lock[0]); goto retry :: else fi;
		settle_owed(0, 0, 1);
		if :: !settled -> goto again :: else fi;
		if
		:: pe == 0 -> pe = HUGE + v
		:: pe != 0 && pe < HUGE -> UNLOCK(lock[0]); goto again
		:: pe >= HUGE /* spurious, or refused */
		fi;
		UNLOCK(lock[0])
	:: !huge && t == 0 -> /* grow() */
		LOCK(lock[0]);
		if :: pe != 0 -> UNLOCK(lock[0]); goto again :: else fi; /* unreached: only faults link */
		settle_owed(0, 0, 1);
		if :: !settled -> goto again :: else fi;
		if
		:: used == NT -> UNLOCK(lock[0]); goto out /* no memory */
		:: else
		fi;
		atomic { used++; pe = used }; /* set_present(), its content was written before */
		UNLOCK(lock[0]);
		goto again
	:: t >= HUGE -> /* split_one() */
		LOCK(lock[0]);
		if
		:: pe >= HUGE && used == NT -> UNLOCK(lock[0]); goto out /* unreached: one fault */
		:: pe >= HUGE && used < NT -> split_locked()
		:: pe < HUGE
		fi;
		UNLOCK(lock[0]);
		goto again
	:: t != 0 && t < HUGE -> /* map_run() in a leaf table */
		LOCK(lock[t]);
#ifndef NO_STALE
		if :: stale[t] -> UNLOCK(lock[t]); goto again :: else fi;
#endif
		if :: INVALIDATED(false) -> UNLOCK(lock[t]); goto retry :: else fi;
		settle_owed(t, g, g);
		if :: !settled -> goto again :: else fi;
		assert(!retired[t]); /* what is written there now is collected and freed by nobody */
		if :: te[2 * t + g] == 0 -> te[2 * t + g] = v :: else fi;
		UNLOCK(lock[t])
	fi;
out:
	skip
}

/* tdp_zap() with ticket `me`, of frame 0 or of both; inval: between begin and end, memory goes. */
proctype zap(byte me; bool inval)
{
	bool both, flush0, flush1, out_t, passed;
	byte t, was, nr = 1; /* tdpi_gather_begin() */

	if :: both = true :: both = false fi;
	if
	:: inval -> atomic { runs_on[0] = true; runs_on[1] = both; running = true }
	:: else
	fi;
top:
#ifdef EMPTY_UNLOCKED
	if :: pe == 0 -> goto finish :: else fi;
#endif
	was = cuts; /* iter_enter() */
	t = pe; /* iter_pass() */
	if
	:: t != 0 && t < HUGE && !both -> passed = true; goto below
	:: passed = false /* other entries in its range are not tables */
	fi;
	LOCK(lock[0]); /* zap_run() of P */
	TAKE_OVER(0, flush0 = true; flush1 = flush1 || both);
	if
	:: pe == 0 -> UNLOCK(lock[0]); goto finish
	:: pe >= HUGE && !both && used < NT -> split_locked(); UNLOCK(lock[0])
	:: pe >= HUGE && (both || used == NT) -> /* without a table all of it goes */
		pe = 0;
		REMOVED(0, me, flush0 = true; flush1 = true, skip);
		UNLOCK(lock[0]);
		goto finish
	:: pe != 0 && pe < HUGE && both -> /* set_removed_table() */
		t = pe;
		CUT(pe = 0);
		REMOVED(0, me, flush0 = true; flush1 = true, skip);
		UNLOCK(lock[0]);
		LOCK(lock[t]); /* tdpi_gather_table(), cut_off() */
		stale[t] = true;
		UNLOCK(lock[t]);
		out_t = true;
#ifdef FREE_BEFORE_FLUSH
		retired[t] = true;
#endif
		goto finish
	:: pe != 0 && pe < HUGE && !both -> UNLOCK(lock[0])
	fi;
below:
	t = pe; /* iter_move(), without the lock */
	if
	:: (t == 0 || t >= HUGE) && CUT_SINCE -> goto top /* iter_cut() */
	:: (t == 0 || t >= HUGE) && !CUT_SINCE -> goto finish
	:: t != 0 && t < HUGE
	fi;
	LOCK(lock[t]); /* zap_run() of the leaf table */
	if :: stale[t] -> UNLOCK(lock[t]); goto top :: else fi; /* iter_stale() */
	TAKE_OVER(t, flush0 = true);
	if
	:: te[2 * t] != 0 ->
		te[2 * t] = 0;
		REMOVED(t, me, flush0 = true, flush1 = true)
	:: else
	fi;
	UNLOCK(lock[t]);
	out_t = false;
finish:
	/* tdpi_gather_finish() */
	if
	:: flush0 || flush1 ->
		atomic {
			pwc = 0;
			if :: flush0 -> tlb[0] = 0 :: else fi;
			if :: flush1 -> tlb[1] = 0 :: else fi
		};
		COMPLETE(me)
	:: else
	fi;
	if :: out_t -> retired[t] = true :: else fi; /* tdpi_retire() */
	if
	:: inval -> /* the owner frees the memory, then tells the end */
		d_step {
			gone[0] = cur[0];
			cur[0]++;
			if :: both -> gone[1] = cur[1]; cur[1]++ :: else fi;
			assert(tlb[0] == 0 || tlb[0] > gone[0]);
			assert(tlb[1] == 0 || tlb[1] > gone[1])
		};
		seq++;
		running = false
	:: else
	fi
}

/* Any frame at any time; caches what it can and keeps it until told. */
active proctype mmu()
{
	byte g, v;

end:	do
	:: atomic { /* read P's entry */
		pwc == 0 && pe != 0 ->
		if
		:: pe < HUGE -> pwc = pe; assert(!retired[pwc])
		:: pe >= HUGE && tlb[0] == 0 && tlb[1] == 0 ->
			assert(pe - HUGE > gone[0] && pe - HUGE > gone[1]);
			tlb[0] = pe - HUGE;
			tlb[1] = pe - HUGE
		:: else
		fi }
	:: atomic { /* read a leaf */
		pwc != 0 ->
		assert(!retired[pwc]);
		if :: g = 0 :: g = 1 fi;
		if
		:: tlb[g] == 0 && te[2 * pwc + g] != 0 ->
			tlb[g] = te[2 * pwc + g];
			assert(tlb[g] > gone[g])
		:: else
		fi;
		g = 0 }
	:: atomic { /* another vCPU that has nothing cached walks: both see the same memory */
		pe != 0 ->
		if :: g = 0 :: g = 1 fi;
		v = (pe >= HUGE -> pe - HUGE : te[2 * pe + g]);
		assert(v == 0 || tlb[g] == 0 || tlb[g] == v);
		g = 0;
		v = 0 }
	od
} /* unreached: never ends */

init
{
	atomic {
		if /* what was there before */
		:: pe = HUGE + 1
		:: used = 1; pe = 1; te[2] = 1; te[3] = 1
		:: skip
		fi;
		run fault();
		run zap(0, true);
		run zap(1, false)
	}
}
