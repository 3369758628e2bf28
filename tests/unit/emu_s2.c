/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulated walker's Arm stage-2 decoder against literal descriptors (DDI 0487, D8.3, ESR_EL2,
 * HPFAR_EL2). The ipa 0x8080604xxx has the index 1, 2, 3, 4 at the Arm levels 0, 1, 2, 3.
 */
#include "emu_tables.h"

#define G 0x8080604000ull
/* VTCR_EL2: RES1 | VS | PS 48 bits | TG0 4K | SL0 = 2 (level 0) | T0SZ 16. */
#define VTCR 0x80080000ull
#define VTCR48 (VTCR | 0x50000 | 0x80 | 16)
#define HA 0x200000ull
#define HD 0x400000ull
#define TABLE 0x3ull
#define PAGE 0x3ull
#define BLOCK 0x1ull
#define RO 0x40ull
#define RW 0xc0ull
#define WO 0x80ull
#define SH 0x300ull
#define AF 0x400ull
#define WB 0x3cull
#define DBM 0x8000000000000ull
#define XN 0x40000000000000ull
#define XN0 0x20000000000000ull /* XN[0] */
#define OUT 0x123456000ull
#define DABT 0x92000000ull /* EC 0x24, IL */
#define IABT 0x82000000ull /* EC 0x20, IL */

static void build_vtcr(struct rig *r, struct tdp_emu_config cfg, uint64_t vtcr)
{
	rig_open(r, cfg);
	r->page[0][1] = P(1) | TABLE;
	r->page[1][2] = P(2) | TABLE;
	r->page[2][3] = P(3) | TABLE;
	r->page[3][4] = OUT | PAGE | WB | RW | SH | AF;
	assert_int_equal(load_root(r, r->v, TDP_FMT_S2_4K, P(0), vtcr, TDP_ROOT_FLUSH), TDP_OK);
}

static void build(struct rig *r)
{
	build_vtcr(r, tdp_emu_config_default(), VTCR48);
}

static void translates_each_level(void **state)
{
	struct rig r;

	(void)state;
	build(&r);
	expect_pa(&r, G + 0x123, TDP_R, OUT + 0x123);
	assert_int_equal(r.exit.lg2, 12);
	assert_int_equal(r.exit.prot, TDP_RWX);
	assert_int_equal(r.exit.refs, 4);
	flush_all(&r);
	/* A block, contiguous bit set, and RES0 bits below its address are no address. */
	r.page[2][3] = 0x40a03000 | BLOCK | WB | RO | AF | XN | 1ull << 52;
	expect_pa(&r, G + 0x123, TDP_R, 0x40a04123);
	assert_int_equal(r.exit.lg2, 21);
	assert_int_equal(r.exit.prot, TDP_R);
	flush_all(&r);
	r.page[1][2] = 0x80000000ull | BLOCK | RW | AF | XN;
	expect_pa(&r, G + 0x123, TDP_W, 0x80604123);
	assert_int_equal(r.exit.lg2, 30);
	assert_int_equal(r.exit.prot, TDP_R | TDP_W);
	rig_close(&r);
}

static void concatenated_roots(void **state)
{
	struct rig r;

	(void)state;
	build(&r);
	/* 40 bits from level 1: two tables. Index 515 lies in the second one. */
	r.page[4][2] = P(2) | TABLE;
	r.page[5][3] = P(2) | TABLE;
	assert_int_equal(load_root(&r, r.v, TDP_FMT_S2_4K, P(4), VTCR | 0x50000 | 0x40 | 24, 0),
			 TDP_OK);
	flush_all(&r);
	expect_pa(&r, 0x80604000, TDP_R, OUT);
	assert_int_equal(r.exit.refs, 3);
	expect_pa(&r, 515 * 0x40000000ull + 0x604000, TDP_R, OUT);
	/* 34 bits from level 2: sixteen tables; the last entry of the last one. */
	r.page[16 + 15][511] = P(3) | TABLE;
	assert_int_equal(load_root(&r, r.v, TDP_FMT_S2_4K, P(16), VTCR | 0x50000 | 30, 0), TDP_OK);
	flush_all(&r);
	expect_pa(&r, 0x3ffe04000ull, TDP_R, OUT);
	assert_int_equal(r.exit.refs, 2);
	/* Beyond the IPA size: level 0, wherever the walk starts. */
	expect_s2(&r, 0x400004000ull, TDP_R, DABT | 0x04);
	/* A root that is not aligned to its two pages. */
	assert_int_equal(load_root(&r, r.v, TDP_FMT_S2_4K, P(5), VTCR | 0x50000 | 0x40 | 24, 0),
			 TDP_EINVAL);
	rig_close(&r);
}

