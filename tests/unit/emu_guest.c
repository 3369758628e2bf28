/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two-dimensional walks of the emulated walker: guest x86 tables of 4 and 5 levels and guest
 * arm64 tables, each entry read through the second stage; counts of references; who is blamed for
 * which fault.
 *
 * Guest-physical page i is P(32 + i): guest tables are in the guest pages 0 to 4.
 */
#include "emu_tables.h"

#define GP(i) ((uint64_t)(i)*0x1000)
#define GPAGE(i) page[32 + (i)]
/* Index 1, 2, 3, 4 at the levels 3 to 0. */
#define GVA 0x8080604000ull
#define DATA 9 /* the guest page that GVA maps */
#define NX 0x8000000000000000ull

struct second {
	uint32_t format;
	uint64_t hw0, hw1;
	uint64_t table;    /* bits of a table entry */
	uint64_t leaf;     /* bits of a 4K leaf, all permissions */
	uint64_t write;    /* the write permission */
	uint32_t with_caps;
};

static const struct second ept = {TDP_FMT_EPT, P(0) | 0x1e, 0, 0x7, 0x37, 0x2, 0};
static const struct second ept_ad = {TDP_FMT_EPT, P(0) | 0x5e, 0, 0x7, 0x37, 0x2, 0};
static const struct second ept_mode = {TDP_FMT_EPT, P(0) | 0x1e,         0, 0x407, 0x437,
				       0x2,         TDP_CAP_EXEC_BY_MODE};
static const struct second npt = {TDP_FMT_NPT, P(0), 0, 0x7, 0x7, 0x2, 0};
static const struct second s2 = {TDP_FMT_S2_4K,
				 P(0),
				 0x80080000ull | 0x50000 | 0x80 | 16,
				 0x3,
				 0x3 | 0xfc | 0x700,
				 0x80,
				 TDP_CAP_EXEC_BY_MODE};

static void build_second(struct rig *r, const struct second *s, uint32_t flags)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();

	cfg.flags = flags;
	cfg.with_caps = s->with_caps;
	rig_open(r, cfg);
	r->page[0][0] = P(1) | s->table;
	r->page[1][0] = P(2) | s->table;
	r->page[2][0] = P(3) | s->table;
	for (unsigned i = 0; i < 32; i++)
		r->page[3][i] = P(32 + i) | s->leaf;
	assert_int_equal(load_root(r, r->v, s->format, s->hw0, s->hw1, TDP_ROOT_FLUSH), TDP_OK);
}

/* A guest with 4 levels: present, writable, user, accessed everywhere. */
static void build_x86(struct rig *r, const struct second *s, uint32_t flags)
{
	build_second(r, s, flags);
	r->GPAGE(0)[1] = GP(1) | 0x27;
	r->GPAGE(1)[2] = GP(2) | 0x27;
	r->GPAGE(2)[3] = GP(3) | 0x27;
	r->GPAGE(3)[4] = GP(DATA) | 0x67;
	assert_int_equal(tdp_emu_set_stage1(r->v, TDP_EMU_S1_X86_4, GP(0)), TDP_OK);
}

static void build_arm(struct rig *r, uint32_t flags)
{
	build_second(r, &s2, flags);
	r->GPAGE(0)[1] = GP(1) | 0x3;
	r->GPAGE(1)[2] = GP(2) | 0x3;
	r->GPAGE(2)[3] = GP(3) | 0x3;
	r->GPAGE(3)[4] = GP(DATA) | 0x3 | 0x400 | 0x40; /* AF, EL0 too */
	assert_int_equal(tdp_emu_set_stage1(r->v, TDP_EMU_S1_ARM64, GP(0)), TDP_OK);
}

#define gva_ok(r, address, access, g)                                                              \
	do {                                                                                       \
		assert_int_equal(tdp_emu_access_gva((r)->v, (address), (access), &(r)->exit),      \
				 TDP_EMU_OK);                                                      \
		assert_int_equal((r)->exit.gpa, (g));                                              \
		assert_int_equal((r)->exit.pa, P(32) + (g));                                       \
	} while (0)

