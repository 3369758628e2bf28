/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F22, Xvisor on RISC-V 2020 and page_table_multiarch 2025: an address went unshifted where a frame number was
 * wanted, and address and VMID changed places: the flush was of something else.
 *
 * Here the operands that reach the walker are compared with what the test works out by itself, for ranges, for
 * one vCPU and for the registers of a root; and the walker, which decodes them, must have forgotten just that.
 */
#include "flush.h"

static void flushed_just(struct tdp_range range)
{
	assert_int_equal(spy.alls, 0);
	assert_int_equal(spy.ranges, 1);
	assert_int_equal(spy.last.start, range.start);
	assert_int_equal(spy.last.size, range.size);
	assert_int_equal(tdp_emu_cached(spy.vm->emu, range.start, range.size), 0);
	spy_forget();
}

static void ranges(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm *vm = spied_vm(state, &opts, NULL);
	uint64_t span = table_span(vm, 0);
	tdp_gpa_t top = test_vm_size(vm) - span;

	for (unsigned at = 0; at < 2; at++) {
		tdp_gpa_t base = at ? top : GPA;

		assert_int_equal(test_vm_slot(vm, 0, base, span, PA, TDP_SLOT_FORCE_4K, NULL),
				 TDP_OK);
		for (unsigned cpu = 0; cpu < vm->cpus; cpu++)
			for (uint64_t page = 0; page < span; page += TEST_PAGE)
				touch(vm, cpu, base + page, TDP_W);
		spy_forget();
		assert_int_equal(tdp_zap(vm->mm, 0, range_of(base + 5 * TEST_PAGE, TEST_PAGE), 0),
				 TDP_OK);
		flushed_just(range_of(base + 5 * TEST_PAGE, TEST_PAGE));
		/* No wider than what was there: page 5 is gone. */
		assert_int_equal(
			tdp_zap(vm->mm, 0, range_of(base + 5 * TEST_PAGE, 3 * TEST_PAGE), 0),
			TDP_OK);
		flushed_just(range_of(base + 6 * TEST_PAGE, 2 * TEST_PAGE));
		assert_int_equal(
			tdp_write_protect(vm->mm, 0, range_of(base + span - TEST_PAGE, TEST_PAGE)),
			TDP_OK);
		flushed_just(range_of(base + span - TEST_PAGE, TEST_PAGE));
		assert_int_equal(tdp_zap(vm->mm, 0, range_of(base, span), 0), TDP_OK);
		flushed_just(range_of(base, span));
	}
	close_vm(vm);
}

/* A translation of which the right was raised: only the faulting vCPU's, only that page. */
static void one_vcpu(void **state)
{
	struct test_vm_options opts = {.cpus = 2, .without_caps = TDP_CAP_FAULT_INVALIDATES};
	struct test_vm *vm = spied_vm(state, &opts, NULL);
	tdp_gpa_t gpa = GPA + 3 * TEST_PAGE;

	assert_int_equal(test_vm_slot(vm, 0, GPA, 8 * TEST_PAGE, PA, TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	cache_all(vm, range_of(GPA, 8 * TEST_PAGE), TEST_PAGE);
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++) {
		assert_int_equal(tdp_write_protect(vm->mm, 0, range_of(gpa, TEST_PAGE)), TDP_OK);
		touch_linear(vm, cpu, gpa, TDP_R);
		spy_forget();
		touch_linear(vm, cpu, gpa + 24, TDP_W);
		assert_int_equal(spy.locals, 1);
		assert_int_equal(spy.local_cpu, cpu);
		assert_int_equal(spy.local.start, gpa);
		assert_int_equal(spy.local.size, TEST_PAGE);
		assert_int_equal(spy.ranges + spy.alls, 0);
	}
	close_vm(vm);
}

/* SDM vol. 3C, 25.6.11; APM vol. 2, 15.25.3; DDI 0487, VTTBR_EL2. */
static void registers(void **state)
{
	struct test_vm *vm = spied_vm(state, NULL, NULL);
	struct tdp_root_view view = {.size = (uint32_t)sizeof(view)};
	struct tdp_root *root;
	uint64_t ad = vm->info.ad ? 0x40 : 0;

	assert_int_equal(tdp_root_get(vm->mm, tdp_role_root(vm->mm, 0), &root), TDP_OK);
	assert_int_equal(tdp_root_view(vm->mm, root, &view), TDP_OK);
	assert_int_equal(tdp_root_put(vm->mm, root), 0);
	assert_int_equal(view.pa & (TEST_PAGE - 1), 0);
	assert_memory_equal(spy.hw[0], view.hw, sizeof(view.hw));
	switch (vm->fmt->format) {
	case TDP_FMT_EPT:
		assert_int_equal(view.hw[0], view.pa | (vm->info.levels - 1) << 3 | 6 | ad);
		break;
	case TDP_FMT_NPT:
		assert_int_equal(view.hw[0], view.pa);
		assert_int_equal(view.hw[1], vm->info.levels == 5);
		break;
	case TDP_FMT_S2_4K:
		assert_int_equal(view.hw[0], view.pa | (uint64_t)vm->cfg.vmid << 48);
		break;
	default: assert_int_equal(view.hw[0], view.pa);
	}
	close_vm(vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(ranges), TEST_CASE(one_vcpu),
						 TEST_CASE(registers)};

	return test_run("museum/F22", cases, ARRAY_LEN(cases));
}
