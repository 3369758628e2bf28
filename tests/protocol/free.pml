/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From linked to free: cut-off of a subtree, flush, collection, retirement, grace period, reuse.
 *
 * Shows: neither an MMU nor a walk inside a read-side section ever touches a page that went back to the pool; what is
 * linked below a table that was just cut off is cut off and freed with it, so that no table is lost, and none
 * is freed twice; a table freed is used again while old readers still walk.
 *
 * Bounds: a root with one entry, a table below it, one below that; NT tables in all; two faults that grow the tree and
 * on their way read it, two cut-offs (of the upper table with what is below, or of the lower one), an MMU, one
 * callback thread (RCU's).
 *
 * Not here: leaves, tickets. A flush is one step: what several vCPUs do meanwhile is the backend's promise.
 */
#include "protocol.h"

#define NT 3
#define NONE 0

mtype = { POOL, CACHED, LINKED, STALE };
mtype state[NT + 1] = POOL; /* tdpi_table.state; 0 is the root's page */
byte entry[NT + 1];         /* the one entry of each table */
bool lock[NT + 1];
byte pwc1, pwc2;            /* the MMU's pointers to tables */

/* Read-side sections: one bit per process; a grace period waits for those that were inside at its start. */
byte inside, waits_for;
#define SECTION(me) inside = inside | (1 << me)
#define LEAVE(me)   atomic { inside = inside & ~(1 << me); waits_for = waits_for & ~(1 << me) }

/* retire.c: one batch collects, one waits. Sets of tables as bits. */
byte pending, inflight;
bool retire_running;

#define TAKE(t) /* tdpi_cache_take(), filled before any lock; fill() */ \
	atomic { \
		t = NONE; \
		if \
		:: state[1] == POOL -> t = 1 \
		:: else -> \
			if \
			:: state[2] == POOL -> t = 2 \
			:: else -> \
				if :: state[3] == POOL -> t = 3 :: else fi \
			fi \
		fi; \
		if :: t != NONE -> state[t] = CACHED; entry[t] = NONE :: else fi \
	}

/* Poison: what is read or written here must not be in the pool. */
#define TOUCH(t) assert(state[t] != POOL)

inline start_batch() /* defer(): the grace period begins now */
{
	atomic {
		if
		:: !retire_running && pending != 0 ->
			retire_running = true;
			inflight = pending;
			pending = 0;
			waits_for = inside
		:: else
		fi
	}
}

/* grow(), called from a walk. */
proctype grow(byte me)
{
	byte t, fresh;

	TAKE(fresh);
	if :: fresh == NONE -> goto out :: else fi;
	SECTION(me);
again:
	t = 0;
	if
	:: entry[0] != NONE -> t = entry[0]
	:: else
	fi;
	if
	:: t != 0 ->
		TOUCH(t);
		if :: entry[t] != NONE -> goto drop :: else fi
	:: else
	fi;
	LOCK(lock[t]); /* tdpi_table_lock() */
	TOUCH(t);
#ifndef NO_STALE
	if :: state[t] != LINKED -> UNLOCK(lock[t]); goto again :: else fi;
#endif
	if :: entry[t] != NONE -> UNLOCK(lock[t]); goto drop :: else fi;
	state[fresh] = LINKED; /* init_child() */
	entry[t] = fresh;
	UNLOCK(lock[t]);
	goto leave;
drop:	/* somebody was faster */
	state[fresh] = POOL;
leave:
	LEAVE(me);
out:
	skip
}

/* zap() with what it cuts off: set_removed_table(), cut_off(), gather_flush(), collect(), tdpi_retire(). */
proctype cut(byte me)
{
	byte t, below, parent;
	bool upper;

	if :: upper = true :: upper = false fi;
	SECTION(me);
again:
	parent = 0;
	if
	:: !upper ->
		parent = entry[0];
		if :: parent == NONE -> goto nothing :: else fi;
		TOUCH(parent)
	:: else
	fi;
	LOCK(lock[parent]);
	TOUCH(parent);
	if :: state[parent] != LINKED -> UNLOCK(lock[parent]); goto again :: else fi;
	t = entry[parent];
	entry[parent] = NONE;
	UNLOCK(lock[parent]);
	if :: t == NONE -> goto nothing :: else fi;
#ifdef MARK_AFTER_LOOK
	below = entry[t];
#endif
	LOCK(lock[t]); /* cut_off(): mark, then look below */
	state[t] = STALE;
	UNLOCK(lock[t]);
#ifndef MARK_AFTER_LOOK
	below = entry[t];
#endif
	if
	:: below != NONE ->
		LOCK(lock[below]);
		state[below] = STALE;
		UNLOCK(lock[below])
	:: else
	fi;
	LEAVE(me);
#ifdef FREE_BEFORE_FLUSH
	goto retire;
flush:
	atomic { pwc1 = NONE; pwc2 = NONE };
	goto out;
retire:
#else
	atomic { pwc1 = NONE; pwc2 = NONE };
#endif
	below = entry[t]; /* collect() */
	assert(below == NONE || state[below] == STALE);
#ifdef FREE_BEFORE_GRACE
	d_step {
		state[t] = POOL;
		if :: below != NONE -> state[below] = POOL :: else fi
	};
#else
	atomic { /* tdpi_retire(), under retire_lock */
		assert(((pending | inflight) & (1 << t)) == 0);
#ifdef JOIN_INFLIGHT
		if
		:: retire_running -> inflight = inflight | (1 << t) | (below != NONE -> 1 << below : 0)
		:: else -> pending = pending | (1 << t) | (below != NONE -> 1 << below : 0)
		fi
#else
		pending = pending | (1 << t) | (below != NONE -> 1 << below : 0)
#endif
	};
	start_batch();
#endif
#ifdef FREE_BEFORE_FLUSH
	goto flush;
#else
	goto out;
#endif
nothing:
	LEAVE(me);
out:
	skip
}

/* retire_callback(), after the grace period. */
active proctype callback()
{
	byte t;

end:	do
	:: atomic {
		retire_running && waits_for == 0 ->
		t = 1;
		do
		:: t <= NT ->
			if :: inflight & (1 << t) -> state[t] = POOL :: else fi;
			t++
		:: else -> break
		od;
		t = 0;
		inflight = 0;
		retire_running = false };
		start_batch()
	od
} /* unreached: never ends */

active proctype mmu()
{
end:	do
	:: atomic { pwc1 == NONE && entry[0] != NONE -> pwc1 = entry[0]; TOUCH(pwc1) }
	:: atomic { pwc1 != NONE -> TOUCH(pwc1); if :: pwc2 == NONE -> pwc2 = entry[pwc1] :: else fi }
	:: atomic { pwc2 != NONE -> TOUCH(pwc2) }
	od
} /* unreached: never ends */

/* Every table is in the pool or hangs in the tree. */
#define HANGS(t) (entry[0] == t || (entry[0] != NONE && entry[entry[0]] == t))

init
{
	byte t;

	atomic {
		state[0] = LINKED;
		entry[0] = 1;
		state[1] = LINKED;
		if :: entry[1] = 2; state[2] = LINKED :: skip fi;
		run grow(0);
		run grow(1);
		run cut(2);
		run cut(3)
	};
	atomic {
		_nr_pr == 3 && !retire_running && pending == 0 ->
		t = 1;
		do
		:: t <= NT -> assert(state[t] == POOL || (state[t] == LINKED && HANGS(t))); t++
		:: else -> break
		od
	}
}
