/* SPDX-License-Identifier: BSD-2-Clause */
/* All operations, and a machine with its model for them: what random_ops and the fuzzer share. */
#ifndef TESTS_MODEL_OPS_H
#define TESTS_MODEL_OPS_H

#include "ops_bad.h"
#include "ops_look.h"
#include "ops_map.h"
#include "ops_slot.h"
#include "ops_state.h"
#include "ops_zap.h"

static void op_rcu(struct run *r)
{
	(void)r;
	test_rcu_run();
}

static void op_yield(struct run *r)
{
	test_env_yield(&r->vm.env, test_one_in(&r->rand, 2) ? TEST_YIELD_NEVER : TEST_YIELD_NTH,
		       1 + test_below(&r->rand, 3));
}

static void op_starve(struct run *r);

static const struct op {
	const char *name;
	void (*fn)(struct run *r);
	uint32_t weight; /* among random ones */
} ops[] = {
	{"access", op_access, 7000},
	{"prefetch", op_prefetch, 200},
	{"populate", op_populate, 60},
	{"zap", op_zap, 150},
	{"invalidate", op_invalidate, 150},
	{"zap_table", op_zap_table, 20},
	{"roots", op_roots, 6},
	{"compact", op_compact, 20},
	{"write_protect", op_write_protect, 100},
	{"log", op_log, 25},
	{"harvest", op_harvest, 300},
	{"dirty_clear", op_dirty_clear, 100},
	{"mark", op_mark, 50},
	{"age", op_age, 300},
	{"split", op_split, 60},
	{"collapse", op_collapse, 80},
	{"max_lg2", op_max_lg2, 100},
	{"slot_add", op_slot_add, 25},
	{"slot_remove", op_slot_remove, 8},
	{"slot_move", op_slot_move, 10},
	{"slot_flags", op_slot_flags, 10},
	{"slot_find", op_slot_find, 50},
	{"track", op_track, 30},
	{"owner", op_owner, 20},
	{"fail", op_fail, 30},
	{"set_as", op_set_as, 50},
	{"vcpu", op_vcpu, 10},
	{"hold", op_hold, 20},
	{"look", op_look, 40},
	{"bad", op_bad, 150},
	{"starve", op_starve, 100},
	{"rcu", op_rcu, 100},
	{"yield", op_yield, 20},
};

static void run_op(struct run *r, const struct op *op)
{
	snprintf(r->m.where, sizeof(r->m.where), "op %llu (%s)", (ull)r->op, op->name);
	op->fn(r);
}

/* Everything that the model knows: mappings, logs, ages. Changes nothing. */
static void compare_all(struct run *r)
{
	uint32_t i;

	model_check_all(&r->m);
	for (i = 0; i < MODEL_SLOTS; i++) {
		struct model_slot *s = &r->m.slot[i];
		size_t words = (size_t)((s->pages + 63) / 64);

		if (!s->live || s->log == TDP_LOG_OFF)
			continue;
		expect(r, "tdp_dirty_get", tdp_dirty_get(r->vm.mm, s->id, 0, r->bitmap, words),
		       TDP_OK);
		model_log_compare(&r->m, s, 0, r->bitmap, words);
	}
	for (i = 0; i < r->m.windows * MODEL_AS; i++) {
		const struct model_window *w = &r->m.win[i / MODEL_AS];
		struct span p = span_of(i % MODEL_AS, w->gfn, w->pages);

		if (tdp_age_bitmap(r->vm.mm, p.as_id, p.range, false, r->bitmap,
				   (size_t)((p.pages + 63) / 64)) < 0)
			model_complain(&r->m, "tdp_age_bitmap");
		young_bits(r, &p);
	}
}

/* Memory runs out during one operation. */
static void op_starve(struct run *r)
{
	const struct op *op = &ops[test_below(&r->rand, ARRAY_LEN(ops))];

	snprintf(r->m.where, sizeof(r->m.where), "op %llu (%s, short of memory)", (ull)r->op,
		 op->name);
	r->starving = true;
	test_env_fail(&r->vm.env, 1 + (int64_t)test_below(&r->rand, 8));
	op->fn(r);
	test_env_fail(&r->vm.env, 0);
	r->starving = r->limited;
}

