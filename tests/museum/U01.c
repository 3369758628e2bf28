/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * U01, KVM x86 2021 (CVE-2021-47094): after giving way, a walk over a root went on one step too far, past a
 * top-level entry that it had not visited. What was below was never zapped; it was freed with the root, long
 * after its pages had gone. Here a walk over subtrees below several top-level entries gives way after every
 * n-th table, for each n: afterwards no page is mapped and none can be reached, and all tables come back.
 */
#include "museum.h"

#define TOPS 4u
#define BELOW 3u

struct scene {
	struct test_vm vm;
	uint64_t stride, step;
	struct tdp_range all;
};

static tdp_gpa_t at(const struct scene *s, unsigned i)
{
	return i / BELOW * s->stride + i % BELOW * s->step;
}

static void scene_start(struct scene *s, void **state)
{
	museum_start(&s->vm, state, NULL);
	s->step = museum_huge(&s->vm);
	s->stride = s->vm.info.levels > 2
			    ? (uint64_t)1 << test_vm_lg2(&s->vm, s->vm.info.levels - 1)
			    : BELOW * s->step;
	s->all = museum_range(0, TOPS * s->stride);
	assert_int_equal(
		test_vm_slot(&s->vm, 0, 0, s->all.size, MUSEUM_PA, TDP_SLOT_FORCE_4K, NULL),
		TDP_OK);
	for (unsigned i = 0; i < TOPS * BELOW; i++)
		museum_reaches(&s->vm, at(s, i), TDP_W, MUSEUM_PA + at(s, i));
}

static void nothing_is_left(struct scene *s)
{
	struct tdp_mapping m;
	struct tdp_emu_exit exit;

	for (unsigned i = 0; i < TOPS * BELOW; i++) {
		assert_false(museum_mapped(&s->vm, at(s, i), &m));
		tdp_emu_forbid(s->vm.emu, MUSEUM_PA + at(s, i), TEST_PAGE);
		assert_int_not_equal(tdp_emu_access(s->vm.cpu[0].emu, at(s, i), TDP_R, &exit),
				     TDP_EMU_OK);
	}
	assert_int_equal(test_vm_check(&s->vm), 0);
}

static void zap_that_gives_way(void **state)
{
	static const uint32_t flags[] = {0, TDP_ZAP_KEEP_YOUNG}; /* by subtrees; table by table */

	for (unsigned nth = 0; nth <= 4 * TOPS * BELOW; nth++) {
		struct scene s;

		scene_start(&s, state);
		test_env_yield(&s.vm.env, TEST_YIELD_NTH, nth / 2 + 1);
		assert_int_equal(tdp_zap(s.vm.mm, 0, s.all, flags[nth % 2]), TDP_OK);
		test_env_yield(&s.vm.env, TEST_YIELD_NEVER, 0);
		nothing_is_left(&s);
		museum_end(&s.vm);
	}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(zap_that_gives_way)};

	return test_run("museum/U01", cases, ARRAY_LEN(cases));
}