#define guest_fault(r, gva, access, fault)                                                         \
	do {                                                                                       \
		assert_int_equal(tdp_emu_access_gva((r)->v, (gva), (access), &(r)->exit),          \
				 TDP_EMU_GUEST_FAULT);                                             \
		assert_int_equal((r)->exit.raw.guest.address, (gva));                              \
		assert_int_equal((r)->exit.raw.guest.code, (fault));                               \
	} while (0)

/* Four levels of four: 4 * (4 + 1) + 4 = 24 references, whatever the pair of formats. */
static void twenty_four_references(void **state)
{
	const struct second *const seconds[] = {&ept, &ept_ad, &npt};
	struct rig r;

	(void)state;
	for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
		build_x86(&r, seconds[i], TDP_EMU_NO_TLB);
		gva_ok(&r, GVA + 5, TDP_W, GP(DATA) + 5);
		assert_int_equal(r.exit.refs, 24);
		assert_int_equal(stats_of(&r).refs_hist[24], 1);
		rig_close(&r);
		/* With caches the tables are found at once after the first: 4+1, then 1+1 each. */
		build_x86(&r, seconds[i], 0);
		gva_ok(&r, GVA + 5, TDP_W, GP(DATA) + 5);
		assert_int_equal(r.exit.refs, 5 + 2 + 2 + 2 + 1);
		gva_ok(&r, GVA + 6, TDP_R, GP(DATA) + 6);
		assert_int_equal(r.exit.refs, 0);
		rig_close(&r);
	}
	build_arm(&r, TDP_EMU_NO_TLB);
	gva_ok(&r, GVA, TDP_R, GP(DATA));
	assert_int_equal(r.exit.refs, 24);
	rig_close(&r);
}

/* The same with caches on but cold: each guest table in another 512G of guest memory. */
static void twenty_four_without_a_hit(void **state)
{
	struct rig r;

	(void)state;
	build_second(&r, &ept, 0);
	/* Each 512G shows the same guest pages again, by tables of its own. */
	for (unsigned i = 1; i < 5; i++) {
		r.page[0][i] = P(1 + 3 * i) | 7;
		r.page[1 + 3 * i][0] = P(2 + 3 * i) | 7;
		r.page[2 + 3 * i][0] = P(3 + 3 * i) | 7;
		memcpy(r.page[3 + 3 * i], r.page[3], 4096);
	}
	r.GPAGE(0)[1] = 1 * 0x8000000000ull + GP(1) + 0x27;
	r.GPAGE(1)[2] = 2 * 0x8000000000ull + GP(2) + 0x27;
	r.GPAGE(2)[3] = 3 * 0x8000000000ull + GP(3) + 0x27;
	r.GPAGE(3)[4] = 4 * 0x8000000000ull + GP(DATA) + 0x67;
	assert_int_equal(tdp_emu_set_stage1(r.v, TDP_EMU_S1_X86_4, GP(0)), TDP_OK);
	assert_int_equal(tdp_emu_access_gva(r.v, GVA, TDP_R, &r.exit), TDP_EMU_OK);
	assert_int_equal(r.exit.gpa, 4 * 0x8000000000ull + GP(DATA));
	assert_int_equal(r.exit.refs, 24);
	assert_int_equal(stats_of(&r).walk_cache_hits, 0);
	rig_close(&r);
}

static void five_by_five(void **state)
{
	struct rig r;

	(void)state;
	build_x86(&r, &npt, TDP_EMU_NO_TLB);
	r.page[4][0] = P(0) | 7;
	r.GPAGE(4)[3] = GP(0) | 0x27;
	assert_int_equal(load_root(&r, r.v, TDP_FMT_NPT, P(4), 1, 0), TDP_OK);
	assert_int_equal(tdp_emu_set_stage1(r.v, TDP_EMU_S1_X86_5, GP(4)), TDP_OK);
	gva_ok(&r, 0x3000000000000ull + GVA, TDP_X, GP(DATA));
	assert_int_equal(r.exit.refs, 5 * 6 + 5);
	/* Bit 56 must be repeated above. */
	guest_fault(&r, 0x100000000000000ull, TDP_R, ~0ull);
	rig_close(&r);
}

