/* SPDX-License-Identifier: BSD-2-Clause */
/* The gate between vCPUs and flushes: what is handed out to whom, and that flushes wait for who is in. */
#include "machine.h"

#include <sched.h>

#include <tdp/gate.h>

#define VCPUS 3u

struct gated {
	struct test_env env;
	struct tdp_gate *gate;
	_Atomic uint32_t kicks[VCPUS];
};

static void kick(void *ctx, uint32_t vcpu)
{
	struct gated *t = ctx;

	atomic_fetch_add(&t->kicks[vcpu], 1);
}

/* Of the latest gate. */
static struct tdp_env host;
static _Atomic uint32_t waits, wakes;

static void counted_wait(void *priv, const uint32_t *word, uint32_t value)
{
	atomic_fetch_add(&waits, 1);
	host.wait(priv, word, value);
}

static void counted_wake(void *priv, const uint32_t *word)
{
	atomic_fetch_add(&wakes, 1);
	host.wake(priv, word);
}

static void up(struct gated *t, uint32_t flags)
{
	memset(t, 0, sizeof(*t));
	assert_int_equal(test_env_init(&t->env, flags, 0, NULL), TDP_OK);
	host = t->env.env;
	atomic_store(&waits, 0);
	atomic_store(&wakes, 0);
	if (flags & TEST_ENV_WAIT) {
		t->env.env.wait = counted_wait;
		t->env.env.wake = counted_wake;
	}
	assert_int_equal(tdp_gate_create(&t->env.env, VCPUS, kick, t, &t->gate), TDP_OK);
}

static void down(struct gated *t)
{
	tdp_gate_destroy(t->gate);
	assert_int_equal(test_env_fini(&t->env), 0);
}

static struct tdp_gate_work enter(struct gated *t, uint32_t vcpu, int want)
{
	struct tdp_gate_work work = {.size = (uint32_t)sizeof(work)};

	assert_int_equal(tdp_gate_enter(t->gate, vcpu, &work), want);
	return work;
}

static void flush(struct gated *t, tdp_gpa_t start, uint64_t size, uint32_t what)
{
	assert_int_equal(tdp_gate_flush(t->gate, range_of(start, size), what), TDP_OK);
}

static void who_is_out_flushes_later(void **state)
{
	struct tdp_gate_stats stats = {.size = (uint32_t)sizeof(stats)};
	struct tdp_gate_work work;
	struct gated t;

	(void)state;
	up(&t, 0);
	enter(&t, 0, 0);
	assert_int_equal(tdp_gate_leave(t.gate, 0), TDP_OK);
	flush(&t, GIB, TEST_PAGE, 0);
	flush(&t, 2 * GIB, 3 * TEST_PAGE, 0);
	work = enter(&t, 0, 1);
	assert_int_equal(work.what, 0);
	assert_int_equal(work.count, 2);
	assert_int_equal(work.range[0].start, GIB);
	assert_int_equal(work.range[1].start, 2 * GIB);
	assert_int_equal(work.range[1].size, 3 * TEST_PAGE);
	/* Not done: asked for again, and what came meanwhile too. */
	flush(&t, 3 * GIB, TEST_PAGE, 0);
	work = enter(&t, 0, 1);
	assert_int_equal(work.count, 3);
	assert_int_equal(tdp_gate_done(t.gate, 0, &work), TDP_OK);
	enter(&t, 0, 0);
	assert_int_equal(tdp_gate_leave(t.gate, 0), TDP_OK);
	assert_int_equal(atomic_load(&t.kicks[0]), 0);
	assert_int_equal(tdp_gate_stats(t.gate, &stats), TDP_OK);
	assert_int_equal(stats.flushes, 3);
	assert_int_equal(stats.kicks, 0);
	assert_int_equal(stats.lazy, 3 * VCPUS);
	assert_int_equal(stats.ranges, 5);
	assert_int_equal(stats.alls, 0);
	down(&t);
}