/* big: log2 of the largest huge page that there shall be room for. */
static int run_open(struct run *r, const struct test_format *fmt, const struct test_rand *rand,
		    uint32_t big)
{
	struct test_vm_options opts = {.cpus = CPUS};
	uint64_t huge = (uint64_t)1 << (big - TDP_PAGE_LG2);
	struct model_window win[3];
	int status;

	memset(r, 0, sizeof(*r));
	r->rand = *rand;
	opts.chunk_lg2 = test_one_in(&r->rand, 2)   ? TEST_CHUNK_SMALL
			 : test_one_in(&r->rand, 8) ? 21
						    : 17; /* the least for any root */
	opts.env_flags = test_one_in(&r->rand, 3) ? TEST_ENV_HOOKS : 0;
	opts.emu_flags = test_one_in(&r->rand, 3) ? TDP_EMU_CHECK_TWINS : 0;
	opts.mm_flags = test_one_in(&r->rand, 4) ? TDP_MM_SCRUB : 0;
	opts.mm_flags |= test_one_in(&r->rand, 4) ? TDP_MM_NO_MMIO_CACHE : 0;
	opts.mm_flags |= test_one_in(&r->rand, 4) ? TDP_MM_SLOT_ZAP_ALL : 0;
	opts.mm_flags |= test_one_in(&r->rand, 4) ? TDP_MM_FLUSH_ON_AGE : 0;
	/* The least that must do: a valid root of each address space, and old ones that somebody holds. */
	opts.max_roots = test_one_in(&r->rand, 4) ? MODEL_AS + CPUS + HELD : 0;
	r->limited = r->starving = test_one_in(&r->rand, 8);
	if (r->limited)
		opts.table_limit =
			(2 * fmt->root_pages + 40 + test_below(&r->rand, 256)) * TEST_PAGE;
	r->by_mode = fmt->format != TDP_FMT_NPT && test_one_in(&r->rand, 2);
	opts.with_caps = r->by_mode ? TDP_CAP_EXEC_BY_MODE : 0;
	status = test_vm_init(&r->vm, fmt, &opts);
	if (status < 0)
		return status;
	win[0].gfn = 0;
	win[0].pages = 4096;
	win[1].gfn = ((uint64_t)1 << 18) - 512;
	win[1].pages = huge + 1024;
	if (big != 30)
		win[1].pages += 4096;
	win[2].pages = 2048;
	win[2].gfn = (test_vm_size(&r->vm) >> TDP_PAGE_LG2) - win[2].pages;
	r->bitmap = malloc((win[1].pages / 64 + 64) * sizeof(*r->bitmap));
	if (!r->bitmap)
		return TDP_ENOMEM;
	return model_init(&r->m, &r->vm, win, 3);
}

/* The number of complaints, in all. */
static uint64_t run_close(struct run *r)
{
	uint64_t bad = r->m.complaints;
	uint32_t i;

	snprintf(r->m.where, sizeof(r->m.where), "end");
	test_env_fail(&r->vm.env, 0);
	r->starving = false;
	if (!bad)
		compare_all(r);
	bad = r->m.complaints;
	for (i = 0; i < MODEL_SLOTS; i++)
		if (r->m.slot[i].live && !bad)
			slot_remove(r, i);
	for (i = 0; i < HELD; i++)
		if (r->held[i] && tdp_root_put(r->vm.mm, r->held[i]) < 0)
			model_complain(&r->m, "tdp_root_put");
	bad = r->m.complaints;
	if (!bad)
		bad += test_vm_check(&r->vm);
	bad += test_vm_fini(&r->vm);
	for (i = 0; i < MODEL_SLOTS; i++)
		drop_backing(r, i);
	model_fini(&r->m);
	free(r->bitmap);
	return bad;
}

#endif
