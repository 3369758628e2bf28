/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulated walker as a machine: configuration, capabilities, arguments, foreign tables, and
 * the way from a raw exit to a struct tdp_fault.
 */
#include "emu_tables.h"

#define AD (TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY)
#define COMMON (AD | TDP_CAP_RANGE_FLUSH | TDP_CAP_WALKS_TABLES)

static int probe(struct tdp_emu *emu, uint32_t format, struct tdp_backend_caps *caps)
{
	memset(caps, 0, sizeof(*caps));
	caps->size = (uint32_t)sizeof(*caps);
	return tdp_emu_backend.probe(emu, (enum tdp_format)format, caps);
}

static void default_capabilities(void **state)
{
	static const struct tdp_backend_caps want[] = {
		[TDP_FMT_EPT] = {sizeof(want[0]),
				 COMMON | TDP_CAP_EXEC_ONLY | TDP_CAP_FAULT_INVALIDATES, 0x7, 52, 52, 5, 0},
		[TDP_FMT_NPT] = {sizeof(want[0]), COMMON | TDP_CAP_FAULT_INVALIDATES, 0x7, 52,
				 52, 5, 0},
		[TDP_FMT_S2_4K] = {sizeof(want[0]), COMMON | TDP_CAP_EXEC_ONLY, 0x7, 48, 48, 4, 0},
		[TDP_FMT_TEST] = {sizeof(want[0]), COMMON | TDP_CAP_EXEC_ONLY, 0xb, 32, 48, 5, 0},
	};
	struct tdp_backend_caps caps;
	struct tdp_emu *emu;

	(void)state;
	assert_int_equal(tdp_emu_create(NULL, &emu), TDP_OK);
	for (uint32_t f = TDP_FMT_EPT; f <= TDP_FMT_TEST; f++) {
		assert_int_equal(probe(emu, f, &caps), TDP_OK);
		assert_memory_equal(&caps, &want[f], sizeof(caps));
	}
	assert_int_equal(probe(emu, 0, &caps), TDP_ENOTSUP);
	assert_int_equal(probe(emu, TDP_FMT_COUNT, &caps), TDP_ENOTSUP);
	/* A caller compiled against a shorter structure. */
	memset(&caps, 0xaa, sizeof(caps));
	caps.size = 8;
	assert_int_equal(tdp_emu_backend.probe(emu, TDP_FMT_EPT, &caps), TDP_OK);
	assert_int_equal(caps.size, 8);
	assert_int_equal(caps.flags, want[TDP_FMT_EPT].flags);
	assert_int_equal(caps.leaf_levels, 0xaaaaaaaa);
	tdp_emu_destroy(emu);
}

static void configured_capabilities(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct tdp_backend_caps caps;
	struct tdp_emu *emu;

	(void)state;
	cfg.without_caps = TDP_CAP_HW_DIRTY | TDP_CAP_RANGE_FLUSH;
	cfg.with_caps = TDP_CAP_FLUSH_ON_AGE | TDP_CAP_EXEC_BY_MODE;
	cfg.leaf_levels = 0x3;
	cfg.max_levels = 4;
	cfg.gpa_bits = 40;
	cfg.pa_bits = 44;
	cfg.bbm_level = 2;
	assert_int_equal(tdp_emu_create(&cfg, &emu), TDP_OK);
	assert_int_equal(probe(emu, TDP_FMT_EPT, &caps), TDP_OK);
	/* EPT has Accessed and Dirty together or not at all. */
	assert_int_equal(caps.flags, TDP_CAP_EXEC_ONLY | TDP_CAP_FAULT_INVALIDATES |
					     TDP_CAP_WALKS_TABLES | TDP_CAP_FLUSH_ON_AGE |
					     TDP_CAP_EXEC_BY_MODE);
	assert_int_equal(caps.leaf_levels, 0x3);
	assert_int_equal(caps.gpa_bits, 40);
	assert_int_equal(caps.pa_bits, 44);
	assert_int_equal(caps.max_levels, 4);
	assert_int_equal(caps.bbm_level, 0);
	assert_int_equal(probe(emu, TDP_FMT_NPT, &caps), TDP_ENOTSUP);
	assert_int_equal(probe(emu, TDP_FMT_S2_4K, &caps), TDP_OK);
	assert_int_equal(caps.flags & AD, TDP_CAP_HW_ACCESSED);
	assert_true(caps.flags & TDP_CAP_EXEC_BY_MODE);
	assert_int_equal(caps.bbm_level, 2);
	assert_int_equal(probe(emu, TDP_FMT_TEST, &caps), TDP_OK);
	assert_int_equal(caps.gpa_bits, 32);
	assert_int_equal(caps.max_levels, 5);
	tdp_emu_destroy(emu);
	cfg.without_caps = TDP_CAP_HW_ACCESSED;
	assert_int_equal(tdp_emu_create(&cfg, &emu), TDP_OK);
	assert_int_equal(probe(emu, TDP_FMT_S2_4K, &caps), TDP_OK);
	assert_int_equal(caps.flags & AD, 0);
	tdp_emu_destroy(emu);
}

