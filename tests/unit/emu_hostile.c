/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulated walker's decoder of the hostile test format against literal words.
 * The gpa 0x12345xxx has the index 1, 2, 3, 4, 5 at the levels 4 to 0.
 */
#include "emu_tables.h"

#define G 0x12345000ull
#define OUT 0x123456000ull
#define ABSENT 0x8000000000000000ull
#define TABLE 1ull
#define LEAF 2ull
#define DENY_R 4ull
#define W 8ull
#define XS 0x10ull
#define XU 0x80000ull
#define X (XS | XU)
#define D 0x20ull
#define A 0x40ull
#define HW 5ull
#define HW_AD 0x305ull
#define OUT_FIELD 0x12345600000ull /* OUT >> 12 << 20 */

static uint64_t rot(uint64_t v, unsigned level)
{
	unsigned n = 3 + 7 * level;

	return v << n | v >> (64 - n);
}

static uint64_t table(unsigned page, unsigned level)
{
	return rot(P(page) << 8 | TABLE, level);
}

static void build(struct rig *r, struct tdp_emu_config cfg, uint64_t hw1)
{
	rig_open(r, cfg);
	for (unsigned l = 4; l; l--) {
		/* Everything else is absent, not zero: zero would be a present, reserved word. */
		for (unsigned i = 0; i < 16; i++)
			r->page[4 - l][i] = rot(ABSENT, l);
		r->page[4 - l][5 - l] = table(5 - l, l);
	}
	for (unsigned i = 0; i < 16; i++)
		r->page[4][i] = rot(ABSENT, 0);
	r->page[4][5] = rot(OUT_FIELD | LEAF | W | X, 0);
	assert_int_equal(load_root(r, r->v, TDP_FMT_TEST, P(0), hw1, TDP_ROOT_FLUSH), TDP_OK);
}

static void literal_words(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default(), HW);
	/*
	 * The leaf 0x0000012345600002 (R only) rotated by 3, written down once without any
	 * helper.
	 */
	r.page[4][5] = 0x0000091a2b000010ull;
	expect_pa(&r, G + 0x123, TDP_R, OUT + 0x123);
	assert_int_equal(r.exit.prot, TDP_R);
	rig_close(&r);
}

static void translates_each_level(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default(), HW);
	expect_pa(&r, G + 0x123, TDP_W, OUT + 0x123);
	assert_int_equal(r.exit.lg2, 12);
	assert_int_equal(r.exit.refs, 5);
	flush_all(&r);
	r.page[3][4] = rot(0x7fff000000ull | LEAF | W, 1); /* pa 0x7fff0000 */
	expect_pa(&r, G + 0x123, TDP_W, 0x7fff5123ull);
	assert_int_equal(r.exit.lg2, 16);
	flush_all(&r);
	r.page[1][2] = rot(0x500000000ull | LEAF | X, 3); /* pa 0x5000000 */
	expect_pa(&r, G + 0x123, TDP_X, 0x5345123ull);
	assert_int_equal(r.exit.lg2, 24);
	assert_int_equal(r.exit.refs, 2);
	expect_test(&r, 0x100000000ull, TDP_R, 0x01); /* 33 bits */
	rig_close(&r);
}

static void faults_exactly(void **state)
{
	static const uint64_t absent[] = {
		ABSENT, ABSENT | A, ABSENT | 3, ABSENT | 1 | 7ull << 20,
		ABSENT | OUT_FIELD | LEAF | W | X,
	};
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default(), HW);
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
		r.page[4][5] = rot(absent[i], 0);
		expect_test(&r, G, TDP_W, 0x02);
	}
	r.page[4][5] = rot(OUT_FIELD | LEAF | X | DENY_R, 0);
	expect_test(&r, G + 4, TDP_R, 0x09);
	expect_test(&r, G + 4, TDP_W, 0x0a);
	expect_pa(&r, G, TDP_X, OUT);
	flush_all(&r);
	r.page[4][5] = rot(OUT_FIELD | LEAF | W, 0);
	expect_test(&r, G, TDP_X, 0x0c);
	expect_test(&r, G + 0x100000, TDP_R, 0x01);
	rig_close(&r);
}