static void x86_page_sizes(void **state)
{
	struct rig r;

	(void)state;
	build_x86(&r, &ept, 0);
	r.GPAGE(2)[3] = 0x0 | 0xa7; /* 2M page at gpa 0 */
	assert_int_equal(tdp_emu_access_gva(r.v, GVA + 1, TDP_R, &r.exit), TDP_EMU_OK);
	assert_int_equal(r.exit.gpa, 0x4001);
	assert_int_equal(r.exit.lg2, 12); /* the smaller of the two */
	r.GPAGE(1)[2] = 0x0 | 0xa7; /* 1G */
	assert_int_equal(tdp_emu_set_stage1(r.v, TDP_EMU_S1_X86_4, GP(0)), TDP_OK);
	r.page[2][3] = 0x40000000 | 0xb7; /* 2M in the second stage */
	flush_all(&r);
	assert_int_equal(tdp_emu_access_gva(r.v, GVA + 1, TDP_R, &r.exit), TDP_EMU_OK);
	assert_int_equal(r.exit.gpa, 0x604001);
	assert_int_equal(r.exit.pa, 0x40004001);
	assert_int_equal(r.exit.lg2, 21);
	/* The guest's 4K page in a huge page of the second stage: its neighbour is another one. */
	r.GPAGE(1)[2] = GP(2) | 0x27;
	r.GPAGE(2)[3] = GP(3) | 0x27;
	r.GPAGE(3)[4] = 0x604000 | 0x67;
	r.GPAGE(3)[5] = 0x700000 | 0x67;
	assert_int_equal(tdp_emu_set_stage1(r.v, TDP_EMU_S1_X86_4, GP(0)), TDP_OK);
	assert_int_equal(tdp_emu_access_gva(r.v, GVA, TDP_R, &r.exit), TDP_EMU_OK);
	assert_int_equal(r.exit.pa, 0x40004000);
	assert_int_equal(r.exit.lg2, 12);
	assert_int_equal(tdp_emu_access_gva(r.v, GVA + 0x1000, TDP_R, &r.exit), TDP_EMU_OK);
	assert_int_equal(r.exit.pa, 0x40100000);
	rig_close(&r);
}

static void x86_guest_faults(void **state)
{
	struct rig r;

	(void)state;
	build_x86(&r, &ept, 0);
	guest_fault(&r, GVA + 0x1000, TDP_R, 0x0);
	guest_fault(&r, GVA + 0x1000, TDP_W | TDP_EMU_USER, 0x6);
	guest_fault(&r, GVA + 0x8000000000ull, TDP_X, 0x10);
	r.GPAGE(3)[5] = GP(DATA) | 0x21 | NX;
	guest_fault(&r, GVA + 0x1000, TDP_W, 0x3);
	guest_fault(&r, GVA + 0x1000, TDP_X, 0x11);
	guest_fault(&r, GVA + 0x1000, TDP_R | TDP_EMU_USER, 0x5);
	gva_ok(&r, GVA + 0x1000, TDP_R, GP(DATA));
	r.GPAGE(2)[9] = 0x1000 * 2 | 0xa7; /* misaligned 2M: reserved */
	guest_fault(&r, 0x8081200000ull, TDP_R, 0x9);
	r.GPAGE(0)[2] = GP(1) | 0xa7; /* PS in a PML4 entry */
	guest_fault(&r, 0x10000000000ull, TDP_W, 0xb);
	guest_fault(&r, 0x800000000000ull, TDP_R, ~0ull);
	/* Limits of a table entry hold below it. */
	r.GPAGE(1)[2] = GP(2) | 0x21;
	assert_int_equal(tdp_emu_set_stage1(r.v, TDP_EMU_S1_X86_4, GP(0)), TDP_OK);
	guest_fault(&r, GVA, TDP_W, 0x3);
	guest_fault(&r, GVA, TDP_R | TDP_EMU_USER, 0x5);
	gva_ok(&r, GVA, TDP_X, GP(DATA));
	assert_int_equal(stats_of(&r).exits, 0);
	rig_close(&r);
}

