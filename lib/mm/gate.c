/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The gate between vCPUs and flushes. Each vCPU has a line of its own: a count of passages, odd while it is in, and
 * the number of the last flush that it has served. The latest flushes are remembered, so that who comes late
 * flushes these ranges only; who comes later still flushes everything.
 */
#include <tdp/gate.h>

#include "base/mem.h"
#include "mm/host.h"
#include "mm/lock.h"
#include "mm/struct.h"

struct gate_vcpu {
	uint32_t passages; /* odd: in the guest. Written by its own thread; waited for by flushes */
	uint32_t reserved;
	uint64_t served; /* written by its own thread while out */
	uint64_t asked;  /* number of the work handed out and not done; own thread only */
	uint64_t ranges, alls;
	uint64_t pad[3];
};
TDPI_STATIC_ASSERT(sizeof(struct gate_vcpu) == 64, "no two vCPUs share a cache line");

struct tdp_gate {
	struct tdp_env env;
	void (*kick)(void *ctx, uint32_t vcpu);
	void *ctx;
	uint32_t vcpus;
	uint32_t lock;    /* number, recent ones, reload */
	uint32_t waiting; /* flushes that may sleep: who leaves must wake them */
	uint32_t reserved;
	uint64_t number;                          /* of the latest flush */
	uint64_t reload;                          /* number of the latest with TDP_GATE_RELOAD */
	struct tdp_range recent[TDP_GATE_RANGES]; /* by number; size 0: everything */
	uint64_t flushes, kicks, lazy;
	_Alignas(64) struct gate_vcpu vcpu[];
};
TDPI_STATIC_ASSERT(offsetof(struct tdp_gate, vcpu) % 64 == 0, "as obj_alloc() aligns");

static uint64_t gate_bytes(uint32_t vcpus)
{
	return sizeof(struct tdp_gate) + (uint64_t)vcpus * sizeof(struct gate_vcpu);
}

int tdp_gate_create(const struct tdp_env *env, uint32_t vcpus,
		    void (*kick)(void *ctx, uint32_t vcpu), void *ctx, struct tdp_gate **gate)
{
	struct tdp_env host;
	struct tdp_gate *g;
	int ret;

	if (!env || !kick || !gate || !vcpus || vcpus > 65536)
		return TDP_EINVAL;
	ret = tdpi_struct_copy(&host, sizeof(host), env, env->size);
	if (ret)
		return ret;
	if (!host.obj_alloc || !host.obj_free || !host.wait != !host.wake)
		return TDP_EINVAL;
	g = tdpi_obj_alloc(&host, gate_bytes(vcpus));
	if (!g)
		return TDP_ENOMEM;
	g->env = host;
	g->vcpus = vcpus;
	g->kick = kick;
	g->ctx = ctx;
	*gate = g;
	return TDP_OK;
}

void tdp_gate_destroy(struct tdp_gate *g)
{
	if (g)
		g->env.obj_free(g->env.priv, g, gate_bytes(g->vcpus));
}

static struct gate_vcpu *vcpu_at(struct tdp_gate *g, uint32_t vcpu)
{
	return g && vcpu < g->vcpus ? &g->vcpu[vcpu] : NULL;
}

/* In or out. Own thread. */
static void pass(struct gate_vcpu *v)
{
	tdpi_store_release(&v->passages, v->passages + 1);
}

static void go_out(struct tdp_gate *g, struct gate_vcpu *v)
{
	pass(v);
	/* G2: out, then is anybody waiting? A flush says that it waits, then looks who is in. */
	tdpi_fence_seq_cst();
	if (tdpi_load_relaxed(&g->waiting) && g->env.wake)
		g->env.wake(g->env.priv, &v->passages);
}

/* Everything after `served`, up to the latest. */
static void hand_out(struct tdp_gate *g, struct gate_vcpu *v, struct tdp_gate_work *work)
{
	uint64_t served = v->served;

	memset(work, 0, sizeof(*work));
	work->size = (uint32_t)sizeof(*work);
	tdpi_lock(&g->env, &g->lock, TDPI_LOCK_GATE);
	work->number = g->number;
	if (g->reload > served)
		work->what = TDP_GATE_RELOAD | TDP_GATE_FLUSH_ALL;
	if (g->number - served > TDP_GATE_RANGES)
		work->what |= TDP_GATE_FLUSH_ALL;
	for (uint64_t n = served + 1; n <= g->number && !work->what; n++) {
		work->range[work->count++] = g->recent[n % TDP_GATE_RANGES];
		if (!g->recent[n % TDP_GATE_RANGES].size)
			work->what = TDP_GATE_FLUSH_ALL;
	}
	tdpi_unlock(&g->env, &g->lock);
	if (work->what)
		work->count = 0;
	v->asked = work->number;
	tdpi_store_quiet(&v->ranges, v->ranges + work->count);
	tdpi_store_quiet(&v->alls, v->alls + (work->what != 0));
}

int tdp_gate_enter(struct tdp_gate *g, uint32_t vcpu, struct tdp_gate_work *work)
{
	struct gate_vcpu *v = vcpu_at(g, vcpu);

	if (!v || !work || work->size != sizeof(*work) || v->passages & 1)
		return TDP_EINVAL;
	pass(v);
	tdpi_fence_seq_cst(); /* G1: in, then is there a flush? Pairs with tdp_gate_flush() */
	if (tdpi_load_acquire(&g->number) == v->served)
		return 0;
	go_out(g, v);
	hand_out(g, v, work);
	return 1;
}

