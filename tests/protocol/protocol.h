/* SPDX-License-Identifier: BSD-2-Clause */
/* What the models share: locks and tickets. */

#define LOCK(l)   atomic { !(l) -> l = true }
#define UNLOCK(l) l = false

/*
 * Owed flushes (mm/gather.h). A process that removes has a ticket of its own (TDPI_TICKETS); `nr` is the number
 * of its removals since its last finish, done[] the latest number that is flushed.
 */
#define OWED(tables, tickets) \
	byte owed_nr[tables], owed_to[tables], removals[tables]; \
	byte done[tickets];
#define OWED_BY(x) (owed_nr[x] * 4 + owed_to[x])
#define OWES(x)    (owed_nr[x] > done[owed_to[x]]) /* tdpi_owes() */

/*
 * tdpi_gather_removed(): before the entry changes, so that who sees the hole can see the debt. Over another's
 * unfinished ticket the new one answers for both, so it flushes the whole table.
 */
#ifdef OVERWRITE_NARROW
#define REMOVED(x, me, gather, whole) \
	atomic { removals[x]++; gather; owed_nr[x] = nr; owed_to[x] = me }
#else
#define REMOVED(x, me, gather, whole) \
	atomic { \
		removals[x]++; \
		gather; \
		if :: OWES(x) && !(owed_nr[x] == nr && owed_to[x] == me) -> whole :: else fi; \
		owed_nr[x] = nr; \
		owed_to[x] = me \
	}
#endif

/* tdpi_gather_owed(): who promises that nothing is reachable flushes what others owe. */
#ifdef NO_TAKEOVER
#define TAKE_OVER(x, gather) skip
#else
#define TAKE_OVER(x, gather) if :: OWES(x) -> gather :: else fi
#endif

/* gather_retire(): complete. */
#define COMPLETE(me) atomic { done[me] = nr; nr++ }