static void x86_guest_accessed_and_dirty(void **state)
{
	struct rig r;

	(void)state;
	build_x86(&r, &ept, 0);
	r.GPAGE(0)[1] = GP(1) | 0x7;
	r.GPAGE(3)[4] = GP(DATA) | 0x7;
	gva_ok(&r, GVA, TDP_R, GP(DATA));
	assert_int_equal(r.GPAGE(0)[1], GP(1) | 0x27);
	assert_int_equal(r.GPAGE(3)[4], GP(DATA) | 0x27);
	gva_ok(&r, GVA, TDP_W, GP(DATA));
	assert_int_equal(r.GPAGE(3)[4], GP(DATA) | 0x67);
	gva_ok(&r, GVA, TDP_W, GP(DATA));
	assert_int_equal(r.exit.refs, 0);
	/* A refused write leaves the leaf alone. */
	r.GPAGE(3)[5] = GP(DATA) | 0x5;
	guest_fault(&r, GVA + 0x1000, TDP_W, 0x3);
	assert_int_equal(r.GPAGE(3)[5], GP(DATA) | 0x5);
	rig_close(&r);
}

/* Faults of the second stage during the guest's walk, as each architecture reports them. */
static void ept_faults_on_guest_tables(void **state)
{
	struct rig r;

	(void)state;
	build_x86(&r, &ept, 0);
	r.page[3][2] = 0;
	assert_int_equal(tdp_emu_access_gva(r.v, GVA + 7, TDP_W, &r.exit), TDP_EMU_EPT_VIOLATION);
	assert_int_equal(r.exit.raw.ept.qualification, 0x81); /* a read, not of the final address */
	assert_int_equal(r.exit.raw.ept.gpa, GP(2) + 8 * 3);
	assert_int_equal(r.exit.raw.ept.gla, GVA + 7);
	/* Without A/D a read-only page is enough for tables whose Accessed is set … */
	r.page[3][2] = P(34) | 0x35;
	gva_ok(&r, GVA, TDP_R, GP(DATA));
	/* … and not to set it. */
	r.GPAGE(2)[3] &= ~0x20ull;
	assert_int_equal(tdp_emu_set_stage1(r.v, TDP_EMU_S1_X86_4, GP(0)), TDP_OK);
	assert_int_equal(tdp_emu_access_gva(r.v, GVA, TDP_R, &r.exit), TDP_EMU_EPT_VIOLATION);
	assert_int_equal(r.exit.raw.ept.qualification, 0xaa);
	assert_int_equal(r.GPAGE(2)[3], GP(3) | 0x7);
	/* The final address. */
	r.page[3][2] |= 2;
	r.page[3][DATA] = P(32 + DATA) | 0x31;
	flush_range(&r, GP(DATA), 0x1000);
	assert_int_equal(tdp_emu_access_gva(r.v, GVA + 7, TDP_W, &r.exit), TDP_EMU_EPT_VIOLATION);
	assert_int_equal(r.exit.raw.ept.qualification, 0x18a);
	assert_int_equal(r.exit.raw.ept.gpa, GP(DATA) + 7);
	assert_int_equal(r.exit.raw.ept.gla, GVA + 7);
	rig_close(&r);
	/* With A/D guest tables count as written: reported as both, and dirty. */
	build_x86(&r, &ept_ad, 0);
	r.page[3][2] = P(34) | 0x35;
	assert_int_equal(tdp_emu_access_gva(r.v, GVA, TDP_R, &r.exit), TDP_EMU_EPT_VIOLATION);
	assert_int_equal(r.exit.raw.ept.qualification, 0xab);
	r.page[3][2] = P(34) | 0x37;
	gva_ok(&r, GVA, TDP_R, GP(DATA));
	assert_int_equal(r.page[3][2], P(34) | 0x337);
	assert_int_equal(r.page[3][DATA], P(32 + DATA) | 0x137);
	/* A misconfiguration on the way says nothing but the address. */
	r.page[3][1] = P(33) | 0x36;
	flush_all(&r);
	assert_int_equal(tdp_emu_access_gva(r.v, GVA, TDP_R, &r.exit), TDP_EMU_EPT_MISCONFIG);
	assert_int_equal(r.exit.raw.ept.gpa, GP(1) + 8 * 2);
	rig_close(&r);
}

