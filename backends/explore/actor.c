/* SPDX-License-Identifier: BSD-2-Clause */
/* Coroutines on stacks of their own, and what a sanitizer wants to know of them. */
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "explore_int.h"

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifdef UNDER_ASAN
#include <sanitizer/common_interface_defs.h>
#define switch_begin(save, stack, size) __sanitizer_start_switch_fiber((save), (stack), (size))
#define switch_end(save, stack, size) __sanitizer_finish_switch_fiber((save), (stack), (size))
#else
#define switch_begin(save, stack, size) ((void)(save), (void)(stack), (void)(size))
#define switch_end(save, stack, size) ((void)(save), (void)(stack), (void)(size))
#endif

/* An odd number of pages: what the library hashes of a stack address differs between actors. */
#define STACK_SIZE ((size_t)65 << 12)

struct actor {
	ucontext_t self, caller;
	void *stack;
	const void *caller_stack;
	size_t caller_size;
	void (*fn)(void *arg);
	void *arg;
	bool returned;
	struct actor *next; /* abandoned */
};

static _Thread_local struct actor *abandoned;

struct actor *tdpi_actor_new(void)
{
	struct actor *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->stack =
		mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (a->stack == MAP_FAILED) {
		free(a);
		return NULL;
	}
	return a;
}

void tdpi_actor_free(struct actor *a)
{
	if (!a)
		return;
	munmap(a->stack, STACK_SIZE);
	free(a);
}

void tdpi_actor_abandon(struct actor *a)
{
	if (!a)
		return;
	a->next = abandoned;
	abandoned = a;
}

/* makecontext() passes ints only. */
static void entry(unsigned high, unsigned low)
{
	struct actor *a = (struct actor *)((uintptr_t)high << 16 << 16 | low);

	switch_end(NULL, &a->caller_stack, &a->caller_size);
	a->fn(a->arg);
	a->returned = true;
	switch_begin(NULL, a->caller_stack, a->caller_size);
	swapcontext(&a->self, &a->caller);
	abort(); /* nobody resumes one that has returned */
}

void tdpi_actor_start(struct actor *a, void (*fn)(void *arg), void *arg)
{
	uintptr_t word = (uintptr_t)a;

	a->fn = fn;
	a->arg = arg;
	a->returned = false;
	getcontext(&a->self);
	a->self.uc_stack.ss_sp = a->stack;
	a->self.uc_stack.ss_size = STACK_SIZE;
	a->self.uc_link = NULL;
	makecontext(&a->self, (void (*)(void))entry, 2, (unsigned)(word >> 16 >> 16),
		    (unsigned)word);
}

bool tdpi_actor_resume(struct actor *a)
{
	void *save = NULL;

	switch_begin(&save, a->stack, STACK_SIZE);
	swapcontext(&a->caller, &a->self);
	switch_end(save, NULL, NULL);
	return !a->returned;
}

void tdpi_actor_suspend(struct actor *a)
{
	void *save = NULL;

	switch_begin(&save, a->caller_stack, a->caller_size);
	swapcontext(&a->self, &a->caller);
	switch_end(save, &a->caller_stack, &a->caller_size);
}