static void translation_faults(void **state)
{
	struct rig r;

	(void)state;
	build(&r);
	expect_s2(&r, G + 0x1000, TDP_R, DABT | 0x07);
	expect_s2(&r, G + 0x1000, TDP_W, DABT | 0x47);
	expect_s2(&r, G + 0x1000, TDP_X, IABT | 0x07);
	expect_s2(&r, G + 0x200000, TDP_R, DABT | 0x06);
	expect_s2(&r, G + 0x40000000, TDP_R, DABT | 0x05);
	expect_s2(&r, G + 0x8000000000ull, TDP_R, DABT | 0x04);
	/* 0b01 at level 3 and a block at level 0 are no descriptors. */
	r.page[3][4] = OUT | 0x1 | RW | AF;
	expect_s2(&r, G, TDP_R, DABT | 0x07);
	r.page[0][1] = BLOCK | RW | AF;
	flush_all(&r);
	expect_s2(&r, G, TDP_R, DABT | 0x04);
	rig_close(&r);
}

static void permission_faults(void **state)
{
	struct rig r;

	(void)state;
	build(&r);
	r.page[3][5] = OUT | PAGE | RO | AF;
	r.page[3][6] = OUT | PAGE | RW | AF | XN;
	r.page[3][7] = OUT | PAGE | AF;
	r.page[3][8] = OUT | PAGE | WO | AF;
	r.page[2][9] = 0x40000000 | BLOCK | RO | AF;
	expect_s2(&r, G + 0x1008, TDP_W, DABT | 0x4f);
	expect_s2(&r, G + 0x2000, TDP_X, IABT | 0x0f);
	expect_s2(&r, G + 0x3000, TDP_R, DABT | 0x0f);
	expect_pa(&r, G + 0x3000, TDP_X, OUT);
	expect_s2(&r, G + 0x4000, TDP_R, DABT | 0x0f);
	expect_pa(&r, G + 0x4000, TDP_W, OUT);
	expect_s2(&r, 0x8081200000ull, TDP_W, DABT | 0x4e);
	rig_close(&r);
}

/* XN[1:0], D8.4: 00 both, 01 EL0 only, 10 none, 11 EL1 only; without FEAT_XNX XN[1] decides alone. */
static void execute_by_exception_level(void **state)
{
	static const uint64_t xn[4] = {0, XN0, XN, XN | XN0};
	static const uint32_t with[4] = {TDP_XS | TDP_XU, TDP_XU, 0, TDP_XS};
	static const uint32_t without[4] = {TDP_X, TDP_X, 0, 0};
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct tdp_fault fault;
	struct rig r;

	(void)state;
	for (unsigned xnx = 0; xnx < 2; xnx++) {
		cfg.with_caps = xnx ? TDP_CAP_EXEC_BY_MODE : 0;
		build_vtcr(&r, cfg, VTCR48);
		for (unsigned i = 0; i < 4; i++) {
			uint64_t g = 0x808060a000ull + i * 0x1000;
			uint32_t x = (xnx ? with : without)[i];

			r.page[3][10 + i] = OUT | PAGE | RO | AF | xn[i];
			for (unsigned user = 0; user < 2; user++) {
				uint32_t access = TDP_X | (user ? TDP_EMU_USER : 0);
				uint32_t need = user ? TDP_XU : TDP_XS;

				if (x & need) {
					expect_pa(&r, g, access, OUT);
					assert_int_equal(r.exit.prot, TDP_R | x);
					continue;
				}
				expect_s2(&r, g, access, IABT | 0x0f);
				assert_int_equal(tdp_emu_decode(&r.exit, &fault), TDP_OK);
				assert_int_equal(fault.access, xnx ? need : TDP_X);
			}
		}
		/* Of an access that is no fetch nothing is said. */
		expect_s2(&r, 0x808060a000ull, TDP_W, DABT | 0x4f);
		assert_int_equal(r.exit.fetch, 0);
		rig_close(&r);
	}
}

static void access_flag(void **state)
{
	struct rig r;

	(void)state;
	build(&r);
	r.page[3][5] = OUT | PAGE | RO;
	expect_s2(&r, G + 0x1000, TDP_R, DABT | 0x0b);
	expect_s2(&r, G + 0x1000, TDP_W, DABT | 0x4b); /* before permissions */
	/* Nothing of it may be cached. */
	r.page[3][5] = OUT | PAGE | RO | AF;
	expect_pa(&r, G + 0x1000, TDP_R, OUT);
	/* With HA the walker sets it; a denied access does not. */
	assert_int_equal(load_root(&r, r.v, TDP_FMT_S2_4K, P(0), VTCR48 | HA, TDP_ROOT_FLUSH),
			 TDP_OK);
	r.page[3][5] = OUT | PAGE | RO;
	expect_s2(&r, G + 0x1000, TDP_W, DABT | 0x4f);
	assert_int_equal(r.page[3][5], OUT | PAGE | RO);
	flush_all(&r);
	expect_pa(&r, G + 0x1000, TDP_R, OUT);
	assert_int_equal(r.page[3][5], OUT | PAGE | RO | AF);
	/* Tables have no AF. */
	assert_int_equal(r.page[2][3], P(3) | TABLE);
	assert_int_equal(stats_of(&r).accessed_set, 1);
	rig_close(&r);
}