static void npt_faults_on_guest_tables(void **state)
{
	struct rig r;

	(void)state;
	build_x86(&r, &npt, 0);
	r.page[3][1] = 0;
	assert_int_equal(tdp_emu_access_gva(r.v, GVA, TDP_X, &r.exit), TDP_EMU_NPF);
	assert_int_equal(r.exit.raw.npf.exitinfo1, 0x200000006ull);
	assert_int_equal(r.exit.raw.npf.exitinfo2, GP(1) + 8 * 2);
	/* Guest tables are user writes at the nested level. */
	r.page[3][1] = P(33) | 0x5;
	assert_int_equal(tdp_emu_access_gva(r.v, GVA, TDP_R, &r.exit), TDP_EMU_NPF);
	assert_int_equal(r.exit.raw.npf.exitinfo1, 0x200000007ull);
	r.page[3][1] = P(33) | 0x7;
	gva_ok(&r, GVA, TDP_R, GP(DATA));
	assert_int_equal(r.page[3][1], P(33) | 0x67);
	r.page[3][DATA] = P(32 + DATA) | 0x5;
	flush_all(&r);
	assert_int_equal(tdp_emu_access_gva(r.v, GVA, TDP_W, &r.exit), TDP_EMU_NPF);
	assert_int_equal(r.exit.raw.npf.exitinfo1, 0x100000007ull);
	assert_int_equal(r.exit.raw.npf.exitinfo2, GP(DATA));
	rig_close(&r);
}

static void s2_faults_on_guest_tables(void **state)
{
	struct rig r;

	(void)state;
	build_arm(&r, 0);
	r.page[3][1] = 0;
	assert_int_equal(tdp_emu_access_gva(r.v, GVA + 3, TDP_W, &r.exit), TDP_EMU_S2_ABORT);
	assert_int_equal(r.exit.raw.s2.esr, 0x92000087ull); /* S1PTW, a read: WnR clear */
	assert_int_equal(r.exit.raw.s2.hpfar, 0x10);
	assert_int_equal(r.exit.raw.s2.far, GVA + 3);
	assert_int_equal(tdp_emu_access_gva(r.v, GVA, TDP_X, &r.exit), TDP_EMU_S2_ABORT);
	assert_int_equal(r.exit.raw.s2.esr, 0x82000087ull);
	r.page[3][1] = P(33) | s2.leaf;
	r.page[3][DATA] = P(32 + DATA) | (s2.leaf & ~s2.write);
	assert_int_equal(tdp_emu_access_gva(r.v, GVA, TDP_W, &r.exit), TDP_EMU_S2_ABORT);
	assert_int_equal(r.exit.raw.s2.esr, 0x9200004full);
	assert_int_equal(r.exit.raw.s2.hpfar, DATA << 4);
	/* Kept: the combined translation as well, until somebody flushes the page. */
	r.page[3][DATA] = P(32 + DATA) | s2.leaf;
	assert_int_equal(tdp_emu_access_gva(r.v, GVA, TDP_W, &r.exit), TDP_EMU_S2_ABORT);
	assert_int_equal(r.exit.raw.s2.esr, 0x9200004full);
	assert_int_equal(r.exit.refs, 0);
	gva_ok(&r, GVA, TDP_R, GP(DATA));
	flush_vcpu(&r, r.v, GP(DATA), 0x1000);
	gva_ok(&r, GVA, TDP_W, GP(DATA));
	rig_close(&r);
}