static void too_many_are_everything(void **state)
{
	struct tdp_gate_work work;
	struct gated t;

	(void)state;
	up(&t, 0);
	for (uint32_t i = 0; i < TDP_GATE_RANGES; i++)
		flush(&t, i * GIB, TEST_PAGE, 0);
	work = enter(&t, 1, 1);
	assert_int_equal(work.what, 0);
	assert_int_equal(work.count, TDP_GATE_RANGES);
	for (uint32_t i = 0; i < TDP_GATE_RANGES; i++)
		assert_int_equal(work.range[i].start, i * GIB);
	flush(&t, 0, TEST_PAGE, 0);
	work = enter(&t, 1, 1);
	assert_int_equal(work.what, TDP_GATE_FLUSH_ALL);
	assert_int_equal(work.count, 0);
	assert_int_equal(tdp_gate_done(t.gate, 1, &work), TDP_OK);
	/* One that is of everything among others. */
	flush(&t, 0, TEST_PAGE, 0);
	flush(&t, 0, 0, 0);
	work = enter(&t, 1, 1);
	assert_int_equal(work.what, TDP_GATE_FLUSH_ALL);
	assert_int_equal(tdp_gate_done(t.gate, 1, &work), TDP_OK);
	flush(&t, 0, TEST_PAGE, TDP_GATE_RELOAD);
	flush(&t, 0, TEST_PAGE, 0);
	work = enter(&t, 1, 1);
	assert_int_equal(work.what, TDP_GATE_RELOAD | TDP_GATE_FLUSH_ALL);
	assert_int_equal(tdp_gate_done(t.gate, 1, &work), TDP_OK);
	enter(&t, 1, 0);
	assert_int_equal(tdp_gate_leave(t.gate, 1), TDP_OK);
	down(&t);
}

static void bad_use_is_refused(void **state)
{
	struct tdp_gate_stats stats = {0};
	struct tdp_gate_work work;
	struct tdp_gate *gate;
	struct tdp_env poor;
	struct gated t;

	(void)state;
	up(&t, 0);
	assert_int_equal(tdp_gate_create(NULL, 1, kick, &t, &gate), TDP_EINVAL);
	assert_int_equal(tdp_gate_create(&t.env.env, 0, kick, &t, &gate), TDP_EINVAL);
	assert_int_equal(tdp_gate_create(&t.env.env, 65537, kick, &t, &gate), TDP_EINVAL);
	assert_int_equal(tdp_gate_create(&t.env.env, 1, NULL, &t, &gate), TDP_EINVAL);
	assert_int_equal(tdp_gate_create(&t.env.env, 1, kick, &t, NULL), TDP_EINVAL);
	poor = t.env.env;
	poor.obj_alloc = NULL;
	assert_int_equal(tdp_gate_create(&poor, 1, kick, &t, &gate), TDP_EINVAL);
	test_env_fail(&t.env, 1);
	assert_int_equal(tdp_gate_create(&t.env.env, 1, kick, &t, &gate), TDP_ENOMEM);
	test_env_fail(&t.env, 0);
	tdp_gate_destroy(NULL);
	work = enter(&t, 0, 0);
	assert_int_equal(tdp_gate_enter(t.gate, 0, &work), TDP_EINVAL);
	assert_int_equal(tdp_gate_done(t.gate, 0, &work), TDP_EINVAL);
	assert_int_equal(tdp_gate_leave(t.gate, 0), TDP_OK);
	assert_int_equal(tdp_gate_leave(t.gate, 0), TDP_EINVAL);
	assert_int_equal(tdp_gate_leave(t.gate, VCPUS), TDP_EINVAL);
	assert_int_equal(tdp_gate_enter(t.gate, VCPUS, &work), TDP_EINVAL);
	assert_int_equal(tdp_gate_enter(NULL, 0, &work), TDP_EINVAL);
	work.size--;
	assert_int_equal(tdp_gate_enter(t.gate, 0, &work), TDP_EINVAL);
	assert_int_equal(tdp_gate_flush(t.gate, range_of(1, TEST_PAGE), 0), TDP_EINVAL);
	assert_int_equal(tdp_gate_flush(t.gate, range_of(0, TEST_PAGE + 1), 0), TDP_EINVAL);
	assert_int_equal(tdp_gate_flush(t.gate, range_of(~(TEST_PAGE - 1), 2 * TEST_PAGE), 0),
			 TDP_EINVAL);
	assert_int_equal(tdp_gate_flush(t.gate, range_of(0, 0), 4), TDP_EINVAL);
	assert_int_equal(tdp_gate_flush(NULL, range_of(0, 0), 0), TDP_EINVAL);
	assert_int_equal(tdp_gate_stats(t.gate, &stats), TDP_EINVAL);
	/* Nothing of this was a flush; work that was not handed out is not done. */
	enter(&t, 0, 0);
	assert_int_equal(tdp_gate_leave(t.gate, 0), TDP_OK);
	flush(&t, 0, TEST_PAGE, 0);
	work = enter(&t, 0, 1);
	work.number++;
	assert_int_equal(tdp_gate_done(t.gate, 0, &work), TDP_EINVAL);
	down(&t);
}

