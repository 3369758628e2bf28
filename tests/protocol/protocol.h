/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Models of how tables change while others use them, for spin (https://spinroot.com). lib/LOCKING.md and
 * lib/ORDERING.md say the same in words; comments in the models name the functions that they mirror.
 * check.sh runs them all.
 *
 *   invalidate   faults against invalidations and zaps, huge leaves, splits, cut-off, an MMU
 *   owed         tickets: several removals and fillers in one table
 *   collapse     a table becomes a leaf while a zap, a cut-off or a fault is on its way to it
 *   free         cut-off of a subtree, retirement, grace period, reuse of pages
 *   harvest      dirty bits: harvests beside all that moves them
 *   protect      write protection beside all that takes W, or a leaf, away without having flushed
 *   idle         aging that skips what nobody used, an MMU that keeps pointers to tables
 *   lazy         a log that is armed by one entry high up, and opened by who writes
 *   root         roots: invalid, stopped, torn; who loads one and who still holds one
 *   new_root     a root that is made while an invalidation runs (store buffers)
 *   range        the words of the running invalidations as a fault reads them (order of loads)
 *   asking       a slot is removed while a fault asks its backing (store buffers)
 *   guest_entry  a flush against a vCPU that enters the guest (store buffers)
 *
 * spin takes one step after the other, so what a weaker order of memory may do is only seen where a model has store
 * buffers, or loads done early, as variables of its own.
 *
 * Mutations: each leaves out one rule and must be refuted, by an assertion, by each of the models named with it.
 *
 * EMPTY_UNLOCKED        invalidate                  a zap passes an empty interior entry without its table's lock
 * CUT_UNNOTED           invalidate collapse harvest protect    a walk steps over a hole that came after it had the lock
 * CUT_NOTED_LATE        invalidate collapse harvest protect    `cuts` moves after the entry
 * PASSED_BY_NUMBER      invalidate collapse harvest protect    a walk that took no lock compares `cuts` all the same
 * NO_STALE              invalidate free root        no look at the stale mark after taking a lock
 * NO_SEQ                invalidate                  a fault does not look at range and sequence under the lock
 * SEQ_AFTER_LOOKUP      invalidate                  the sequence is read after the page was looked up
 * NO_TAKEOVER           invalidate owed collapse harvest protect    what others owe is left to them
 * FILLER_IGNORES_OWED   invalidate owed             an empty entry is filled whatever its table owes
 * NO_BEGUN_WAIT         owed                        a ticket is completed while a flush that was begun is under way
 * FORGET_REMOVALS       owed                        a filler that has flushed once does not see a removal after that
 * OVERWRITE_NARROW      owed                        who overwrites an unfinished ticket flushes his own range only
 * SPLIT_FORGETS         collapse                    a table that a leaf was split into does not know of the leaf's size
 * MERGE_FORGETS         collapse                    the table above a merge does not know of what was below
 * MERGE_UNNOTED         collapse                    a walk steps over a leaf that came after it had the lock
 * MERGE_ASKS_ABOVE      harvest                     range and sequence are looked at before the table to be merged is locked
 * BELOW_UNLOCKED        collapse                    a table is merged without its lock
 * FREE_BEFORE_FLUSH     invalidate collapse free    tables are let go before the flush
 * FREE_BEFORE_GRACE     free                        tables are let go before the grace period
 * JOIN_INFLIGHT         free                        a table joins a batch whose grace period has begun
 * MARK_AFTER_LOOK       free                        cut-off looks for tables below before it marks one stale
 * NO_COLLECT_WAIT       harvest                     a harvest does not wait for bits that were cut off
 * ANNOUNCE_LATE         harvest                     `collecting` is set after the lock over the hole was dropped
 * COLLECT_BEFORE_FLUSH  harvest                     the MMU can still set D in what was read
 * PLAIN_STORE           harvest                     a live entry is changed by load and store
 * LEAF_TRUSTED          harvest protect             a leaf without W is taken for one that nobody writes through
 * IDLE_UNFLUSHED        idle                        A of an interior entry is cleared without a flush
 * IDLE_AT_ONCE          idle                        no second look between that flush and the first skip
 * IDLE_LATE             idle                        the mark of earlier idleness goes after A
 * MARKS_BY_ANY          idle                        calls that run at once all make marks
 * YOUNG_UNTOLD          idle                        software makes a leaf young and sets no A above it
 * TOLD_FROM_ABOVE       idle                        it sets A from the root down
 * LAZY_UNFLUSHED        lazy                        arming is not flushed before it returns
 * LAZY_EARLY            lazy                        W comes back above before what is below is armed
 * LAZY_ONCE             lazy                        no second look at W under the lock
 * LAZY_KEPT             lazy                        W comes back above tables that were shut without a flush
 * TORN_BEFORE_STOPPED   root                        teardown begins when a root is invalid
 * TORN_UNSEEN           root                        teardown does not look whether a late fault was there
 * TORN_TWICE            root                        each of two teardowns drops the mm's reference
 * NO_RELOAD_LOCK        root                        two invalidations of all roots at once
 * NO_SECOND_LOOK        root                        no look at the invalid mark after loading a root
 * NO_LOAD_FENCE         root                        no fence between loading and that look
 * NO_RELOAD_FENCE       root                        no fence between the invalid mark and the reload
 * NO_ROOT_FENCE         new_root                    no fence after a root was put on the list
 * NO_LIST_FENCE         new_root                    no fence before the list is walked
 * RANGE_RELAXED         range                       the sequence may be loaded before the range
 * RUNNING_FIRST         range                       the end drops the range before it moves the sequence
 * NO_ANSWER_WAIT        asking                      a slot is freed without a look at who asks its backing
 * ASK_OUTSIDE           asking                      the note is made after the section in which the slot was found
 * NO_ANSWER_FENCE       asking                      no fence between dropping the note and asking whether anybody waits
 * NO_AWAIT_FENCE        asking                      none between saying "I wait" and the look at the notes
 * NO_ENTRY_FENCE        guest_entry                 no fence at guest entry
 * NO_FLUSH_FENCE        guest_entry                 none on the flushing side
 * KICKED_NOT_STOPPED    guest_entry                 no wait, after the kicks, until each vCPU has left
 */

#define LOCK(l)                                                                                    \
	atomic                                                                                     \
	{                                                                                          \
		!(l)->l = true                                                                     \
	}
#define UNLOCK(l) l = false

/*
 * Owed flushes (mm/gather.h). A process that removes has a ticket of its own (TDPI_TICKETS); `nr` is the number
 * of its removals since its last finish, done[] the latest number that is flushed.
 */
#define OWED(tables, tickets)                                                                      \
	byte owed_nr[tables], owed_to[tables], removals[tables];                                   \
	byte done[tickets];
#define OWED_BY(x) (owed_nr[x] * 4 + owed_to[x])
#define OWES(x) (owed_nr[x] > done[owed_to[x]]) /* tdpi_owes() */

/* tdpi_gather_removed(). Over another's unfinished ticket the new one answers for both: it flushes the whole table. */
#ifdef OVERWRITE_NARROW
#define REMOVED(x, me, gather, whole)                                                              \
	atomic                                                                                     \
	{                                                                                          \
		removals[x]++;                                                                     \
		gather;                                                                            \
		owed_nr[x] = nr;                                                                   \
		owed_to[x] = me                                                                    \
	}
#else
#define REMOVED(x, me, gather, whole)                                                              \
	atomic                                                                                     \
	{                                                                                          \
		removals[x]++;                                                                     \
		gather;                                                                            \
		if                                                                                 \
			::OWES(x) && !(owed_nr[x] == nr && owed_to[x] == me)->whole ::else fi;     \
		owed_nr[x] = nr;                                                                   \
		owed_to[x] = me                                                                    \
	}
#endif

/*
 * The entry of a linked table is about to go, or went: walks that have passed its parent look again (tdpi_table.cuts,
 * note_cut()). One parent in each model.
 */
#ifdef CUT_UNNOTED
#define CUT(gone) gone
#else
#ifdef CUT_NOTED_LATE
#define CUT(gone)                                                                                  \
	gone;                                                                                      \
	cuts++
#else
#define CUT(gone)                                                                                  \
	cuts++;                                                                                    \
	gone
#endif
#endif

/*
 * iter_cut(): may what this walk had left to be done below the entry stand in it now? A walk that passed the table
 * without its lock cannot tell by the number, which moves before the entry does.
 */
#ifdef PASSED_BY_NUMBER
#define CUT_SINCE (cuts != was)
#else
#define CUT_SINCE (passed || cuts != was)
#endif

/* tdpi_gather_owed(): who promises that nothing is reachable flushes what others owe. */
#ifdef NO_TAKEOVER
#define TAKE_OVER(x, gather) skip
#else
#define TAKE_OVER(x, gather)                                                                       \
	if                                                                                         \
	::OWES(x)->gather ::else fi
#endif

/* gather_retire(): complete. */
#define COMPLETE(me)                                                                               \
	atomic                                                                                     \
	{                                                                                          \
		done[me] = nr;                                                                     \
		nr++                                                                               \
	}