static void arm_guest_faults(void **state)
{
	struct rig r;

	(void)state;
	build_arm(&r, 0);
	guest_fault(&r, GVA + 0x1000, TDP_R, 0x96000007ull); /* same level */
	guest_fault(&r, GVA + 0x1000, TDP_W | TDP_EMU_USER, 0x92000047ull);
	guest_fault(&r, GVA + 0x200000, TDP_X, 0x86000006ull);
	guest_fault(&r, GVA + 0x8000000000ull, TDP_X | TDP_EMU_USER, 0x82000004ull);
	guest_fault(&r, 1ull << 48, TDP_R, 0x96000004ull);
	r.GPAGE(3)[5] = GP(DATA) | 0x3; /* AF clear */
	guest_fault(&r, GVA + 0x1000, TDP_R, 0x9600000bull);
	r.GPAGE(3)[5] = GP(DATA) | 0x3 | 0x400 | 0x80; /* EL1, read only */
	guest_fault(&r, GVA + 0x1000, TDP_W, 0x9600004full);
	guest_fault(&r, GVA + 0x1000, TDP_R | TDP_EMU_USER, 0x9200000full);
	gva_ok(&r, GVA + 0x1000, TDP_X, GP(DATA));
	r.GPAGE(3)[6] = GP(DATA) | 0x3 | 0x400 | 1ull << 53; /* PXN */
	guest_fault(&r, GVA + 0x2000, TDP_X, 0x8600000full);
	gva_ok(&r, GVA + 0x2000, TDP_X | TDP_EMU_USER, GP(DATA));
	r.GPAGE(3)[7] = GP(DATA) | 0x3 | 0x400 | 1ull << 54; /* UXN */
	guest_fault(&r, GVA + 0x3000, TDP_X | TDP_EMU_USER, 0x8200000full);
	/* EL0 may write GVA, so EL1 may not execute it. */
	guest_fault(&r, GVA, TDP_X, 0x8600000full);
	gva_ok(&r, GVA, TDP_X | TDP_EMU_USER, GP(DATA));
	/* A 2M block, and APTable[1] above it makes it read only. */
	r.GPAGE(2)[9] = 0x0 | 0x1 | 0x400;
	assert_int_equal(tdp_emu_access_gva(r.v, 0x8081205000ull, TDP_W, &r.exit), TDP_EMU_OK);
	assert_int_equal(r.exit.gpa, 0x5000);
	r.GPAGE(1)[2] |= 1ull << 62;
	assert_int_equal(tdp_emu_set_stage1(r.v, TDP_EMU_S1_ARM64, GP(0)), TDP_OK);
	guest_fault(&r, 0x8081205000ull, TDP_W, 0x9600004eull);
	rig_close(&r);
}

#define expect_fetch(r, address, access, exit_reason, needs)                                       \
	do {                                                                                       \
		assert_int_equal(tdp_emu_access_gva((r)->v, (address), (access), &(r)->exit),      \
				 (exit_reason));                                                   \
		assert_int_equal((r)->exit.fetch, (needs));                                        \
	} while (0)

