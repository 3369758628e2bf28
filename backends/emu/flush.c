/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The backend operations: probe, root load, flushes and reload. A flush takes each vCPU's lock in
 * turn, so when it returns the walks that were under way have ended and nothing of before is
 * cached.
 */
#include <string.h>

#include "emu_int.h"

static int op_probe(void *ctx, enum tdp_format format, struct tdp_backend_caps *caps)
{
	const struct tdp_emu *emu = ctx;
	struct tdp_backend_caps full;
	uint32_t size = caps->size;
	int ret;

	if (size < sizeof(size))
		return TDP_EINVAL;
	ret = tdpi_emu_caps(&emu->cfg, format, &full);
	if (ret)
		return ret;
	full.size = size;
	memcpy(caps, &full, size < sizeof(full) ? size : sizeof(full));
	return TDP_OK;
}

static int op_root_load(void *ctx, void *cookie, const struct tdp_root_view *root)
{
	struct tdp_emu *emu = ctx;
	struct tdp_emu_vcpu *v = cookie;
	struct tdp_backend_caps caps;
	struct emu_regs regs;
	int ret = TDP_OK;

	if (root) {
		ret = tdpi_emu_caps(&emu->cfg, root->format, &caps);
		if (!ret)
			ret = tdpi_emu_load_regs(&caps, root->format, root->hw, &regs);
	}
	emu_lock_own(v);
	/* What is cached stays without TDP_ROOT_FLUSH, as it does in a real TLB. */
	v->loaded = root && !ret;
	if (v->loaded) {
		v->regs = regs;
		v->root_id = root->pa ^ root->generation * 0x9e3779b97f4a7c15ull;
		if (root->flags & TDP_ROOT_FLUSH)
			tdpi_emu_drop_all(v);
	}
	emu_unlock(v);
	return ret;
}

/* Last byte of a range; ranges that would wrap end at the top. */
static uint64_t last_of(uint64_t start, uint64_t size)
{
	return size - 1 > UINT64_MAX - start ? UINT64_MAX : start + (size - 1);
}

/* levels 0: not only leaves. */
static void drop_range(struct tdp_emu *emu, struct tdp_range range, uint32_t levels)
{
	uint64_t last = last_of(range.start, range.size);

	emu_list_lock(emu);
	for (struct tdp_emu_vcpu *v = emu->vcpus; v; v = v->next) {
		emu_lock_other(v);
		if (range.size && levels)
			tdpi_emu_drop_leaves(v, range.start, last, levels);
		else if (range.size)
			tdpi_emu_drop_range(v, range.start, last);
		emu_unlock(v);
	}
	emu_list_unlock(emu);
}

static void op_flush_range(void *ctx, struct tdp_range range)
{
	struct tdp_emu *emu = ctx;

	__atomic_fetch_add(&emu->flush_range, 1, __ATOMIC_RELAXED);
	drop_range(emu, range, 0);
}

/* Nothing more than was asked for: a level that was left out stays, and is noticed. */
static void op_flush_leaves(void *ctx, struct tdp_range range, uint32_t levels)
{
	struct tdp_emu *emu = ctx;

	__atomic_fetch_add(&emu->flush_range, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&emu->flush_leaves, 1, __ATOMIC_RELAXED);
	drop_range(emu, range, levels);
}

static void drop_everywhere(struct tdp_emu *emu, bool unload)
{
	emu_list_lock(emu);
	for (struct tdp_emu_vcpu *v = emu->vcpus; v; v = v->next) {
		emu_lock_other(v);
		tdpi_emu_drop_all(v);
		if (unload)
			v->loaded = false;
		emu_unlock(v);
	}
	emu_list_unlock(emu);
}

/* One that was begun. size 0: everything. */
static void drop(struct tdp_emu *emu, struct tdp_range range, uint32_t levels)
{
	if (range.size)
		drop_range(emu, range, levels);
	else
		drop_everywhere(emu, false);
}

