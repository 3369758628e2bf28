/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulated walker from several threads: a flush waits for walks and nothing of before
 * survives it, no Accessed or Dirty bit is lost beside software that changes the same entries,
 * vCPUs come and go.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "emu_tables.h"

#define PAGES_USED 64u
#define ROUNDS 3000u
#define A 0x100ull
#define D 0x200ull
#define LEAF(out) ((out) | 0x37ull)
#define OUT(version, i) (0x100000000ull * ((version) + 1) + 0x1000ull * (i))

struct shared {
	struct rig *r;
	_Atomic uint64_t begun;   /* reloads begun */
	_Atomic uint64_t version; /* what accesses that begin now must see at least; reloads done */
	_Atomic bool stop;
	_Atomic unsigned stale;
	_Atomic unsigned started;
	_Atomic uint64_t accesses;
};

static void tables(struct rig *r, struct tdp_emu_config cfg)
{
	rig_open(r, cfg);
	r->page[0][0] = P(1) | 7;
	r->page[1][0] = P(2) | 7;
	r->page[2][0] = P(3) | 7;
	for (unsigned i = 0; i < PAGES_USED; i++)
		r->page[3][i] = LEAF(OUT(0, i));
}

/* Nothing is shown by threads that begin when all is over. */
static void wait_for(struct shared *s, unsigned threads)
{
	while (atomic_load(&s->started) < threads)
		sched_yield();
}

static void *toucher(void *arg)
{
	struct shared *s = arg;
	struct tdp_emu_vcpu *v;
	struct tdp_emu_exit exit;
	uint64_t n = 0;

	if (tdp_emu_vcpu_create(s->r->emu, &v) ||
	    load_root(s->r, v, TDP_FMT_EPT, P(0) | 0x5e, 0, TDP_ROOT_FLUSH))
		abort();
	atomic_fetch_add(&s->started, 1);
	while (!atomic_load(&s->stop)) {
		unsigned i = (unsigned)(n++ * 7 % PAGES_USED);
		uint64_t least = atomic_load(&s->version);
		int ret = tdp_emu_access(v, 0x1000ull * i, n & 8 ? TDP_W : TDP_R, &exit);

		/* What was flushed before this access began may not be seen by it. */
		if (ret == TDP_EMU_OK && exit.pa < OUT(least, i))
			atomic_fetch_add(&s->stale, 1);
		else if (ret != TDP_EMU_OK && ret != TDP_EMU_EPT_VIOLATION)
			atomic_fetch_add(&s->stale, 1);
	}
	atomic_fetch_add(&s->accesses, n);
	tdp_emu_vcpu_destroy(v);
	return NULL;
}

/* Replace every translation by zap, flush, map; count Dirty bits that were found. */
static void flush_is_a_barrier(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct shared s = {0};
	pthread_t thread[2];
	struct rig r;
	uint64_t dirty = 0;

	(void)state;
	tables(&r, cfg);
	s.r = &r;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, toucher, &s), 0);
	wait_for(&s, 2);
	for (uint64_t round = 1; round <= ROUNDS; round++) {
		unsigned i = (unsigned)(round % PAGES_USED);
		uint64_t old = 0;

		for (unsigned k = 0; k < PAGES_USED; k++) {
			old = __atomic_exchange_n(&r.page[3][k], 0, __ATOMIC_ACQ_REL);
			dirty += (old & D) != 0;
		}
		if (round % 3 == 0)
			flush_all(&r);
		else
			flush_range(&r, 0, 0x1000 * PAGES_USED);
		/* After the flush nobody sets a bit in an entry that is not present. */
		for (unsigned k = 0; k < PAGES_USED; k++)
			assert_int_equal(__atomic_load_n(&r.page[3][k], __ATOMIC_ACQUIRE), 0);
		for (unsigned k = 0; k < PAGES_USED; k++)
			__atomic_store_n(&r.page[3][k], LEAF(OUT(round, k)), __ATOMIC_RELEASE);
		atomic_store(&s.version, round);
		/* And one page alone. */
		old = __atomic_exchange_n(&r.page[3][i], 0, __ATOMIC_ACQ_REL);
		dirty += (old & D) != 0;
		flush_range(&r, 0x1000ull * i, 0x1000);
		__atomic_store_n(&r.page[3][i], LEAF(OUT(round, i)), __ATOMIC_RELEASE);
	}
	atomic_store(&s.stop, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	for (unsigned k = 0; k < PAGES_USED; k++)
		dirty += (r.page[3][k] & D) != 0;
	assert_int_equal(s.stale, 0);
	assert_true(s.accesses > 0);
	/* Each Dirty that a vCPU set was found exactly once: none was set in a dead entry. */
	assert_int_equal(stats_of(&r).dirty_set, dirty);
	assert_int_equal(stats_of(&r).accesses, s.accesses);
	rig_close(&r);
}

static void *clearer(void *arg)
{
	struct shared *s = arg;
	uint64_t found = 0;

	atomic_fetch_add(&s->started, 1);
	/* Clears bits in live entries and flushes some of them, as aging and harvests do. */
	while (!atomic_load(&s->stop)) {
		for (unsigned k = 0; k < PAGES_USED; k++) {
			uint64_t old = __atomic_fetch_and(&s->r->page[3][k], ~(A | D),
							  __ATOMIC_ACQ_REL);
			found += (old & D) != 0;
		}
		tdp_emu_backend.flush_range(s->r->emu, (struct tdp_range){0x8000, 0x10000});
	}
	atomic_fetch_add(&s->version, found);
	return NULL;
}

