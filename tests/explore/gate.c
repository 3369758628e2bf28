/* SPDX-License-Identifier: BSD-2-Clause */
/* Every order of vCPUs that pass the gate and flushes that wait for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/support.h"

#include <string.h>

#include <tdp/explore.h>
#include <tdp/gate.h>

static struct {
	struct test_env env;
	struct tdp_gate *gate;
	uint32_t entry;  /* which page the table names; 0: none */
	uint32_t gone;   /* up to this one pages serve something else */
	uint32_t tlb[2]; /* of each vCPU */
} m;

static void kick(void *ctx, uint32_t vcpu)
{
	(void)ctx;
	(void)vcpu; /* it leaves by itself */
}

static int setup(void *arg)
{
	(void)arg;
	memset(&m, 0, sizeof(m));
	m.entry = 1;
	if (test_env_init(&m.env, 0, 0, &tdp_rcu_explore))
		return TDP_ENOMEM;
	tdp_explore_env(&m.env.env);
	return tdp_gate_create(&m.env.env, 2, kick, NULL, &m.gate);
}

static int teardown(void *arg)
{
	(void)arg;
	tdp_gate_destroy(m.gate);
	return test_env_fini(&m.env) ? -1 : 0;
}

static uint32_t look(const uint32_t *word)
{
	tdp_test_point(TDP_POINT_READ, word, sizeof(*word));
	return *word;
}

static void change(uint32_t *word, uint32_t value)
{
	tdp_test_point(TDP_POINT_WRITE, word, sizeof(*word));
	*word = value;
}

static void use_memory(uint32_t vcpu)
{
	if (!m.tlb[vcpu])
		m.tlb[vcpu] = look(&m.entry);
	if (m.tlb[vcpu] && m.tlb[vcpu] <= look(&m.gone))
		tdp_explore_fail("a page that is gone was used");
}

static void run_guest(uint32_t vcpu, unsigned times)
{
	struct tdp_gate_work work = {.size = (uint32_t)sizeof(work)};

	while (times-- > 0) {
		while (tdp_gate_enter(m.gate, vcpu, &work) == 1) {
			m.tlb[vcpu] = 0;
			if (tdp_gate_done(m.gate, vcpu, &work))
				tdp_explore_fail("done");
		}
		use_memory(vcpu);
		if (tdp_gate_leave(m.gate, vcpu))
			tdp_explore_fail("leave");
	}
}

static void guest0(void *arg)
{
	(void)arg;
	run_guest(0, 2);
}

static void guest1(void *arg)
{
	(void)arg;
	run_guest(1, 1);
}

static void replace(uint32_t old, uint32_t with)
{
	change(&m.entry, with);
	if (tdp_gate_flush(m.gate, (struct tdp_range){0, TEST_PAGE}, 0))
		tdp_explore_fail("flush");
	change(&m.gone, old);
}

static void replaces(void *arg)
{
	(void)arg;
	replace(1, 2);
}

static void replaces_twice(void *arg)
{
	(void)arg;
	replace(1, 2);
	replace(2, 3);
}

/* The second page goes before the flush for the first one is over. */
static void replaces_overlapped(void *arg)
{
	uint64_t token[2];

	(void)arg;
	for (uint32_t old = 1; old <= 2; old++) {
		change(&m.entry, old + 1);
		if (tdp_gate_flush_begin(m.gate, (struct tdp_range){0, TEST_PAGE}, 0,
					 &token[old - 1]))
			tdp_explore_fail("begin");
	}
	for (uint32_t old = 1; old <= 2; old++) {
		if (tdp_gate_flush_wait(m.gate, token[old - 1]))
			tdp_explore_fail("wait");
		change(&m.gone, old);
	}
}

static void only_flushes(void *arg)
{
	(void)arg;
	if (tdp_gate_flush(m.gate, (struct tdp_range){0, 0}, TDP_GATE_RELOAD))
		tdp_explore_fail("flush");
}

static struct tdp_explore_result explore(void (*a)(void *), void (*b)(void *), void (*c)(void *))
{
	struct tdp_explore_config config = {.size = (uint32_t)sizeof(config)};
	struct tdp_explore_program program = {.size = (uint32_t)sizeof(program),
					      .actors = c ? 3 : 2,
					      .setup = setup,
					      .actor = {a, b, c},
					      .teardown = teardown};
	struct tdp_explore_result result = {.size = (uint32_t)sizeof(result)};

	config.preemptions = c ? 3 : 0;
	tdp_explore(&config, &program, &result);
	print_message("  %llu orders, %llu given up\n", (unsigned long long)result.schedules,
		      (unsigned long long)result.pruned);
	if (result.failed)
		fail_msg("%s\n%s", result.what, result.schedule);
	assert_int_equal(result.complete, 1);
	return result;
}

static void no_order_uses_what_is_gone(void **state)
{
	(void)state;
	assert_true(explore(guest0, replaces, NULL).schedules > 10);
	assert_true(explore(guest0, replaces_twice, NULL).schedules > 10);
	assert_true(explore(guest0, replaces_overlapped, NULL).schedules > 10);
	assert_true(explore(guest0, replaces, only_flushes).schedules > 10);
	assert_true(explore(guest0, guest1, replaces).schedules > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_order_uses_what_is_gone),
	};

	return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
