/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two pure decisions of the engine against oracles in the words of the guarantees: what a new
 * leaf may do, and which change needs a flush.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/attr.h"

#define BIT_OF(word, n) ((word) >> (n)&1u)

/*
 * Every combination of what the decision may look at; 3 levels, 3 kinds of hardware, 2 of formats.
 */
struct question {
	struct tdpi_leaf_in in;
	unsigned ad;
	bool af_fault;
};

static bool next_question(uint32_t *n, struct question *q)
{
	static const unsigned ads[] = {0, TDPI_HW_A, TDPI_HW_A | TDPI_HW_D};
	uint32_t bits = *n % 4096, rest = *n / 4096;

	if (rest >= 18)
		return false;
	q->in = (struct tdpi_leaf_in){
		.prot = (bits & TDP_RWX) | (BIT_OF(bits, 11) ? TDP_MT_UC | TDP_MT_FORCE : 0) |
			(BIT_OF(bits, 4) ? TDP_SW(0) | TDP_SW(3) : 0),
		.readonly = BIT_OF(bits, 5),
		.write_tracked = BIT_OF(bits, 6),
		.logging = BIT_OF(bits, 7),
		.write = BIT_OF(bits, 8),
		.old = BIT_OF(bits, 9),
		.hold_write = BIT_OF(bits, 10),
		.level = rest % 3,
	};
	q->ad = ads[rest / 3 % 3];
	q->af_fault = rest / 9;
	(*n)++;
	return true;
}

/* E11: the table, written the other way round: each reason by itself takes W away. */
static void writable_when_nothing_forbids_it(void **state)
{
	struct question q;
	uint32_t n = 0, writable = 0;

	(void)state;
	while (next_question(&n, &q)) {
		struct tdpi_attr a = tdpi_leaf_attr(&q.in, q.ad, q.af_fault);
		bool unnoticed = q.in.old && !(q.ad & TDPI_HW_A) && !q.af_fault;
		bool w = true;

		if (!(q.in.prot & TDP_W) || q.in.readonly || q.in.write_tracked || q.in.hold_write)
			w = false;
		if (q.in.logging && !q.in.write)
			w = false;
		if (q.in.logging && q.in.level > 0)
			w = false;
		if (unnoticed)
			w = false;
		assert_int_equal((a.prot & TDP_W) != 0, w);
		assert_int_equal(a.host_w, (q.in.prot & TDP_W) && !q.in.readonly);
		assert_int_equal(a.mmu_w, a.host_w && !q.in.write_tracked);
		assert_int_equal(a.prot & ~TDP_W, q.in.prot & ~TDP_W);
		writable += w;
	}
	assert_int_equal(n, 4096 * 18);
	assert_true(writable > 0 && writable < n);
}

/* E14: W implies that the engine may grant it, which implies that the host permits it. */
static void rights_imply_each_other(void **state)
{
	struct question q;
	uint32_t n = 0;

	(void)state;
	while (next_question(&n, &q)) {
		struct tdpi_attr a = tdpi_leaf_attr(&q.in, q.ad, q.af_fault);

		assert_true(!(a.prot & TDP_W) || a.mmu_w);
		assert_true(!a.mmu_w || a.host_w);
	}
}

/* E10, E08: dirty exactly when writable, whatever the hardware can. */
static void writable_means_dirty(void **state)
{
	struct question q;
	uint32_t n = 0;

	(void)state;
	while (next_question(&n, &q)) {
		struct tdpi_attr a = tdpi_leaf_attr(&q.in, q.ad, q.af_fault);

		assert_int_equal(a.dirty, (a.prot & TDP_W) != 0);
	}
}

