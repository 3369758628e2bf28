/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each full fence of lib/ORDERING.md is for. A processor may let others see a store late, after loads that follow
 * it; no later than the next full fence. So an operation runs up to a load, what it stored before is taken back, the
 * other operation runs from begin to end as if that had not been stored yet, and then it is stored. Where a fence
 * stands between, nothing is late, and the other operation runs behind the first.
 *
 * That is the one thing which neither the explorer, for which memory is sequentially consistent, nor
 * ThreadSanitizer, which knows no fences, can show. The program has the library with test points, which are its own.
 */
#include "unit/steps.h"

#include <tdp/gate.h>
#include <tdp/point.h>

#include "mm/root.h"
#include "mm/slot.h"

/* ---- late stores ---- */

struct kept {
	void *at;
	size_t size;
	uint64_t value; /* what others see */
};

static struct {
	uintptr_t from, to;  /* stores to these are kept, */
	const void *load;    /* until this is loaded */
	unsigned under;      /* with so many locks held; */
	void (*other)(void); /* then this runs, once */
	bool first, due;     /* the first operation runs; it has loaded */
	unsigned held;
	struct kept kept[32];
	const void *dropped[16]; /* locks, since the first store that was kept */
	size_t kepts, drops;
} late;

static void swap(struct kept *k)
{
	uint64_t value = k->value;

	memcpy(&k->value, k->at, k->size);
	memcpy(k->at, &value, k->size);
}

/* Others see all that was stored. */
static void seen(void)
{
	for (size_t i = 0; i < late.kepts; i++)
		swap(&late.kept[i]);
	late.kepts = 0;
}

static void other_runs(void)
{
	void (*other)(void) = late.other;

	late.first = late.due = false;
	late.other = NULL;
	if (!other)
		return;
	for (size_t i = late.kepts; i-- > 0;)
		swap(&late.kept[i]);
	other();
	seen();
}

/* What `first` stores in the object may be late; other runs after the load, or behind it. */
static void stores_late(const void *object, size_t size, void (*first)(void), void (*other)(void),
			const void *load, unsigned under)
{
	memset(&late, 0, sizeof(late));
	late.from = (uintptr_t)object;
	late.to = late.from + size;
	late.load = load;
	late.under = under;
	late.other = other;
	late.first = true;
	first();
	other_runs();
}

static void keep(const void *object, size_t size)
{
	struct kept *k = &late.kept[late.kepts++];

	if (late.kepts > ARRAY_LEN(late.kept) || size > sizeof(k->value))
		abort();
	k->at = (void *)(uintptr_t)object;
	k->size = size;
	k->value = 0;
	memcpy(&k->value, object, size);
}

/* Who takes the lock then sees what was stored before. */
static bool was_dropped(const void *lock)
{
	for (size_t i = 0; i < late.drops; i++)
		if (late.dropped[i] == lock)
			return true;
	if (late.drops == ARRAY_LEN(late.dropped))
		abort();
	return false;
}

static void first_steps(enum tdp_point kind, const void *object, size_t size)
{
	switch (kind) {
	case TDP_POINT_READ:
		late.due = late.kepts && object == late.load && late.held >= late.under;
		break;
	case TDP_POINT_WRITE:
		if ((uintptr_t)object >= late.from && (uintptr_t)object < late.to)
			keep(object, size);
		break;
	case TDP_POINT_ACQUIRE: late.held++; break;
	case TDP_POINT_RELEASE:
		late.held--;
		if (late.kepts && !was_dropped(object))
			late.dropped[late.drops++] = object;
		break;
	case TDP_POINT_FENCE: late.kepts = late.drops = 0; break;
	}
}

void tdp_test_point(enum tdp_point kind, const void *object, size_t size)
{
	if (late.due)
		other_runs();
	if (late.first)
		first_steps(kind, object, size);
	else if (kind == TDP_POINT_ACQUIRE && was_dropped(object))
		seen();
}