int tdp_gate_done(struct tdp_gate *g, uint32_t vcpu, const struct tdp_gate_work *work)
{
	struct gate_vcpu *v = vcpu_at(g, vcpu);

	if (!v || !work || work->size != sizeof(*work) || v->passages & 1 ||
	    v->asked == v->served || work->number != v->asked)
		return TDP_EINVAL;
	tdpi_store_release(&v->served, work->number);
	return TDP_OK;
}

int tdp_gate_leave(struct tdp_gate *g, uint32_t vcpu)
{
	struct gate_vcpu *v = vcpu_at(g, vcpu);

	if (!v || !(v->passages & 1))
		return TDP_EINVAL;
	go_out(g, v);
	return TDP_OK;
}

/* In since before flush `number`? Then *passages is what it must move on from. */
static bool must_leave(const struct gate_vcpu *v, uint64_t number, uint32_t *passages)
{
	*passages = tdpi_load_acquire(&v->passages);
	/* Who has served it has entered after it; `served` only changes while out. */
	return *passages & 1 && tdpi_load_acquire(&v->served) < number;
}

static void wait_for(struct tdp_gate *g, const struct gate_vcpu *v, uint64_t number)
{
	uint32_t passages;

	if (!must_leave(v, number, &passages))
		return;
	/* Once it has moved it has passed the gate, and seen the number, whether it is in again or not. */
	while (tdpi_load_acquire(&v->passages) == passages) {
		if (g->env.wait)
			g->env.wait(g->env.priv, &v->passages, passages);
		else
			tdpi_relax(&g->env);
	}
}

static uint64_t publish(struct tdp_gate *g, struct tdp_range range, uint32_t what)
{
	uint64_t number;

	tdpi_lock(&g->env, &g->lock, TDPI_LOCK_GATE);
	number = g->number + 1;
	if (what)
		range.size = 0;
	g->recent[number % TDP_GATE_RANGES] = range;
	if (what & TDP_GATE_RELOAD)
		g->reload = number;
	tdpi_store_release(&g->number, number);
	tdpi_unlock(&g->env, &g->lock);
	return number;
}

/* Publish and kick. How many were in: if none was, nobody is to be waited for. */
static uint64_t flush_begin(struct tdp_gate *g, struct tdp_range range, uint32_t what,
			    uint64_t *number)
{
	uint32_t passages;
	uint64_t kicks = 0;

	*number = publish(g, range, what);
	tdpi_fence_seq_cst(); /* G1: the number, then who is in? */
	for (uint32_t i = 0; i < g->vcpus; i++) {
		if (!must_leave(&g->vcpu[i], *number, &passages))
			continue;
		kicks++;
		g->kick(g->ctx, i);
	}
	tdpi_add_quiet(&g->flushes, 1);
	tdpi_add_quiet(&g->kicks, kicks);
	tdpi_add_quiet(&g->lazy, g->vcpus - kicks);
	return kicks;
}

static void flush_wait(struct tdp_gate *g, uint64_t number)
{
	tdpi_add_relaxed(&g->waiting, 1u);
	tdpi_fence_seq_cst(); /* G2: waiting, then who is in? */
	for (uint32_t i = 0; i < g->vcpus; i++)
		wait_for(g, &g->vcpu[i], number);
	tdpi_sub_relaxed(&g->waiting, 1u);
}

static bool can_flush(const struct tdp_gate *g, struct tdp_range range, uint32_t what)
{
	return g && !(what & ~(TDP_GATE_FLUSH_ALL | TDP_GATE_RELOAD)) &&
	       !((range.start | range.size) & (TDP_PAGE_SIZE - 1)) &&
	       !(range.size && range.start + (range.size - 1) < range.start);
}

int tdp_gate_flush(struct tdp_gate *g, struct tdp_range range, uint32_t what)
{
	uint64_t number;

	if (!can_flush(g, range, what))
		return TDP_EINVAL;
	if (flush_begin(g, range, what, &number))
		flush_wait(g, number);
	return TDP_OK;
}

int tdp_gate_flush_begin(struct tdp_gate *g, struct tdp_range range, uint32_t what, uint64_t *token)
{
	if (!can_flush(g, range, what) || !token)
		return TDP_EINVAL;
	flush_begin(g, range, what, token);
	return TDP_OK;
}

int tdp_gate_flush_wait(struct tdp_gate *g, uint64_t token)
{
	if (!g || !token || token > tdpi_load_acquire(&g->number))
		return TDP_EINVAL;
	flush_wait(g, token);
	return TDP_OK;
}

int tdp_gate_stats(struct tdp_gate *g, struct tdp_gate_stats *stats)
{
	if (!g || !stats || stats->size != sizeof(*stats))
		return TDP_EINVAL;
	memset(stats, 0, sizeof(*stats));
	stats->size = (uint32_t)sizeof(*stats);
	stats->flushes = tdpi_load_quiet(&g->flushes);
	stats->kicks = tdpi_load_quiet(&g->kicks);
	stats->lazy = tdpi_load_quiet(&g->lazy);
	for (uint32_t i = 0; i < g->vcpus; i++) {
		stats->ranges += tdpi_load_quiet(&g->vcpu[i].ranges);
		stats->alls += tdpi_load_quiet(&g->vcpu[i].alls);
	}
	return TDP_OK;
}
