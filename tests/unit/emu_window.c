/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What happens when an entry changes after the emulated walker read it and before it sets a bit
 * in it. The table is write-protected; the walker's update traps, the handler changes the entry
 * and lets the update go on.
 */
#include <signal.h>
#include <sys/mman.h>

#include "emu_tables.h"

#define RWX 0x7ull
#define A 0x100ull
#define D 0x200ull
#define LEAF(pa) ((pa) | 0x37ull)

static struct {
	void *page;
	uint64_t *entry;
	uint64_t value;
	volatile sig_atomic_t traps;
} window;

static void trapped(int sig, siginfo_t *info, void *context)
{
	char *at = info->si_addr;

	(void)context;
	if (at < (char *)window.page || at >= (char *)window.page + 4096) {
		/* Not ours: die of it after all. */
		signal(sig, SIG_DFL);
		return;
	}
	mprotect(window.page, 4096, PROT_READ | PROT_WRITE);
	*window.entry = window.value;
	window.traps++;
}

/* The next update of this entry finds value instead of what was read. */
static void arm_window(struct rig *r, unsigned page, unsigned index, uint64_t value)
{
	struct sigaction action = {0};

	/* In each test anew: cmocka puts its own handler in place before each. */
	action.sa_sigaction = trapped;
	action.sa_flags = SA_SIGINFO;
	assert_int_equal(sigaction(SIGSEGV, &action, NULL), 0);
	window.page = r->page[page];
	window.entry = &r->page[page][index];
	window.value = value;
	window.traps = 0;
	assert_int_equal(mprotect(window.page, 4096, PROT_READ), 0);
}

static void build(struct rig *r)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();

	rig_open(r, cfg);
	r->page[0][0] = P(1) | RWX;
	r->page[1][0] = P(2) | RWX;
	r->page[2][0] = P(3) | RWX;
	r->page[3][0] = LEAF(0x123000);
	assert_int_equal(load_root(r, r->v, TDP_FMT_EPT, P(0) | 0x5e, 0, TDP_ROOT_FLUSH), TDP_OK);
}

static void leaf_is_zapped(void **state)
{
	struct rig r;

	(void)state;
	build(&r);
	arm_window(&r, 3, 0, 0);
	expect_ept(&r, 0, TDP_W, 0x182);
	assert_int_equal(window.traps, 1);
	assert_int_equal(r.page[3][0], 0);
	assert_int_equal(stats_of(&r).dirty_set, 0);
	assert_int_equal(tdp_emu_cached(r.emu, 0, 0x1000), 0);
	rig_close(&r);
}

static void leaf_is_replaced(void **state)
{
	struct rig r;

	(void)state;
	build(&r);
	arm_window(&r, 3, 0, LEAF(0x456000));
	expect_pa(&r, 0, TDP_W, 0x456000);
	assert_int_equal(window.traps, 1);
	assert_int_equal(r.page[3][0], LEAF(0x456000) | A | D);
	/* Four entries, and the leaf again by the cached pointer to its table. */
	assert_int_equal(r.exit.refs, 5);
	rig_close(&r);
}

static void leaf_loses_a_permission(void **state)
{
	struct rig r;

	(void)state;
	build(&r);
	arm_window(&r, 3, 0, LEAF(0x123000) & ~0x2ull);
	expect_ept(&r, 0, TDP_W, 0x1aa);
	assert_int_equal(r.page[3][0], LEAF(0x123000) & ~0x2ull);
	rig_close(&r);
}

static void another_vcpu_was_first(void **state)
{
	struct rig r;

	(void)state;
	build(&r);
	arm_window(&r, 3, 0, LEAF(0x123000) | A);
	expect_pa(&r, 0, TDP_W, 0x123000);
	assert_int_equal(r.page[3][0], LEAF(0x123000) | A | D);
	rig_close(&r);
}

static void table_is_unlinked(void **state)
{
	struct rig r;

	(void)state;
	build(&r);
	arm_window(&r, 1, 0, 0);
	expect_ept(&r, 0, TDP_R, 0x181);
	assert_int_equal(window.traps, 1);
	assert_int_equal(r.page[1][0], 0);
	/* Nothing below it was touched, nor is it cached. */
	assert_int_equal(r.page[2][0], P(3) | RWX);
	assert_int_equal(r.page[3][0], LEAF(0x123000));
	r.page[1][0] = P(4) | RWX;
	r.page[4][0] = 0x40000000 | 0xb7;
	expect_pa(&r, 0, TDP_R, 0x40000000);
	rig_close(&r);
}

/* The guest's own tables are updated with the same care. */
static void guest_entry_is_changed(void **state)
{
	struct rig r;

	(void)state;
	build(&r);
	for (unsigned i = 0; i < 16; i++)
		r.page[3][i] = LEAF(P(16 + i)) | A | D;
	r.page[16][0] = 0x1027;
	r.page[17][0] = 0x2027;
	r.page[18][0] = 0x3027;
	r.page[19][0] = 0x5007;
	assert_int_equal(tdp_emu_set_stage1(r.v, TDP_EMU_S1_X86_4, 0), TDP_OK);
	arm_window(&r, 19, 0, 0x6007);
	assert_int_equal(tdp_emu_access_gva(r.v, 0x10, TDP_W, &r.exit), TDP_EMU_OK);
	assert_int_equal(window.traps, 1);
	assert_int_equal(r.exit.pa, P(22) + 0x10);
	assert_int_equal(r.page[19][0], 0x6067);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaf_is_zapped),
		cmocka_unit_test(leaf_is_replaced),
		cmocka_unit_test(leaf_loses_a_permission),
		cmocka_unit_test(another_vcpu_was_first),
		cmocka_unit_test(table_is_unlinked),
		cmocka_unit_test(guest_entry_is_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