/* ---- in two halves ---- */

static uint64_t begin(struct gated *t, tdp_gpa_t start)
{
	uint64_t token = 0;

	assert_int_equal(tdp_gate_flush_begin(t->gate, range_of(start, TEST_PAGE), 0, &token),
			 TDP_OK);
	return token;
}

static void wait_for(struct gated *t, uint64_t token)
{
	assert_int_equal(tdp_gate_flush_wait(t->gate, token), TDP_OK);
}

/* By one thread alone: what had to wait would never return. */
static void the_first_half_does_not_wait(void **state)
{
	struct tdp_gate_stats stats = {.size = (uint32_t)sizeof(stats)};
	struct tdp_gate_work work;
	uint64_t token[3];
	struct gated t;

	(void)state;
	up(&t, 0);
	enter(&t, 0, 0);
	token[0] = begin(&t, GIB);
	token[1] = begin(&t, 2 * GIB);
	assert_int_equal(atomic_load(&t.kicks[0]), 2); /* it is still in */
	assert_int_equal(tdp_gate_leave(t.gate, 0), TDP_OK);
	wait_for(&t, token[1]);
	wait_for(&t, token[0]);
	wait_for(&t, token[0]); /* it is over */
	/* It has served both when it is in again, and nobody waits for it. */
	work = enter(&t, 0, 1);
	assert_int_equal(work.count, 2);
	assert_int_equal(work.range[0].start, GIB);
	assert_int_equal(work.range[1].start, 2 * GIB);
	assert_int_equal(tdp_gate_done(t.gate, 0, &work), TDP_OK);
	enter(&t, 0, 0);
	wait_for(&t, token[1]);
	/* Out when it began: not kicked, not waited for, also if it had to leave for a later one by now. */
	assert_int_equal(tdp_gate_leave(t.gate, 0), TDP_OK);
	token[2] = begin(&t, 3 * GIB);
	wait_for(&t, token[2]);
	assert_int_equal(atomic_load(&t.kicks[0]), 2);
	work = enter(&t, 0, 1);
	assert_int_equal(tdp_gate_done(t.gate, 0, &work), TDP_OK);
	enter(&t, 0, 0);
	token[0] = begin(&t, 4 * GIB);
	wait_for(&t, token[2]);
	assert_int_equal(tdp_gate_leave(t.gate, 0), TDP_OK);
	wait_for(&t, token[0]);
	assert_int_equal(tdp_gate_stats(t.gate, &stats), TDP_OK);
	assert_int_equal(stats.flushes, 4);
	assert_int_equal(stats.kicks, 3);
	assert_int_equal(stats.lazy, 4 * VCPUS - 3);
	assert_int_equal(tdp_gate_flush_begin(t.gate, range_of(0, 0), 0, NULL), TDP_EINVAL);
	assert_int_equal(tdp_gate_flush_begin(t.gate, range_of(1, 0), 0, token), TDP_EINVAL);
	assert_int_equal(tdp_gate_flush_begin(t.gate, range_of(0, 0), 4, token), TDP_EINVAL);
	assert_int_equal(tdp_gate_flush_begin(NULL, range_of(0, 0), 0, token), TDP_EINVAL);
	assert_int_equal(tdp_gate_flush_wait(t.gate, 0), TDP_EINVAL);
	assert_int_equal(tdp_gate_flush_wait(t.gate, token[0] + 1), TDP_EINVAL);
	assert_int_equal(tdp_gate_flush_wait(NULL, token[2]), TDP_EINVAL);
	down(&t);
}

/* ---- threads ---- */

struct flusher {
	struct gated *t;
	bool halves;
	_Atomic bool done;
};

static void *flush_thread(void *arg)
{
	struct flusher *f = arg;
	uint64_t token = 0;
	int ret;

	if (f->halves) {
		ret = tdp_gate_flush_begin(f->t->gate, range_of(0, 0), 0, &token);
		if (!ret)
			ret = tdp_gate_flush_wait(f->t->gate, token);
	} else {
		ret = tdp_gate_flush(f->t->gate, range_of(0, 0), 0);
	}
	if (ret)
		abort();
	atomic_store(&f->done, true);
	return NULL;
}

