/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random operations on one machine per format, against the flat model and the emulated walker.
 *
 *   random_ops [--format NAME] [--ops N] [--seed S] [--from N]
 *
 * Without --format every format runs. TDP_OPS and TDP_SEED are the defaults of --ops and --seed. A
 * failure says at which operation it was seen and how to run the same again; from --from on
 * everything is compared after every operation, which finds the one that did it.
 */
#include "ops_map.h"
#include "ops_slot.h"
#include "ops_state.h"
#include "ops_zap.h"

#include <getopt.h>

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

static const struct op {
	const char *name;
	void (*fn)(struct run *r);
	uint32_t weight;
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
	{"fail", op_fail, 30},
	{"set_as", op_set_as, 50},
	{"rcu", op_rcu, 100},
	{"yield", op_yield, 20},
};

static const struct op *pick(struct test_rand *rand)
{
	uint64_t n, total = 0;
	size_t i;

	for (i = 0; i < ARRAY_LEN(ops); i++)
		total += ops[i].weight;
	n = test_below(rand, total);
	for (i = 0; n >= ops[i].weight; i++)
		n -= ops[i].weight;
	return &ops[i];
}

static int setup(struct run *r, const struct test_format *fmt, uint64_t seed)
{
	struct test_vm_options opts = {.cpus = CPUS};
	uint32_t big = fmt->format == TDP_FMT_TEST ? 24 : fmt->tree_levels > 2 ? 30 : 21;
	uint64_t huge = (uint64_t)1 << (big - TDP_PAGE_LG2);
	struct model_window win[3];
	int status;

	memset(r, 0, sizeof(*r));
	test_rand_init(&r->rand, seed);
	opts.chunk_lg2 = test_one_in(&r->rand, 2) ? TEST_CHUNK_SMALL : 0;
	opts.env_flags = test_one_in(&r->rand, 3) ? TEST_ENV_HOOKS : 0;
	opts.emu_flags = test_one_in(&r->rand, 3) ? TDP_EMU_CHECK_TWINS : 0;
	opts.mm_flags = test_one_in(&r->rand, 4) ? TDP_MM_SCRUB : 0;
	opts.mm_flags |= test_one_in(&r->rand, 4) ? TDP_MM_NO_MMIO_CACHE : 0;
	opts.mm_flags |= test_one_in(&r->rand, 4) ? TDP_MM_SLOT_ZAP_ALL : 0;
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

static uint64_t finish(struct run *r)
{
	uint64_t bad = r->m.complaints;
	uint32_t i;

	for (i = 0; i < MODEL_SLOTS; i++)
		if (r->m.slot[i].live && !bad)
			slot_remove(r, i);
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

static int run(const struct test_format *fmt, uint64_t count, uint64_t seed, uint64_t from)
{
	static struct run r;
	const struct op *op;
	uint64_t bad = 0;
	int status = setup(&r, fmt, seed);
	unsigned i;

	if (status < 0) {
		fprintf(stderr, "%s: cannot start: %s\n", fmt->name, tdp_status_name(status));
		return 1;
	}
	for (i = 0; i < 6; i++)
		op_slot_add(&r);
	for (r.op = 0; r.op < count && !bad; r.op++) {
		op = pick(&r.rand);
		snprintf(r.m.where, sizeof(r.m.where), "op %llu (%s)", (ull)r.op, op->name);
		op->fn(&r);
		if (r.op >= from || r.op % 2048 == 0)
			model_check_all(&r.m);
		if (r.op >= from || r.op % 4096 == 0)
			bad = test_vm_check(&r.vm);
		for (i = 0; i < 2; i++) {
			uint32_t as_id;
			uint64_t gfn = any_gfn(&r, &as_id);

			model_check_page(&r.m, as_id, gfn);
		}
		bad += r.m.complaints + atomic_load(&r.vm.env.violations);
	}
	if (bad)
		fprintf(stderr, "%s: failed at operation %llu (%s)\n", fmt->name, (ull)r.op - 1,
			op->name);
	snprintf(r.m.where, sizeof(r.m.where), "end");
	bad += finish(&r);
	if (bad)
		fprintf(stderr,
			"again: random_ops --format %s --seed %llu --ops %llu --from %llu\n",
			fmt->name, (ull)seed, (ull)r.op, (ull)(r.op > 4096 ? r.op - 4096 : 0));
	else
		printf("%s: %llu operations\n", fmt->name, (ull)count);
	return bad != 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"format", required_argument, NULL, 'f'},
		{"ops", required_argument, NULL, 'o'},
		{"seed", required_argument, NULL, 's'},
		{"from", required_argument, NULL, 'w'},
		{NULL, 0, NULL, 0},
	};
	const struct test_format *only = NULL;
	uint64_t count = test_env_number("TDP_OPS", 20000), from = ~(uint64_t)0, seed = 0;
	bool seeded = false;
	size_t i;
	int c, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'f')
			only = test_format_find(optarg);
		if (c == '?' || (c == 'f' && !only)) {
			fprintf(stderr,
				"random_ops [--format NAME] [--ops N] [--seed S] [--from N]\n");
			return 2;
		}
		if (c == 'o')
			count = strtoull(optarg, NULL, 0);
		if (c == 's')
			seed = strtoull(optarg, NULL, 0);
		if (c == 'w')
			from = strtoull(optarg, NULL, 0);
		seeded |= c == 's';
	}
	if (!seeded)
		seed = test_seed();
	for (i = 0; i < test_format_count; i++)
		if (!only || only == &test_formats[i])
			failed += run(&test_formats[i], count, seed, from);
	return failed != 0;
}