static uint32_t cell, cell_lock, looked;

static void stores(void)
{
	tdp_test_point(TDP_POINT_WRITE, &cell, sizeof(cell));
	cell++;
}

static void stores_and_fences(void)
{
	stores();
	tdp_test_point(TDP_POINT_FENCE, NULL, 0);
}

static void stores_under_lock(void)
{
	tdp_test_point(TDP_POINT_ACQUIRE, &cell_lock, sizeof(cell_lock));
	stores();
	tdp_test_point(TDP_POINT_RELEASE, &cell_lock, sizeof(cell_lock));
}

static void looks(void)
{
	looked = cell;
}

static void looks_under_lock(void)
{
	tdp_test_point(TDP_POINT_ACQUIRE, &cell_lock, sizeof(cell_lock));
	looks();
}

/* What the others of this file rely on. */
static void stores_are_late_until_handed_over(void **state)
{
	static const struct {
		void (*first)(void), (*other)(void);
		bool seen;
	} is[] = {
		{stores, looks, false},
		{stores_and_fences, looks, true},
		{stores_under_lock, looks, false},
		{stores_under_lock, looks_under_lock, true},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(is); i++) {
		cell = 1;
		stores_late(&cell, sizeof(cell), is[i].first, is[i].other, NULL, 0);
		assert_int_equal(looked, is[i].seen ? 2 : 1);
		assert_int_equal(cell, 2);
	}
}

/* ---- sleeping ---- */

static struct {
	void (*meanwhile)(void);
	bool slept, woken;
} nap;

/* Who sleeps has given all others their time, and goes on here so that the test can end. */
static void falls_asleep(void *priv, const uint32_t *word, uint32_t value)
{
	(void)priv;
	(void)word;
	(void)value;
	nap.slept = true;
	nap.woken = false;
	if (nap.meanwhile)
		nap.meanwhile();
	seen();
}

static void wakes(void *priv, const uint32_t *word)
{
	(void)priv;
	(void)word;
	nap.woken = true;
}

static void can_sleep(struct tdp_env *env)
{
	env->wait = falls_asleep;
	env->wake = wakes;
}

static void nobody_sleeps_for_good(void)
{
	if (nap.slept && !nap.woken)
		fail_msg("sleeps, and nobody wakes it");
}

/* ---- the gate: G1, G2 ---- */

#define GATE_BYTES 1024u /* a gate with one vCPU is smaller, and nothing near it is stored to */

static struct {
	struct test_env env;
	struct tdp_gate *gate;
	unsigned kicks;
	int entered; /* what tdp_gate_enter() said */
} g;

static void kick(void *ctx, uint32_t vcpu)
{
	(void)ctx;
	(void)vcpu;
	g.kicks++;
}

static void enters(void)
{
	struct tdp_gate_work work = {.size = (uint32_t)sizeof(work)};

	g.entered = tdp_gate_enter(g.gate, 0, &work);
}

static void leaves(void)
{
	assert_int_equal(tdp_gate_leave(g.gate, 0), TDP_OK);
}

static void flushes(void)
{
	assert_int_equal(tdp_gate_flush(g.gate, range_of(0, 0), 0), TDP_OK);
}

static void gate_up(void)
{
	memset(&g, 0, sizeof(g));
	memset(&nap, 0, sizeof(nap));
	assert_int_equal(test_env_init(&g.env, 0, 0, NULL), TDP_OK);
	can_sleep(&g.env.env);
	assert_int_equal(tdp_gate_create(&g.env.env, 1, kick, NULL, &g.gate), TDP_OK);
}

static void gate_down(void)
{
	tdp_gate_destroy(g.gate);
	assert_int_equal(test_env_fini(&g.env), 0);
}

