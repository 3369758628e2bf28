/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulated walker's nested-paging decoder against literal words of the APM (vol. 2, 5.3, 5.4,
 * 15.25). The gpa 0x8080604xxx has the index 1, 2, 3, 4 at the levels 3, 2, 1, 0.
 */
#include "emu_tables.h"

#define G 0x8080604000ull
#define PR 0x1ull
#define RW 0x2ull
#define US 0x4ull
#define A 0x20ull
#define D 0x40ull
#define PS 0x80ull
#define NX 0x8000000000000000ull
#define ALL (PR | RW | US)
#define OUT 0x123456000ull

static void build(struct rig *r, struct tdp_emu_config cfg)
{
	rig_open(r, cfg);
	r->page[0][1] = P(1) | ALL;
	r->page[1][2] = P(2) | ALL;
	r->page[2][3] = P(3) | ALL;
	r->page[3][4] = OUT | ALL;
	assert_int_equal(load_root(r, r->v, TDP_FMT_NPT, P(0), 0, TDP_ROOT_FLUSH), TDP_OK);
}

static void translates_each_level(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default());
	expect_pa(&r, G + 0x123, TDP_X, OUT + 0x123);
	assert_int_equal(r.exit.lg2, 12);
	assert_int_equal(r.exit.prot, TDP_RWX);
	assert_int_equal(r.exit.refs, 4);
	flush_all(&r);
	r.page[2][3] = 0x40a00000 | PR | US | PS | NX | 0x1000; /* bit 12 is PAT */
	expect_pa(&r, G + 0x123, TDP_R, 0x40a04123);
	assert_int_equal(r.exit.lg2, 21);
	assert_int_equal(r.exit.prot, TDP_R);
	flush_all(&r);
	r.page[1][2] = 0x80000000ull | ALL | PS | 0x1000;
	expect_pa(&r, G + 0x123, TDP_W, 0x80604123);
	assert_int_equal(r.exit.lg2, 30);
	assert_int_equal(r.exit.refs, 2);
	rig_close(&r);
}

static void five_levels(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default());
	r.page[4][7] = P(0) | ALL;
	assert_int_equal(load_root(&r, r.v, TDP_FMT_NPT, P(4), 1, TDP_ROOT_FLUSH), TDP_OK);
	expect_pa(&r, 0x7000000000000ull + G, TDP_W, OUT);
	assert_int_equal(r.exit.refs, 5);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_NPT, P(0), 0, TDP_ROOT_FLUSH), TDP_OK);
	expect_npf(&r, 0x7000000000000ull + G, TDP_W, 0x100000006ull);
	rig_close(&r);
}

static void faults_exactly(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default());
	r.page[3][5] = OUT | PR | US;
	r.page[3][6] = OUT | ALL | NX;
	r.page[3][7] = OUT | PR | RW; /* no U: nested accesses are user accesses */
	expect_npf(&r, G + 0x1000, TDP_W, 0x100000007ull);
	expect_npf(&r, G + 0x2010, TDP_X, 0x100000015ull);
	expect_npf(&r, G + 0x3000, TDP_R, 0x100000005ull);
	expect_npf(&r, G + 0x3000, TDP_W, 0x100000007ull);
	expect_npf(&r, G + 0x3000, TDP_X, 0x100000015ull);
	/* Nothing there, at each level. */
	expect_npf(&r, G + 0x4000, TDP_R, 0x100000004ull);
	expect_npf(&r, G + 0x200000, TDP_W, 0x100000006ull);
	expect_npf(&r, G + 0x40000000, TDP_X, 0x100000014ull);
	expect_npf(&r, G + 0x8000000000ull, TDP_R, 0x100000004ull);
	/* Table entries limit too. */
	r.page[1][2] = P(2) | PR | US | NX;
	flush_all(&r);
	expect_npf(&r, G, TDP_W, 0x100000007ull);
	expect_npf(&r, G, TDP_X, 0x100000015ull);
	expect_pa(&r, G, TDP_R, OUT);
	assert_int_equal(r.exit.prot, TDP_R);
	r.page[0][1] = P(1) | PR | RW;
	flush_all(&r);
	expect_npf(&r, G, TDP_R, 0x100000005ull);
	rig_close(&r);
}

