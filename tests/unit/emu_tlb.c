/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulated walker's caches: what stays, what each flush drops and what it does not, tags,
 * cached pointers to tables, forbidden pages, twins. EPT tables unless a test says otherwise.
 */
#include "emu_tables.h"

/* Index 1, 2, 3, 4 at levels 3 to 0. */
#define G 0x8080604000ull
#define EPTP(n) (P(n) | 0x1e)
#define RWX 0x7ull
#define WB 0x30ull
#define BIG 0x80ull
#define OLD 0x111000000ull
#define NEW 0x222000000ull

static void build(struct rig *r, struct tdp_emu_config cfg)
{
	rig_open(r, cfg);
	r->page[0][1] = P(1) | RWX;
	r->page[1][2] = P(2) | RWX;
	r->page[2][3] = P(3) | RWX;
	for (unsigned i = 0; i < 512; i++)
		r->page[3][i] = (OLD + 0x1000 * i) | WB | RWX;
	assert_int_equal(load_root(r, r->v, TDP_FMT_EPT, EPTP(0), 0, TDP_ROOT_FLUSH), TDP_OK);
}

static void leaf_stays_until_covered(void **state)
{
	struct rig r;
	uint64_t out = OLD + 0x4000;

	(void)state;
	build(&r, tdp_emu_config_default());
	expect_pa(&r, G, TDP_R, out);
	assert_int_equal(r.exit.refs, 4);
	assert_int_equal(tdp_emu_cached(r.emu, G + 0xfff, 1), 1);
	assert_int_equal(tdp_emu_cached(r.emu, G - 1, 1), 0);
	assert_int_equal(tdp_emu_cached(r.emu, G + 0x1000, 0x1000), 0);
	/* Gone from memory: the answer stays. */
	r.page[3][4] = 0;
	expect_pa(&r, G + 8, TDP_W, out + 8);
	assert_int_equal(r.exit.refs, 0);
	flush_range(&r, G - 0x1000, 0x1000);
	flush_range(&r, G + 0x1000, 0x200000);
	flush_vcpu(&r, r.v, G + 0x1000, 0x1000);
	expect_pa(&r, G, TDP_X, out);
	/* Each flush that covers it, after which the new answer is seen. */
	flush_range(&r, G, 0x1000);
	expect_ept(&r, G, TDP_R, 0x181);
	r.page[3][4] = NEW | WB | RWX;
	expect_pa(&r, G, TDP_R, NEW);
	r.page[3][4] = OLD | WB | RWX;
	expect_pa(&r, G, TDP_R, NEW);
	flush_vcpu(&r, r.v, G, 0x1000);
	expect_pa(&r, G, TDP_R, OLD);
	r.page[3][4] = NEW | WB | RWX;
	expect_pa(&r, G, TDP_R, OLD);
	flush_all(&r);
	expect_pa(&r, G, TDP_R, NEW);
	r.page[3][4] = OLD | WB | RWX;
	assert_int_equal(load_root(&r, r.v, TDP_FMT_EPT, EPTP(0), 0, 0), TDP_OK);
	expect_pa(&r, G, TDP_R, NEW);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_EPT, EPTP(0), 0, TDP_ROOT_FLUSH), TDP_OK);
	expect_pa(&r, G, TDP_R, OLD);
	assert_int_equal(stats_of(&r).flush_range, 3);
	assert_int_equal(stats_of(&r).flush_vcpu, 2);
	assert_int_equal(stats_of(&r).flush_all, 1);
	rig_close(&r);
}

/*
 * A one-page flush inside a huge page drops all of it; a flush of one vCPU drops nothing
 * elsewhere.
 */