/* E15: old stays old, and faults at its first use where no MMU would tell of it. */
static void prefetched_is_old(void **state)
{
	struct question q;
	uint32_t n = 0;

	(void)state;
	while (next_question(&n, &q)) {
		struct tdpi_attr a = tdpi_leaf_attr(&q.in, q.ad, q.af_fault);

		assert_int_equal(a.accessed, !q.in.old);
		assert_int_equal(a.tracked, q.in.old && !(q.ad & TDPI_HW_A) && !q.af_fault);
	}
}

/* D06: what is logged becomes writable only by a write that asks for it, and only as a 4K page. */
static void logged_writable_is_4k(void **state)
{
	struct question q;
	uint32_t n = 0, granted = 0;

	(void)state;
	while (next_question(&n, &q)) {
		struct tdpi_attr a = tdpi_leaf_attr(&q.in, q.ad, q.af_fault);

		if (!q.in.logging || !(a.prot & TDP_W))
			continue;
		assert_int_equal(q.in.level, 0);
		assert_true(q.in.write);
		granted++;
	}
	assert_int_not_equal(granted, 0);
}

/* ---- flushes ---- */

static struct tdpi_attr attr_of(uint32_t bits)
{
	struct tdpi_attr a = {
		.prot = (uint16_t)((bits & TDP_RWX) | (BIT_OF(bits, 8) ? TDP_MT_UC : 0)),
		.mmu_w = BIT_OF(bits, 4),
		.accessed = BIT_OF(bits, 5),
		.dirty = BIT_OF(bits, 6),
		.tracked = BIT_OF(bits, 7),
		.host_w = true,
	};

	return a;
}

static bool sensible(struct tdpi_attr a)
{
	bool w = a.prot & TDP_W;

	return (!w || a.mmu_w) && (!a.dirty || w) && !(a.tracked && (w || a.accessed));
}

/*
 * A06: whatever aging does to a leaf (A cleared; or made to fault, W and D gone), nobody has to
 * flush.
 */
static void aging_needs_no_flush(void **state)
{
	(void)state;
	for (uint32_t bits = 0; bits < 512; bits++) {
		struct tdpi_attr from = attr_of(bits), to = from;

		if (!sensible(from))
			continue;
		to.accessed = false;
		assert_int_equal(tdpi_leaf_flush_need(from, to), TDPI_FLUSH_NONE);
		to.tracked = true;
		to.prot = (uint16_t)(to.prot & ~TDP_W);
		to.dirty = false;
		assert_int_equal(tdpi_leaf_flush_need(from, to), TDPI_FLUSH_NONE);
	}
}

/* The other half: a right that somebody relies on losing is flushed before the call returns. */
static void lost_rights_need_a_flush(void **state)
{
	uint32_t now = 0, batch = 0, none = 0;

	(void)state;
	for (uint32_t i = 0; i < 512 * 512; i++) {
		struct tdpi_attr from = attr_of(i % 512), to = attr_of(i / 512);
		enum tdpi_flush_need need = tdpi_leaf_flush_need(from, to);
		uint32_t gone = from.prot & ~to.prot & TDP_RWX;

		if (!sensible(from) || !sensible(to) || to.tracked)
			continue;
		if (gone & (TDP_R | TDP_X) || (from.mmu_w && !to.mmu_w) ||
		    (from.prot ^ to.prot) & TDP_MT_MASK) {
			assert_int_equal(need, TDPI_FLUSH_NOW);
			now++;
		} else if (gone & TDP_W || (from.dirty && !to.dirty)) {
			assert_int_equal(need, TDPI_FLUSH_BATCH);
			batch++;
		} else {
			assert_int_equal(need, TDPI_FLUSH_NONE);
			none++;
		}
	}
	assert_true(now && batch && none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writable_when_nothing_forbids_it),
		cmocka_unit_test(rights_imply_each_other),
		cmocka_unit_test(writable_means_dirty),
		cmocka_unit_test(prefetched_is_old),
		cmocka_unit_test(logged_writable_is_4k),
		cmocka_unit_test(aging_needs_no_flush),
		cmocka_unit_test(lost_rights_need_a_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
