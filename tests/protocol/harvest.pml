/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dirty logging by Dirty bit (A5, A6): harvests beside zaps, cut-offs, splits, collapse, aging, an MMU that sets
 * A and D.
 *
 * Shows the superset rule: every write that the guest did after logging was switched on and before a harvest began is
 * in that harvest's answer (or was in an earlier one's that returned after the write).
 *
 * Bounds: one frame in a leaf table below an interior entry, or in a huge leaf there (whose other parts may lack W);
 * logging is switched on, then two harvests, one after the other; beside them two of: a zap of the frame or of all
 * below the entry (cut-off), a collapse, an aging, a fault that may grow, split and grant W; an MMU with a TLB that
 * remembers whether D is set.
 *
 * Not here: two harvests at once (the one that takes a bit reports it), protection (protect.pml).
 */
#include "protocol.h"

#define NT 3
#define TABLE 16 /* P's entry: 0, TABLE + t, or the bits of a huge leaf */
#define R 1
#define W 2
#define D 4
#define A 8

byte pe, te[NT + 1], used, cuts;
bool lock[NT + 1], stale[NT + 1];
OWED(NT + 1, 3)
bool part_w;        /* have the other parts W as well? */
bool collecting[3]; /* tdpi_ticket.collecting */
bool logging, log;  /* slot->log, slot->dirty */
bool seq;           /* moved by tdpi_invalidate_lookups() */

byte tlb, pwc;      /* what is cached of the leaf; pointer to a leaf table */
bool written;       /* ghost: written and in no answer yet */

#define IS_TABLE(e) ((e) >= TABLE)
#define IS_LEAF(e)  ((e) != 0 && (e) < TABLE)

/* tdpi_note_dirty() */
#define NOTE_DIRTY(old) if :: ((old) & D) && logging -> log = true :: else fi

/* One atomic update, or (never legal here) load and store: clear bits of an entry, say what it was. */
#ifdef PLAIN_STORE
#define CLEAR(entry, bits, old) old = entry; entry = old & ~(bits)
#define SWAP(entry, now, old)   old = entry; entry = now
#else
#define CLEAR(entry, bits, old) atomic { old = entry; entry = old & ~(bits) }
#define SWAP(entry, now, old)   atomic { old = entry; entry = now }
#endif

/* harvest_leaf(). A huge leaf loses W, a small one D. */
inline harvest_leaf(entry, gone)
{
	if
	:: harvesting && (entry & D) -> answer = true /* unreached: for a huge leaf, which was armed */
	:: else
	fi;
	if
	:: entry & (gone) ->
		CLEAR(entry, gone, old);
		if :: old & D -> answer = answer || harvesting :: else fi;
		flush = true;
		old = 0
	:: else ->
#ifndef LEAF_TRUSTED
		if :: !harvesting && !(entry & W) -> flush = true :: else fi /* who took W may not have flushed */
#else
		skip
#endif
	fi
}

/* One pass over the tree: rearm() when logging is switched on, then harvest(). */
inline pass()
{
	again = true;
	do
	:: !again -> break
	:: again ->
		again = false;
		was = cuts; /* iter_enter() */
		t = pe; /* iter_pass() */
		if
		:: IS_TABLE(t) -> passed = true
		:: passed = false; /* other entries in its range are not tables */
			LOCK(lock[0]);
			TAKE_OVER(0, flush = true);
			if :: IS_LEAF(pe) -> harvest_leaf(pe, (W | D)) :: else fi;
			UNLOCK(lock[0])
		fi;
		t = pe; /* iter_move() */
		if
		:: IS_TABLE(t) ->
			t = t - TABLE;
			LOCK(lock[t]);
			if
			:: stale[t] -> again = true
			:: else ->
				TAKE_OVER(t, flush = true);
				if :: te[t] != 0 -> harvest_leaf(te[t], (te[t] & D)) :: else fi
			fi;
			UNLOCK(lock[t])
		:: !IS_TABLE(t) && CUT_SINCE -> again = true /* iter_cut() */
		:: else
		fi;
		t = 0
	od
}