static void bad_configurations(void **state)
{
	struct {
		struct tdp_emu_config cfg;
		uint64_t more;
	} longer = {tdp_emu_config_default(), 0};
	struct tdp_emu_config cfg = tdp_emu_config_default(), bad[10];
	struct tdp_emu *emu = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		bad[i] = cfg;
	bad[0].size = 4;
	bad[1].flags = 0x4;
	bad[2].without_caps = 0x100;
	bad[3].with_caps = bad[3].without_caps = TDP_CAP_FLUSH_ON_AGE;
	bad[4].leaf_levels = 0x2;
	bad[5].gpa_bits = 53;
	bad[6].pa_bits = 12;
	bad[7].max_levels = 3;
	bad[8].bbm_level = 3;
	bad[9].reserved = 1;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(tdp_emu_create(&bad[i], &emu), TDP_EINVAL);
	assert_null(emu);
	assert_int_equal(tdp_emu_create(&cfg, NULL), TDP_EINVAL);
	longer.cfg.size = (uint32_t)sizeof(longer);
	longer.more = 1;
	assert_int_equal(tdp_emu_create(&longer.cfg, &emu), TDP_E2BIG);
	longer.more = 0;
	assert_int_equal(tdp_emu_create(&longer.cfg, &emu), TDP_OK);
	tdp_emu_destroy(emu);
	tdp_emu_destroy(NULL);
	tdp_emu_vcpu_destroy(NULL);
}

static void arguments(void **state)
{
	struct rig r;
	struct tdp_emu_stats st = {0};
	struct tdp_root_view view = view_of(9, 0, 0);

	(void)state;
	rig_open(&r, tdp_emu_config_default());
	assert_int_equal(tdp_emu_vcpu_create(NULL, &r.v), TDP_EINVAL);
	assert_int_equal(tdp_emu_vcpu_create(r.emu, NULL), TDP_EINVAL);
	assert_int_equal(tdp_emu_access(NULL, 0, TDP_R, &r.exit), TDP_EINVAL);
	assert_int_equal(tdp_emu_access(r.v, 0, TDP_R, NULL), TDP_EINVAL);
	assert_int_equal(tdp_emu_access(r.v, 0, 0, &r.exit), TDP_EINVAL);
	assert_int_equal(tdp_emu_access(r.v, 0, TDP_R | TDP_W, &r.exit), TDP_EINVAL);
	assert_int_equal(tdp_emu_access(r.v, 0, 0x8, &r.exit), TDP_EINVAL);
	assert_int_equal(tdp_emu_backend.root_load(r.emu, r.v, &view), TDP_ENOTSUP);
	assert_int_equal(tdp_emu_stats(r.emu, &st), TDP_EINVAL);
	assert_int_equal(tdp_emu_forbid(NULL, 0, 0x1000), TDP_EINVAL);
	assert_int_equal(tdp_emu_cached(r.emu, 0, 0), 0);
	/* None of that was an access. */
	assert_int_equal(stats_of(&r).accesses, 0);
	rig_close(&r);
}

/* Guest tables that only a callback can read. */
struct foreign {
	uint64_t (*page)[512];
	unsigned reads;
};

static int foreign_read(void *arg, tdp_pa_t pa, uint64_t *entry)
{
	struct foreign *f = arg;

	f->reads++;
	if (pa >= 4 * 4096)
		return -1;
	*entry = f->page[pa / 4096][pa % 4096 / 8];
	return 0;
}