static void huge_leaf_and_other_vcpus(void **state)
{
	struct tdp_emu_vcpu *u, *v;
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default());
	r.page[2][3] = 0x40000000 | WB | BIG | RWX;
	v = r.v;
	assert_int_equal(tdp_emu_vcpu_create(r.emu, &u), TDP_OK);
	assert_int_equal(load_root(&r, u, TDP_FMT_EPT, EPTP(0), 0, 0), TDP_OK);
	expect_pa(&r, G, TDP_R, 0x40004000);
	r.v = u;
	expect_pa(&r, G + 0x10000, TDP_R, 0x40014000);
	r.page[2][3] = 0x50000000 | WB | BIG | RWX;
	flush_vcpu(&r, v, G + 0x100000, 0x1000);
	expect_pa(&r, G, TDP_R, 0x40004000);
	r.v = v;
	expect_pa(&r, G, TDP_R, 0x50004000);
	flush_range(&r, G + 0x1f0000, 0x1000);
	r.v = u;
	expect_pa(&r, G, TDP_R, 0x50004000);
	r.v = v;
	tdp_emu_vcpu_destroy(u);
	/* What it counted is not lost. */
	assert_int_equal(stats_of(&r).accesses, 5);
	rig_close(&r);
}

/* Many translations: none is evicted, and a range takes exactly its own. */
static void never_evicts(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default());
	for (unsigned t = 0; t < 32; t++) {
		for (unsigned i = 0; i < 512; i++)
			r.page[8 + t][i] = (OLD + 0x200000ull * t + 0x1000 * i) | WB | RWX;
		r.page[2][100 + t] = P(8 + t) | RWX;
	}
	for (unsigned i = 0; i < 32 * 512; i++)
		expect_pa(&r, 0x808c800000ull + 0x1000ull * i, TDP_R, OLD + 0x1000ull * i);
	memset(r.page[8], 0, 32 * 4096);
	flush_range(&r, 0x808c800000ull + 0x1000 * 700, 0x1000 * 9000);
	for (unsigned i = 0; i < 32 * 512; i++) {
		if (i >= 700 && i < 9700) {
			expect_ept(&r, 0x808c800000ull + 0x1000ull * i, TDP_R, 0x181);
			continue;
		}
		expect_pa(&r, 0x808c800000ull + 0x1000ull * i, TDP_R, OLD + 0x1000ull * i);
		assert_int_equal(r.exit.refs, 0);
	}
	/* The same page by page. */
	for (unsigned i = 0; i < 700; i++) {
		flush_range(&r, 0x808c800000ull + 0x1000ull * i, 0x1000);
		assert_int_equal(tdp_emu_cached(r.emu, 0x808c800000ull, 0x1000ull * i + 1), 0);
	}
	expect_pa(&r, 0x808c800000ull + 0x1000 * 700 + 0x1000 * 9000, TDP_R, OLD + 0x1000 * 9700);
	assert_int_equal(r.exit.refs, 0);
	rig_close(&r);
}

static uint64_t random_page(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return *seed >> 28 << 12 & 0xfffffffff000ull;
}

/* Translations all over the address space: dropping some, one by one, loses none of the others. */
static void drops_nothing_else(void **state)
{
	struct rig r;
	uint64_t seed;

	(void)state;
	build(&r, tdp_emu_config_default());
	/* Every address is mapped, by one table of each level for all. */
	for (unsigned i = 0; i < 512; i++) {
		r.page[0][i] = P(1) | RWX;
		r.page[1][i] = P(2) | RWX;
		r.page[2][i] = P(3) | RWX;
	}
	seed = 1;
	for (unsigned i = 0; i < 6000; i++)
		assert_int_equal(tdp_emu_access(r.v, random_page(&seed), TDP_R, &r.exit),
				 TDP_EMU_OK);
	seed = 1;
	for (unsigned i = 0; i < 6000; i++) {
		uint64_t page = random_page(&seed);

		if (i % 3)
			flush_range(&r, page, 0x1000);
	}
	seed = 1;
	for (unsigned i = 0; i < 6000; i++) {
		uint64_t page = random_page(&seed);

		assert_int_equal(tdp_emu_cached(r.emu, page, 0x1000), i % 3 == 0);
		assert_int_equal(tdp_emu_access(r.v, page, TDP_R, &r.exit), TDP_EMU_OK);
		assert_int_equal(r.exit.refs == 0, i % 3 == 0);
	}
	rig_close(&r);
}

