/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations that make mappings: accesses, prefetch, populate. */
#ifndef TESTS_MODEL_OPS_MAP_H
#define TESTS_MODEL_OPS_MAP_H

#include "run.h"

/* The answer that a refused access has to get, or TDP_OK. */
static int refusal(const struct run *r, const struct model_slot *s, uint64_t gfn, uint32_t access)
{
	uint32_t need = access & TDP_RWX;

	if (need == TDP_X && r->by_mode)
		need = access & TDP_EMU_USER ? TDP_XU : TDP_XS;
	if (!s)
		return TDP_FAULT_MMIO;
	if (s->owned && s->owner[gfn - s->gfn])
		return TDP_EACCES;
	if (access == TDP_W && (s->flags & TDP_SLOT_READONLY))
		return TDP_FAULT_READONLY;
	if (!(s->prot & need))
		return TDP_EACCES;
	if (access == TDP_W && s->tracked && s->track[gfn - s->gfn])
		return TDP_FAULT_TRACKED;
	return TDP_OK;
}

static void after_fault(struct run *r, uint32_t as_id, uint64_t gfn, const struct test_access *a)
{
	struct model_rules rules = {.any_size = true, .young = true};
	uint64_t first, pages, end, lo, hi;

	model_leaf_of(&r->m, as_id, gfn, &first, &pages);
	end = first + pages;
	lo = a->result.gpa >> TDP_PAGE_LG2;
	hi = lo + ((uint64_t)1 << (a->result.lg2 - TDP_PAGE_LG2));
	if (a->result.lg2 < TDP_PAGE_LG2 || gfn < lo || gfn >= hi) {
		model_complain(&r->m, "fault at gfn %#llx says it mapped gpa %#llx lg2 %u",
			       (ull)gfn, (ull)a->result.gpa, a->result.lg2);
		return;
	}
	rules.map_gfn = lo;
	rules.map_end = hi;
	model_observe(&r->m, as_id, lo < first ? lo : first, hi > end ? hi : end, &rules);
}

static void access_worked(struct run *r, uint32_t as_id, uint64_t gfn, uint32_t access,
			  const struct test_access *a)
{
	struct model_slot *s = model_slot_at(&r->m, as_id, gfn);
	struct model_leaf *leaf;
	uint64_t first, pages, at = model_at(&r->m, gfn);

	if (a->pa >> TDP_PAGE_LG2 != model_pfn(s, gfn))
		model_complain(&r->m, "access to gfn %#llx went to pa %#llx", (ull)gfn, (ull)a->pa);
	if (a->faults)
		after_fault(r, as_id, gfn, a);
	if (!r->m.lg2[as_id][at]) {
		model_complain(&r->m, "access to gfn %#llx worked, but it is not mapped (%u refs)",
			       (ull)gfn, a->refs);
		return;
	}
	leaf = &r->m.leaf[as_id][model_leaf_of(&r->m, as_id, gfn, &first, &pages)];
	if (access == TDP_W && !(leaf->flags & LEAF_W))
		model_complain(&r->m,
			       "write to gfn %#llx worked, but it is not writable (%u faults)",
			       (ull)gfn, a->faults);
	if (a->refs || a->faults)
		leaf->flags |= LEAF_YOUNG_MUST | LEAF_YOUNG_MAY;
	if (access == TDP_W && s->log != TDP_LOG_OFF) {
		model_bit_set(s->must, gfn - s->gfn);
		model_bit_set(s->may, gfn - s->gfn);
	}
}

