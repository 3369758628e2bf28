/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulated walker, told which leaves changed: it drops those, and nothing else of what it has cached.
 *
 * Guest-physical page i is at P(32 + i), through 4K leaves in page 3; the 2M after them are one huge page.
 */
#include "emu_tables.h"

#define MB2 0x200000ull
#define HUGE_PA 0x40000000ull
#define GP(i) ((uint64_t)(i)*0x1000)
#define GPAGE(i) page[32 + (i)]
#define DATA 9

static void build(struct rig *r)
{
	rig_open(r, tdp_emu_config_default());
	r->page[0][0] = P(1) | 7;
	r->page[1][0] = P(2) | 7;
	r->page[2][0] = P(3) | 7;
	r->page[2][1] = HUGE_PA | 0xb7;
	for (unsigned i = 0; i < 32; i++)
		r->page[3][i] = P(32 + i) | 0x37;
	assert_int_equal(load_root(r, r->v, TDP_FMT_EPT, P(0) | 0x1e, 0, TDP_ROOT_FLUSH), TDP_OK);
}

static void flush_leaves(struct rig *r, uint64_t start, uint64_t size, uint32_t levels)
{
	tdp_emu_backend.flush_leaves(r->emu, (struct tdp_range){start, size}, levels);
}

/* References of an access; 0: a TLB hit. */
static uint32_t refs(struct rig *r, uint64_t gpa)
{
	assert_int_equal(tdp_emu_access(r->v, gpa, TDP_R, &r->exit), TDP_EMU_OK);
	return r->exit.refs;
}

static void only_leaves_of_these_levels_go(void **state)
{
	/* Wide: slot by slot; narrow: block by block. */
	const uint64_t sizes[] = {2 * MB2, GP(2)};
	struct rig r;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		const uint64_t at = i ? MB2 - GP(1) : 0, size = sizes[i];

		build(&r);
		r.page[3][511] = P(40) | 0x37;
		refs(&r, MB2 - GP(1));
		refs(&r, MB2);
		flush_leaves(&r, at, size, 0x1);
		assert_int_equal(refs(&r, MB2), 0);
		assert_int_equal(refs(&r, MB2 - GP(1)), 1); /* it still knows the way */
		flush_leaves(&r, at, size, 0x2);
		assert_int_equal(refs(&r, MB2 - GP(1)), 0);
		assert_int_equal(refs(&r, MB2), 1);
		flush_leaves(&r, at, size, 0x3);
		assert_int_equal(refs(&r, MB2), 1);
		assert_int_equal(refs(&r, MB2 - GP(1)), 1);
		flush_leaves(&r, at, size, 0x4);
		assert_int_equal(refs(&r, MB2), 0);
		assert_int_equal(refs(&r, MB2 - GP(1)), 0);
		flush_range(&r, at, size);
		assert_int_equal(refs(&r, MB2 - GP(1)), 4);
		assert_int_equal(refs(&r, MB2), 1); /* the way to it is known again by now */
		/* Outside of the range nothing goes. */
		flush_leaves(&r, 2 * MB2, 2 * MB2, 0xff);
		flush_leaves(&r, 0, 0, 0xff);
		assert_int_equal(refs(&r, MB2 - GP(1)), 0);
		assert_int_equal(stats_of(&r).flush_leaves, 6);
		assert_int_equal(stats_of(&r).flush_range, 7);
		rig_close(&r);
	}
}

static uint32_t gva_refs(struct rig *r, uint64_t gva, uint64_t gpa)
{
	assert_int_equal(tdp_emu_access_gva(r->v, gva, TDP_R, &r->exit), TDP_EMU_OK);
	assert_int_equal(r->exit.gpa, gpa);
	return r->exit.refs;
}

/*
 * A translation of both stages has the level of the second one's leaf, whatever the size of the guest's page, and goes
 * with the leaves that the guest's tables were read through.
 */
