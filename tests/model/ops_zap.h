/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations that take mappings or tables away. */
#ifndef TESTS_MODEL_OPS_ZAP_H
#define TESTS_MODEL_OPS_ZAP_H

#include "ops_map.h"

static void mark_kept(struct model *m, struct model_leaf *leaf, uint64_t first, uint64_t pages,
		      void *arg)
{
	uint32_t as_id = *(uint32_t *)arg;

	if (leaf->flags & LEAF_YOUNG_MAY)
		memset(m->kept[as_id] + model_at(m, first), 1, pages);
}

/* False: there was no memory for it, and nothing has changed. */
static bool zap_span(struct run *r, struct span p, uint32_t flags)
{
	struct model_rules rules = {.any_size = true};
	uint64_t first, n, lo = p.gfn, hi = p.gfn + p.pages;
	int want = TDP_OK;
	bool done;

	snprintf(r->m.where, sizeof(r->m.where),
		 "op %llu (zap as %u, gfn %#llx, %llu pages, flags %#x)", (ull)r->op, p.as_id,
		 (ull)p.gfn, (ull)p.pages, flags);
	if ((flags & TDP_ZAP_STRICT) && !all_mapped(r, &p))
		want = TDP_ENOENT;
	done = (flags & TDP_ZAP_LAZY ? expect : served)(
		r, "tdp_zap", tdp_zap(r->vm.mm, p.as_id, p.range, flags), want);
	if (done && want == TDP_OK) {
		if (flags & TDP_ZAP_LAZY) {
			model_leaf_of(&r->m, p.as_id, lo, &first, &n);
			lo = first;
			model_leaf_of(&r->m, p.as_id, hi - 1, &first, &n);
			hi = first + n;
		}
		if (flags & TDP_ZAP_KEEP_YOUNG)
			model_each(&r->m, p.as_id, p.gfn, p.gfn + p.pages, mark_kept, &p.as_id);
		rules.unmap_gfn = lo;
		rules.unmap_end = hi;
	}
	model_observe(&r->m, p.as_id, p.gfn, p.gfn + p.pages, &rules);
	return done;
}

static void op_zap(struct run *r)
{
	uint32_t flags = 0;

	flags |= test_one_in(&r->rand, 3) ? TDP_ZAP_LAZY : 0;
	flags |= test_one_in(&r->rand, 4) ? TDP_ZAP_STRICT : 0;
	flags |= test_one_in(&r->rand, 3) ? TDP_ZAP_KEEP_YOUNG : 0;
	flags |= test_one_in(&r->rand, 4) ? TDP_ZAP_NOYIELD : 0;
	zap_span(r, any_span(r), flags);
}

/* What the owner of the memory does: begin, zap, new pages, end; with guests that run meanwhile. */
static void op_invalidate(struct run *r)
{
	struct model_slot *s = any_slot(r);
	uint64_t at, pages;
	struct span p;
	unsigned i;
	bool twice = test_one_in(&r->rand, 4);

	if (!s || !s->backing)
		return;
	pages = 1 + test_below(&r->rand, test_one_in(&r->rand, 40) ? s->pages : 600);
	at = test_below(&r->rand, s->pages);
	if (test_one_in(&r->rand, 3)) {
		at &= ~(((uint64_t)1 << r->vm.info.index_lg2) - 1);
		pages = (uint64_t)1 << r->vm.info.index_lg2;
	}
	if (pages > s->pages - at)
		pages = s->pages - at;
	p = span_of(s->as_id, s->gfn + at, pages);
	expect(r, "begin", tdp_invalidate_begin(r->vm.mm, p.range), TDP_OK);
	if (twice)
		expect(r, "begin", tdp_invalidate_begin(r->vm.mm, p.range), TDP_OK);
	r->invalid = p.range;
	for (i = 0; i < 3; i++)
		op_access(r);
	if (!zap_span(r, p, 0))
		zap_span(r, p, TDP_ZAP_LAZY); /* needs none */
	for (i = 0; i < 3; i++)
		access_one(r, i & 1, p.gfn + test_below(&r->rand, p.pages), any_access(r));
	test_backing_drop(s->backing, p.range);
	if (twice)
		expect(r, "end", tdp_invalidate_end(r->vm.mm, p.range), TDP_OK);
	for (i = 0; i < 2; i++)
		access_one(r, i & 1, p.gfn + test_below(&r->rand, p.pages), any_access(r));
	expect(r, "end", tdp_invalidate_end(r->vm.mm, p.range), TDP_OK);
	r->invalid.size = 0;
	if (test_one_in(&r->rand, 50))
		expect(r, "end too often", tdp_invalidate_end(r->vm.mm, p.range), TDP_EINVAL);
}

static void op_roots(struct run *r)
{
	uint32_t i;
	int more;

	if (test_one_in(&r->rand, 2)) {
		expect(r, "tdp_roots_invalidate", tdp_roots_invalidate(r->vm.mm), TDP_OK);
		model_roots_gone(&r->m);
		for (i = 0; i < MODEL_AS; i++)
			model_forget(&r->m, i);
	}
	do {
		more = tdp_roots_reclaim(r->vm.mm, test_below(&r->rand, 8));
		if (more < 0 || more > 1)
			model_complain(&r->m, "tdp_roots_reclaim: %d", more);
	} while (more > 0 && !test_one_in(&r->rand, 4));
	r->m.stale = more != 0;
}

static int pick_table(void *arg, const struct tdp_visit *v)
{
	struct tdp_visit *list = arg;
	unsigned i = 0;

	while (list[i].lg2)
		i++;
	if (i + 1 < TDP_LEVELS_MAX)
		list[i] = *v;
	return 0;
}

static void op_zap_table(struct run *r)
{
	struct tdp_visit list[TDP_LEVELS_MAX];
	struct model_rules rules = {.any_size = false};
	uint32_t as_id, n = 0;
	uint64_t gfn = any_gfn(r, &as_id), pages;

	memset(list, 0, sizeof(list));
	tdp_walk(r->vm.mm, as_id, bytes(gfn, 1), TDP_WALK_TABLE_PRE, pick_table, list);
	while (list[n].lg2)
		n++;
	if (!n)
		return;
	n = (uint32_t)test_below(&r->rand, n);
	if (list[n].lg2 > 30 && !test_one_in(&r->rand, 20))
		return;
	pages = (uint64_t)1 << (list[n].lg2 - TDP_PAGE_LG2);
	gfn = (list[n].gpa >> TDP_PAGE_LG2) & ~(pages - 1);
	expect(r, "tdp_zap_table", tdp_zap_table(r->vm.mm, list[n].pa), TDP_OK);
	rules.unmap_gfn = gfn;
	rules.unmap_end = gfn + pages;
	model_observe(&r->m, as_id, gfn, gfn + pages, &rules);
	if (test_one_in(&r->rand, 8))
		expect(r, "tdp_zap_table again", tdp_zap_table(r->vm.mm, list[n].pa), TDP_ENOENT);
}

static void op_compact(struct run *r)
{
	struct model_rules same = {.any_size = false};
	struct span p = any_span(r);
	int status = tdp_compact(r->vm.mm, p.as_id, p.range);

	if (status < 0)
		model_complain(&r->m, "tdp_compact: %d", status);
	model_observe(&r->m, p.as_id, p.gfn, p.gfn + p.pages, &same);
}

#endif
