/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which change of a leaf needs a flush: the decision, and the calls that make it (rows T of
 * FEATURES.md).
 */
#include "machine.h"

#include "engine/attr.h"

#define RAM (2 * MIB)

static void small_ram(struct test_vm *vm, uint32_t *id)
{
	assert_int_equal(test_vm_slot(vm, 0, 0, RAM, SLOT_PA, TDP_SLOT_FORCE_4K, id), TDP_OK);
}

/* ---- the decision, by itself ---- */

static struct tdpi_attr attr_of(unsigned i)
{
	return (struct tdpi_attr){
		.prot = (uint16_t)((i & 7) | (i >> 8 & 1) << 3 | (i >> 9 & 1) << TDP_MT_SHIFT),
		.host_w = i & 8,
		.mmu_w = i & 16,
		.accessed = i & 32,
		.dirty = i & 64,
		.tracked = i & 128,
	};
}

static void every_leaf_transition(void **state)
{
	unsigned needs[3] = {0};

	(void)state;
	for (unsigned i = 0; i < 1024; i++) {
		for (unsigned j = 0; j < 1024; j++) {
			struct tdpi_attr from = attr_of(i), to = attr_of(j);
			enum tdpi_flush_need need = tdpi_leaf_flush_need(from, to);
			unsigned lost = from.prot & ~to.prot & TDP_RWX;
			bool mt = (from.prot ^ to.prot) & TDP_MT_MASK;

			needs[need]++;
			/* Somebody relies on it at once: no write any more, another type. */
			if ((from.mmu_w && !to.mmu_w) || mt)
				assert_int_equal(need, TDPI_FLUSH_NOW);
			/*
			 * An access that is no longer permitted; aging only hides it for a
			 * moment.
			 */
			else if (lost & (TDP_R | TDP_X) && !to.tracked)
				assert_int_equal(need, TDPI_FLUSH_NOW);
			/* Accessed cleared, by bit or by hiding the leaf: never. */
			else if (to.tracked)
				assert_int_equal(need, TDPI_FLUSH_NONE);
			/* W or D taken by a batch: before its result is used. */
			else if (lost & TDP_W || (from.dirty && !to.dirty))
				assert_int_equal(need, TDPI_FLUSH_BATCH);
			/* Given, or refreshed with the right to write kept. */
			else
				assert_int_equal(need, TDPI_FLUSH_NONE);
		}
	}
	assert_true(needs[0] && needs[1] && needs[2]);
}

static void every_kind_transition(void **state)
{
	static const enum tdpi_flush_need need[5][5] = {
		/*
		 * to        EMPTY            TABLE            LEAF              FROZEN
		 * MMIO
		 */
		[TDP_ENTRY_TABLE] = {TDPI_FLUSH_NOW, TDPI_FLUSH_NOW, TDPI_FLUSH_BATCH,
				     TDPI_FLUSH_NOW, TDPI_FLUSH_NOW},
		[TDP_ENTRY_LEAF] = {TDPI_FLUSH_NOW, TDPI_FLUSH_NONE, TDPI_FLUSH_NONE,
				    TDPI_FLUSH_NOW, TDPI_FLUSH_NOW},
		/* EMPTY, FROZEN, MMIO: no MMU holds what is not present. */
	};
	struct tdpi_attr a = attr_of(7 | 8 | 16 | 32);

	(void)state;
	for (unsigned from = 0; from < 5; from++)
		for (unsigned to = 0; to < 5; to++)
			assert_int_equal(tdpi_flush_need((enum tdp_entry_kind)from,
							 (enum tdp_entry_kind)to, true, a, a),
					 need[from][to]);
	/* Another frame, whatever else is alike. */
	assert_int_equal(tdpi_flush_need(TDP_ENTRY_LEAF, TDP_ENTRY_LEAF, false, a, a),
			 TDPI_FLUSH_NOW);
}

/* ---- aging ---- */

