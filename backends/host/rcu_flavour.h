/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One liburcu flavour as a struct tdp_rcu_ops. A file rcu_<flavour>.c includes the flavour's header,
 * defines the names below and includes this; that is the whole file.
 *
 *   URCU(name)        the flavour's function: urcu_memb_##name
 *   FLAVOUR_OPS       the table to define
 *   FLAVOUR_QSBR      1: threads are readers between online and offline, not between lock and unlock
 *   FLAVOUR_ATFORK    1: the flavour has fork hooks of its own beside those of call_rcu
 *
 * A read-side section costs two indirect calls; what liburcu does there is inline (host.h).
 */
#include "host.h"

_Static_assert(sizeof(struct rcu_head) <= sizeof(((struct tdp_rcu_head *)0)->opaque),
	       "liburcu's head must fit in ours");
_Static_assert(_Alignof(struct rcu_head) <= _Alignof(struct tdp_rcu_head),
	       "liburcu's head must be aligned in ours");
_Static_assert(offsetof(struct tdp_rcu_head, opaque) == 0, "both heads start at one address");

/* One token orders ended sections before callbacks, the other callbacks before barrier()'s return. */
#if HOST_TSAN
static char sections_ended, callbacks_done;
#endif

static void flavour_callback(struct rcu_head *urcu)
{
	struct tdp_rcu_head *head = (struct tdp_rcu_head *)(void *)urcu;

#if HOST_TSAN
	host_tsan_acquire(&sections_ended);
	host_tsan_acquire(head);
#endif
	head->fn(head);
#if HOST_TSAN
	host_tsan_release(&callbacks_done);
#endif
}

static void flavour_defer(struct tdp_rcu_head *head, void (*fn)(struct tdp_rcu_head *head))
{
	head->fn = fn;
#if HOST_TSAN
	host_tsan_release(head);
#endif
	URCU(call_rcu)((struct rcu_head *)(void *)head->opaque, flavour_callback);
}

#if HOST_TSAN
static void flavour_read_unlock(void)
{
	host_tsan_release(&sections_ended);
	URCU(read_unlock)();
}

static void flavour_synchronize(void)
{
	URCU(synchronize_rcu)();
	host_tsan_acquire(&sections_ended);
}

static void flavour_barrier(void)
{
	URCU(barrier)();
	host_tsan_acquire(&callbacks_done);
}

static void flavour_unregister(void)
{
	host_tsan_release(&sections_ended);
	URCU(unregister_thread)();
}
#else
#define flavour_read_unlock URCU(read_unlock)
#define flavour_synchronize URCU(synchronize_rcu)
#define flavour_barrier URCU(barrier)
#define flavour_unregister URCU(unregister_thread)
#endif

/* liburcu answers with a nesting count or a counter; ours is 1 or 0. */
static int flavour_read_ongoing(void)
{
	return URCU(read_ongoing)() != 0;
}

#if FLAVOUR_QSBR
static void flavour_offline(void)
{
#if HOST_TSAN
	host_tsan_release(&sections_ended);
#endif
	URCU(thread_offline)();
}

static void flavour_online(void)
{
	URCU(thread_online)();
}
#endif

/* The callback worker stops before the flavour's own lists are locked, and starts after. */
static void flavour_before_fork(void)
{
	URCU(call_rcu_before_fork)();
#if FLAVOUR_ATFORK
	URCU(before_fork)();
#endif
}

static void flavour_after_fork_parent(void)
{
#if FLAVOUR_ATFORK
	URCU(after_fork_parent)();
#endif
	URCU(call_rcu_after_fork_parent)();
}

static void flavour_after_fork_child(void)
{
#if FLAVOUR_ATFORK
	URCU(after_fork_child)();
#endif
	URCU(call_rcu_after_fork_child)();
}

const struct tdp_rcu_ops FLAVOUR_OPS = {
	.size = sizeof(struct tdp_rcu_ops),
	.read_lock = URCU(read_lock),
	.read_unlock = flavour_read_unlock,
	.read_ongoing = flavour_read_ongoing,
	.defer = flavour_defer,
	.synchronize = flavour_synchronize,
	.barrier = flavour_barrier,
	.thread_register = URCU(register_thread),
	.thread_unregister = flavour_unregister,
#if FLAVOUR_QSBR
	.thread_offline = flavour_offline,
	.thread_online = flavour_online,
#endif
	.before_fork = flavour_before_fork,
	.after_fork_parent = flavour_after_fork_parent,
	.after_fork_child = flavour_after_fork_child,
};
