/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations that look, hold on to roots, and make vCPUs anew: none of them changes what is mapped. */
#ifndef TESTS_MODEL_OPS_LOOK_H
#define TESTS_MODEL_OPS_LOOK_H

#include "run.h"

/* The caller of the library gets a reference of a root, and gives one back. */
static void op_hold(struct run *r)
{
	uint32_t i = (uint32_t)test_below(&r->rand, HELD);
	tdp_role_t role = tdp_role_root(r->vm.mm, (uint32_t)test_below(&r->rand, MODEL_AS));
	int status;

	if (r->held[i]) {
		status = tdp_root_put(r->vm.mm, r->held[i]);
		if (status != 0 && status != 1)
			model_complain(&r->m, "tdp_root_put: %d", status);
		r->held[i] = NULL;
		return;
	}
	if (!served(r, "tdp_root_get", tdp_root_get(r->vm.mm, role, &r->held[i]), TDP_OK))
		return;
	if (tdp_root_is_invalid(r->held[i]))
		model_complain(&r->m, "tdp_root_get gave an invalid root");
	expect(r, "tdp_root_try_get", tdp_root_try_get(r->held[i]), TDP_OK);
	expect(r, "tdp_root_put", tdp_root_put(r->vm.mm, r->held[i]), 0);
}

/* A vCPU goes, and another takes its place. */
static void op_vcpu(struct run *r)
{
	uint32_t i = (uint32_t)test_below(&r->rand, CPUS);
	struct test_cpu *cpu = &r->vm.cpu[i];
	int status;

	if (test_one_in(&r->rand, 2)) {
		served(r, "tdp_vcpu_topup", tdp_vcpu_topup(cpu->vcpu), TDP_OK);
		return;
	}
	tdp_vcpu_destroy(cpu->vcpu);
	status = tdp_vcpu_create(r->vm.mm, cpu->emu, &cpu->vcpu);
	if (!served(r, "tdp_vcpu_create", status, TDP_OK)) {
		test_env_fail(&r->vm.env, 0);
		expect(r, "tdp_vcpu_create", tdp_vcpu_create(r->vm.mm, cpu->emu, &cpu->vcpu),
		       TDP_OK);
	}
	r->cpu_as[i] = 0;
}

struct lines {
	struct run *r;
	uint64_t count, stop;
};

static int next_line(void *arg, const char *line)
{
	struct lines *l = arg;

	if (!*line)
		model_complain(&l->r->m, "tdp_dump gave an empty line");
	return ++l->count == l->stop ? TDP_EPERM : 0;
}

/* In text: as many lines as runs at the most, and the visitor's answer comes back. */
static void look_dump(struct run *r)
{
	struct span p = any_span(r);
	struct lines l = {.r = r, .stop = test_below(&r->rand, 4)};
	uint64_t i, mapped = 0;
	int status = tdp_dump(r->vm.mm, p.as_id, p.range, next_line, &l);

	for (i = 0; i < p.pages; i++)
		mapped += model_mapped(&r->m, p.as_id, p.gfn + i);
	if (status != TDP_ENOENT || mapped)
		expect(r, "tdp_dump", status, l.stop && l.count == l.stop ? TDP_EPERM : TDP_OK);
	if (l.count > mapped || (mapped && !l.count))
		model_complain(&r->m, "tdp_dump: %llu lines for %llu pages", (ull)l.count,
			       (ull)mapped);
}

static void look_path(struct run *r)
{
	struct tdp_path path = {.size = (uint32_t)sizeof(path)};
	char text[200];
	uint32_t as_id;
	uint64_t gfn = any_gfn(r, &as_id);
	int status = tdp_walk_gpa(r->vm.mm, as_id, gfn << TDP_PAGE_LG2, &path);
	bool mapped = model_mapped(&r->m, as_id, gfn);
	size_t room = (size_t)test_below(&r->rand, sizeof(text) + 1);

	if (status != TDP_ENOENT || mapped)
		expect(r, "tdp_walk_gpa", status, TDP_OK);
	if (status == TDP_OK && (path.kind[path.last_level] == TDP_ENTRY_LEAF) != mapped)
		model_complain(&r->m, "the way to gfn %#llx ends in kind %u", (ull)gfn,
			       path.kind[path.last_level]);
	status = tdp_explain(r->vm.mm, as_id, gfn << TDP_PAGE_LG2, text, room);
	if (status < 0 && room)
		model_complain(&r->m, "tdp_explain: %d", status);
}

struct ranges {
	struct run *r;
	uint64_t bytes, calls;
};

static int next_range(void *arg, uint32_t as_id, struct tdp_range range)
{
	struct ranges *l = arg;

	if (!model_slot_at(&l->r->m, as_id, range.start >> TDP_PAGE_LG2))
		model_complain(&l->r->m, "tdp_backing_ranges: %#llx is in no slot",
			       (ull)range.start);
	l->bytes += range.size;
	l->calls++;
	return 0;
}

/* Slots of their own memory name it by its guest address; linear ones by 0. */
static void look_ranges(struct run *r)
{
	struct span p = any_span(r);
	struct ranges l = {.r = r};
	uint64_t want = 0, calls = 0;
	uint32_t i;

	for (i = 0; i < MODEL_SLOTS; i++) {
		const struct model_slot *s = &r->m.slot[i];
		uint64_t start = s->backing ? s->gfn : 0, lo, hi;

		lo = start > p.gfn ? start : p.gfn;
		hi = start + s->pages < p.gfn + p.pages ? start + s->pages : p.gfn + p.pages;
		if (s->live && lo < hi) {
			want += (hi - lo) << TDP_PAGE_LG2;
			calls++;
		}
	}
	if (!served(r, "tdp_backing_ranges",
		    tdp_backing_ranges(r->vm.mm, p.range.start, p.range.size, next_range, &l), 0))
		return;
	if (l.bytes != want || l.calls != calls)
		model_complain(&r->m, "tdp_backing_ranges: %llu bytes in %llu, not %llu in %llu",
			       (ull)l.bytes, (ull)l.calls, (ull)want, (ull)calls);
}

static void look_stats(struct run *r)
{
	struct tdp_stats stats = {.size = (uint32_t)sizeof(stats)};
	struct tdp_report report = {.size = (uint32_t)sizeof(report)};
	unsigned level;

	expect(r, "tdp_stats", tdp_stats(r->vm.mm, &stats), TDP_OK);
	expect(r, "tdp_verify", tdp_verify(r->vm.mm, &report), TDP_OK);
	for (level = 0; level < TDP_LEVELS_MAX; level++)
		if (stats.leaves[level] != report.leaves[level])
			model_complain(&r->m, "%llu leaves at level %u, counted %llu",
				       (ull)report.leaves[level], level, (ull)stats.leaves[level]);
}

static void op_look(struct run *r)
{
	switch (test_below(&r->rand, 4)) {
	case 0: look_dump(r); break;
	case 1: look_path(r); break;
	case 2: look_ranges(r); break;
	default: look_stats(r);
	}
}

#endif
