/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * X02, Xen on Arm 2022 (XSA-409): by shuffling its memory about a guest made the host allocate tables without
 * end; and when there was a limit it was compared with the wrong number. Here a guest faults all over its space
 * under a limit: the tables in use never pass it, at the limit a fault is told that there is no memory, what is
 * mapped stays usable, another VM does not notice, and after a zap there is room again.
 */
#include "museum.h"

#define LIMIT_TABLES 40u

static void sparse_faults(void **state)
{
	const struct test_format *fmt = *state;
	struct test_vm vm, other;
	uint64_t stride;
	/* A fault of the test format keeps many tables at hand: it may have to split over two levels. */
	uint64_t tables = LIMIT_TABLES + (fmt->format == TDP_FMT_TEST ? 300 : 0);

	for (unsigned round = 0; round < 3; round++) {
		/* Whole pages, and half of one more. */
		uint64_t limit = tables * TEST_PAGE + round * TEST_PAGE / 2;
		unsigned mapped = 0, refused = 0;

		museum_start(&other, state, NULL);
		museum_start(&vm, state, &(struct test_vm_options){.table_limit = limit});
		museum_slot(&other, 0, TEST_PAGE, MUSEUM_PA);
		stride = museum_huge(&vm);
		assert_int_equal(
			test_vm_slot(&vm, 0, 0, 1000 * stride, MUSEUM_PA, TDP_SLOT_FORCE_4K, NULL),
			TDP_OK);
		for (unsigned i = 0; i < 1000; i++) {
			struct test_access a;
			int answer = test_vm_access(&vm, 0, i * stride, TDP_W, &a);

			assert_in_range(atomic_load(&vm.env.table_pages), 1, limit / TEST_PAGE);
			if (answer == TEST_OK) {
				mapped++;
				continue;
			}
			assert_int_equal(answer, TEST_STATUS);
			assert_int_equal(a.outcome, TDP_ENOMEM);
			refused++;
		}
		assert_true(mapped > 0 && refused > 0);
		museum_is_there(&vm, 0, TDP_W, MUSEUM_PA);
		museum_reaches(&other, 0, TDP_W, MUSEUM_PA);
		assert_int_equal(tdp_zap(vm.mm, 0, museum_range(0, test_vm_size(&vm)), 0), TDP_OK);
		test_rcu_run();
		museum_reaches(&vm, 999 * stride, TDP_W, MUSEUM_PA + 999 * stride);
		assert_in_range(atomic_load(&vm.env.table_pages), 1, limit / TEST_PAGE);
		museum_end(&vm);
		museum_end(&other);
	}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(sparse_faults)};

	return test_run("museum/X02", cases, ARRAY_LEN(cases));
}