/* EPT: the mode of a fetch is U/S of the guest's tables, not the privilege (SDM vol. 3C, 29.3.3). */
static void x86_fetch_is_by_address(void **state)
{
	const uint64_t leaf = P(32 + DATA) | 0x31, xs = 0x4, xu = 0x400;
	struct rig r;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		build_x86(&r, &ept_mode, i ? TDP_EMU_NO_TLB : 0);
		/* A user page, and memory for user-mode addresses, at either privilege. */
		r.page[3][DATA] = leaf | xu;
		gva_ok(&r, GVA, TDP_X | TDP_EMU_USER, GP(DATA));
		gva_ok(&r, GVA, TDP_X, GP(DATA));
		assert_int_equal(r.exit.refs != 0, i); /* answered by what is cached, or not */
		r.page[3][DATA] = leaf | xs;
		flush_all(&r);
		expect_fetch(&r, GVA, TDP_X, TDP_EMU_EPT_VIOLATION, TDP_XU);
		assert_int_equal(r.exit.raw.ept.qualification, 0x1ac);
		expect_fetch(&r, GVA, TDP_X | TDP_EMU_USER, TDP_EMU_EPT_VIOLATION, TDP_XU);
		/* Cached by a read, and then fetched. */
		gva_ok(&r, GVA, TDP_R, GP(DATA));
		expect_fetch(&r, GVA, TDP_X, TDP_EMU_EPT_VIOLATION, TDP_XU);
		/* A supervisor page: one entry without U/S is enough. */
		r.GPAGE(2)[3] &= ~4ull;
		assert_int_equal(tdp_emu_set_stage1(r.v, TDP_EMU_S1_X86_4, GP(0)), TDP_OK);
		gva_ok(&r, GVA, TDP_X, GP(DATA));
		gva_ok(&r, GVA, TDP_X, GP(DATA));
		r.page[3][DATA] = leaf | xu;
		flush_all(&r);
		expect_fetch(&r, GVA, TDP_X, TDP_EMU_EPT_VIOLATION, TDP_XS);
		assert_int_equal(r.exit.raw.ept.qualification, 0x1cc);
		/* The guest's tables themselves are read, not executed. */
		r.page[3][3] = 0;
		flush_all(&r);
		expect_fetch(&r, GVA, TDP_X, TDP_EMU_EPT_VIOLATION, 0);
		/* Without paging all addresses are user-mode ones. */
		assert_int_equal(tdp_emu_set_stage1(r.v, TDP_EMU_S1_OFF, 0), TDP_OK);
		assert_int_equal(tdp_emu_access_gva(r.v, GP(DATA), TDP_X, &r.exit), TDP_EMU_OK);
		r.page[3][DATA] = leaf | xs;
		flush_all(&r);
		expect_fetch(&r, GP(DATA), TDP_X, TDP_EMU_EPT_VIOLATION, TDP_XU);
		rig_close(&r);
	}
}

/* Arm: it is the Exception level, whatever the guest's tables permit besides (DDI 0487, D8.4). */
static void arm_fetch_is_by_level(void **state)
{
	const uint64_t el1_only = 3ull << 53, el0_only = 1ull << 53;
	struct rig r;

	(void)state;
	build_arm(&r, 0);
	r.GPAGE(3)[4] |= 0x80; /* read only: EL1 may execute it as well */
	r.page[3][DATA] |= el1_only;
	gva_ok(&r, GVA, TDP_X, GP(DATA));
	expect_fetch(&r, GVA, TDP_X | TDP_EMU_USER, TDP_EMU_S2_ABORT, TDP_XU);
	assert_int_equal(r.exit.raw.s2.esr, 0x8200000full);
	r.page[3][DATA] ^= el1_only ^ el0_only;
	flush_all(&r);
	gva_ok(&r, GVA, TDP_X | TDP_EMU_USER, GP(DATA));
	expect_fetch(&r, GVA, TDP_X, TDP_EMU_S2_ABORT, TDP_XS);
	/* Also without stage 1. */
	assert_int_equal(tdp_emu_set_stage1(r.v, TDP_EMU_S1_OFF, 0), TDP_OK);
	flush_all(&r);
	expect_fetch(&r, GP(DATA), TDP_X, TDP_EMU_S2_ABORT, TDP_XS);
	assert_int_equal(tdp_emu_access_gva(r.v, GP(DATA), TDP_X | TDP_EMU_USER, &r.exit),
			 TDP_EMU_OK);
	rig_close(&r);
}

