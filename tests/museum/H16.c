/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H16, Arm's TF-RMM, 2022: folding a table that was full, but with entries in different states,
 * ran into an assertion: the number of entries in use was taken for a proof that all are alike.
 *
 * Here the small pages of a huge one are mixtures of nothing, nothing that remembers its age,
 * MMIO entries, leaves and read-only leaves, the table full or not; and a table of huge pages
 * has tables of small ones among them. Collapse refuses each and changes no word; leaves alike,
 * it accepts.
 */
#include "huge.h"

enum state { LEAF, READONLY_LEAF, MMIO, NOTHING, YOUNG_HOLE, STATES };

static struct {
	uint8_t state[512];
	bool honest; /* small pages, as they are; else promises a huge one */
} host;

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
		   struct tdp_page *page)
{
	uint64_t i = (gpa - GPA) >> TDP_PAGE_LG2;

	(void)arg;
	(void)access;
	page->pa = PA + (gpa - GPA);
	page->lg2 = host.honest ? TDP_PAGE_LG2 : want_lg2;
	page->prot = host.honest && host.state[i] == READONLY_LEAF ? TDP_R | TDP_X : TDP_RWX;
	return TDP_OK;
}

static const struct tdp_backing_ops ops = {.size = (uint32_t)sizeof(ops), .resolve = resolve};

static void build(struct test_vm *vm, uint64_t pages)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc), .backing = &ops};
	uint32_t id;
	uint64_t i;

	/* Before there is memory: MMIO entries, which stay where nobody touches them later. */
	for (i = 0; i < pages; i++)
		if (host.state[i] == MMIO)
			assert_int_equal(test_vm_access(vm, 0, GPA + i * TEST_PAGE, TDP_R, NULL),
					 TEST_OUTCOME);
	desc.gpa = range_of(GPA, pages * TEST_PAGE);
	assert_int_equal(tdp_slot_add(vm->mm, &desc, &id), TDP_OK);
	host.honest = true;
	for (i = 0; i < pages; i++) {
		tdp_gpa_t gpa = GPA + i * TEST_PAGE;

		if (host.state[i] == LEAF || host.state[i] == READONLY_LEAF ||
		    host.state[i] == YOUNG_HOLE)
			touch_linear(vm, 0, gpa, TDP_R);
		if (host.state[i] == YOUNG_HOLE)
			assert_int_equal(
				tdp_zap(vm->mm, 0, range_of(gpa, TEST_PAGE), TDP_ZAP_KEEP_YOUNG),
				TDP_OK);
	}
	host.honest = false;
}

/* The states are there, by what a walk says of each entry. */
static void assert_built(struct test_vm *vm, uint64_t pages)
{
	static const uint8_t kinds[STATES] = {TDP_ENTRY_LEAF, TDP_ENTRY_LEAF, TDP_ENTRY_MMIO,
					      TDP_ENTRY_EMPTY, TDP_ENTRY_EMPTY};
	uint64_t i;

	for (i = 0; i < pages; i++) {
		struct tdp_path path = path_at(vm, 0, GPA + i * TEST_PAGE);

		assert_int_equal(path.last_level, 0);
		assert_int_equal(path.kind[0], kinds[host.state[i]]);
	}
}

static void try_collapse(void **state, bool mergeable)
{
	struct test_vm *vm = open_vm(state, NULL);
	uint64_t size = leaf_size(vm, 1), made = 77, i;
	struct test_dump before, after;

	build(vm, size >> TDP_PAGE_LG2);
	assert_built(vm, size >> TDP_PAGE_LG2);
	before = dump_of(vm, 0);
	assert_int_equal(tdp_collapse(vm->mm, 0, range_of(GPA, size), 0, &made), TDP_OK);
	after = dump_of(vm, 0);
	assert_int_equal(made, mergeable);
	if (!mergeable)
		assert_int_equal(test_dump_diff(&before, &after, false), 0);
	test_dump_free(&before);
	test_dump_free(&after);
	for (i = 0; i < size; i += TEST_PAGE)
		touch_linear(vm, 0, GPA + i, TDP_R);
	close_vm(vm);
}

static void only_leaves_alike(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	uint64_t pages = leaf_size(vm, 1) >> TDP_PAGE_LG2, i;
	struct test_rand r;
	unsigned s, round;

	close_vm(vm);
	memset(host.state, LEAF, sizeof(host.state));
	try_collapse(state, true);
	memset(host.state, READONLY_LEAF, sizeof(host.state));
	try_collapse(state, true);
	/* One stranger among leaves, wherever it is. */
	for (s = READONLY_LEAF; s < STATES; s++) {
		uint64_t at[] = {0, pages / 2, pages - 1};

		for (i = 0; i < ARRAY_LEN(at); i++) {
			memset(host.state, LEAF, sizeof(host.state));
			host.state[at[i]] = (uint8_t)s;
			try_collapse(state, false);
		}
	}
	/*
	 * Any mixture, the table full in half of them; leaves at both ends, as a first look
	 * sees them.
	 */
	test_rand_init(&r, test_seed());
	for (round = 0; round < 12; round++) {
		memset(host.state, LEAF, sizeof(host.state));
		for (i = 1; i + 1 < pages; i++)
			host.state[i] = (uint8_t)test_below(&r, round % 2 ? STATES : MMIO + 1);
		host.state[1] = MMIO;
		try_collapse(state, false);
	}
}

/* A table of huge leaves, one of which is a table of small ones; where a larger leaf exists. */
static void tables_among_leaves(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	struct tdp_range all, odd;
	struct test_dump before, after;
	uint64_t made = 77;
	unsigned top = huge_levels(vm).level[huge_levels(vm).count - 1];

	if (top != 2) {
		close_vm(vm);
		return;
	}
	all = range_of(GPA, leaf_size(vm, top));
	odd = range_of(GPA + 7 * leaf_size(vm, 1), TEST_PAGE);
	assert_int_equal(test_vm_slot(vm, 0, GPA, all.size, PA, 0, NULL), TDP_OK);
	touch_linear(vm, 0, GPA, TDP_R);
	assert_int_equal(tdp_split(vm->mm, 0, all, test_vm_lg2(vm, 1)), TDP_OK);
	assert_int_equal(tdp_split(vm->mm, 0, odd, TDP_PAGE_LG2), TDP_OK);
	assert_int_equal(tdp_zap(vm->mm, 0, odd, 0), TDP_OK);
	before = dump_of(vm, 0);
	assert_int_equal(tdp_collapse(vm->mm, 0, all, 0, &made), TDP_OK);
	after = dump_of(vm, 0);
	assert_int_equal(made, 0);
	assert_int_equal(test_dump_diff(&before, &after, false), 0);
	test_dump_free(&before);
	test_dump_free(&after);
	/* The hole filled, both levels go, one after the other. */
	touch_linear(vm, 0, odd.start, TDP_R);
	assert_int_equal(tdp_collapse(vm->mm, 0, all, 0, &made), TDP_OK);
	assert_int_equal(made, 2);
	assert_int_equal(lg2_at(vm, 0, odd.start), test_vm_lg2(vm, top));
	touch_linear(vm, 0, odd.start, TDP_R);
	close_vm(vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(only_leaves_alike),
		TEST_CASE(tables_among_leaves),
	};

	return test_run("museum/H16", cases, ARRAY_LEN(cases));
}
