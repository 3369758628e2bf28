/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * X07, COCONUT-SVSM 2026: unmapping a region met an address that was not mapped; the error was logged, the loop
 * variable stayed as it was, and the loop never ended. Here every operation on ranges goes over nothing at all,
 * over holes, over a checkerboard, and over pages that it has to refuse: each comes to its end in as many steps
 * as there are tables, more or less.
 */
#include "bounded.h"

#define TABLES 4u

static struct {
	struct test_vm vm;
	uint32_t slot;
	uint64_t size;
} s;

static void all_ops(struct tdp_range r)
{
	uint64_t done, bits[4], made;

	assert_true(tdp_age(s.vm.mm, 0, r, NULL) >= 0);
	assert_true(tdp_test_age(s.vm.mm, 0, r) >= 0);
	assert_int_equal(tdp_write_protect(s.vm.mm, 0, r), TDP_OK);
	assert_int_equal(tdp_split(s.vm.mm, 0, r, TDP_PAGE_LG2), TDP_OK);
	assert_int_equal(tdp_collapse(s.vm.mm, 0, r, 0, &made), TDP_OK);
	assert_int_equal(tdp_collapse(s.vm.mm, 0, r, TDP_COLLAPSE_ZAP, &made), TDP_OK);
	assert_true(tdp_compact(s.vm.mm, 0, r) >= 0);
	assert_true(tdp_populate(s.vm.mm, 0, museum_range(s.size, s.size), 0, &done) == TDP_ENOENT);
	if (tdp_dirty_get(s.vm.mm, s.slot, 0, bits, 1) == TDP_OK) {
		assert_int_equal(tdp_dirty_harvest(s.vm.mm, s.slot, 0, bits, 1), TDP_OK);
		assert_int_equal(tdp_dirty_clear(s.vm.mm, s.slot, 0, s.size / TEST_PAGE), TDP_OK);
	}
}

static void zap_all(struct tdp_range r)
{
	assert_int_equal(tdp_zap(s.vm.mm, 0, r, TDP_ZAP_KEEP_YOUNG), TDP_OK);
	assert_int_equal(tdp_zap(s.vm.mm, 0, r, 0), TDP_OK);
	assert_int_equal(tdp_zap(s.vm.mm, 0, r, 0), TDP_OK);
}

static void over(unsigned step, bool logged)
{
	struct tdp_range ranges[3];

	ranges[0] = museum_range(0, test_vm_size(&s.vm));
	ranges[1] = museum_range(TEST_PAGE, s.size);
	ranges[2] = museum_range(s.size / 2 + TEST_PAGE, TEST_PAGE);
	bounded_by(0, 0);
	if (logged)
		assert_int_equal(tdp_dirty_log(s.vm.mm, s.slot, TDP_LOG_AUTO), TDP_OK);
	for (uint64_t at = 0; step && at < s.size; at += step * TEST_PAGE)
		museum_reaches(&s.vm, at, TDP_W, MUSEUM_PA + at);
	for (int answer = 0; answer < 2; answer++) {
		for (unsigned i = 0; i < ARRAY_LEN(ranges); i++) {
			bounded_by(20000, answer);
			all_ops(ranges[i]);
		}
	}
	for (unsigned i = ARRAY_LEN(ranges); i-- > 0;) {
		bounded_by(20000, 1);
		zap_all(ranges[i]);
	}
	if (logged)
		assert_int_equal(tdp_dirty_log(s.vm.mm, s.slot, TDP_LOG_OFF), TDP_OK);
	bounded_by(0, 0);
}

static void holes(void **state)
{
	static const unsigned steps[] = {0, 1, 2, 3, 7, 100};

	museum_start(&s.vm, state, &(struct test_vm_options){.host = bounded_host});
	s.size = TABLES * museum_huge(&s.vm);
	assert_int_equal(test_vm_slot(&s.vm, 0, 0, s.size, MUSEUM_PA, 0, &s.slot), TDP_OK);
	for (unsigned i = 0; i < ARRAY_LEN(steps); i++) {
		over(steps[i], false);
		over(steps[i], true);
	}
	museum_end(&s.vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(holes)};

	return test_run("museum/X07", cases, ARRAY_LEN(cases));
}