/* tdp_dirty_log(DBIT): log_on(), log_arm(); then tdp_dirty_harvest() twice. */
proctype harvester()
{
	byte t, old, was, i, was_done, rounds;
	bool answer, flush, must, again, harvesting, passed;

	logging = true;
	seq = true; /* tdpi_invalidate_lookups() */
	do
	:: rounds == 3 -> break
	:: rounds < 3 ->
		harvesting = rounds > 0;
		rounds++;
		must = written; /* begins */
		pass();
#ifndef NO_COLLECT_WAIT
		/* tdpi_wait_collected() */
		i = 0;
		do
		:: harvesting && i < 3 ->
			was_done = done[i];
			(!collecting[i] || done[i] != was_done) -> i++
		:: else -> break
		od;
#endif
		atomic {
			i = 0;
			was_done = 0;
			if
			:: harvesting && log -> answer = true; flush = true; log = false
			:: else
			fi
		};
		if :: flush -> atomic { tlb = 0; pwc = 0; flush = false } :: else fi;
		d_step { /* returns: pages are copied from here on; what was written before is not asked for */
			assert(answer || !must || !harvesting);
			if :: answer || !harvesting -> written = false :: else fi;
			answer = false;
			must = false
		}
	od
}

/* gather_retire(): what the MMU left in the table, then complete. */
#define COLLECT(me, t) \
	if :: t != 0 -> NOTE_DIRTY(te[t]) :: else fi; \
	COMPLETE(me); \
	collecting[me] = false

/* tdp_zap() of the frame, or of all that is below P's entry. */
proctype zap(byte me)
{
	byte t, old, nr = 1, cut;
	bool both, flush;

	if :: both = true :: both = false fi;
top:
	LOCK(lock[0]);
	TAKE_OVER(0, flush = true);
	if
	:: IS_LEAF(pe) ->
		SWAP(pe, 0, old); /* set_removed_leaf() */
		NOTE_DIRTY(old);
		REMOVED(0, me, flush = true, flush = true);
		UNLOCK(lock[0])
	:: IS_TABLE(pe) && both ->
		cut = pe - TABLE;
#ifndef ANNOUNCE_LATE
		collecting[me] = true; /* set_removed_table() */
#endif
		CUT(pe = 0);
		REMOVED(0, me, flush = true, flush = true);
		UNLOCK(lock[0]);
#ifdef ANNOUNCE_LATE
		collecting[me] = true;
#endif
		LOCK(lock[cut]);
		stale[cut] = true;
		UNLOCK(lock[cut])
	:: IS_TABLE(pe) && !both ->
		t = pe - TABLE;
		UNLOCK(lock[0]);
		LOCK(lock[t]);
		if :: stale[t] -> UNLOCK(lock[t]); goto top :: else fi;
		TAKE_OVER(t, flush = true);
		if
		:: te[t] != 0 ->
			SWAP(te[t], 0, old);
			NOTE_DIRTY(old);
			REMOVED(t, me, flush = true, flush = true)
		:: else
		fi;
		UNLOCK(lock[t])
	:: pe == 0 -> UNLOCK(lock[0])
	fi;
#ifdef COLLECT_BEFORE_FLUSH
	if :: cut != 0 -> NOTE_DIRTY(te[cut]); cut = 0 :: else fi;
#endif
	if
	:: flush || cut != 0 ->
		atomic { tlb = 0; pwc = 0 };
		COLLECT(me, cut)
	:: else
	fi
}