static void aging_does_not_flush(void **state)
{
	struct test_vm vm;
	struct tdp_emu_exit ex;
	uint64_t flushes, young = 0;

	vm_up(&vm, state, NULL);
	small_ram(&vm, NULL);
	for (unsigned page = 0; page < 20; page++)
		assert_int_equal(test_vm_touch(&vm, 0, page * TEST_PAGE, TDP_W), 0);
	flushes = flushes_of(&vm);
	assert_int_equal(tdp_age(vm.mm, 0, range_of(0, RAM), &young), 1);
	assert_int_equal(young, 20);
	assert_int_equal(tdp_age(vm.mm, 0, range_of(0, RAM), &young), 0);
	assert_int_equal(tdp_test_age(vm.mm, 0, range_of(0, RAM)), 0);
	assert_int_equal(flushes_of(&vm), flushes);
	/* What a TLB still holds goes on, and the page looks old meanwhile: that is the price. */
	assert_int_equal(tdp_emu_access(vm.cpu[0].emu, 0, TDP_W, &ex), TDP_EMU_OK);
	assert_int_equal(tdp_test_age(vm.mm, 0, range_of(0, RAM)), 0);
	vm_down(&vm);
}

static void aging_flushes_on_request(void **state)
{
	for (unsigned by_backend = 0; by_backend < 2; by_backend++) {
		struct test_vm_options opts = {0};
		struct test_vm vm;
		uint64_t flushes;

		if (by_backend)
			opts.with_caps = TDP_CAP_FLUSH_ON_AGE;
		else
			opts.mm_flags = TDP_MM_FLUSH_ON_AGE;
		vm_up(&vm, state, &opts);
		small_ram(&vm, NULL);
		for (unsigned page = 0; page < 20; page++)
			assert_int_equal(test_vm_touch(&vm, 0, page * TEST_PAGE, TDP_R), 0);
		flushes = broadcasts_of(&vm);
		assert_int_equal(tdp_age(vm.mm, 0, range_of(0, RAM), NULL), 1);
		assert_int_equal(broadcasts_of(&vm), flushes + 1); /* one for all of them */
		assert_int_equal(stats_of(&vm).flush_cause[TDP_FLUSH_AGE], 1);
		assert_int_equal(tdp_emu_cached(vm.emu, 0, RAM), 0);
		assert_int_equal(tdp_age(vm.mm, 0, range_of(0, RAM), NULL), 0);
		assert_int_equal(broadcasts_of(&vm), flushes + 1); /* none when none was young */
		/* Now the MMU, or a fault, says so when the page is used again. */
		assert_int_equal(test_vm_touch(&vm, 0, 0, TDP_R), 0);
		assert_int_equal(tdp_test_age(vm.mm, 0, range_of(0, RAM)), 1);
		vm_down(&vm);
	}
}

/* ---- dirty logging ---- */

static void logging_flushes_once_per_call(void **state)
{
	static const uint32_t modes[] = {TDP_LOG_WRPROT, TDP_LOG_DBIT};

	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		uint64_t flushes, bits[8];
		struct test_vm vm;
		uint32_t id;

		vm_up(&vm, state, NULL);
		small_ram(&vm, &id);
		if (modes[i] == TDP_LOG_DBIT && !(vm.info.ad & 2)) {
			assert_int_equal(tdp_dirty_log(vm.mm, id, modes[i]), TDP_ENOTSUP);
			vm_down(&vm);
			continue;
		}
		for (unsigned page = 0; page < 40; page++)
			assert_int_equal(test_vm_touch(&vm, 0, page * TEST_PAGE, TDP_W), 0);
		flushes = broadcasts_of(&vm);
		assert_int_equal(tdp_dirty_log(vm.mm, id, modes[i]), TDP_OK);
		assert_int_equal(broadcasts_of(&vm), flushes + 1);
		for (unsigned page = 0; page < 40; page += 2)
			assert_int_equal(test_vm_touch(&vm, 0, page * TEST_PAGE, TDP_W), 0);
		flushes = broadcasts_of(&vm);
		assert_int_equal(tdp_dirty_get(vm.mm, id, 0, bits, 8), TDP_OK);
		assert_int_equal(bits[0], 0x5555555555 & ((UINT64_C(1) << 40) - 1));
		assert_int_equal(broadcasts_of(&vm), flushes);
		assert_int_equal(tdp_dirty_harvest(vm.mm, id, 0, bits, 8), TDP_OK);
		assert_int_equal(bits[0], 0x5555555555);
		assert_int_equal(broadcasts_of(&vm), flushes + 1);
		assert_int_equal(tdp_dirty_harvest(vm.mm, id, 0, bits, 8), TDP_OK);
		assert_int_equal(bits[0], 0);
		assert_int_equal(broadcasts_of(&vm), flushes + 1); /* nothing was dirty */
		assert_int_equal(tdp_dirty_clear(vm.mm, id, 0, 64), TDP_OK);
		assert_int_equal(broadcasts_of(&vm), flushes + 1);
		assert_int_equal(test_vm_touch(&vm, 0, 5 * TEST_PAGE, TDP_W), 0);
		flushes = broadcasts_of(&vm);
		assert_int_equal(tdp_dirty_clear(vm.mm, id, 0, 64), TDP_OK);
		assert_int_equal(broadcasts_of(&vm), flushes + 1);
		/* After each of these a write is noticed again. */
		assert_int_equal(test_vm_touch(&vm, 0, 5 * TEST_PAGE, TDP_W), 0);
		assert_int_equal(tdp_dirty_get(vm.mm, id, 0, bits, 8), TDP_OK);
		assert_int_equal(bits[0], 1u << 5);
		vm_down(&vm);
	}
}

