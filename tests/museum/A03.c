/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A03, Xen 2011: memory that is populated on demand was mapped writable at the first touch while the log was
 * on, and nobody noted it: the migrated guest lacked those pages. Here pages that were never mapped are read,
 * written, read and then written, or populated, while the log is on: in the log is exactly what was written,
 * and no page that is not can be written without a fault.
 */
#include "museum.h"

#define PAGES 32u

enum { NOTHING, READ, WRITTEN, READ_WRITTEN, POPULATED, POPULATED_WRITTEN, KINDS };

static void logged(void **state, uint32_t mode, uint32_t populate)
{
	struct test_vm vm;
	uint64_t want = 0, bits = 0;
	uint32_t slot;

	museum_start(&vm, state, NULL);
	slot = museum_slot(&vm, 0, PAGES * TEST_PAGE, MUSEUM_PA);
	assert_int_equal(tdp_dirty_log(vm.mm, slot, mode), TDP_OK);
	for (unsigned n = 0; n < PAGES; n++) {
		tdp_gpa_t gpa = n * TEST_PAGE;
		unsigned kind = n % KINDS;

		if (kind == READ || kind == READ_WRITTEN)
			museum_reaches(&vm, gpa, TDP_R, MUSEUM_PA + gpa);
		if (kind == POPULATED || kind == POPULATED_WRITTEN)
			assert_int_equal(tdp_populate(vm.mm, 0, museum_range(gpa, TEST_PAGE),
						      populate, NULL),
					 TDP_OK);
		if (kind == WRITTEN || kind == READ_WRITTEN || kind == POPULATED_WRITTEN) {
			museum_reaches(&vm, gpa, TDP_W, MUSEUM_PA + gpa);
			want |= (uint64_t)1 << n;
		}
	}
	assert_int_equal(tdp_dirty_get(vm.mm, slot, 0, &bits, 1), TDP_OK);
	assert_int_equal(bits, want);
	/* Whatever is not in the log now comes into it with its first write. */
	for (unsigned n = 0; n < PAGES; n++)
		museum_reaches(&vm, n * TEST_PAGE, TDP_W, MUSEUM_PA + n * TEST_PAGE);
	assert_int_equal(tdp_dirty_harvest(vm.mm, slot, 0, &bits, 1), TDP_OK);
	assert_int_equal(bits, 0xffffffffu);
	museum_end(&vm);
}

static void first_touch(void **state)
{
	static const uint32_t modes[] = {TDP_LOG_AUTO, TDP_LOG_WRPROT};
	static const uint32_t flags[] = {0, TDP_POPULATE_READ, TDP_POPULATE_YOUNG};

	for (unsigned i = 0; i < ARRAY_LEN(modes); i++)
		for (unsigned j = 0; j < ARRAY_LEN(flags); j++)
			logged(state, modes[i], flags[j]);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(first_touch)};

	return test_run("museum/A03", cases, ARRAY_LEN(cases));
}
