/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The operations of tests/model, chosen by the bytes of a fuzzer (libFuzzer, coverage-guided): the first say which
 * format and what kind of mm, the rest which operations with which operands, valid, odd, or without memory. The model
 * and the emulated walker judge; any difference ends in abort().
 *
 *   test_fuzz_ops [options of libFuzzer] [FILE or FOLDER...]
 *
 * TDP_FUZZ_TRACE=1 names each operation as it begins, to read what a FILE does.
 */
#include "model/ops.h"

/* So many operations are enough to tell of; then the input is cut off. */
#define OPS_MAX 400u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool trace = getenv("TDP_FUZZ_TRACE");
	static struct run r;
	const struct test_format *fmt;
	struct test_rand rand;
	uint64_t bad = 0, slots;

	test_rand_init(&rand, 0);
	test_rand_feed(&rand, data, size);
	fmt = &test_formats[test_below(&rand, test_format_count)];
	if (run_open(&r, fmt, &rand, fmt->format == TDP_FMT_TEST ? 24 : 21) < 0)
		abort(); /* there is memory for that */
	for (slots = test_below(&r.rand, 5); slots > 0; slots--)
		op_slot_add(&r);
	while (!bad && r.rand.left && r.op < OPS_MAX) {
		/* The others need something to do it to. */
		const struct op *op =
			&ops[test_one_in(&r.rand, 4) ? 0 : test_below(&r.rand, ARRAY_LEN(ops))];

		if (trace)
			fprintf(stderr, "%s: op %llu, %s\n", fmt->name, (ull)r.op, op->name);
		run_op(&r, op);
		if (r.op++ % 16 == 15) {
			model_check_all(&r.m);
			bad = test_vm_check(&r.vm);
		}
		bad += r.m.complaints + atomic_load(&r.vm.env.violations);
	}
	if (run_close(&r) || bad)
		abort();
	return 0;
}