/* ---- permissions ---- */

static void refreshing_a_protected_leaf_does_not_flush(void **state)
{
	struct test_vm vm;
	uint64_t flushes;

	vm_up(&vm, state, NULL);
	small_ram(&vm, NULL);
	assert_int_equal(test_vm_touch(&vm, 0, 0x2000, TDP_W), 0);
	flushes = broadcasts_of(&vm);
	assert_int_equal(tdp_write_protect(vm.mm, 0, range_of(0, RAM)), TDP_OK);
	assert_int_equal(broadcasts_of(&vm), flushes + 1);
	flushes++;
	/*
	 * Read-only now, writable again when asked for: reads, executes and aging leave that
	 * alone.
	 */
	assert_int_equal(test_vm_touch(&vm, 0, 0x2000, TDP_R), 0);
	assert_int_equal(fault(&vm, 0, 0x2000, TDP_R), TDP_FAULT_SPURIOUS);
	assert_int_equal(tdp_age(vm.mm, 0, range_of(0, RAM), NULL), 1);
	assert_true(fault(&vm, 0, 0x2000, TDP_R) >= 0);
	assert_int_equal(broadcasts_of(&vm), flushes);
	/* And so does giving W back. */
	assert_int_equal(test_vm_touch(&vm, 0, 0x2000, TDP_W), 0);
	assert_int_equal(broadcasts_of(&vm), flushes);
	vm_down(&vm);
}

/* The backing permits less than it did: the right to write is gone before the fault returns. */
static void a_fault_that_takes_write_flushes(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_backing b;
	struct tdp_slot_desc desc;
	struct tdp_emu_exit ex;
	struct tdp_mapping m;
	struct test_vm vm;
	uint64_t flushes;
	uint32_t id;

	vm_up(&vm, state, &opts);
	assert_int_equal(
		test_backing_init(&b, &vm.env, 0, MIB, SLOT_PA, TDP_R | TDP_W, TDP_PAGE_LG2),
		TDP_OK);
	desc = test_backing_slot(&b, 0, 0);
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &id), TDP_OK);
	assert_int_equal(test_vm_touch(&vm, 0, 0x2000, TDP_W), 0);
	assert_int_equal(test_vm_touch(&vm, 1, 0x2000, TDP_W), 0);
	b.prot = TDP_R | TDP_X;
	flushes = broadcasts_of(&vm);
	assert_int_equal(fault(&vm, 0, 0x2000, TDP_X), TDP_FAULT_FIXED);
	assert_true(broadcasts_of(&vm) > flushes);
	assert_int_equal(translate(&vm, 0, 0x2000, &m), TDP_OK);
	assert_int_equal(m.prot & TDP_RWX, TDP_R | TDP_X);
	assert_int_equal(m.flags & TDP_MAP_MMU_WRITABLE, 0);
	assert_true(tdp_emu_access(vm.cpu[1].emu, 0x2000, TDP_W, &ex) != TDP_EMU_OK);
	assert_int_equal(fault(&vm, 1, 0x2000, TDP_W), TDP_EACCES);
	assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
	test_backing_fini(&b);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(every_leaf_transition, first_format),
		TEST_CASE_IF(every_kind_transition, first_format),
		TEST_CASE(aging_does_not_flush),
		TEST_CASE(aging_flushes_on_request),
		TEST_CASE(logging_flushes_once_per_call),
		TEST_CASE(refreshing_a_protected_leaf_does_not_flush),
		TEST_CASE(a_fault_that_takes_write_flushes),
	};

	return test_run("flush_need", cases, ARRAY_LEN(cases));
}