/* G1, the vCPU's: "in" is seen by a flush whose number it has not seen. */
static void who_enters_is_seen(void **state)
{
	(void)state;
	gate_up();
	nap.meanwhile = leaves; /* as it does when it is kicked */
	stores_late(g.gate, GATE_BYTES, enters, flushes, NULL, 0);
	assert_int_equal(g.entered, 0);
	assert_int_equal(g.kicks, 1);
	gate_down();
}

/* G1, the flush's: a vCPU that it has not seen in sees the number. */
static void who_was_not_seen_flushes(void **state)
{
	(void)state;
	gate_up();
	stores_late(g.gate, GATE_BYTES, flushes, enters, NULL, 0);
	assert_int_equal(g.kicks, 0);
	assert_int_equal(g.entered, 1);
	gate_down();
}

/* G2, the vCPU's: a flush that it has not seen waiting sees it out. */
static void who_leaves_is_seen(void **state)
{
	(void)state;
	gate_up();
	enters();
	stores_late(g.gate, GATE_BYTES, leaves, flushes, NULL, 0);
	nobody_sleeps_for_good();
	gate_down();
}

/* G2, the flush's: a vCPU that it sees in sees it waiting. (The addition may be late like any store.) */
static void who_waits_is_seen(void **state)
{
	(void)state;
	gate_up();
	enters();
	nap.meanwhile = other_runs;
	stores_late(g.gate, GATE_BYTES, flushes, leaves, NULL, 0);
	assert_true(nap.slept);
	nobody_sleeps_for_good();
	gate_down();
}

/* ---- a slot is removed while its backing is asked: A7 ---- */

static struct test_vm vm;
static uint32_t id;

static void answered(void)
{
	tdpi_slot_answered(vm.cpu[0].vcpu);
}

static void removes(void)
{
	assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
}

static void asking_up(void **state)
{
	struct test_vm_options opts = {.host = can_sleep};

	memset(&nap, 0, sizeof(nap));
	vm_up(&vm, state, &opts);
	id = add_slot(&vm, 0, GIB, TEST_PAGE, SLOT_PA, 0);
	tdpi_slot_ask(vm.cpu[0].vcpu, tdpi_slot_by_id(vm.mm, id));
}

static void who_answers_is_seen(void **state)
{
	asking_up(state);
	stores_late(&vm.cpu[0].vcpu->asking, sizeof(void *), answered, removes, NULL, 0);
	nobody_sleeps_for_good();
	vm_down(&vm);
}

static void who_awaits_is_seen(void **state)
{
	asking_up(state);
	nap.meanwhile = other_runs;
	stores_late(&vm.mm->answers_awaited, sizeof(vm.mm->answers_awaited), removes, answered,
		    NULL, 0);
	assert_true(nap.slept);
	nobody_sleeps_for_good();
	vm_down(&vm);
}

/* ---- a root is loaded while all become invalid: A3 ---- */

static struct spy spy;
static uint64_t runs; /* the last vCPU, on the root that it has loaded */

static void loads(void)
{
	load(&spy.vm, spy.vm.cpus - 1);
}

static void invalidates_roots(void)
{
	assert_int_equal(tdp_roots_invalidate(spy.vm.mm), TDP_OK);
}

static void starts_to_run(struct spy *s)
{
	(void)s;
	tdp_test_point(TDP_POINT_WRITE, &runs, sizeof(runs));
	runs = 1;
}

/* It looks who runs; what comes after that look is the test's. */
static void is_stopped(struct spy *s)
{
	(void)s;
	runs = 0;
	if (nap.meanwhile)
		nap.meanwhile();
}

static void roots_up(void **state, uint32_t cpus)
{
	struct test_vm_options opts = {.cpus = cpus};

	memset(&spy, 0, sizeof(spy));
	memset(&nap, 0, sizeof(nap));
	spy.on_load = starts_to_run;
	spy.on_reload = is_stopped;
	spy_up(&spy, state, &opts);
}