/* A pointer to a table is cached on the way, also when nothing is found, and used until flushed. */
static void walk_cache_is_sticky(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default());
	expect_pa(&r, G, TDP_R, OLD + 0x4000);
	/* Another table takes the place of page 3; the walker still finds the old one. */
	r.page[2][3] = P(4) | RWX;
	r.page[4][5] = NEW | WB | RWX;
	expect_pa(&r, G + 0x1000, TDP_R, OLD + 0x5000);
	assert_int_equal(r.exit.refs, 1);
	flush_range(&r, G + 0x200000, 0x200000);
	expect_pa(&r, G + 0x2000, TDP_R, OLD + 0x6000);
	/*
	 * One page of what the table covers is enough: the leaf of G + 0x1000 stays, the pointer
	 * not.
	 */
	flush_range(&r, G + 0x3000, 0x1000);
	expect_pa(&r, G + 0x1000, TDP_R, OLD + 0x5000);
	expect_ept(&r, G + 0x3000, TDP_R, 0x181);
	assert_int_equal(r.exit.refs, 4);
	assert_int_equal(stats_of(&r).walk_cache_hits, 2);
	rig_close(&r);
}

static void walk_cache_after_a_fault(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct rig r;

	(void)state;
	cfg.without_caps = TDP_CAP_FAULT_INVALIDATES;
	build(&r, cfg);
	r.page[3][4] = 0;
	expect_ept(&r, G, TDP_R, 0x181);
	r.page[2][3] = P(4) | RWX;
	r.page[4][4] = NEW | WB | RWX;
	expect_ept(&r, G, TDP_R, 0x181); /* from the table that was */
	assert_int_equal(r.exit.refs, 1);
	flush_range(&r, G, 0x1000);
	expect_pa(&r, G, TDP_R, NEW);
	rig_close(&r);
	/* x86 as it is: the violation drops what led to it. */
	build(&r, tdp_emu_config_default());
	r.page[3][4] = 0;
	expect_ept(&r, G, TDP_R, 0x181);
	r.page[2][3] = P(4) | RWX;
	r.page[4][4] = NEW | WB | RWX;
	expect_pa(&r, G, TDP_R, NEW);
	rig_close(&r);
}

/* The cached pointer carries the permissions of the entries above it. */
static void walk_cache_keeps_permissions(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default());
	r.page[1][2] = P(2) | 0x1;
	expect_pa(&r, G, TDP_R, OLD + 0x4000);
	expect_pa(&r, G + 0x1000, TDP_R, OLD + 0x5000);
	assert_int_equal(r.exit.refs, 1);
	assert_int_equal(r.exit.prot, TDP_R);
	expect_ept(&r, G + 0x2000, TDP_W, 0x18a);
	rig_close(&r);
}

static void denied_hits(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct rig r;

	(void)state;
	/* x86: the entry goes, the walk finds the permission that was given meanwhile. */
	build(&r, cfg);
	r.page[3][4] = OLD | WB | 0x1;
	expect_pa(&r, G, TDP_R, OLD);
	r.page[3][4] = OLD | WB | RWX;
	expect_pa(&r, G, TDP_W, OLD);
	rig_close(&r);
	/* Others: the fault comes from the entry until somebody flushes. */
	cfg.without_caps = TDP_CAP_FAULT_INVALIDATES;
	build(&r, cfg);
	r.page[3][4] = OLD | WB | 0x1;
	expect_ept(&r, G, TDP_W, 0x18a); /* a denied walk is cached as well */
	r.page[3][4] = OLD | WB | RWX;
	for (unsigned i = 0; i < 3; i++) {
		expect_ept(&r, G, TDP_W, 0x18a);
		assert_int_equal(r.exit.refs, 0);
	}
	expect_pa(&r, G, TDP_R, OLD);
	flush_range(&r, G + 0x1000, 0x1000);
	expect_ept(&r, G, TDP_W, 0x18a);
	flush_vcpu(&r, r.v, G, 0x1000);
	expect_pa(&r, G, TDP_W, OLD);
	rig_close(&r);
}