/* NX is for every mode: nested paging has nothing finer, whatever the machine is asked for. */
static void execute_in_any_mode(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct tdp_backend_caps caps = {.size = (uint32_t)sizeof(caps)};
	struct tdp_fault fault;
	struct rig r;

	(void)state;
	cfg.with_caps = TDP_CAP_EXEC_BY_MODE;
	build(&r, cfg);
	assert_int_equal(tdp_emu_backend.probe(r.emu, TDP_FMT_NPT, &caps), TDP_OK);
	assert_false(caps.flags & TDP_CAP_EXEC_BY_MODE);
	r.page[3][6] = OUT | ALL | NX;
	for (unsigned user = 0; user < 2; user++) {
		uint32_t access = TDP_X | (user ? TDP_EMU_USER : 0);

		expect_pa(&r, G, access, OUT);
		assert_int_equal(r.exit.prot, TDP_RWX);
		expect_npf(&r, G + 0x2000, access, 0x100000015ull);
		assert_int_equal(r.exit.fetch, 0);
		assert_int_equal(tdp_emu_decode(&r.exit, &fault), TDP_OK);
		assert_int_equal(fault.access, TDP_X);
	}
	rig_close(&r);
}

static void reserved_bits(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct rig r;

	(void)state;
	cfg.pa_bits = 48;
	cfg.leaf_levels = 0x3;
	build(&r, cfg);
	r.page[3][4] = OUT | ALL | 1ull << 48;
	expect_npf(&r, G, TDP_R, 0x10000000dull);
	r.page[3][4] = OUT | PR | 1ull << 51; /* before permissions */
	expect_npf(&r, G, TDP_W, 0x10000000full);
	r.page[3][4] = OUT | ALL | 0x7ff0000000000f98ull; /* PWT PCD PAT G AVL and 62:52 are free */
	expect_pa(&r, G, TDP_R, OUT);
	flush_all(&r);
	r.page[2][3] = 0x40002000 | ALL | PS; /* misaligned 2M */
	expect_npf(&r, G, TDP_X, 0x10000001dull);
	r.page[1][2] = 0x80000000ull | ALL | PS; /* 1G on a machine without */
	flush_all(&r);
	expect_npf(&r, G, TDP_R, 0x10000000dull);
	/* Bits 7 and 8 of a PML4 entry must be zero; what is below is in order again. */
	r.page[1][2] = P(2) | ALL;
	r.page[2][3] = P(3) | ALL;
	r.page[0][1] = P(1) | ALL | PS;
	flush_all(&r);
	expect_npf(&r, G, TDP_R, 0x10000000dull);
	r.page[0][1] = P(1) | ALL | 0x100;
	expect_npf(&r, G, TDP_R, 0x10000000dull);
	r.page[0][1] = P(1) | ALL | 0x58; /* PWT, PCD and bit 6 are not looked at */
	r.page[1][2] = P(2) | ALL | 0x100;
	expect_pa(&r, G, TDP_R, OUT);
	rig_close(&r);
}

static void accessed_and_dirty(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default());
	expect_pa(&r, G, TDP_R, OUT);
	assert_int_equal(r.page[0][1], P(1) | ALL | A);
	assert_int_equal(r.page[1][2], P(2) | ALL | A);
	assert_int_equal(r.page[2][3], P(3) | ALL | A);
	assert_int_equal(r.page[3][4], OUT | ALL | A);
	expect_pa(&r, G, TDP_W, OUT);
	assert_true(r.exit.refs > 0);
	assert_int_equal(r.page[3][4], OUT | ALL | A | D);
	expect_pa(&r, G, TDP_W, OUT);
	assert_int_equal(r.exit.refs, 0);
	/* Written first: both at once. */
	r.page[3][5] = OUT | ALL;
	expect_pa(&r, G + 0x1000, TDP_W, OUT);
	assert_int_equal(r.page[3][5], OUT | ALL | A | D);
	/* A denied write sets nothing in the leaf. */
	r.page[3][6] = OUT | PR | US;
	expect_npf(&r, G + 0x2000, TDP_W, 0x100000007ull);
	assert_int_equal(r.page[3][6], OUT | PR | US);
	rig_close(&r);
}

static void bad_root_is_refused(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct rig r;

	(void)state;
	cfg.pa_bits = 40;
	cfg.max_levels = 4;
	build(&r, cfg);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_NPT, P(0) | 0x1, 0, 0), TDP_EINVAL);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_NPT, P(0) | 1ull << 40, 0, 0), TDP_EINVAL);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_NPT, P(0), 1, 0), TDP_EINVAL);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_NPT, P(0), 2, 0), TDP_EINVAL);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_NPT, P(0) | 0x18, 0, 0), TDP_OK);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(translates_each_level), cmocka_unit_test(five_levels),
		cmocka_unit_test(faults_exactly),        cmocka_unit_test(execute_in_any_mode),
		cmocka_unit_test(reserved_bits),         cmocka_unit_test(accessed_and_dirty),
		cmocka_unit_test(bad_root_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
