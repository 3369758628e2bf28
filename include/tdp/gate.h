/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file gate.h
 * Who is in the guest, and who has flushed: for backends whose vCPUs flush their own TLBs.
 *
 * A vCPU passes the gate on its way into the guest and out of it. A flush is a number that goes up: a vCPU
 * that is out serves it on its next entry (lazily), one that is in is kicked out, and the flush waits until it
 * *has left*: kicked is not stopped. A backend builds its flush_range, flush_all and reload of three calls of
 * tdp_gate_flush(), and flush_begin and flush_wait of its two halves; how to throw a vCPU out and how to flush one
 * TLB is all that it adds.
 *
 * Ordering. Entering stores "in", then reads the number; flushing stores the number, then reads who is in; each
 * has a full fence between its two steps, so one of the two sees the other. What the caller of a flush wrote
 * before (the changed tables) is visible to every vCPU that enters after it.
 */
#ifndef TDP_GATE_H
#define TDP_GATE_H

#include <tdp/env.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tdp_gate;

/**
 * A gate for vCPUs 0 .. vcpus - 1 (1 .. 65536), all of them out.
 *
 * kick(ctx, vcpu) makes a vCPU that is in the guest leave it soon, from whatever thread; it may find it out
 * already. It is called with no lock held and may not call the gate. env is as for an mm, and must outlive the
 * gate. Sleeps: may. Fails: TDP_EINVAL, TDP_ENOMEM.
 */
TDP_API int tdp_gate_create(const struct tdp_env *env, uint32_t vcpus,
			    void (*kick)(void *ctx, uint32_t vcpu), void *ctx,
			    struct tdp_gate **gate);
/** No vCPU is in the guest and no other call runs. NULL is allowed. */
TDP_API void tdp_gate_destroy(struct tdp_gate *gate);

#define TDP_GATE_RANGES 16

#define TDP_GATE_FLUSH_ALL 0x1u /* everything of this vCPU; the ranges say nothing then */
/*
 * Flush everything, then tdp_vcpu_load(), which loads another root if this one is gone. The root that is loaded is
 * not to be dropped: it can be a new one, loaded since the reload, and tdp_vcpu_load() would not load it again.
 */
#define TDP_GATE_RELOAD 0x2u

/** What a vCPU has to do before it may go in. */
struct tdp_gate_work {
	uint32_t size;
	uint32_t what; /* TDP_GATE_*; 0: flush the ranges */
	uint32_t
		count; /* of ranges, 1 .. TDP_GATE_RANGES, unless `what` says that it is everything */
	uint32_t reserved;
	uint64_t number; /* for tdp_gate_done() */
	struct tdp_range range[TDP_GATE_RANGES];
};

/**
 * On the vCPU's thread, the last thing before the guest runs (with interrupts off, where there are any).
 * 0: it counts as in from now on. 1: it is still out, and *work is to be done first, then tdp_gate_done(), then
 * this again. TDP_EINVAL: no such vCPU, it is in already, or work->size is wrong. Never sleeps with 0.
 */
TDP_API int tdp_gate_enter(struct tdp_gate *gate, uint32_t vcpu, struct tdp_gate_work *work);
/** What tdp_gate_enter() asked for has been done. On the vCPU's thread. TDP_EINVAL: it had not asked. */
TDP_API int tdp_gate_done(struct tdp_gate *gate, uint32_t vcpu, const struct tdp_gate_work *work);
/** On the vCPU's thread: the guest has stopped, nothing of it walks tables any more. TDP_EINVAL: it was out. */
TDP_API int tdp_gate_leave(struct tdp_gate *gate, uint32_t vcpu);

/**
 * On return no vCPU uses what it had cached of the range before the call: each has left the guest since, or was
 * out, and flushes before it enters again. range.size 0: everything. With TDP_GATE_RELOAD in `what` each calls
 * tdp_vcpu_load() before it enters again.
 *
 * Context: any thread, one that runs a vCPU only while that is out. Sleeps: in env->wait, until the vCPUs that
 * were in have left; several at once do not wait for each other. Fails: TDP_EINVAL for bits of `what` that are
 * not TDP_GATE_*, or a range that is not a multiple of the granule or wraps.
 */
TDP_API int tdp_gate_flush(struct tdp_gate *gate, struct tdp_range range, uint32_t what);
/**
 * The same in two halves. begin: the flush is published, and who is in has been kicked; *token names it. wait: on
 * return all is true that tdp_gate_flush() promises of a call at the time of begin. Any number may be outstanding,
 * and be waited for in any order, by any thread, also by several or by none.
 *
 * Context: as tdp_gate_flush(). Sleeps: begin only for the gate's own lock. Fails: begin as tdp_gate_flush(), wait
 * with TDP_EINVAL for a token that this gate has not given.
 */
TDP_API int tdp_gate_flush_begin(struct tdp_gate *gate, struct tdp_range range, uint32_t what,
				 uint64_t *token);
TDP_API int tdp_gate_flush_wait(struct tdp_gate *gate, uint64_t token);

struct tdp_gate_stats {
	uint32_t size;
	uint32_t reserved;
	uint64_t flushes; /* calls */
	uint64_t kicks;   /* vCPUs that were in, and had to leave */
	uint64_t lazy;    /* vCPUs that were out, and flush when they enter */
	uint64_t ranges;  /* work handed out: single ranges … */
	uint64_t alls;    /* … and everything */
};
/** Sums since create; beside other calls they may be a moment old. TDP_EINVAL: the size. */
TDP_API int tdp_gate_stats(struct tdp_gate *gate, struct tdp_gate_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
