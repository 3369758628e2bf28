/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F27, two emulators: NEMU 2026 kept a superpage as 4K fragments in its TLB, and a fence of one address dropped
 * one of them; Bochs 2018 kept a translation that an EPT violation should have dropped.
 *
 * This one is about the judge itself. The emulated walker keeps fragments too, one for each page of a guest's
 * own tables; a flush of a huge page must drop them all, on every vCPU, and nothing of the neighbour's. A flush
 * inside a huge page must drop what is cached of it as a whole. A fault drops where the architecture says so,
 * and only there.
 */
#include "flush.h"

#define FRAGMENTS 64u

/* The guest's tables: gva page n is GPA page n, each with a 4K page of its own. */
struct guest {
	uint64_t *table[4];
	tdp_gpa_t gpa;
};

static void guest_tables(struct test_vm *vm, struct guest *g)
{
	bool arm = vm->fmt->format == TDP_FMT_S2_4K;
	uint64_t link = arm ? 0x3 : 0x67, leaf = arm ? 0x443 : 0x67;
	uint64_t *memory = aligned_alloc((size_t)TEST_PAGE, 4 * (size_t)TEST_PAGE);

	assert_non_null(memory);
	memset(memory, 0, 4 * (size_t)TEST_PAGE);
	g->gpa = GPA + 4 * leaf_size(vm, huge_levels(vm).level[0]);
	for (unsigned i = 0; i < 4; i++)
		g->table[i] = memory + i * (TEST_PAGE / 8);
	for (unsigned i = 0; i < 3; i++)
		g->table[i][0] = (g->gpa + (i + 1) * TEST_PAGE) | link;
	for (unsigned i = 0; i < 512; i++)
		g->table[3][i] = (GPA + i * TEST_PAGE) | leaf;
	assert_int_equal(test_vm_slot(vm, 0, g->gpa, 4 * TEST_PAGE, (tdp_pa_t)(uintptr_t)memory,
				      TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++)
		assert_int_equal(tdp_emu_set_stage1(vm->cpu[cpu].emu,
						    arm ? TDP_EMU_S1_ARM64 : TDP_EMU_S1_X86_4,
						    g->gpa),
				 TDP_OK);
}

/* An access by the guest's own address; table entries read for it. */
static uint32_t guest_reads(struct test_vm *vm, unsigned cpu, uint64_t gva)
{
	struct tdp_emu_exit exit;

	for (unsigned step = 0; step < 16; step++) {
		struct tdp_fault fault = {0};

		if (tdp_emu_access_gva(vm->cpu[cpu].emu, gva, TDP_R, &exit) == TDP_EMU_OK) {
			assert_int_equal(exit.pa, PA + gva);
			return exit.refs;
		}
		assert_int_equal(tdp_emu_decode(&exit, &fault), TDP_OK);
		assert_true(tdp_fault(vm->cpu[cpu].vcpu, &fault, NULL) >= 0);
	}
	fail_msg("gva %#llx cannot be read", (unsigned long long)gva);
	return 0;
}

static void all_fragments_go(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm *vm = spied_vm(state, &opts, NULL);
	uint64_t size = leaf_size(vm, huge_levels(vm).level[0]);
	uint64_t count = size / TEST_PAGE < FRAGMENTS ? size / TEST_PAGE : FRAGMENTS;
	struct guest g;

	assert_int_equal(test_vm_slot(vm, 0, GPA, 2 * size, PA, 0, NULL), TDP_OK);
	guest_tables(vm, &g);
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++) {
		for (unsigned i = 0; i < count; i++) {
			guest_reads(vm, cpu, i * TEST_PAGE);
			assert_int_equal(guest_reads(vm, cpu, i * TEST_PAGE), 0);
		}
	}
	assert_true(lg2_at(vm, 0, GPA) > TDP_PAGE_LG2);
	tdp_emu_backend.flush_range(vm->emu, range_of(GPA, size));
	assert_int_equal(tdp_emu_cached(vm->emu, GPA, size), 0);
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++)
		for (unsigned i = 0; i < count; i++)
			assert_true(guest_reads(vm, cpu, i * TEST_PAGE) > 0);
	close_vm(vm);
	free(g.table[0]);
}

static void a_huge_page_goes_as_a_whole(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm *vm = spied_vm(state, &opts, NULL);
	struct huge_levels h = huge_levels(vm);

	for (unsigned i = 0; i < h.count; i++) {
		uint64_t size = leaf_size(vm, h.level[i]);
		tdp_gpa_t base = GPA + 2 * size;
		uint32_t slot;

		assert_int_equal(test_vm_slot(vm, 0, base, 2 * size, PA + (base - GPA), 0, &slot),
				 TDP_OK);
		for (unsigned cpu = 0; cpu < vm->cpus; cpu++) {
			touch_linear(vm, cpu, base, TDP_W);
			touch_linear(vm, cpu, base + size, TDP_W);
		}
		assert_int_equal(lg2_at(vm, 0, base), test_vm_lg2(vm, h.level[i]));
		tdp_emu_backend.flush_range(vm->emu,
					    range_of(base + size / 2 + TEST_PAGE, TEST_PAGE));
		assert_int_equal(tdp_emu_cached(vm->emu, base, size), 0);
		for (unsigned cpu = 0; cpu < vm->cpus; cpu++) {
			assert_true(touch(vm, cpu, base, TDP_R).refs > 0);
			assert_int_equal(touch(vm, cpu, base + size, TDP_R).refs, 0);
		}
		assert_int_equal(tdp_slot_remove(vm->mm, slot), TDP_OK);
	}
	close_vm(vm);
}

/* A vCPU that holds a page without W, while another one was given W. */
static void a_fault_drops_where_it_should(void **state)
{
	for (unsigned drops = 0; drops < 2; drops++) {
		struct test_vm_options opts = {.cpus = 2};
		struct test_vm *vm;

		opts.without_caps = drops ? 0 : TDP_CAP_FAULT_INVALIDATES;
		vm = spied_vm(state, &opts, NULL);
		assert_int_equal(test_vm_slot(vm, 0, GPA, 4 * TEST_PAGE, PA, 0, NULL), TDP_OK);
		cache_all(vm, range_of(GPA, TEST_PAGE), TEST_PAGE);
		assert_int_equal(tdp_write_protect(vm->mm, 0, range_of(GPA, TEST_PAGE)), TDP_OK);
		for (unsigned cpu = 0; cpu < vm->cpus; cpu++)
			touch_linear(vm, cpu, GPA, TDP_R);
		touch_linear(vm, 0, GPA, TDP_W);
		for (unsigned i = 0; i < 3; i++) {
			bool done = raw(vm, 1, GPA, TDP_W, NULL) == TDP_EMU_OK;

			assert_int_equal(done, (spy.caps.flags & TDP_CAP_FAULT_INVALIDATES) != 0);
		}
		tdp_emu_backend.flush_vcpu(vm->emu, vm->cpu[1].emu, range_of(GPA, TEST_PAGE));
		assert_int_equal(raw(vm, 1, GPA, TDP_W, NULL), TDP_EMU_OK);
		close_vm(vm);
	}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(all_fragments_go),
						 TEST_CASE(a_huge_page_goes_as_a_whole),
						 TEST_CASE(a_fault_drops_where_it_should)};

	return test_run("museum/F27", cases, ARRAY_LEN(cases));
}