static void bits_are_not_lost(void **state)
{
	struct shared s = {0};
	struct tdp_emu_exit exit;
	pthread_t thread;
	struct rig r;
	uint64_t dirty;

	(void)state;
	tables(&r, tdp_emu_config_default());
	s.r = &r;
	assert_int_equal(load_root(&r, r.v, TDP_FMT_EPT, P(0) | 0x5e, 0, 0), TDP_OK);
	assert_int_equal(pthread_create(&thread, NULL, clearer, &s), 0);
	wait_for(&s, 1);
	for (unsigned i = 0; i < 200 * ROUNDS; i++) {
		unsigned k = i * 7 % PAGES_USED;

		assert_int_equal(tdp_emu_access(r.v, 0x1000ull * k, TDP_W, &exit), TDP_EMU_OK);
		assert_int_equal(exit.pa, OUT(0, k));
	}
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	dirty = s.version;
	for (unsigned k = 0; k < PAGES_USED; k++) {
		dirty += (r.page[3][k] & D) != 0;
		assert_int_equal(r.page[3][k] & ~(A | D), LEAF(OUT(0, k)));
	}
	assert_int_equal(stats_of(&r).dirty_set, dirty);
	rig_close(&r);
}

static void *walker(void *arg)
{
	struct shared *s = arg;
	struct tdp_emu_vcpu *v;
	struct tdp_emu_exit exit;

	if (tdp_emu_vcpu_create(s->r->emu, &v) ||
	    load_root(s->r, v, TDP_FMT_EPT, P(0) | 0x5e, 0, TDP_ROOT_FLUSH))
		abort();
	atomic_fetch_add(&s->started, 1);
	while (!atomic_load(&s->stop))
		tdp_emu_access(v, 0, TDP_W, &exit);
	tdp_emu_vcpu_destroy(v);
	return NULL;
}

/*
 * Between reading an entry and setting a bit in it, the entry may go: then the bit is not set, or
 * a zapped entry would come back to life. No TLB, no flush: walks hit the moment as often as can
 * be.
 */
static void no_bit_in_a_zapped_entry(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	uint64_t *entry, revived = 0, set = 0;
	struct shared s = {0};
	pthread_t thread;
	struct rig r;

	(void)state;
	cfg.flags = TDP_EMU_NO_TLB;
	tables(&r, cfg);
	s.r = &r;
	entry = &r.page[3][0];
	*entry = 0;
	assert_int_equal(pthread_create(&thread, NULL, walker, &s), 0);
	wait_for(&s, 1);
	for (unsigned i = 0; i < 400 * ROUNDS; i++) {
		__atomic_store_n(entry, LEAF(OUT(0, 0)), __ATOMIC_RELEASE);
		for (unsigned k = i % 61; k; k--)
			__atomic_load_n(entry, __ATOMIC_RELAXED);
		set += (__atomic_exchange_n(entry, 0, __ATOMIC_ACQ_REL) & D) != 0;
		for (unsigned k = 0; k < 30; k++)
			revived += __atomic_load_n(entry, __ATOMIC_RELAXED) != 0;
	}
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(revived, 0);
	assert_int_equal(*entry, 0);
	assert_int_equal(stats_of(&r).dirty_set, set);
	rig_close(&r);
}

/* reload() from another thread: on return no vCPU walks from what was loaded before. */
static void *reloading(void *arg)
{
	struct shared *s = arg;
	struct tdp_emu_vcpu *v;
	struct tdp_emu_exit exit;
	uint64_t n = 0;

	if (tdp_emu_vcpu_create(s->r->emu, &v))
		abort();
	atomic_fetch_add(&s->started, 1);
	while (!atomic_load(&s->stop)) {
		uint64_t begun;
		int ret;

		if (load_root(s->r, v, TDP_FMT_EPT, P(0) | 0x1e, 0, 0))
			abort();
		/* Reloads after this one begin when our root is loaded already. */
		begun = atomic_load(&s->begun);
		do {
			uint64_t done = atomic_load(&s->version);

			ret = tdp_emu_access(v, 0, TDP_R, &exit);
			if (ret == TDP_EMU_OK && done > begun)
				atomic_fetch_add(&s->stale, 1);
			n++;
		} while (ret == TDP_EMU_OK && !atomic_load(&s->stop));
	}
	atomic_fetch_add(&s->accesses, n);
	tdp_emu_vcpu_destroy(v);
	return NULL;
}

static void reload_is_a_barrier(void **state)
{
	struct tdp_emu_config cfg = tdp_emu_config_default();
	struct shared s = {0};
	pthread_t thread[2];
	struct rig r;

	(void)state;
	/* Twins share one lock: the same with it. */
	cfg.flags = TDP_EMU_CHECK_TWINS;
	tables(&r, cfg);
	s.r = &r;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, reloading, &s), 0);
	wait_for(&s, 2);
	for (uint64_t round = 1; round <= ROUNDS; round++) {
		struct tdp_emu_vcpu *v;

		atomic_store(&s.begun, round);
		tdp_emu_backend.reload(r.emu);
		atomic_store(&s.version, round);
		if (round % 16 == 0) {
			sched_yield();
			assert_int_equal(tdp_emu_vcpu_create(r.emu, &v), TDP_OK);
			tdp_emu_vcpu_destroy(v);
		}
	}
	atomic_store(&s.stop, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(s.stale, 0);
	assert_true(s.accesses > 0);
	assert_int_equal(stats_of(&r).reloads, ROUNDS);
	assert_int_equal(stats_of(&r).violations, 0);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flush_is_a_barrier),
		cmocka_unit_test(bits_are_not_lost),
		cmocka_unit_test(no_bit_in_a_zapped_entry),
		cmocka_unit_test(reload_is_a_barrier),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
