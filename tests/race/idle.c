/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Aging that passes idle subtrees by, on several threads at once, while pages are used, zapped, populated, split and
 * collapsed: a page that was used before a call began is old when it has returned.
 *
 * TDP_RACE_MS: how long, for each format (400).
 */
#include "unit/steps.h"

#include <time.h>

#define GPA GIB
#define QUIET 4u  /* blocks whose pages only the test itself uses */
#define BLOCKS 8u /* and those of the others */

struct idle {
	struct test_vm vm;
	_Atomic bool stop;
};

static void must(struct idle *s, const char *what, int status)
{
	if (status < 0 && status != TDP_EAGAIN)
		test_violation(&s->vm.env, "%s: %s", what, tdp_status_name(status));
}

static void *ages(void *arg)
{
	struct idle *s = arg;

	s->vm.env.env.rcu->thread_register();
	while (!atomic_load(&s->stop)) {
		must(s, "age", tdp_age(s->vm.mm, 0, everything(&s->vm), NULL));
		must(s, "test_age", tdp_test_age(s->vm.mm, 0, everything(&s->vm)));
	}
	s->vm.env.env.rcu->thread_unregister();
	return NULL;
}

static void *changes(void *arg)
{
	struct idle *s = arg;
	struct tdp_mm *mm = s->vm.mm;
	struct test_rand r;

	test_rand_init(&r, test_seed() + 1);
	s->vm.env.env.rcu->thread_register();
	while (!atomic_load(&s->stop)) {
		tdp_gpa_t gpa = GPA + (QUIET + test_below(&r, BLOCKS - QUIET)) * block_of(&s->vm);
		struct tdp_range block = range_of(gpa, block_of(&s->vm));
		struct tdp_range page = range_of(gpa + test_below(&r, 8) * TEST_PAGE, TEST_PAGE);

		switch (test_below(&r, 12)) {
		case 0: must(s, "zap", tdp_zap(mm, 0, block, 0)); break;
		case 1: must(s, "zap", tdp_zap(mm, 0, page, TDP_ZAP_KEEP_YOUNG)); break;
		case 2: must(s, "split", tdp_split(mm, 0, block, 12)); break;
		case 3: must(s, "collapse", tdp_collapse(mm, 0, block, 0, NULL)); break;
		case 4:
			must(s, "populate", tdp_populate(mm, 0, page, TDP_POPULATE_YOUNG, NULL));
			break;
		case 5: must(s, "populate", tdp_populate(mm, 0, block, 0, NULL)); break;
		case 6: must(s, "compact", tdp_compact(mm, 0, block)); break;
		default: test_vm_access(&s->vm, 1, page.start, TDP_W, NULL); break;
		}
	}
	s->vm.env.env.rcu->thread_unregister();
	return NULL;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The walker forgets the page, but not the way to it. False: it was not old afterwards. */
static bool used_is_found(struct test_vm *vm, tdp_gpa_t gpa)
{
	struct tdp_mapping leaf;

	tdp_emu_backend.flush_leaves(vm->emu, range_of(gpa, TEST_PAGE), 1);
	if (test_vm_access(vm, 0, gpa, TDP_R, NULL) != TEST_OK)
		return false;
	if (tdp_age(vm->mm, 0, everything(vm), NULL) < 0)
		return false;
	return translate(vm, 0, gpa, &leaf) == TDP_OK && !(leaf.flags & TDP_MAP_ACCESSED);
}

static void what_was_used_is_found(void **state)
{
	struct test_vm_options opts = {.mm_flags = TDP_MM_AGE_TABLES, .cpus = 2};
	uint64_t end = now_ms() + test_env_number("TDP_RACE_MS", 400), missed = 0;
	struct idle s = {0};
	pthread_t thread[3];
	struct test_rand r;

	test_rand_init(&r, test_seed());
	vm_up(&s.vm, state, &opts);
	add_slot(&s.vm, 0, GPA, QUIET * block_of(&s.vm), SLOT_PA, TDP_SLOT_FORCE_4K);
	add_slot(&s.vm, 0, GPA + QUIET * block_of(&s.vm), (BLOCKS - QUIET) * block_of(&s.vm),
		 SLOT_PA + QUIET * block_of(&s.vm), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, i < 2 ? ages : changes, &s), 0);
	for (uint64_t i = 0; now_ms() < end; i++) {
		missed += !used_is_found(&s.vm, GPA + test_below(&r, QUIET) * block_of(&s.vm) +
							test_below(&r, 8) * TEST_PAGE);
		/* So that tables turn idle in between. */
		for (uint64_t n = test_below(&r, 4); n > 0; n--)
			must(&s, "age", tdp_age(s.vm.mm, 0, everything(&s.vm), NULL));
	}
	atomic_store(&s.stop, true);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(missed, 0);
	vm_down(&s.vm);
}

static bool has_table_a(const struct test_format *fmt)
{
	return is_x86(fmt) && has_a(fmt);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(what_was_used_is_found, has_table_a),
	};

	return test_run("idle", cases, ARRAY_LEN(cases));
}