static void arm_denied_hit_livelocks(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, tdp_emu_config_default());
	r.page[0][0] = 0x123000 | 0x3 | 0x40 | 0x400; /* read only, 21 bits from level 2: no */
	r.page[1][0] = P(0) | 0x3;
	r.page[2][0] = P(1) | 0x3;
	assert_int_equal(load_root(&r, r.v, TDP_FMT_S2_4K, P(2), 0x800d0000ull | 0x40 | 25, 0),
			 TDP_OK);
	expect_pa(&r, 0, TDP_R, 0x123000);
	r.page[0][0] |= 0x80;
	expect_s2(&r, 0ull, TDP_W, 0x9200004full);
	expect_s2(&r, 0ull, TDP_W, 0x9200004full);
	assert_int_equal(r.exit.refs, 0);
	flush_vcpu(&r, r.v, 0, 0x1000);
	expect_pa(&r, 0, TDP_W, 0x123000);
	rig_close(&r);
}

/* EPT tags by EPTP, so another root has nothing to hit; coming back finds what was there. */
static void ept_tag_is_the_root(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default());
	r.page[4][1] = P(5) | RWX;
	r.page[5][2] = P(6) | RWX;
	r.page[6][3] = NEW | 0x7 | BIG | WB;
	expect_pa(&r, G, TDP_R, OLD + 0x4000);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_EPT, EPTP(4), 0, 0), TDP_OK);
	expect_pa(&r, G, TDP_R, NEW + 0x4000);
	r.page[3][4] = 0;
	assert_int_equal(load_root(&r, r.v, TDP_FMT_EPT, EPTP(0), 0, 0), TDP_OK);
	expect_pa(&r, G, TDP_R, OLD + 0x4000);
	/* A flush by address is for every tag. */
	r.page[6][3] = 0;
	flush_range(&r, G, 0x1000);
	expect_ept(&r, G, TDP_R, 0x181);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_EPT, EPTP(4), 0, 0), TDP_OK);
	expect_ept(&r, G, TDP_R, 0x181);
	rig_close(&r);
}

/* NPT keeps its ASID: without TDP_ROOT_FLUSH the new root hits the old one's translations. */
static void npt_tag_is_not_the_root(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, tdp_emu_config_default());
	r.page[0][0] = P(1) | 7;
	r.page[1][0] = 0x40000000 | 7 | BIG;
	r.page[2][0] = P(3) | 7;
	r.page[3][0] = 0x80000000ull | 7 | BIG;
	r.page[3][1] = 0xc0000000ull | 7 | BIG;
	r.page[1][1] = 0x100000000ull | 7 | BIG;
	assert_int_equal(load_root(&r, r.v, TDP_FMT_NPT, P(0), 0, TDP_ROOT_FLUSH), TDP_OK);
	expect_pa(&r, 0x123, TDP_R, 0x40000123);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_NPT, P(2), 0, 0), TDP_OK);
	expect_pa(&r, 0x123, TDP_R, 0x40000123);
	/* The pointer to the old root's table as well. */
	expect_pa(&r, 0x40000000, TDP_R, 0x100000000ull);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_NPT, P(2), 0, TDP_ROOT_FLUSH), TDP_OK);
	expect_pa(&r, 0x123, TDP_R, 0x80000123ull);
	expect_pa(&r, 0x40000000, TDP_R, 0xc0000000ull);
	rig_close(&r);
}