static void reserved_words(void **state)
{
	static const uint64_t bad[] = {
		0,
		OUT_FIELD | 3,
		OUT_FIELD | TABLE, /* types; a table at level 0 */
		OUT_FIELD | LEAF | W | DENY_R,
		OUT_FIELD | LEAF | XS,
		OUT_FIELD | LEAF | XU, /* modes are alike here */
		OUT_FIELD | LEAF | 1ull << 57,
		OUT_FIELD | LEAF | 1ull << 62,
		OUT_FIELD | LEAF | 4ull << 13,
	};
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default(), HW);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		r.page[4][5] = rot(bad[i], 0);
		expect_test(&r, G, TDP_R, 0x11);
	}
	/* host_w to saved XS, UC, saved XU: all free */
	r.page[4][5] = rot(OUT_FIELD | LEAF | 0x77f80ull | 1ull << 56, 0);
	expect_pa(&r, G, TDP_R, OUT);
	flush_all(&r);
	r.page[3][4] = rot(0x7fff100000ull | LEAF, 1); /* misaligned */
	expect_test(&r, G, TDP_W, 0x12);
	r.page[2][3] = rot(LEAF, 2); /* no leaves here */
	flush_all(&r);
	expect_test(&r, G, TDP_X, 0x14);
	/* Tables have no A; what is below is in order again. */
	r.page[3][4] = table(4, 1);
	r.page[2][3] = rot(P(3) << 8 | TABLE | A, 2);
	expect_test(&r, G, TDP_R, 0x11);
	r.page[0][1] = rot(LEAF, 4);
	flush_all(&r);
	expect_test(&r, G, TDP_R, 0x11);
	rig_close(&r);
}

static void execute_by_mode(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct rig r;

	(void)state;
	cfg.with_caps = TDP_CAP_EXEC_BY_MODE;
	build(&r, cfg, HW);
	expect_pa(&r, G, TDP_X, OUT);
	expect_pa(&r, G, TDP_X | TDP_EMU_USER, OUT);
	flush_all(&r);
	r.page[4][5] = rot(OUT_FIELD | LEAF | XS, 0);
	expect_pa(&r, G, TDP_X, OUT);
	assert_int_equal(r.exit.prot, TDP_R | TDP_XS);
	expect_test(&r, G, TDP_X | TDP_EMU_USER, 0x0c);
	assert_int_equal(r.exit.fetch, TDP_XU);
	flush_all(&r);
	r.page[4][5] = rot(OUT_FIELD | LEAF | DENY_R | XU, 0);
	expect_pa(&r, G, TDP_X | TDP_EMU_USER, OUT);
	expect_test(&r, G, TDP_X, 0x0c);
	assert_int_equal(r.exit.fetch, TDP_XS);
	expect_test(&r, G, TDP_R, 0x09);
	assert_int_equal(r.exit.fetch, 0);
	rig_close(&r);
	/* Nor is either alone legal without execute-only. */
	cfg.without_caps = TDP_CAP_EXEC_ONLY;
	build(&r, cfg, HW);
	r.page[4][5] = rot(OUT_FIELD | LEAF | DENY_R | XU, 0);
	expect_test(&r, G, TDP_X | TDP_EMU_USER, 0x14);
	rig_close(&r);
}

static void accessed_and_dirty(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default(), HW_AD);
	expect_pa(&r, G, TDP_R, OUT);
	assert_int_equal(r.page[4][5], rot(OUT_FIELD | LEAF | W | X | A, 0));
	expect_pa(&r, G, TDP_W, OUT);
	assert_int_equal(r.page[4][5], rot(OUT_FIELD | LEAF | W | X | A | D, 0));
	assert_int_equal(r.page[3][4], table(4, 1));
	expect_pa(&r, G, TDP_W, OUT);
	assert_int_equal(r.exit.refs, 0);
	flush_all(&r);
	r.page[1][2] = rot(0x500000000ull | LEAF | W, 3);
	expect_pa(&r, G, TDP_W, 0x5345000ull);
	assert_int_equal(r.page[1][2], rot(0x500000000ull | LEAF | W | A | D, 3));
	/* Off: they mean nothing. */
	r.page[1][2] = table(2, 3);
	r.page[4][5] = rot(OUT_FIELD | LEAF | W, 0);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_TEST, P(0), HW, TDP_ROOT_FLUSH), TDP_OK);
	expect_pa(&r, G, TDP_W, OUT);
	assert_int_equal(r.page[4][5], rot(OUT_FIELD | LEAF | W, 0));
	rig_close(&r);
}

static void bad_registers_are_refused(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct rig r;

	(void)state;
	cfg.without_caps = TDP_CAP_HW_DIRTY;
	build(&r, cfg, HW | 0x100);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_TEST, P(0), 4, 0), TDP_EINVAL);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_TEST, P(0), HW | 0x400, 0), TDP_EINVAL);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_TEST, P(0), HW_AD, 0), TDP_EINVAL);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_TEST, P(0) | 8, HW, 0), TDP_EINVAL);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_TEST, 1ull << 48, HW, 0), TDP_EINVAL);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(literal_words),
		cmocka_unit_test(translates_each_level),
		cmocka_unit_test(faults_exactly),
		cmocka_unit_test(reserved_words),
		cmocka_unit_test(execute_by_mode),
		cmocka_unit_test(accessed_and_dirty),
		cmocka_unit_test(bad_registers_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
