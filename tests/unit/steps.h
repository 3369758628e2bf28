/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Steps that the tests of what the library promises its caller have in common; each asserts that
 * it succeeds.
 */
#ifndef TESTS_UNIT_STEPS_H
#define TESTS_UNIT_STEPS_H

#include "machine.h"

static inline uint32_t add_slot(struct test_vm *vm, uint32_t as_id, tdp_gpa_t gpa, uint64_t size,
				tdp_pa_t pa, uint32_t flags)
{
	uint32_t id;

	assert_int_equal(test_vm_slot(vm, as_id, gpa, size, pa, flags, &id), TDP_OK);
	return id;
}

/* A linear slot with permissions and types of its own. */
static inline int try_slot(struct test_vm *vm, tdp_gpa_t gpa, uint64_t size, tdp_pa_t pa,
			   uint32_t prot, uint32_t *id)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc)};
	uint32_t ignored;

	desc.gpa = range_of(gpa, size);
	desc.pa = pa;
	desc.prot = prot;
	return tdp_slot_add(vm->mm, &desc, id ? id : &ignored);
}

/* Pattern memory of its own, as a slot of address space 0. */
static inline uint32_t add_backing(struct test_vm *vm, struct test_backing *mem, tdp_gpa_t gpa,
				   uint64_t size, uint32_t prot, uint32_t max_lg2)
{
	struct tdp_slot_desc desc;
	uint32_t id;

	assert_int_equal(test_backing_init(mem, &vm->env, gpa, size, SLOT_PA, prot, max_lg2),
			 TDP_OK);
	desc = test_backing_slot(mem, 0, 0);
	assert_int_equal(tdp_slot_add(vm->mm, &desc, &id), TDP_OK);
	return id;
}

/* The guest's access goes through, whatever faults it takes. */
static inline struct test_access use(struct test_vm *vm, uint32_t cpu, tdp_gpa_t gpa,
				     uint32_t access)
{
	struct test_access a;

	assert_int_equal(test_vm_access(vm, cpu, gpa, access, &a), TEST_OK);
	return a;
}

/* It ends with this outcome of tdp_fault(). */
static inline void stopped(struct test_vm *vm, uint32_t cpu, tdp_gpa_t gpa, uint32_t access,
			   int outcome)
{
	struct test_access a;
	int answer = test_vm_access(vm, cpu, gpa, access, &a);

	assert_int_equal(answer, outcome < 0 ? TEST_STATUS : TEST_OUTCOME);
	assert_int_equal(a.outcome, outcome);
}

static inline void load(struct test_vm *vm, uint32_t cpu)
{
	assert_int_equal(tdp_vcpu_load(vm->cpu[cpu].vcpu), TDP_OK);
}

static inline struct tdp_mapping leaf_at(const struct test_vm *vm, tdp_gpa_t gpa)
{
	struct tdp_mapping leaf;

	assert_int_equal(translate(vm, 0, gpa, &leaf), TDP_OK);
	return leaf;
}

static inline bool mapped(const struct test_vm *vm, uint32_t as_id, tdp_gpa_t gpa)
{
	int status = translate(vm, as_id, gpa, NULL);

	assert_true(status == TDP_OK || status == TDP_ENOENT);
	return status == TDP_OK;
}

/* Bytes of a page at the lowest level above 4K that has leaves and can be collapsed and split. */
static inline uint64_t block_of(const struct test_vm *vm)
{
	return (uint64_t)1 << test_vm_lg2(vm, 1);
}

/* The entry that decides about gpa, as stored. */
static inline uint64_t word_at(const struct test_vm *vm, tdp_gpa_t gpa, uint8_t *kind)
{
	struct tdp_path path = {.size = (uint32_t)sizeof(path)};

	assert_int_equal(tdp_walk_gpa(vm->mm, 0, gpa, &path), TDP_OK);
	if (kind)
		*kind = path.kind[path.last_level];
	return path.entry[path.last_level];
}

static inline struct test_dump dump_of(struct test_vm *vm)
{
	struct test_dump dump;

	assert_int_equal(test_dump_take(vm, 0, &dump), TDP_OK);
	return dump;
}

/* Nothing of address space 0 has changed since: every entry is the same word. Frees the dump. */
static inline void same_as(struct test_vm *vm, struct test_dump *before)
{
	struct test_dump after = dump_of(vm);

	assert_int_equal(test_dump_diff(before, &after, false), 0);
	test_dump_free(&after);
	test_dump_free(before);
}

/* Another mm on the same machine, after vm->cfg was changed. */
static inline int try_remake(struct test_vm *vm)
{
	int ret;

	for (uint32_t i = 0; i < vm->cpus; i++)
		tdp_vcpu_destroy(vm->cpu[i].vcpu);
	if (vm->mm)
		assert_int_equal(tdp_mm_destroy(vm->mm), TDP_OK);
	vm->mm = NULL;
	for (uint32_t i = 0; i < vm->cpus; i++)
		vm->cpu[i].vcpu = NULL;
	ret = tdp_mm_create(&vm->cfg, &vm->mm);
	for (uint32_t i = 0; ret == TDP_OK && i < vm->cpus; i++)
		assert_int_equal(tdp_vcpu_create(vm->mm, vm->cpu[i].emu, &vm->cpu[i].vcpu), TDP_OK);
	if (ret == TDP_OK)
		assert_int_equal(tdp_mm_info(vm->mm, &vm->info), TDP_OK);
	return ret;
}

static inline void remake(struct test_vm *vm)
{
	assert_int_equal(try_remake(vm), TDP_OK);
}

/* ---- which formats a test is for ---- */

static inline bool has_no_a(const struct test_format *fmt)
{
	return fmt->without_caps & TDP_CAP_HW_ACCESSED || fmt->mm_flags & TDP_MM_NO_HW_AD;
}

static inline bool has_a(const struct test_format *fmt)
{
	return !has_no_a(fmt);
}

static inline bool is_x86(const struct test_format *fmt)
{
	return fmt->format == TDP_FMT_EPT || fmt->format == TDP_FMT_NPT;
}

/* Aged leaves are made to fault: neither the MMU nor an access flag would tell of their use. */
static inline bool tracks_access(const struct test_format *fmt)
{
	return has_no_a(fmt) && fmt->format != TDP_FMT_S2_4K;
}

/* The ways of logging that this machine has, one after the other. */
static inline uint32_t next_mode(const struct test_vm *vm, uint32_t mode)
{
	if (mode == TDP_LOG_OFF)
		return TDP_LOG_WRPROT;
	return mode == TDP_LOG_WRPROT && vm->info.ad & 2 ? TDP_LOG_DBIT : TDP_LOG_OFF;
}

#define for_each_mode(vm, mode)                                                                    \
	for (uint32_t mode = next_mode(vm, TDP_LOG_OFF); mode != TDP_LOG_OFF;                      \
	     mode = next_mode(vm, mode))

#endif