static void arm_tag_is_the_vmid(void **state)
{
	const uint64_t vtcr = 0x80080000ull | 0x50000 | 0x40 | 25;
	struct rig r;

	(void)state;
	rig_open(&r, tdp_emu_config_default());
	r.page[0][0] = 0x40000000 | 0x1 | 0xc0 | 0x400;
	r.page[1][0] = 0x80000000ull | 0x1 | 0xc0 | 0x400;
	assert_int_equal(load_root(&r, r.v, TDP_FMT_S2_4K, P(0) | 7ull << 48, vtcr, 0), TDP_OK);
	expect_pa(&r, 0, TDP_R, 0x40000000);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_S2_4K, P(1) | 7ull << 48, vtcr, 0), TDP_OK);
	expect_pa(&r, 0, TDP_R, 0x40000000);
	assert_int_equal(load_root(&r, r.v, TDP_FMT_S2_4K, P(1) | 8ull << 48, vtcr, 0), TDP_OK);
	expect_pa(&r, 0, TDP_R, 0x80000000ull);
	rig_close(&r);
}

static void reload_stops_everyone(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default());
	expect_pa(&r, G, TDP_R, OLD + 0x4000);
	tdp_emu_backend.reload(r.emu);
	assert_int_equal(tdp_emu_access(r.v, G, TDP_R, &r.exit), TDP_EMU_RELOAD);
	assert_int_equal(tdp_emu_cached(r.emu, 0, ~0ull), 0);
	r.page[3][4] = NEW | WB | RWX;
	assert_int_equal(load_root(&r, r.v, TDP_FMT_EPT, EPTP(0), 0, 0), TDP_OK);
	expect_pa(&r, G, TDP_R, NEW);
	assert_int_equal(r.exit.refs, 4);
	assert_int_equal(stats_of(&r).reloads, 1);
	rig_close(&r);
}

static void forbidden_pages(void **state)
{
	struct rig r;

	(void)state;
	build(&r, tdp_emu_config_default());
	/* As the target, from the walk and from the TLB: told, and the access goes on. */
	assert_int_equal(tdp_emu_forbid(r.emu, OLD + 0x4000, 0x1000), TDP_OK);
	expect_pa(&r, G + 8, TDP_R, OLD + 0x4008);
	assert_int_equal(r.violations, 1);
	assert_string_equal(r.what, "access to a page that is gone");
	expect_pa(&r, G + 8, TDP_R, OLD + 0x4008);
	assert_int_equal(r.violations, 2);
	expect_pa(&r, G + 0x1000, TDP_R, OLD + 0x5000);
	assert_int_equal(r.violations, 2);
	assert_int_equal(tdp_emu_allow(r.emu, OLD + 0x4000, 0x1000), TDP_OK);
	expect_pa(&r, G, TDP_R, OLD + 0x4000);
	assert_int_equal(r.violations, 2);
	/* As a table, through the cached pointer although nothing links it any more. */
	r.page[2][3] = 0;
	assert_int_equal(tdp_emu_forbid(r.emu, P(3), 0x1000), TDP_OK);
	assert_int_equal(tdp_emu_access(r.v, G + 0x2000, TDP_R, &r.exit), TDP_EMU_BUS_ERROR);
	assert_int_equal(r.violations, 3);
	assert_string_equal(r.what, "walk through a table that is gone");
	flush_range(&r, G + 0x2000, 0x1000);
	expect_ept(&r, G + 0x2000, TDP_R, 0x181);
	assert_int_equal(r.violations, 3);
	/* A table where no memory is. */
	r.page[2][3] = 0x7000000000ull | RWX;
	assert_int_equal(tdp_emu_access(r.v, G + 0x2000, TDP_R, &r.exit), TDP_EMU_BUS_ERROR);
	assert_int_equal(r.violations, 4);
	assert_int_equal(stats_of(&r).violations, 4);
	/* Bad ranges, and a large one across bitmaps. */
	assert_int_equal(tdp_emu_forbid(r.emu, 0x1001, 0x1000), TDP_EINVAL);
	assert_int_equal(tdp_emu_forbid(r.emu, 0x1000, 0), TDP_EINVAL);
	assert_int_equal(tdp_emu_forbid(r.emu, 1ull << 52, 0x1000), TDP_ERANGE);
	assert_int_equal(tdp_emu_allow(r.emu, (1ull << 52) - 0x1000, 0x2000), TDP_ERANGE);
	assert_int_equal(tdp_emu_forbid(r.emu, OLD - 0x10000000, 0x11000000), TDP_OK);
	assert_int_equal(tdp_emu_allow(r.emu, OLD, 0x4000), TDP_OK);
	r.page[2][3] = P(3) | RWX;
	assert_int_equal(tdp_emu_allow(r.emu, P(3), 0x1000), TDP_OK);
	flush_all(&r);
	expect_pa(&r, G - 0x1000, TDP_R, OLD + 0x3000);
	assert_int_equal(r.violations, 4);
	expect_pa(&r, G, TDP_R, OLD + 0x4000);
	assert_int_equal(r.violations, 5);
	rig_close(&r);
}