static void access_one(struct run *r, uint32_t cpu, uint64_t gfn, uint32_t access)
{
	uint32_t as_id = r->cpu_as[cpu];
	struct model_slot *s = model_slot_at(&r->m, as_id, gfn);
	int refused = refusal(r, s, gfn, access), answer;
	bool was = model_mapped(&r->m, as_id, gfn);
	struct model_rules split = {.any_size = true};
	struct test_access a;

	r->vm.max_retries = r->invalid.size ? 0 : 4;
	answer = test_vm_access(
		&r->vm, cpu, (gfn << TDP_PAGE_LG2) | test_below(&r->rand, TEST_PAGE), access, &a);
	if (answer == TEST_OK && refused != TDP_OK) {
		model_complain(&r->m, "access %u to gfn %#llx worked instead of %d", access,
			       (ull)gfn, refused);
		return;
	}
	if (answer == TEST_OK) {
		if (invalidated(r, gfn) && !was)
			model_complain(&r->m, "gfn %#llx was mapped while invalid", (ull)gfn);
		access_worked(r, as_id, gfn, access, &a);
		return;
	}
	if (a.outcome == TDP_FAULT_RETRY && answer == TEST_OUTCOME && r->invalid.size) {
		/*
		 * The hull of running invalidations may refuse more than they cover, and a huge
		 * page may have been split before the check that refused.
		 */
		model_observe(&r->m, as_id, gfn, gfn + 1, &split);
		return;
	}
	if (s && s->backing && s->backing->fail[gfn - s->gfn] &&
	    a.outcome == s->backing->fail_status)
		return;
	if (answer == TEST_STATUS && a.outcome == TDP_ENOMEM && r->starving)
		return;
	/* Not writable and tracked, or read-only as well: more than one refusal is right. */
	if (access == TDP_W && s && a.outcome == TDP_FAULT_TRACKED && s->track[gfn - s->gfn])
		return;
	if (a.outcome != refused || refused == TDP_OK)
		model_complain(&r->m, "access %u to gfn %#llx: answer %d, outcome %d, expected %d",
			       access, (ull)gfn, answer, a.outcome, refused);
}

static uint32_t any_access(struct run *r)
{
	static const uint32_t kinds[] = {
		TDP_R, TDP_R, TDP_R, TDP_R, TDP_R, TDP_R, TDP_W, TDP_W,
		TDP_W, TDP_W, TDP_W, TDP_W, TDP_W, TDP_X, TDP_X, TDP_X | TDP_EMU_USER};

	return kinds[test_below(&r->rand, ARRAY_LEN(kinds))];
}

static void op_access(struct run *r)
{
	uint32_t as_id, cpu = (uint32_t)test_below(&r->rand, CPUS);
	uint64_t gfn = any_gfn(r, &as_id);

	if (r->cpu_as[cpu] != as_id)
		cpu ^= 1; /* the other one, if that is there: most accesses should meet memory */
	access_one(r, cpu, gfn, any_access(r));
}

static void op_set_as(struct run *r)
{
	uint32_t cpu = (uint32_t)test_below(&r->rand, CPUS);

	r->cpu_as[cpu] = (uint32_t)test_below(&r->rand, MODEL_AS);
	expect(r, "tdp_vcpu_set_as", tdp_vcpu_set_as(r->vm.cpu[cpu].vcpu, r->cpu_as[cpu]), TDP_OK);
	served(r, "tdp_vcpu_load", tdp_vcpu_load(r->vm.cpu[cpu].vcpu), TDP_OK);
}

static void op_prefetch(struct run *r)
{
	uint32_t cpu = (uint32_t)test_below(&r->rand, CPUS), as_id;
	uint64_t gfn = any_gfn(r, &as_id);
	struct tdp_fault fault = {.flags = TDP_FAULT_PREFETCH, .access = TDP_R};
	struct test_access a = {.faults = 1};
	struct model_rules rules = {.any_size = true};
	bool was;

	if (r->cpu_as[cpu] != as_id || !model_slot_at(&r->m, as_id, gfn) ||
	    tdp_vcpu_load(r->vm.cpu[cpu].vcpu) < 0)
		return;
	was = model_mapped(&r->m, as_id, gfn);
	fault.gpa = gfn << TDP_PAGE_LG2;
	a.result.size = (uint32_t)sizeof(a.result);
	a.outcome = tdp_fault(r->vm.cpu[cpu].vcpu, &fault, &a.result);
	if (was || a.outcome != TDP_FAULT_FIXED) {
		/* The backing is asked first: what it refuses is refused. */
		if (was && a.outcome != TDP_FAULT_SPURIOUS && a.outcome != TDP_EFAULT &&
		    !(a.outcome == TDP_ENOMEM && r->starving))
			model_complain(&r->m, "prefetch of mapped gfn %#llx: %d", (ull)gfn,
				       a.outcome);
		return;
	}
	rules.map_gfn = a.result.gpa >> TDP_PAGE_LG2;
	rules.map_end = rules.map_gfn + ((uint64_t)1 << (a.result.lg2 - TDP_PAGE_LG2));
	model_observe(&r->m, as_id, rules.map_gfn, rules.map_end, &rules);
}

