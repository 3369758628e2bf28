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
#include "ops.h"

#include <getopt.h>

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

static int run(const struct test_format *fmt, uint64_t count, uint64_t seed, uint64_t from)
{
	uint32_t big = fmt->format == TDP_FMT_TEST ? 24 : fmt->tree_levels > 2 ? 30 : 21;
	static struct run r;
	const struct op *op;
	struct test_rand rand;
	uint64_t bad = 0;
	unsigned i;
	int status;

	test_rand_init(&rand, seed);
	status = run_open(&r, fmt, &rand, big);
	if (status < 0) {
		fprintf(stderr, "%s: cannot start: %s\n", fmt->name, tdp_status_name(status));
		return 1;
	}
	for (i = 0; i < 6; i++)
		op_slot_add(&r);
	for (r.op = 0; r.op < count && !bad; r.op++) {
		op = pick(&r.rand);
		run_op(&r, op);
		for (i = 0; i < 2; i++) {
			uint32_t as_id;
			uint64_t gfn = any_gfn(&r, &as_id);

			model_check_page(&r.m, as_id, gfn);
		}
		if (r.op >= from || r.op % 2048 == 0)
			compare_all(&r);
		if (r.op >= from || r.op % 4096 == 0)
			bad = test_vm_check(&r.vm);
		bad += r.m.complaints + atomic_load(&r.vm.env.violations);
	}
	if (bad)
		fprintf(stderr, "%s: failed at operation %llu (%s)\n", fmt->name, (ull)r.op - 1,
			op->name);
	bad += run_close(&r);
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