static void foreign_tables(void **state)
{
	static uint64_t page[4][512];
	const uint64_t hw[2] = {0x5e, 0}, bad[2] = {0x5f, 0};
	struct foreign f = {page, 0};
	struct tdp_emu_exit exit;

	(void)state;
	page[0][0] = 0x1007;
	page[1][0] = 0x2007;
	page[2][0] = 0x3007;
	page[2][1] = 0x400b3ull; /* misaligned */
	page[2][2] = 0x7000007;  /* a table where nothing is */
	page[3][7] = 0x123000 | 0x33;
	assert_int_equal(tdp_emu_walk_foreign(TDP_FMT_EPT, hw, COMMON, foreign_read, &f, 0x7123,
					      TDP_W, &exit),
			 TDP_EMU_OK);
	assert_int_equal(exit.pa, 0x123123);
	assert_int_equal(exit.prot, TDP_R | TDP_W);
	assert_int_equal(exit.lg2, 12);
	assert_int_equal(exit.refs, 4);
	assert_int_equal(f.reads, 4);
	assert_int_equal(page[3][7], 0x123033); /* no bit was set */
	assert_int_equal(tdp_emu_walk_foreign(TDP_FMT_EPT, hw, COMMON, foreign_read, &f, 0x7123,
					      TDP_X, &exit),
			 TDP_EMU_EPT_VIOLATION);
	assert_int_equal(exit.raw.ept.qualification, 0x19c);
	assert_int_equal(tdp_emu_walk_foreign(TDP_FMT_EPT, hw, COMMON, foreign_read, &f, 0x200000,
					      TDP_R, &exit),
			 TDP_EMU_EPT_MISCONFIG);
	assert_int_equal(tdp_emu_walk_foreign(TDP_FMT_EPT, hw, COMMON, foreign_read, &f, 0x400000,
					      TDP_R, &exit),
			 TDP_EMU_BUS_ERROR);
	/* A/D in a machine without; a bad register; bad arguments. */
	assert_int_equal(tdp_emu_walk_foreign(TDP_FMT_EPT, hw, 0, foreign_read, &f, 0, TDP_R,
					      &exit),
			 TDP_EINVAL);
	assert_int_equal(tdp_emu_walk_foreign(TDP_FMT_EPT, bad, COMMON, foreign_read, &f, 0, TDP_R,
					      &exit),
			 TDP_EINVAL);
	assert_int_equal(tdp_emu_walk_foreign(TDP_FMT_EPT, hw, COMMON, NULL, &f, 0, TDP_R, &exit),
			 TDP_EINVAL);
	assert_int_equal(tdp_emu_walk_foreign(TDP_FMT_EPT, hw, COMMON, foreign_read, &f, 0, 3,
					      &exit),
			 TDP_EINVAL);
	assert_int_equal(tdp_emu_walk_foreign(7, hw, COMMON, foreign_read, &f, 0, TDP_R, &exit),
			 TDP_ENOTSUP);
}

static void decodes_its_exits(void **state)
{
	struct tdp_emu_exit exit = {0};
	struct tdp_fault fault;

	(void)state;
	exit.reason = TDP_EMU_EPT_VIOLATION;
	exit.raw.ept.qualification = 0x18a; /* write, readable, final */
	exit.raw.ept.gpa = 0x12345678;
	exit.raw.ept.gla = 0xabc;
	assert_int_equal(tdp_emu_decode(&exit, &fault), TDP_OK);
	assert_int_equal(fault.gpa, 0x12345678);
	assert_int_equal(fault.access, TDP_W);
	assert_int_equal(fault.gva, 0xabc);
	assert_int_equal(fault.flags, TDP_FAULT_PRESENT | TDP_FAULT_GVA);
	exit.reason = TDP_EMU_EPT_MISCONFIG;
	assert_int_equal(tdp_emu_decode(&exit, &fault), TDP_OK);
	assert_int_equal(fault.gpa, 0x12345678);
	assert_true(fault.flags & TDP_FAULT_RSVD);
	exit.reason = TDP_EMU_NPF;
	exit.raw.npf.exitinfo1 = 0x200000006ull;
	exit.raw.npf.exitinfo2 = 0x7000;
	assert_int_equal(tdp_emu_decode(&exit, &fault), TDP_OK);
	assert_int_equal(fault.gpa, 0x7000);
	assert_int_equal(fault.access, TDP_W);
	assert_int_equal(fault.flags, TDP_FAULT_WALK);
	exit.reason = TDP_EMU_S2_ABORT;
	exit.raw.s2.esr = 0x82000007;
	exit.raw.s2.hpfar = 0x123450;
	exit.raw.s2.far = 0x7ffff678;
	assert_int_equal(tdp_emu_decode(&exit, &fault), TDP_OK);
	assert_int_equal(fault.gpa & ~0xfffull, 0x12345000);
	assert_int_equal(fault.access, TDP_X);
	/* In which mode, where that matters: the report does not say it, the exit does. */
	exit.fetch = TDP_XU;
	assert_int_equal(tdp_emu_decode(&exit, &fault), TDP_OK);
	assert_int_equal(fault.access, TDP_XU);
	exit.reason = TDP_EMU_TEST_FAULT;
	exit.raw.test.code = 0x0a;
	exit.raw.test.gpa = 0x5000;
	assert_int_equal(tdp_emu_decode(&exit, &fault), TDP_OK);
	assert_int_equal(fault.gpa, 0x5000);
	assert_int_equal(fault.access, TDP_W);
	assert_int_equal(fault.flags, TDP_FAULT_PRESENT);
	for (uint32_t i = 0; i < 10; i++) {
		if (i >= TDP_EMU_EPT_VIOLATION && i <= TDP_EMU_TEST_FAULT)
			continue;
		exit.reason = i;
		fault.gpa = 1;
		assert_int_equal(tdp_emu_decode(&exit, &fault), TDP_EINVAL);
		assert_int_equal(fault.gpa, 1);
	}
	assert_int_equal(tdp_emu_decode(NULL, &fault), TDP_EINVAL);
	assert_int_equal(tdp_emu_decode(&exit, NULL), TDP_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_capabilities),
		cmocka_unit_test(configured_capabilities),
		cmocka_unit_test(bad_configurations),
		cmocka_unit_test(arguments),
		cmocka_unit_test(foreign_tables),
		cmocka_unit_test(decodes_its_exits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