/* What a flush by guest-physical address does to combined translations. */
static void combined_is_sticky(void **state)
{
	struct rig r;

	(void)state;
	build_x86(&r, &ept, 0);
	gva_ok(&r, GVA, TDP_R, GP(DATA));
	r.page[3][DATA] = P(50) | 0x37;
	gva_ok(&r, GVA, TDP_R, GP(DATA));
	assert_int_equal(tdp_emu_cached(r.emu, GP(DATA), 0x1000), 1);
	flush_range(&r, GP(DATA + 1), 0x1000);
	gva_ok(&r, GVA, TDP_R, GP(DATA));
	/* Flushing the gva as if it were a gpa is not enough. */
	flush_range(&r, GVA, 0x1000);
	gva_ok(&r, GVA, TDP_R, GP(DATA));
	flush_range(&r, GP(DATA), 0x1000);
	assert_int_equal(tdp_emu_cached(r.emu, GP(DATA), 0x1000), 0);
	assert_int_equal(tdp_emu_access_gva(r.v, GVA, TDP_R, &r.exit), TDP_EMU_OK);
	assert_int_equal(r.exit.pa, P(50));
	/* A guest table is moved: what came through it goes when the table's page is flushed. */
	memcpy(r.page[51], r.GPAGE(3), 4096);
	r.page[51][4] = GP(10) | 0x67;
	r.page[3][3] = P(51) | 0x37;
	assert_int_equal(tdp_emu_access_gva(r.v, GVA, TDP_R, &r.exit), TDP_EMU_OK);
	assert_int_equal(r.exit.pa, P(50));
	flush_range(&r, GP(3), 0x1000);
	gva_ok(&r, GVA, TDP_R, GP(10));
	/* Second stage denied on x86: dropped and walked again. */
	r.page[3][10] = P(42) | 0x31;
	flush_all(&r);
	gva_ok(&r, GVA, TDP_R, GP(10));
	r.page[3][10] = P(42) | 0x37;
	gva_ok(&r, GVA, TDP_W, GP(10));
	rig_close(&r);
}

static void forbidden_guest_table(void **state)
{
	struct rig r;

	(void)state;
	build_x86(&r, &ept, 0);
	assert_int_equal(tdp_emu_forbid(r.emu, P(34), 0x1000), TDP_OK);
	assert_int_equal(tdp_emu_access_gva(r.v, GVA, TDP_R, &r.exit), TDP_EMU_BUS_ERROR);
	assert_int_equal(r.violations, 1);
	assert_string_equal(r.what, "guest page table in a page that is gone");
	assert_int_equal(tdp_emu_allow(r.emu, P(34), 0x1000), TDP_OK);
	gva_ok(&r, GVA, TDP_R, GP(DATA));
	assert_int_equal(r.violations, 1);
	rig_close(&r);
}

static void stage1_arguments(void **state)
{
	struct rig r;

	(void)state;
	build_second(&r, &ept, 0);
	assert_int_equal(tdp_emu_set_stage1(r.v, (enum tdp_emu_stage1)4, 0), TDP_EINVAL);
	assert_int_equal(tdp_emu_set_stage1(r.v, TDP_EMU_S1_X86_4, 1ull << 52), TDP_EINVAL);
	assert_int_equal(tdp_emu_set_stage1(NULL, TDP_EMU_S1_OFF, 0), TDP_EINVAL);
	/* Without paging a gva is a gpa. */
	gva_ok(&r, GP(DATA) + 1, TDP_R, GP(DATA) + 1);
	assert_int_equal(tdp_emu_access_gva(r.v, 0, TDP_R | TDP_W, &r.exit), TDP_EINVAL);
	assert_int_equal(tdp_emu_access_gva(r.v, 0, TDP_EMU_USER, &r.exit), TDP_EINVAL);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(twenty_four_references),
		cmocka_unit_test(twenty_four_without_a_hit),
		cmocka_unit_test(five_by_five),
		cmocka_unit_test(x86_page_sizes),
		cmocka_unit_test(x86_guest_faults),
		cmocka_unit_test(x86_guest_accessed_and_dirty),
		cmocka_unit_test(ept_faults_on_guest_tables),
		cmocka_unit_test(npt_faults_on_guest_tables),
		cmocka_unit_test(s2_faults_on_guest_tables),
		cmocka_unit_test(arm_guest_faults),
		cmocka_unit_test(x86_fetch_is_by_address),
		cmocka_unit_test(arm_fetch_is_by_level),
		cmocka_unit_test(combined_is_sticky),
		cmocka_unit_test(forbidden_guest_table),
		cmocka_unit_test(stage1_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