/* Kicked is not stopped: the flush returns after the vCPU has left, not before. */
static void a_flush_waits_until_it_has_left(void **state)
{
	for (unsigned asleep = 0; asleep < 2; asleep++) {
		struct tdp_gate_stats stats = {.size = (uint32_t)sizeof(stats)};
		struct flusher f[2];
		pthread_t thread[2];
		struct gated t;

		(void)state;
		up(&t, asleep ? TEST_ENV_WAIT : 0);
		enter(&t, 2, 0);
		for (unsigned i = 0; i < 2; i++) {
			f[i].t = &t;
			f[i].halves = i;
			atomic_store(&f[i].done, false);
			assert_int_equal(pthread_create(&thread[i], NULL, flush_thread, &f[i]), 0);
		}
		while (atomic_load(&t.kicks[2]) < 2 || (asleep && !atomic_load(&waits)))
			sched_yield();
		for (unsigned i = 0; i < 1000; i++)
			sched_yield();
		assert_false(atomic_load(&f[0].done) || atomic_load(&f[1].done));
		assert_int_equal(tdp_gate_leave(t.gate, 2), TDP_OK);
		assert_int_equal(atomic_load(&wakes) > 0, asleep);
		for (unsigned i = 0; i < 2; i++)
			pthread_join(thread[i], NULL);
		assert_int_equal(atomic_load(&t.kicks[0]) + atomic_load(&t.kicks[1]), 0);
		assert_int_equal(tdp_gate_stats(t.gate, &stats), TDP_OK);
		assert_int_equal(stats.kicks, 2);
		assert_int_equal(stats.lazy, 2 * (VCPUS - 1));
		down(&t);
	}
}

struct runner {
	struct gated *t;
	uint32_t vcpu;
	_Atomic uint64_t *page; /* generation that memory is of */
	uint64_t cached;        /* what this vCPU's TLB says; 0: nothing */
	_Atomic bool *stop;
	_Atomic uint64_t entries;
	uint64_t stale;
};

/* A guest that uses what it has cached for a while, and leaves when it is kicked. */
static void *run_thread(void *arg)
{
	struct runner *r = arg;
	struct tdp_gate_work work = {.size = (uint32_t)sizeof(work)};

	while (!atomic_load(r->stop)) {
		uint32_t kicks = atomic_load(&r->t->kicks[r->vcpu]);

		while (tdp_gate_enter(r->t->gate, r->vcpu, &work) == 1) {
			r->cached = 0;
			if (tdp_gate_done(r->t->gate, r->vcpu, &work))
				abort();
		}
		atomic_fetch_add(&r->entries, 1);
		for (unsigned i = 0; i < 50 && atomic_load(&r->t->kicks[r->vcpu]) == kicks; i++) {
			uint64_t now = atomic_load(r->page);

			if (!r->cached)
				r->cached = now;
			/* Odd: what was before the last even number is flushed and gone. */
			if (now % 2 && r->cached + 1 < now)
				r->stale++;
		}
		if (tdp_gate_leave(r->t->gate, r->vcpu))
			abort();
	}
	return NULL;
}

static void nobody_uses_what_was_flushed(void **state)
{
	_Atomic uint64_t page = 2;
	_Atomic bool stop = false;
	struct runner r[VCPUS];
	pthread_t thread[VCPUS];
	struct gated t;

	(void)state;
	up(&t, TEST_ENV_WAIT);
	for (uint32_t i = 0; i < VCPUS; i++) {
		r[i] = (struct runner){.t = &t, .vcpu = i, .page = &page, .stop = &stop};
		assert_int_equal(pthread_create(&thread[i], NULL, run_thread, &r[i]), 0);
	}
	for (unsigned n = 0; n < 100; n++) {
		/* Even: a new page is there, the old one still cached. Then the flush, then it is gone. */
		atomic_fetch_add(&page, 2);
		if (n % 2)
			wait_for(&t, begin(&t, 0));
		else
			flush(&t, 0, TEST_PAGE, n % 3 ? 0 : TDP_GATE_RELOAD);
		atomic_fetch_add(&page, 1);
		for (unsigned i = 0; i < 20; i++)
			sched_yield();
		atomic_fetch_add(&page, 1);
	}
	for (uint32_t i = 0; i < VCPUS; i++) /* a busy machine may have run none of them yet */
		while (atomic_load(&r[i].entries) == 0)
			sched_yield();
	atomic_store(&stop, true);
	for (uint32_t i = 0; i < VCPUS; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(r[i].stale, 0);
	}
	down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_out_flushes_later),
		cmocka_unit_test(too_many_are_everything),
		cmocka_unit_test(bad_use_is_refused),
		cmocka_unit_test(the_first_half_does_not_wait),
		cmocka_unit_test(a_flush_waits_until_it_has_left),
		cmocka_unit_test(nobody_uses_what_was_flushed),
	};

	return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