/* What is stopped is torn down without a flush. */
static void runs_on_no_dead_root(void)
{
	assert_false(runs && spy.vm.cpu[spy.vm.cpus - 1].vcpu->root->stopped);
	spy.on_load = NULL;
	spy.on_reload = NULL;
	loads();
	vm_down(&spy.vm);
}

static void who_loads_is_stopped(void **state)
{
	roots_up(state, 1);
	stores_late(&runs, sizeof(runs), loads, invalidates_roots, NULL, 0);
	runs_on_no_dead_root();
}

static void who_was_not_stopped_loads_again(void **state)
{
	uint32_t *invalid;

	roots_up(state, 2);
	load(&spy.vm, 0);
	invalid = &spy.vm.cpu[0].vcpu->root->invalid;
	nap.meanwhile = other_runs;
	stores_late(invalid, sizeof(*invalid), invalidates_roots, loads, NULL, 0);
	runs_on_no_dead_root();
}

/* ---- a root is made while an invalidation runs: A4d ---- */

static struct tdp_range one_page(void)
{
	return range_of(GIB, TEST_PAGE);
}

static void populates(void)
{
	assert_int_equal(tdp_populate(vm.mm, 0, one_page(), 0, NULL), TDP_OK);
}

static void loads_and_faults(void)
{
	load(&vm, 0);
	fault(&vm, 0, GIB, TDP_W);
}

static void begins_and_zaps(void)
{
	assert_int_equal(tdp_invalidate_begin(vm.mm, one_page()), TDP_OK);
	assert_int_equal(tdp_zap(vm.mm, 0, one_page(), TDP_ZAP_LAZY), TDP_OK);
}

static void no_root_up(void **state)
{
	vm_up(&vm, state, NULL);
	id = add_slot(&vm, 0, GIB, TEST_PAGE, SLOT_PA, 0);
}

static void nothing_is_mapped(void)
{
	assert_false(mapped(&vm, 0, GIB));
	assert_int_equal(tdp_invalidate_end(vm.mm, one_page()), TDP_OK);
	vm_down(&vm);
}

/* The look that decides is the one under the table's lock (and with a ticket). */
static void a_new_root_is_zapped(void **state)
{
	no_root_up(state);
	stores_late(&vm.mm->roots, sizeof(vm.mm->roots), populates, begins_and_zaps,
		    &vm.mm->inv.seq, 2);
	nothing_is_mapped();
}

static void a_root_that_was_not_zapped_sees_the_range(void **state)
{
	no_root_up(state);
	stores_late(&vm.mm->inv, sizeof(vm.mm->inv), begins_and_zaps, loads_and_faults,
		    &vm.mm->roots, 0);
	nothing_is_mapped();
}

static void logs(void)
{
	assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_WRPROT), TDP_OK);
}

/* The mode of a log is published as a range is: by the sequence. All that is stored may be late here. */
static void a_new_root_is_armed(void **state)
{
	no_root_up(state);
	stores_late(NULL, UINTPTR_MAX, logs, populates, &vm.mm->roots, 0);
	assert_false(leaf_at(&vm, GIB).prot & TDP_W);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(stores_are_late_until_handed_over, first_format),
		TEST_CASE_IF(who_enters_is_seen, first_format),
		TEST_CASE_IF(who_was_not_seen_flushes, first_format),
		TEST_CASE_IF(who_leaves_is_seen, first_format),
		TEST_CASE_IF(who_waits_is_seen, first_format),
		TEST_CASE_IF(who_answers_is_seen, first_format),
		TEST_CASE_IF(who_awaits_is_seen, first_format),
		TEST_CASE_IF(who_loads_is_stopped, first_format),
		TEST_CASE_IF(who_was_not_stopped_loads_again, first_format),
		TEST_CASE_IF(a_new_root_is_zapped, first_format),
		TEST_CASE_IF(a_root_that_was_not_zapped_sees_the_range, first_format),
		TEST_CASE_IF(a_new_root_is_armed, first_format),
	};

	return test_run("late", cases, ARRAY_LEN(cases));
}