static void dirty_state(void **state)
{
	struct rig r;

	(void)state;
	build_vtcr(&r, tdp_emu_config_default(), VTCR48 | HA);
	r.page[3][5] = OUT | PAGE | RO | AF | DBM;
	expect_s2(&r, G + 0x1000, TDP_W, DABT | 0x4f); /* without HD the DBM bit is nothing */
	assert_int_equal(load_root(&r, r.v, TDP_FMT_S2_4K, P(0), VTCR48 | HA | HD, TDP_ROOT_FLUSH),
			 TDP_OK);
	expect_pa(&r, G + 0x1000, TDP_R, OUT);
	assert_int_equal(r.exit.prot, TDP_RWX);
	assert_int_equal(r.page[3][5], OUT | PAGE | RO | AF | DBM);
	expect_pa(&r, G + 0x1000, TDP_W, OUT);
	assert_int_equal(r.page[3][5], OUT | PAGE | RW | AF | DBM);
	expect_pa(&r, G + 0x1000, TDP_W, OUT);
	assert_int_equal(r.exit.refs, 0);
	r.page[3][6] = OUT | PAGE | RO | DBM;
	expect_pa(&r, G + 0x2000, TDP_W, OUT);
	assert_int_equal(r.page[3][6], OUT | PAGE | RW | AF | DBM);
	r.page[3][7] = OUT | PAGE | RO;
	expect_s2(&r, G + 0x3000, TDP_W, DABT | 0x4f);
	rig_close(&r);
}

static void address_size(void **state)
{
	struct rig r;

	(void)state;
	build_vtcr(&r, tdp_emu_config_default(), VTCR | 0x10000 | 0x80 | 16); /* PS 36 bits */
	r.page[3][4] = 0x1000000000ull | PAGE | RO | AF;
	expect_s2(&r, G, TDP_R, DABT | 0x03);
	r.page[2][3] = 0x1000000000ull | BLOCK | RO | AF;
	flush_all(&r);
	expect_s2(&r, G, TDP_X, IABT | 0x02);
	r.page[1][2] = 0x1000000000ull | TABLE;
	flush_all(&r);
	expect_s2(&r, G, TDP_W, DABT | 0x41);
	r.page[0][1] = 0x1000000000ull | TABLE;
	flush_all(&r);
	expect_s2(&r, G, TDP_R, DABT | 0x00);
	r.page[0][1] = 0;
	assert_int_equal(load_root(&r, r.v, TDP_FMT_S2_4K, 0x1000000000ull,
				   VTCR | 0x10000 | 0x80 | 16, 0),
			 TDP_EINVAL);
	rig_close(&r);
}

static void bad_registers_are_refused(void **state)
{
	static const uint64_t bad[] = {
		VTCR48 & ~(1ull << 31),        /* RES1 */
		VTCR48 | 0x4000,               /* 64K granule */
		VTCR48 | 0xc0,                 /* SL0 3 */
		VTCR | 0x50000 | 0x80 | 15,    /* 49 bits */
		VTCR | 0x50000 | 0x80 | 25,    /* 39 bits leave nothing for level 0 */
		VTCR | 0x50000 | 0x40 | 20,    /* 44 bits from level 1 need 32 tables */
		VTCR | 0x60000 | 0x80 | 16,    /* PS 52 bits */
		VTCR48 | HA,                   /* not in this machine */
		VTCR48 | HD,
		VTCR48 | 1ull << 32,           /* DS */
	};
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct rig r;

	(void)state;
	cfg.without_caps = TDP_CAP_HW_ACCESSED;
	build_vtcr(&r, cfg, VTCR48);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(load_root(&r, r.v, TDP_FMT_S2_4K, P(0), bad[i], 0), TDP_EINVAL);
	/* Eight VMID bits without VS. */
	assert_int_equal(load_root(&r, r.v, TDP_FMT_S2_4K, P(0) | 0x100ull << 48,
				   VTCR48 & ~0x80000ull, 0),
			 TDP_EINVAL);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_S2_4K, P(0) | 0xffull << 48,
				   VTCR48 & ~0x80000ull, 0),
			 TDP_OK);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(translates_each_level),
		cmocka_unit_test(concatenated_roots),
		cmocka_unit_test(translation_faults),
		cmocka_unit_test(permission_faults),
		cmocka_unit_test(execute_by_exception_level),
		cmocka_unit_test(access_flag),
		cmocka_unit_test(dirty_state),
		cmocka_unit_test(address_size),
		cmocka_unit_test(bad_registers_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