static void op_flush_all(void *ctx)
{
	struct tdp_emu *emu = ctx;

	__atomic_fetch_add(&emu->flush_all, 1, __ATOMIC_RELAXED);
	drop_everywhere(emu, false);
}

/* As late as it may be: nothing is dropped before somebody waits for it. */
static uint64_t op_flush_begin(void *ctx, struct tdp_range range, uint32_t levels)
{
	struct tdp_emu *emu = ctx;
	uint64_t i = 0;

	__atomic_fetch_add(&emu->flush_begun, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&emu->flush_range, range.size != 0, __ATOMIC_RELAXED);
	__atomic_fetch_add(&emu->flush_all, range.size == 0, __ATOMIC_RELAXED);
	__atomic_fetch_add(&emu->flush_leaves, levels != 0, __ATOMIC_RELAXED);
	emu_list_lock(emu);
	while (i < EMU_BEGUN && emu->begun[i].used)
		i++;
	if (i < EMU_BEGUN)
		emu->begun[i] = (struct emu_begun){range, levels, true};
	emu_list_unlock(emu);
	if (i < EMU_BEGUN)
		return i;
	drop(emu, range, levels);
	return EMU_BEGUN;
}

static void op_flush_wait(void *ctx, uint64_t token)
{
	struct tdp_emu *emu = ctx;
	struct emu_begun b;

	if (token >= EMU_BEGUN)
		return;
	emu_list_lock(emu);
	b = emu->begun[token];
	emu->begun[token].used = false;
	emu_list_unlock(emu);
	drop(emu, b.range, b.levels);
}

static void op_flush_vcpu(void *ctx, void *cookie, struct tdp_range range)
{
	struct tdp_emu *emu = ctx;
	struct tdp_emu_vcpu *v = cookie;

	__atomic_fetch_add(&emu->flush_vcpu, 1, __ATOMIC_RELAXED);
	emu_lock_own(v);
	if (range.size)
		tdpi_emu_drop_range(v, range.start, last_of(range.start, range.size));
	emu_unlock(v);
}

static void op_reload(void *ctx)
{
	struct tdp_emu *emu = ctx;

	__atomic_fetch_add(&emu->reloads, 1, __ATOMIC_RELAXED);
	drop_everywhere(emu, true);
}

static bool found(void *arg, const struct emu_slot *s)
{
	(void)arg;
	(void)s;
	return true;
}

struct aux_search {
	uint64_t start, last;
};

static bool found_aux(void *arg, const struct emu_slot *s)
{
	const struct aux_search *a = arg;

	return s->aux <= a->last && s->aux + (EMU_BIT(emu_slot_lg2(s)) - 1) >= a->start;
}

int tdp_emu_cached(struct tdp_emu *emu, tdp_gpa_t gpa, uint64_t size)
{
	struct aux_search a;
	int cached = 0;

	if (!emu || !size)
		return 0;
	a = (struct aux_search){gpa, last_of(gpa, size)};
	emu_list_lock(emu);
	for (struct tdp_emu_vcpu *v = emu->vcpus; v && !cached; v = v->next) {
		emu_lock_other(v);
		cached = tdpi_emu_map_overlap(&v->leaf, NULL, a.start, a.last, found, NULL) ||
			 tdpi_emu_map_overlap(&v->combined, NULL, 0, UINT64_MAX, found_aux, &a);
		emu_unlock(v);
	}
	emu_list_unlock(emu);
	return cached;
}

const struct tdp_backend_ops tdp_emu_backend = {
	.size = sizeof(struct tdp_backend_ops),
	.name = "emu",
	.probe = op_probe,
	.root_load = op_root_load,
	.flush_range = op_flush_range,
	.flush_all = op_flush_all,
	.flush_vcpu = op_flush_vcpu,
	.reload = op_reload,
	.flush_leaves = op_flush_leaves,
	.flush_begin = op_flush_begin,
	.flush_wait = op_flush_wait,
};