static void combined_ones_have_the_level_of_the_second_stage(void **state)
{
	const uint64_t gva = 0x8080604000ull; /* index 1, 2, 3, 4 */
	struct rig r;

	(void)state;
	build(&r);
	r.GPAGE(0)[1] = GP(1) | 0x27;
	r.GPAGE(1)[2] = GP(2) | 0x27;
	r.GPAGE(2)[3] = GP(3) | 0x27;
	r.GPAGE(3)[4] = GP(DATA) | 0x67;
	r.GPAGE(3)[5] = (MB2 + GP(7)) | 0x67; /* 4K of a huge page */
	assert_int_equal(tdp_emu_set_stage1(r.v, TDP_EMU_S1_X86_4, GP(0)), TDP_OK);
	gva_refs(&r, gva, GP(DATA));
	gva_refs(&r, gva + GP(1), MB2 + GP(7));
	flush_leaves(&r, 0, 2 * MB2, 0x4);
	flush_leaves(&r, GP(DATA), GP(1), 0x2);
	flush_leaves(&r, MB2 + GP(7), GP(1), 0x1);
	assert_int_equal(gva_refs(&r, gva, GP(DATA)), 0);
	assert_int_equal(gva_refs(&r, gva + GP(1), MB2 + GP(7)), 0);
	flush_leaves(&r, GP(DATA), GP(1), 0x1);
	assert_int_equal(gva_refs(&r, gva + GP(1), MB2 + GP(7)), 0);
	assert_int_not_equal(gva_refs(&r, gva, GP(DATA)), 0);
	flush_leaves(&r, MB2 + GP(7), GP(1), 0x2);
	assert_int_equal(gva_refs(&r, gva, GP(DATA)), 0);
	assert_int_not_equal(gva_refs(&r, gva + GP(1), MB2 + GP(7)), 0);
	/* The guest's tables are on 4K leaves … */
	flush_leaves(&r, GP(2), GP(1), 0x2);
	assert_int_equal(gva_refs(&r, gva, GP(DATA)), 0);
	flush_leaves(&r, GP(2), GP(1), 0x1);
	assert_int_not_equal(gva_refs(&r, gva, GP(DATA)), 0);
	assert_int_not_equal(gva_refs(&r, gva + GP(1), MB2 + GP(7)), 0);
	rig_close(&r);
}

/* … and where one was met on leaves of two sizes, it goes with either. */
static void guest_tables_may_have_been_on_two_sizes(void **state)
{
	const uint64_t gva = 0x8080604000ull, low = 30;
	struct rig r;

	(void)state;
	for (uint32_t levels = 1; levels <= 2; levels++) {
		build(&r);
		/* The huge page is made of the same memory as the small ones: P(32) is at 0x10020000. */
		r.page[2][4] = (P(0) & ~(MB2 - 1)) | 0xb7;
		r.GPAGE(0)[1] = (4 * MB2 + P(33) % MB2) | 0x27;
		r.GPAGE(1)[2] = GP(2) | 0x27;
		r.GPAGE(2)[3] = GP(3) | 0x27;
		r.GPAGE(3)[4] = GP(DATA) | 0x67;
		r.GPAGE(3)[5] = GP(DATA + 1) | 0x67;
		assert_int_equal(tdp_emu_set_stage1(r.v, TDP_EMU_S1_X86_4, GP(0)), TDP_OK);
		gva_refs(&r, gva, GP(DATA));
		/* Split, and nobody was told; the next walk of the guest's tables uses a small page. */
		r.page[2][4] = P(low) | 7;
		for (unsigned i = 0; i < 512; i++)
			r.page[low][i] = ((P(0) & ~(MB2 - 1)) + GP(i)) | 0x37;
		flush_leaves(&r, 4 * MB2 + P(33) % MB2 + GP(1), GP(1), 0x2);
		gva_refs(&r, gva + GP(1), GP(DATA + 1));
		assert_int_equal(gva_refs(&r, gva, GP(DATA)), 0);
		flush_leaves(&r, 4 * MB2 + P(33) % MB2, GP(1), levels);
		assert_int_not_equal(gva_refs(&r, gva, GP(DATA)), 0);
		rig_close(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_leaves_of_these_levels_go),
		cmocka_unit_test(combined_ones_have_the_level_of_the_second_stage),
		cmocka_unit_test(guest_tables_may_have_been_on_two_sizes),
	};

	return cmocka_run_group_tests_name("emu_levels", tests, NULL, NULL);
}
