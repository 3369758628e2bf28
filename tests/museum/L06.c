/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * L06, Xen 2021: populate on demand held its own lock when a hook flushed the nested tables, which takes theirs;
 * the other path took the two the other way round. What a host's callback may meet is promised: resolve(),
 * release() and yield() are called with nothing held that another call waits for. Here another thread changes
 * slots, maps and zaps during each of them, and comes back while the first call is still waiting for it.
 */
#include "museum.h"

#define PATIENCE 200000u

static struct {
	struct test_vm vm;
	struct test_backing b;
	tdp_gpa_t gpa;
	uint64_t size;
	uint32_t slot;
	unsigned came, stuck;
	int failed;
	bool slots_held;
} s;

static _Thread_local jmp_buf *way_out;
static _Thread_local unsigned waited;

/* The other thread gives up: what it waits for is held by who waits for it. */
static void impatient(void *priv)
{
	(void)priv;
	if (way_out && ++waited > PATIENCE)
		longjmp(*way_out, 1);
}

static void host(struct tdp_env *env)
{
	env->relax = impatient;
}

static void all_sorts(void)
{
	struct tdp_range far = museum_range(16 * s.gpa, TEST_PAGE);
	struct tdp_fault fault = {.gpa = far.start, .access = TDP_R};
	uint32_t id;
	int ret = TDP_OK;

	if (!s.slots_held) {
		ret |= test_vm_slot(&s.vm, 0, far.start, TEST_PAGE, MUSEUM_PA / 2, 0, &id);
		ret |= tdp_fault(s.vm.cpu[1].vcpu, &fault, NULL);
		ret |= tdp_slot_remove(s.vm.mm, id);
	}
	ret |= tdp_zap(s.vm.mm, 0, far, 0);
	ret |= tdp_write_protect(s.vm.mm, 0, museum_range(s.gpa, s.size));
	s.failed |= ret;
}

static void come(void *arg)
{
	jmp_buf env;

	(void)arg;
	waited = 0;
	way_out = &env;
	if (setjmp(env) == 0)
		all_sorts();
	else
		s.stuck++;
	way_out = NULL;
}

static void during(void)
{
	/* Once for each call: a change of slots makes a fault ask again. */
	if (s.came)
		return;
	s.came++;
	museum_meanwhile(&s.vm, come, NULL);
}

static void on_resolve(struct test_backing *b, tdp_gpa_t gpa)
{
	(void)b;
	(void)gpa;
	during();
}

static void on_yield(void *arg)
{
	(void)arg;
	during();
}

static void came_and_went(void)
{
	assert_true(s.came > 0);
	assert_int_equal(s.stuck, 0);
	assert_int_equal(s.failed, TDP_OK);
	s.came = 0;
}

static void nothing_held(void **state)
{
	struct tdp_slot_desc desc;

	memset(&s, 0, sizeof(s));
	museum_start(&s.vm, state, &(struct test_vm_options){.cpus = 2, .host = host});
	s.gpa = museum_huge(&s.vm);
	s.size = 2 * s.gpa;
	assert_int_equal(test_backing_init(&s.b, &s.vm.env, 2 * s.gpa, s.size, MUSEUM_PA, 0,
					   test_vm_lg2(&s.vm, 1)),
			 TDP_OK);
	s.gpa *= 2;
	desc = test_backing_slot(&s.b, 0, 0);
	assert_int_equal(tdp_slot_add(s.vm.mm, &desc, &s.slot), TDP_OK);
	s.b.on_resolve = on_resolve;
	museum_reaches(&s.vm, s.gpa, TDP_W, test_backing_pa(&s.b, s.gpa));
	came_and_went();
	assert_int_equal(tdp_populate(s.vm.mm, 0, museum_range(s.gpa, s.size), 0, NULL), TDP_OK);
	came_and_went();
	/* The log goes off, and huge pages come back: the backing is asked about each. */
	s.b.on_resolve = NULL;
	assert_int_equal(tdp_dirty_log(s.vm.mm, s.slot, TDP_LOG_WRPROT | TDP_LOG_EAGER_SPLIT),
			 TDP_OK);
	s.b.on_resolve = on_resolve;
	assert_int_equal(tdp_dirty_log(s.vm.mm, s.slot, TDP_LOG_OFF | TDP_LOG_RECOVER), TDP_OK);
	came_and_went();
	s.b.on_resolve = NULL;

	s.vm.env.on_yield = on_yield;
	test_env_yield(&s.vm.env, TEST_YIELD_ALWAYS, 0);
	assert_int_equal(tdp_split(s.vm.mm, 0, museum_range(s.gpa, s.size), TDP_PAGE_LG2), TDP_OK);
	assert_int_equal(tdp_zap(s.vm.mm, 0, museum_range(s.gpa, s.size), TDP_ZAP_KEEP_YOUNG),
			 TDP_OK);
	came_and_went();
	/* A change of slots holds off others of its kind, and nobody else. */
	assert_int_equal(tdp_populate(s.vm.mm, 0, museum_range(s.gpa, s.size), 0, NULL), TDP_OK);
	assert_int_equal(tdp_split(s.vm.mm, 0, museum_range(s.gpa, s.size), TDP_PAGE_LG2), TDP_OK);
	s.slots_held = true;
	assert_int_equal(tdp_slot_remove(s.vm.mm, s.slot), TDP_OK);
	came_and_went();
	test_env_yield(&s.vm.env, TEST_YIELD_NEVER, 0);
	museum_end(&s.vm);
	test_backing_fini(&s.b);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(nothing_held)};

	return test_run("museum/L06", cases, ARRAY_LEN(cases));
}
