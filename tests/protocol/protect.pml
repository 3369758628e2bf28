/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Write protection (tdp_write_protect(), tdp_dirty_log(WRPROT)) beside another one, a collapse, zaps.
 *
 * Shows: when it has returned, no write goes through without a fault: not through what a vCPU has cached either,
 * whoever took the permission away and has not flushed yet.
 *
 * Bounds: one frame with W in a leaf table below an interior entry, or in a huge leaf there (the rest of whose parts
 * may lack W); two protections and, beside them, two of: zap of the frame, cut-off, collapse. No fault gives W back, so
 * the promise can be checked at every write.
 *
 * Not here: A and D (harvest.pml); tracking (track_leaf() only differs in what a fault may do later).
 */
#include "protocol.h"

#define TABLE 16 /* P's entry: 0, TABLE: table 1, or the bits of a huge leaf */
#define R 1
#define W 2

byte pe, te[2], cuts; /* te[1]: the frame's entry in the one leaf table */
bool lock[2], stale[2];
OWED(2, 4)
bool part_w;   /* have the other parts W as well? */
byte tlb, pwc;
bool promised; /* ghost: from now on each write faults */

/* protect_leaf(): flushed also when W is gone already, as who took it may not have flushed yet. */
#ifdef LEAF_TRUSTED
#define PROTECT(e) if :: (e) & W -> e = (e) & ~W; flush = true :: else fi
#else
#define PROTECT(e) e = (e) & ~W; flush = true
#endif

#define FINISH \
	if \
	:: flush -> atomic { tlb = 0; pwc = 0 }; COMPLETE(me) \
	:: else \
	fi

/* write_protect(): protect_run(). */
proctype protect(byte me)
{
	byte t, was, nr = 1;
	bool flush, passed;

top:
	was = cuts; /* iter_enter() */
	t = pe; /* iter_pass() */
	if
	:: t == TABLE -> passed = true
	:: passed = false; /* other entries in its range are not tables */
		LOCK(lock[0]);
		TAKE_OVER(0, flush = true);
		if
		:: pe != TABLE && pe != 0 -> PROTECT(pe)
		:: else
		fi;
		UNLOCK(lock[0])
	fi;
	t = pe;
	if
	:: t == TABLE ->
		LOCK(lock[1]);
		if :: stale[1] -> UNLOCK(lock[1]); goto top :: else fi;
		TAKE_OVER(1, flush = true);
		if
		:: te[1] != 0 -> PROTECT(te[1])
		:: else
		fi;
		UNLOCK(lock[1])
	:: t != TABLE && CUT_SINCE -> goto top
	:: else
	fi;
	FINISH;
	promised = true
}

/* tdp_zap() of the frame, or of all below P's entry. */
proctype zap(byte me; bool both)
{
	byte nr = 1;
	bool flush;

top:
	LOCK(lock[0]);
	TAKE_OVER(0, flush = true);
	if
	:: pe != 0 && (both || pe != TABLE) ->
		if
		:: pe == TABLE ->
			CUT(pe = 0);
			REMOVED(0, me, flush = true, flush = true);
			UNLOCK(lock[0]);
			LOCK(lock[1]);
			stale[1] = true;
			UNLOCK(lock[1])
		:: else ->
			pe = 0;
			REMOVED(0, me, flush = true, flush = true);
			UNLOCK(lock[0])
		fi
	:: pe == TABLE && !both ->
		UNLOCK(lock[0]);
		LOCK(lock[1]);
		if :: stale[1] -> UNLOCK(lock[1]); goto top :: else fi;
		TAKE_OVER(1, flush = true); /* unreached: no other zap removes here */
		if
		:: te[1] != 0 -> te[1] = 0; REMOVED(1, me, flush = true, flush = true)
		:: else
		fi;
		UNLOCK(lock[1])
	:: pe == 0 -> UNLOCK(lock[0])
	fi;
	FINISH
}

/* collapse(), before logging is switched on (else it is refused). */
proctype collapse(byte me)
{
	byte nr = 1;
	bool flush;

	LOCK(lock[0]);
	if :: pe != TABLE -> UNLOCK(lock[0]); goto out :: else fi;
	LOCK(lock[1]);
	if :: te[1] == 0 -> UNLOCK(lock[1]); UNLOCK(lock[0]); goto out :: else fi;
	cuts++;
	pe = ((te[1] & W) && part_w -> R | W : R);
	flush = true;
	stale[1] = true;
	UNLOCK(lock[1]);
	UNLOCK(lock[0]);
	FINISH;
out:
	skip
}

active proctype mmu()
{
end:	do
	:: atomic { pwc == 0 && pe == TABLE -> pwc = 1 }
	:: atomic { tlb == 0 && pwc != 0 -> tlb = te[1] }
	:: atomic { tlb == 0 && pwc == 0 && pe != TABLE -> tlb = pe }
	:: atomic { tlb & W -> assert(!promised) }
	od
} /* unreached: never ends */

init
{
	atomic {
		if :: part_w = true :: part_w = false fi;
		if
		:: pe = TABLE; te[1] = R | W
		:: pe = R | W
		fi;
		run protect(0);
		run protect(1);
		if
		:: run zap(2, true); run zap(3, false)
		:: run zap(2, true); run collapse(3)
		:: run zap(2, false); run collapse(3)
		fi
	}
}
