/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Roots: invalid, stopped, torn (A3), and who may still hold one.
 *
 * Shows: when tdp_roots_invalidate() has returned, no vCPU is in the guest with a root that was there before; tables of
 * a root are freed without a flush and still no MMU reaches them; a late fault leaves nothing in a root that is torn;
 * the mm drops its reference once, the last one goes only when the root is torn, and nobody uses it after.
 *
 * Bounds: NR roots, one after the other; one vCPU that loads, enters, leaves, and faults in the root it has; two
 * invalidations, two reclaims. A root's own page has one entry, and one leaf in the table below. Stores of "loaded" and
 * "invalid" wait in a buffer of one entry each until they drain or a fence makes them; the backend's reload() has no
 * order of its own but that it waits for a vCPU it finds in the guest.
 *
 * Not here: several roles, RCU under which the list is read (free.pml), an invalidation of a range beside a new root
 * (new_root.pml).
 */
#include "protocol.h"

#define NR 2

byte made = 1;                    /* roots on the list: 1 .. made */
bool invalid[NR + 1], stopped[NR + 1], torn[NR + 1];
byte refs[NR + 1];
bool table[NR + 1], leaf[NR + 1]; /* what hangs in it */
bool lock[NR + 1], stale[NR + 1]; /* of its own page */
bool freed[NR + 1];               /* tables were freed */
bool gone[NR + 1];                /* the root was freed, its own page too */
bool reload_lock;
byte generation;                  /* mm->reload_generation */

byte root, loaded, tlb;           /* v->root; the walker's register; root of what it has cached */
bool in_guest;
bool loaded_wait, invalid_wait;   /* store buffers */
byte loaded_value, invalid_value;

#define DROP(r) /* tdpi_root_drop() */ \
	d_step { \
		assert(refs[r] > 1 || (refs[r] == 1 && torn[r])); \
		refs[r]--; \
		if \
		:: refs[r] == 0 -> \
			gone[r] = true; \
			assert(!table[r] && !leaf[r]); \
			assert((loaded_wait || loaded != r) && tlb != r) \
		:: else \
		fi \
	}

proctype vcpu()
{
	byte r, old, loaded_generation, was, rounds;
	bool late;

	do
	:: rounds == 2 -> break
	:: rounds < 2 ->
		rounds++;
		/* tdp_vcpu_load() */
		if
		:: root != 0 && !invalid[root] && loaded_generation == generation -> goto enter
		:: else
		fi;
change:		/* change_root() */
		atomic { /* tdpi_root_get(), under roots_lock in the end */
			if
			:: made > 0 && !invalid[made] -> r = made
			:: invalid[made] && made < NR ->
				made++;
				r = made;
				refs[r] = 1
			:: else -> r = 0
			fi;
			if :: r != 0 -> refs[r]++ :: else fi
		};
		if
		:: r == 0 -> /* unload() */
			atomic { loaded = 0; loaded_wait = false; tlb = 0 };
			if :: root != 0 -> old = root; root = 0; DROP(old); old = 0 :: else fi;
			goto out
		:: else
		fi;
		was = generation; /* load_root() */
		atomic { !loaded_wait -> loaded_wait = true; loaded_value = r; tlb = 0 };
		loaded_generation = was;
		old = root;
		root = r;
		if :: old != 0 -> DROP(old); old = 0 :: else fi;
#ifndef NO_LOAD_FENCE
		!loaded_wait;
#endif
#ifndef NO_SECOND_LOOK
		if :: invalid[root] -> goto change :: else fi;
#endif
enter:		/* the walker runs from what was loaded last, if reload() has not taken it away */
		atomic {
			if
			:: loaded_wait || loaded != 0 -> in_guest = true
			:: else
			fi
		};
		if
		:: in_guest ->
			atomic { assert(!freed[root] && !gone[root]); tlb = root };
			in_guest = false;
			if /* leaving is a serializing event: nothing waits in a buffer over it */
			:: loaded_wait -> !loaded_wait /* unreached: with the fence nothing waits */
			:: else
			fi
		:: else
		fi;
		/* tdp_fault(): attempt(), map() */
		if :: invalid[root] -> goto next :: else fi;
		LOCK(lock[root]); /* grow() */
#ifndef NO_STALE
		if :: stale[root] -> UNLOCK(lock[root]); goto next :: else fi;
#endif
		table[root] = true;
		UNLOCK(lock[root]);
		LOCK(lock[root]); /* map_run(); the table's lock and its parent's are one here */
		if
		:: table[root] && !invalid[root] -> leaf[root] = true
		:: else
		fi;
		UNLOCK(lock[root]);
next:		skip
	od;
out:
	skip
}

/* tdpi_roots_invalidate() */
proctype invalidate()
{
	byte r, upto;
	bool any;

#ifndef NO_RELOAD_LOCK
	LOCK(reload_lock);
#endif
	upto = made;
	r = 1;
	do /* tdpi_roots_mark_invalid() */
	:: r <= upto ->
		if
		:: !invalid[r] ->
			any = true;
			atomic { !invalid_wait -> invalid_wait = true; invalid_value = r }
		:: else
		fi;
		r++
	:: else -> break
	od;
	if
	:: any ->
#ifndef NO_RELOAD_FENCE
		!invalid_wait;
#endif
		if /* backend.reload() */
		:: loaded != 0 ->
			atomic { !in_guest -> loaded = 0; tlb = 0 }
		:: else
		fi;
		generation++;
		r = 1;
		atomic { /* tdpi_roots_mark_stopped() */
			do
			:: r <= made -> stopped[r] = stopped[r] || invalid[r]; r++
			:: else -> break
			od;
			r = 0
		}
	:: else
	fi;
	assert(!in_guest || root > upto);
#ifndef NO_RELOAD_LOCK
	UNLOCK(reload_lock)
#endif
}

/* tdpi_roots_reclaim(), reclaim_step(), teardown(): without flushes. */
proctype reclaim()
{
	byte r = 1;
	bool bare;

	do
	:: r > NR -> break
	:: r <= NR ->
#ifdef TORN_BEFORE_STOPPED
		if :: !invalid[r] || torn[r] -> goto next :: else fi;
#else
		if :: !stopped[r] || torn[r] -> goto next :: else fi;
#endif
		atomic { if :: refs[r] == 0 -> goto next :: else -> refs[r]++ fi }; /* tdpi_root_hold() */
again:		LOCK(lock[r]); /* zap() */
		if
		:: table[r] -> atomic { table[r] = false; leaf[r] = false; freed[r] = true }
		:: else
		fi;
		UNLOCK(lock[r]);
		LOCK(lock[r]);
#ifdef TORN_UNSEEN
		bare = true;
#else
		bare = !table[r];
#endif
		if :: bare -> stale[r] = true :: else fi;
		UNLOCK(lock[r]);
		if :: !bare -> goto again :: else fi;
		atomic { bare = !torn[r]; torn[r] = true }; /* compare and exchange */
#ifdef TORN_TWICE
		DROP(r);
#else
		if :: bare -> DROP(r) :: else fi;
#endif
		DROP(r); /* its own, of tdpi_root_next() */
next:		r++
	od
}

active proctype drain()
{
end:	do
	:: atomic { loaded_wait -> loaded = loaded_value; loaded_wait = false }
	:: atomic { invalid_wait -> invalid[invalid_value] = true; invalid_wait = false }
	od
} /* unreached: never ends */

init
{
	atomic {
		refs[1] = 1;
		run vcpu();
		run invalidate();
		run invalidate();
		run reclaim();
		run reclaim()
	}
}