static void twins_are_found(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct tdp_emu_vcpu *u, *v;
	struct rig r;

	(void)state;
	cfg.flags = TDP_EMU_CHECK_TWINS;
	build(&r, cfg);
	v = r.v;
	assert_int_equal(tdp_emu_vcpu_create(r.emu, &u), TDP_OK);
	assert_int_equal(load_root(&r, u, TDP_FMT_EPT, EPTP(0), 0, 0), TDP_OK);
	expect_pa(&r, G, TDP_R, OLD + 0x4000);
	r.v = u;
	expect_pa(&r, G, TDP_R, OLD + 0x4000);
	assert_int_equal(r.violations, 0);
	/* Another size of the same memory is no twin on x86. */
	r.page[2][3] = OLD | WB | BIG | RWX;
	flush_vcpu(&r, u, G, 0x1000);
	expect_pa(&r, G, TDP_R, OLD + 0x4000);
	assert_int_equal(r.violations, 0);
	/* Another page is, wherever in the huge page it lies. */
	r.page[2][3] = NEW | WB | BIG | RWX;
	flush_vcpu(&r, u, G, 0x1000);
	expect_pa(&r, G + 0x10000, TDP_R, NEW + 0x14000);
	assert_int_equal(r.violations, 1);
	assert_string_equal(r.what, "two translations of one address at once");
	/* Flushed everywhere it is a new translation and no twin. */
	r.page[2][3] = OLD | WB | BIG | RWX;
	flush_all(&r);
	expect_pa(&r, G, TDP_R, OLD + 0x4000);
	r.v = v;
	expect_pa(&r, G, TDP_R, OLD + 0x4000);
	assert_int_equal(r.violations, 1);
	/* Another root is another address space. */
	r.page[4][1] = P(5) | RWX;
	r.page[5][2] = NEW | WB | BIG | RWX;
	assert_int_equal(load_root(&r, u, TDP_FMT_EPT, EPTP(4), 0, 0), TDP_OK);
	r.v = u;
	assert_int_equal(tdp_emu_access(u, G, TDP_R, &r.exit), TDP_EMU_EPT_MISCONFIG);
	r.page[5][2] = 0x80000000ull | WB | BIG | RWX;
	assert_int_equal(tdp_emu_access(u, G, TDP_R, &r.exit), TDP_EMU_OK);
	assert_int_equal(r.violations, 1);
	r.v = v;
	tdp_emu_vcpu_destroy(u);
	rig_close(&r);
}

/* What a vCPU still holds of another root is that root's, also when the tag does not tell (NPT). */
static void another_root_is_no_twin(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct tdp_emu_vcpu *u;
	struct rig r;

	(void)state;
	cfg.flags = TDP_EMU_CHECK_TWINS;
	rig_open(&r, cfg);
	r.page[0][0] = P(1) | 7;
	r.page[1][0] = 0x40000000 | 7 | BIG;
	r.page[2][0] = P(3) | 7;
	r.page[3][0] = 0x80000000ull | 7 | BIG;
	assert_int_equal(tdp_emu_vcpu_create(r.emu, &u), TDP_OK);
	for (uint64_t root = 0; root <= 2; root += 2) {
		struct tdp_root_view view = view_of(TDP_FMT_NPT, P(root), 0);

		view.generation = 1 + root;
		assert_int_equal(tdp_emu_backend.root_load(r.emu, r.v, &view), TDP_OK);
		if (root == 0)
			expect_pa(&r, 0x123, TDP_R, 0x40000123);
		assert_int_equal(tdp_emu_backend.root_load(r.emu, u, &view), TDP_OK);
	}
	assert_int_equal(tdp_emu_access(u, 0x123, TDP_R, &r.exit), TDP_EMU_OK);
	assert_int_equal(r.exit.pa, 0x80000123ull);
	assert_int_equal(r.violations, 0);
	/* But a twin within one root is found under an equal tag. */
	r.page[3][0] = 0xc0000000ull | 7 | BIG;
	flush_vcpu(&r, r.v, 0, 0x1000);
	expect_pa(&r, 0x123, TDP_R, 0xc0000123ull);
	assert_int_equal(r.violations, 1);
	tdp_emu_vcpu_destroy(u);
	rig_close(&r);
}