/* collapse(): refused when logging has begun since the backing was asked. */
proctype collapse(byte me)
{
	byte t, nr = 1;
	bool was;

	was = seq;
	if :: logging -> goto out :: else fi; /* tdpi_slot_level() */
	t = pe;
	if :: !IS_TABLE(t) -> goto out :: else fi;
	LOCK(lock[0]);
	if :: pe != t -> UNLOCK(lock[0]); goto out :: else fi;
#ifdef MERGE_ASKS_ABOVE
	if :: seq != was -> UNLOCK(lock[0]); goto out :: else fi;
#endif
	t = t - TABLE;
	LOCK(lock[t]);
#ifndef MERGE_ASKS_ABOVE
	if :: seq != was -> UNLOCK(lock[t]); UNLOCK(lock[0]); goto out :: else fi;
#endif
	if :: te[t] == 0 -> UNLOCK(lock[t]); UNLOCK(lock[0]); goto out :: else fi;
	assert(te[t] & W);
	cuts++;
	pe = (part_w -> R | W | D | A : R | A); /* mergeable(): W and D only if all could write */
	stale[t] = true;
	UNLOCK(lock[t]);
	UNLOCK(lock[0]);
	atomic { tlb = 0; pwc = 0 };
	COLLECT(me, t);
out:
	skip
}

/* age(): A goes, without a flush. */
proctype age()
{
	byte t, old;

	t = pe;
	if :: !IS_TABLE(t) -> goto out :: else fi;
	t = t - TABLE;
	LOCK(lock[t]);
	if
	:: !stale[t] && (te[t] & A) -> CLEAR(te[t], A, old)
	:: else
	fi;
	UNLOCK(lock[t]);
out:
	skip
}

/* A fault for a write: grow() or split_one(), then map_entry() or fast_locked(): the log is told before W is there. */
proctype fault()
{
	byte t;
	bool flushed; /* settle_owed(): owed.pml knows more */

again:
	t = pe;
	if
	:: !IS_TABLE(t) ->
		LOCK(lock[0]);
		if
		:: pe == 0 && OWES(0) && !flushed ->
			UNLOCK(lock[0]);
			atomic { tlb = 0; pwc = 0; flushed = true };
			goto again
		:: pe == 0 && !(OWES(0) && !flushed) ->
			assert(used < NT);
			atomic { used++; pe = TABLE + used }
		:: IS_LEAF(pe) ->
			assert(used < NT);
			atomic { used++; te[used] = pe; pe = TABLE + used }
		:: IS_TABLE(pe) -> skip /* unreached: only faults link */
		fi;
		UNLOCK(lock[0]);
		goto again
	:: IS_TABLE(t) -> t = t - TABLE
	fi;
	LOCK(lock[t]);
	if :: stale[t] -> UNLOCK(lock[t]); goto again :: else fi;
	if
	:: te[t] == 0 && OWES(t) && !flushed ->
		UNLOCK(lock[t]);
		atomic { tlb = 0; pwc = 0; flushed = true };
		goto again
	:: else
	fi;
	if :: logging -> log = true :: else fi;
	te[t] = R | W | D | A;
	UNLOCK(lock[t]);
out:
	skip
}

/* The guest writes again and again; a translation that has D set needs no look at the tables. */
active proctype mmu()
{
end:	do
	:: atomic { pwc == 0 && IS_TABLE(pe) -> pwc = pe - TABLE }
	:: atomic { (tlb & W) && (tlb & D) -> written = true }
	:: atomic { /* sets A and D by one update of a leaf that is there at that moment */
		pwc != 0 && (te[pwc] & W) ->
		te[pwc] = te[pwc] | A | D;
		tlb = te[pwc];
		written = true }
	:: atomic {
		pwc == 0 && IS_LEAF(pe) && (pe & W) ->
		pe = pe | A | D;
		tlb = pe;
		written = true }
	od
} /* unreached: never ends */

init
{
	atomic {
		if :: part_w = true :: part_w = false fi;
		if
		:: used = 1; pe = TABLE + 1; te[1] = R | W
		:: pe = R | W
		fi;
		run harvester();
		if
		:: run zap(0); run zap(1)
		:: run zap(0); run collapse(1)
		:: run zap(0); run fault()
		:: run collapse(1); run fault()
		:: run age(); run fault()
		:: run age(); run zap(0)
		fi
	}
}
