/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A log that is armed high up and opened by who writes (engine/lazy.h): one call that arms, two vCPUs that write, fault
 * and open, one that harvests.
 *
 * Shows: what was written by an access that began after the log was on, and has ended when a harvest begins, is in its
 * answer, or was in an earlier one.
 *
 * Bounds: one leaf, logged by Dirty bit, below two interior entries; two writes; two harvests; MMUs whose walks take
 * one step for each entry and that keep what they like of what they read, each entry by itself and with its own rights,
 * and the leaf with the rights of the way.
 *
 * Not here: logging by write protection (W of the leaf goes where D does here), tables that come and go, a log that is
 * switched off meanwhile.
 */
#include "protocol.h"

bool w[3];        /* of the entries: 2 the upper, 1 the one below it; 0 is not used: the leaf has W */
bool d = true;    /* Dirty of the leaf: from before */
bool lock[3];     /* of the table that holds the entry */
bool on;          /* the call that arms has returned */
bool written;     /* ghost: since it has, and in no answer yet */
bool walking[2];  /* for each vCPU */
bool tlb[2];      /* the leaf, writable and known to be dirty */
bool kept[6];     /* entry x, at 3 * vCPU + x */
bool kept_w[6];   /* … with W */

#define FLUSH                                                                                      \
	atomic {                                                                                   \
		!walking[0] && !walking[1] ->                                                      \
		tlb[0] = false; tlb[1] = false;                                                    \
		kept[1] = false; kept[2] = false; kept[4] = false; kept[5] = false                 \
	}

#ifdef LAZY_UNFLUSHED
#define FLUSH_ARMED skip
#else
#define FLUSH_ARMED FLUSH
#endif
#ifdef LAZY_KEPT
#define FLUSH_OPENING skip
#else
#define FLUSH_OPENING FLUSH
#endif
#ifdef LAZY_ONCE
#define STILL_SHUT(x) true
#else
#define STILL_SHUT(x) !w[x]
#endif

/* tdp_dirty_log() */
proctype arm()
{
	LOCK(lock[2]);
	w[2] = false;
	UNLOCK(lock[2]);
	FLUSH_ARMED;
	on = true
}

/* open_entry() */
inline open(x)
{
	if
	:: w[x]
	:: else ->
		LOCK(lock[x]);
		if
		:: STILL_SHUT(x) ->
#ifdef LAZY_EARLY
			w[x] = true;
#endif
			LOCK(lock[x - 1]);
			if
			:: x == 2 -> w[1] = false
			:: x == 1 -> d = false
			fi;
			UNLOCK(lock[x - 1]);
			if :: x == 2 -> FLUSH_OPENING :: else fi;
			w[x] = true
		:: else
		fi;
		UNLOCK(lock[x])
	fi
}

/* One entry on the way, read or known. */
inline step(x)
{
	atomic {
		if
		:: kept[3 * me + x] -> way = way && kept_w[3 * me + x]
		:: !kept[3 * me + x] -> way = way && w[x]; kept[3 * me + x] = true; kept_w[3 * me + x] = w[x]
		:: way = way && w[x]; kept[3 * me + x] = false
		fi
	}
}

proctype vcpu(byte me; byte writes)
{
	bool way, began;
	byte x;

	do
	:: writes == 0 -> break
	:: else ->
		d_step { writes--; began = on };
again:		if
		:: atomic { tlb[me] -> if :: began -> written = true :: else fi }
		:: atomic { walking[me] = true; way = true };
			step(2);
			step(1);
			if
			:: atomic { way -> d = true; tlb[me] = true; walking[me] = false; if :: began -> written = true :: else fi }
			:: atomic { walking[me] = false }; goto again /* it was a read */
			:: !way ->
				/* A fault drops what would translate. */
				atomic { walking[me] = false; kept[3 * me + 1] = false; kept[3 * me + 2] = false };
				x = 2;
				do
				:: x > 0 -> open(x); x--
				:: else -> break
				od;
				goto again
			fi
		fi
	od
}

/* tdp_dirty_harvest() */
proctype harvest(byte calls)
{
	bool must, got;

	do
	:: calls == 0 -> break
	:: else ->
		d_step { calls--; must = written; got = false };
		if
		:: !w[2] /* passed by */
		:: else ->
			if
			:: !w[1]
			:: else ->
				LOCK(lock[0]);
				atomic { got = d; d = false };
				UNLOCK(lock[0]);
				if
				:: got -> FLUSH; written = false
				:: else
				fi
			fi
		fi;
		assert(!must || got)
	od
}

init
{
	atomic {
		w[1] = true;
		w[2] = true;
		tlb[0] = true;
		tlb[1] = true;
		kept[4] = true;
		kept_w[4] = true;
		run arm();
		run vcpu(0, 1);
		run vcpu(1, 1);
		run harvest(2)
	}
}
