/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A10, Xen 2020 (XSA-319): when a comparison with the invalid frame number was rewritten it was turned round:
 * the dirty log passed over pages and took holes for pages. Here the range of a log has everything in it, never
 * mapped pages, unmapped ones, pages only read, pages that belong to somebody else: reported is what the guest
 * has written since the last time, and nothing else, round after round.
 */
#include "museum.h"

#define PAGES 64u

enum { HOLE, ZAPPED, READ, WRITTEN, OWNED, KINDS };

static unsigned kind_of(unsigned n, unsigned round)
{
	return (n * 7 + round * 3) % KINDS;
}

static void one_mode(void **state, uint32_t mode)
{
	struct test_vm vm;
	uint32_t slot;

	museum_start(&vm, state, NULL);
	slot = museum_slot(&vm, 0, PAGES * TEST_PAGE, MUSEUM_PA);
	assert_int_equal(tdp_dirty_log(vm.mm, slot, mode), TDP_OK);
	for (unsigned round = 0; round < 6; round++) {
		uint64_t want = 0, bits = 0;

		for (unsigned n = 0; n < PAGES; n++) {
			tdp_gpa_t gpa = n * TEST_PAGE;
			struct tdp_range one = museum_range(gpa, TEST_PAGE);

			switch (kind_of(n, round)) {
			case ZAPPED: assert_int_equal(tdp_zap(vm.mm, 0, one, 0), TDP_OK); break;
			case READ: museum_reaches(&vm, gpa, TDP_R, MUSEUM_PA + gpa); break;
			case WRITTEN:
				museum_reaches(&vm, gpa, TDP_W, MUSEUM_PA + gpa);
				want |= (uint64_t)1 << n;
				break;
			case OWNED:
				assert_int_equal(tdp_set_owner(vm.mm, 0, one, 9), TDP_OK);
				museum_answer(&vm, gpa, TDP_W, TDP_EACCES);
				break;
			default: break;
			}
		}
		assert_int_equal(tdp_dirty_get(vm.mm, slot, 0, &bits, 1), TDP_OK);
		assert_int_equal(bits, want);
		assert_int_equal(tdp_dirty_harvest(vm.mm, slot, 0, &bits, 1), TDP_OK);
		assert_int_equal(bits, want);
		assert_int_equal(tdp_set_owner(vm.mm, 0, museum_range(0, PAGES * TEST_PAGE), 0),
				 TDP_OK);
	}
	museum_end(&vm);
}

static void exactly_the_written(void **state)
{
	one_mode(state, TDP_LOG_AUTO);
	one_mode(state, TDP_LOG_WRPROT);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(exactly_the_written)};

	return test_run("museum/A10", cases, ARRAY_LEN(cases));
}