static bool all_mapped(const struct run *r, const struct span *p)
{
	uint64_t i;

	for (i = 0; i < p->pages; i++)
		if (!model_mapped(&r->m, p->as_id, p->gfn + i))
			return false;
	return true;
}

static bool any_mapped(const struct run *r, const struct span *p)
{
	uint64_t i;

	for (i = 0; i < p->pages; i++)
		if (model_mapped(&r->m, p->as_id, p->gfn + i))
			return true;
	return false;
}

static void op_populate(struct run *r)
{
	struct span p = any_span(r);
	uint32_t flags = 0;
	uint64_t done = 0, hole, around;
	struct model_rules rules = {.any_size = false};
	struct model_slot *s = NULL;
	bool failing = false;
	int status, want;

	if (p.pages > 2048 && !test_one_in(&r->rand, 64))
		p = span_of(p.as_id, p.gfn, 1 + test_below(&r->rand, 2048));
	flags |= test_one_in(&r->rand, 3) ? TDP_POPULATE_STRICT : 0;
	flags |= test_one_in(&r->rand, 2) ? TDP_POPULATE_READ : 0;
	flags |= test_one_in(&r->rand, 2) ? TDP_POPULATE_YOUNG : 0;
	for (hole = 0; hole < p.pages; hole++) {
		s = model_slot_at(&r->m, p.as_id, p.gfn + hole);
		if (!s || (s->owned && s->owner[p.gfn + hole - s->gfn]))
			break;
		/* Asked about or not, as it is mapped already or lies in a huge page: both are
		 * right. */
		failing |= s->backing && s->backing->fail[p.gfn + hole - s->gfn];
	}
	want = hole == p.pages ? TDP_OK : s ? TDP_EACCES : TDP_ENOENT;
	if ((flags & TDP_POPULATE_STRICT) && any_mapped(r, &p))
		want = TDP_EEXIST;
	status = tdp_populate(r->vm.mm, p.as_id, p.range, flags, &done);
	if (!(failing && status == TDP_EFAULT && want != TDP_EEXIST))
		served(r, "tdp_populate", status, want);
	if (status == TDP_OK || status == TDP_ENOENT || status == TDP_EFAULT ||
	    status == TDP_EACCES) {
		uint64_t pages = status == TDP_OK ? p.pages : done >> TDP_PAGE_LG2;

		if (status != TDP_OK && (pages > hole || (done & (TEST_PAGE - 1))))
			model_complain(&r->m, "populate did %#llx bytes, the hole is at page %llu",
				       (ull)done, (ull)hole);
		/* A huge page may reach over both ends. */
		around = (uint64_t)1 << (test_vm_max_lg2(&r->vm) - TDP_PAGE_LG2);
		rules.map_gfn = p.gfn & ~(around - 1);
		rules.map_end =
			pages ? (p.gfn + pages + around - 1) & ~(around - 1) : rules.map_gfn;
		rules.young = flags & TDP_POPULATE_YOUNG;
		rules.never_w = flags & TDP_POPULATE_READ;
		model_observe(&r->m, p.as_id, rules.map_gfn, rules.map_end, &rules);
		p = span_of(p.as_id, p.gfn, pages);
		if (pages && !all_mapped(r, &p))
			model_complain(&r->m, "populated, but not all is mapped");
	}
}

#endif