/* Formats with break-before-make: two sizes at once are a violation even for the same memory. */
static void sizes_are_twins_on_arm(void **state)
{
	const uint64_t vtcr = 0x80080000ull | 0x50000 | 0x40 | 25;

	(void)state;
	for (unsigned level = 0; level < 3; level++) {
		struct tdp_emu_config cfg = tdp_emu_config_default();
		struct rig r;

		cfg.flags = TDP_EMU_CHECK_TWINS;
		cfg.bbm_level = level;
		rig_open(&r, cfg);
		r.page[0][0] = P(1) | 3;
		r.page[1][0] = P(2) | 3;
		r.page[2][0] = 0x40000000 | 0x3 | 0xc0 | 0x400;
		assert_int_equal(load_root(&r, r.v, TDP_FMT_S2_4K, P(0), vtcr, 0), TDP_OK);
		expect_pa(&r, 0, TDP_R, 0x40000000);
		r.page[1][0] = 0x40000000 | 0x1 | 0xc0 | 0x400;
		/*
		 * Another page of it, walked through the new block: the cached pointer goes
		 * first.
		 */
		flush_vcpu(&r, r.v, 0x1000, 0x1000);
		expect_pa(&r, 0x1000, TDP_R, 0x40001000);
		assert_int_equal(r.violations, level < 2);
		rig_close(&r);
	}
}

static void no_tlb_always_walks(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct rig r;

	(void)state;
	cfg.flags = TDP_EMU_NO_TLB;
	build(&r, cfg);
	for (unsigned i = 0; i < 3; i++) {
		expect_pa(&r, G, TDP_R, OLD + 0x4000);
		assert_int_equal(r.exit.refs, 4);
	}
	r.page[3][4] = NEW | WB | RWX;
	expect_pa(&r, G, TDP_R, NEW);
	assert_int_equal(stats_of(&r).refs_hist[4], 4);
	assert_int_equal(stats_of(&r).refs, 16);
	assert_int_equal(stats_of(&r).tlb_hits, 0);
	assert_int_equal(tdp_emu_cached(r.emu, 0, ~0ull), 0);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaf_stays_until_covered),
		cmocka_unit_test(huge_leaf_and_other_vcpus),
		cmocka_unit_test(never_evicts),
		cmocka_unit_test(drops_nothing_else),
		cmocka_unit_test(walk_cache_is_sticky),
		cmocka_unit_test(walk_cache_after_a_fault),
		cmocka_unit_test(walk_cache_keeps_permissions),
		cmocka_unit_test(denied_hits),
		cmocka_unit_test(arm_denied_hit_livelocks),
		cmocka_unit_test(ept_tag_is_the_root),
		cmocka_unit_test(npt_tag_is_not_the_root),
		cmocka_unit_test(arm_tag_is_the_vmid),
		cmocka_unit_test(reload_stops_everyone),
		cmocka_unit_test(forbidden_pages),
		cmocka_unit_test(twins_are_found),
		cmocka_unit_test(another_root_is_no_twin),
		cmocka_unit_test(sizes_are_twins_on_arm),
		cmocka_unit_test(no_tlb_always_walks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
