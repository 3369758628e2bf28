/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the pieces of the museum share: short forms of the questions that nearly all of them ask.
 * A test asserts what a guest on the emulated walker sees; the library's own view is only
 * cross-checked.
 */
#ifndef TESTS_MUSEUM_H
#define TESTS_MUSEUM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/support.h"

#include <stdlib.h>
#include <string.h>

/* Output addresses of the tests' memory: name nothing real, fit every format. */
#define MUSEUM_PA ((tdp_pa_t)1 << 46)

static inline const struct test_format *museum_format(void **state)
{
	return *state;
}

static inline void museum_start(struct test_vm *vm, void **state,
				const struct test_vm_options *opts)
{
	assert_int_equal(test_vm_init(vm, museum_format(state), opts), TDP_OK);
	for (uint32_t i = 0; i < vm->cpus; i++)
		assert_int_equal(tdp_vcpu_load(vm->cpu[i].vcpu), TDP_OK);
}

static inline void museum_end(struct test_vm *vm)
{
	assert_int_equal(test_vm_check(vm), 0);
	assert_int_equal(test_vm_fini(vm), 0);
}

/* Bytes of the smallest leaf above 4K. */
static inline uint64_t museum_huge(const struct test_vm *vm)
{
	return (uint64_t)1 << test_vm_lg2(vm, 1);
}

static inline struct tdp_range museum_range(tdp_gpa_t start, uint64_t size)
{
	struct tdp_range range = {start, size};

	return range;
}

/* A linear slot that must be accepted; its id. */
static inline uint32_t museum_slot(struct test_vm *vm, tdp_gpa_t gpa, uint64_t size, tdp_pa_t pa)
{
	uint32_t id;

	assert_int_equal(test_vm_slot(vm, 0, gpa, size, pa, 0, &id), TDP_OK);
	return id;
}

/* The guest's access works and ends at pa; log2 of the page it went through. */
static inline uint32_t museum_reaches(struct test_vm *vm, tdp_gpa_t gpa, uint32_t access,
				      tdp_pa_t pa)
{
	struct test_access a;

	assert_int_equal(test_vm_access(vm, 0, gpa, access, &a), TEST_OK);
	assert_int_equal(a.pa, pa);
	return a.lg2;
}

/* The guest's access works without any fault: the page is mapped already. */
static inline void museum_is_there(struct test_vm *vm, tdp_gpa_t gpa, uint32_t access, tdp_pa_t pa)
{
	struct test_access a;

	assert_int_equal(test_vm_access(vm, 0, gpa, access, &a), TEST_OK);
	assert_int_equal(a.pa, pa);
	assert_int_equal(a.faults, 0);
}

/* The guest's access ends with this answer of tdp_fault(). */
static inline void museum_answer(struct test_vm *vm, tdp_gpa_t gpa, uint32_t access, int outcome)
{
	struct test_access a;
	int answer = test_vm_access(vm, 0, gpa, access, &a);

	assert_int_equal(answer, outcome < 0 ? TEST_STATUS : TEST_OUTCOME);
	assert_int_equal(a.outcome, outcome);
}

/* Does the library say that gpa is mapped? */
static inline bool museum_mapped(struct test_vm *vm, tdp_gpa_t gpa, struct tdp_mapping *out)
{
	int status;

	memset(out, 0, sizeof(*out));
	out->size = (uint32_t)sizeof(*out);
	status = tdp_translate(vm->mm, 0, gpa, out);
	assert_true(status == TDP_OK || status == TDP_ENOENT);
	return status == TDP_OK;
}

/* Run fn on another thread, registered as a reader, to its end: what happens "meanwhile". */
struct museum_other {
	const struct tdp_rcu_ops *rcu;
	void (*fn)(void *arg);
	void *arg;
};

static inline void *museum_other_thread(void *arg)
{
	struct museum_other *o = arg;

	o->rcu->thread_register();
	o->fn(o->arg);
	o->rcu->thread_unregister();
	return NULL;
}

static inline void museum_meanwhile(struct test_vm *vm, void (*fn)(void *arg), void *arg)
{
	struct museum_other o = {vm->env.env.rcu, fn, arg};
	pthread_t thread;

	if (pthread_create(&thread, NULL, museum_other_thread, &o) != 0)
		abort();
	pthread_join(thread, NULL);
}

#endif
