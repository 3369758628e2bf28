/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vCPU that faults again in the slot of its last fault takes a short way to the same end: what each fault answers,
 * reports and leaves behind is what a vCPU gets that comes from another slot each time.
 */
#include "steps.h"

#define GPA GIB
#define AWAY (GIB / 2)
#define BLOCKS 3

/* One guest, twice. */
struct twin {
	struct test_vm vm;
	uint32_t id;
	bool comes_from_away;
};

struct pair {
	struct twin quick, slow;
	uint64_t block;
};

/* ---- what stands there before ---- */

struct shape {
	const char *name;
	uint32_t prot, flags;
	void (*before)(struct twin *twin, uint64_t block);
};

static void reads_only(struct twin *t, uint64_t block)
{
	(void)block;
	assert_int_equal(tdp_slot_set_flags(t->vm.mm, t->id, TDP_SLOT_READONLY), TDP_OK);
}

static void tracks(struct twin *t, uint64_t block)
{
	assert_int_equal(tdp_write_track(t->vm.mm, 0, range_of(GPA + block, TEST_PAGE), true),
			 TDP_OK);
}

static void gives_away(struct twin *t, uint64_t block)
{
	assert_int_equal(tdp_set_owner(t->vm.mm, 0, range_of(GPA + block, TEST_PAGE), 1), TDP_OK);
}

static void logs(struct twin *t, uint64_t block)
{
	(void)block;
	assert_int_equal(tdp_dirty_log(t->vm.mm, t->id, TDP_LOG_WRPROT), TDP_OK);
}

/* Tables that an arm shut stay so until somebody writes. */
static void logged_once(struct twin *t, uint64_t block)
{
	struct tdp_range all = range_of(GPA, BLOCKS * block);
	int ret;

	assert_int_equal(tdp_populate(t->vm.mm, 0, range_of(GPA, TEST_PAGE), 0, NULL), TDP_OK);
	ret = tdp_dirty_log(t->vm.mm, t->id, TDP_LOG_WRPROT | TDP_LOG_LAZY);
	assert_true(ret == TDP_OK || ret == TDP_ENOTSUP);
	if (ret)
		return;
	assert_int_equal(tdp_zap(t->vm.mm, 0, range_of(GPA, TEST_PAGE), 0), TDP_OK);
	assert_int_equal(tdp_dirty_log(t->vm.mm, t->id, TDP_LOG_OFF), TDP_OK);
	assert_int_equal(tdp_test_age(t->vm.mm, 0, all), 0);
}

static void has_small_pages(struct twin *t, uint64_t block)
{
	uint64_t odd = 3;

	assert_int_equal(tdp_populate(t->vm.mm, 0, range_of(GPA, block), 0, NULL), TDP_OK);
	assert_int_equal(tdp_split(t->vm.mm, 0, range_of(GPA, block), TDP_PAGE_LG2), TDP_OK);
	assert_int_equal(
		tdp_zap(t->vm.mm, 0, range_of(GPA + odd * TEST_PAGE, block - odd * TEST_PAGE), 0),
		TDP_OK);
	assert_int_equal(tdp_write_protect(t->vm.mm, 0, range_of(GPA, TEST_PAGE)), TDP_OK);
}

static const struct shape shapes[] = {
	{"large", 0, 0, NULL},
	{"small", 0, TDP_SLOT_FORCE_4K, NULL},
	{"uncached", TDP_RWX | TDP_MT_UC, TDP_SLOT_FORCE_4K, NULL},
	{"without X", TDP_R | TDP_W, 0, NULL},
	{"without W", TDP_R | TDP_X, TDP_SLOT_FORCE_4K, NULL},
	{"read only", 0, TDP_SLOT_READONLY, NULL},
	{"read only, later", 0, 0, reads_only},
	{"tracked", 0, TDP_SLOT_FORCE_4K, tracks},
	{"tracked, large", 0, 0, tracks},
	{"given away", 0, 0, gives_away},
	{"logged", 0, 0, logs},
	{"logged once", 0, TDP_SLOT_FORCE_4K, logged_once},
	{"split", 0, 0, has_small_pages},
};

/* ---- both ---- */

static void twin_up(struct twin *t, void **state, const struct shape *shape, bool away)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc)};
	uint64_t block;

	t->comes_from_away = away;
	vm_up(&t->vm, state, NULL);
	block = block_of(&t->vm);
	add_slot(&t->vm, 0, AWAY, TEST_PAGE, SLOT_PA / 2, TDP_SLOT_FORCE_4K);
	desc.gpa = range_of(GPA, BLOCKS * block);
	desc.pa = SLOT_PA;
	desc.prot = shape->prot;
	desc.flags = shape->flags;
	assert_int_equal(tdp_slot_add(t->vm.mm, &desc, &t->id), TDP_OK);
	use(&t->vm, 0, AWAY, TDP_R);
	if (shape->before)
		shape->before(t, block);
	/* The one has been there, the other not. */
	if (!away)
		use(&t->vm, 0, GPA + (BLOCKS - 1) * block, TDP_R);
	else
		assert_int_equal(tdp_populate(t->vm.mm, 0,
					      range_of(GPA + (BLOCKS - 1) * block, TEST_PAGE),
					      TDP_POPULATE_YOUNG, NULL),
				 TDP_OK);
}

static int fault_at(struct twin *t, tdp_gpa_t gpa, uint32_t access, struct tdp_fault_result *result)
{
	struct tdp_fault fault = {.size = sizeof(fault), .gpa = gpa, .access = access};

	if (t->comes_from_away) {
		struct tdp_fault away = {.size = sizeof(away), .gpa = AWAY, .access = TDP_R};

		assert_int_equal(tdp_fault(t->vm.cpu[0].vcpu, &away, NULL), TDP_FAULT_SPURIOUS);
	}
	memset(result, 0, sizeof(*result));
	result->size = sizeof(*result);
	return tdp_fault(t->vm.cpu[0].vcpu, &fault, result);
}

static void same_fault(struct pair *p, const char *name, tdp_gpa_t gpa, uint32_t access)
{
	struct tdp_fault_result quick, slow;
	int ret = fault_at(&p->slow, gpa, access, &slow);
	uint8_t kind, other;
	uint64_t word;

	if (fault_at(&p->quick, gpa, access, &quick) != ret)
		fail_msg("%s, gpa %#llx, access %#x: not %s", name, (unsigned long long)gpa, access,
			 tdp_strerror(ret));
	assert_memory_equal(&quick, &slow, sizeof(slow));
	word = word_at(&p->slow.vm, gpa, &kind);
	if (word_at(&p->quick.vm, gpa, &other) != word || other != kind)
		fail_msg("%s, gpa %#llx, access %#x: another entry", name, (unsigned long long)gpa,
			 access);
}

static void same_end(struct pair *p)
{
	struct tdp_stats quick = stats_of(&p->quick.vm), slow = stats_of(&p->slow.vm);

	assert_memory_equal(quick.leaves, slow.leaves, sizeof(slow.leaves));
	assert_memory_equal(quick.tables, slow.tables, sizeof(slow.tables));
	assert_int_equal(test_vm_check(&p->quick.vm), 0);
	assert_int_equal(test_vm_check(&p->slow.vm), 0);
}

static void comes_to_the_same_end(void **state)
{
	static const uint32_t accesses[] = {TDP_R, TDP_W, TDP_X};

	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		for (size_t k = 0; k < ARRAY_LEN(accesses); k++) {
			const uint64_t pages[] = {0, 1, 2, 3, 5, 9, 1, 0, 9};
			struct pair p;

			twin_up(&p.quick, state, &shapes[i], false);
			twin_up(&p.slow, state, &shapes[i], true);
			p.block = block_of(&p.quick.vm);
			for (unsigned block = 0; block < BLOCKS; block++)
				for (size_t n = 0; n < ARRAY_LEN(pages); n++)
					same_fault(&p, shapes[i].name,
						   GPA + block * p.block + pages[n] * TEST_PAGE,
						   accesses[(k + n / 6) % ARRAY_LEN(accesses)]);
			same_fault(&p, "behind", GPA + BLOCKS * p.block, accesses[k]);
			same_fault(&p, "before", GPA - TEST_PAGE, accesses[k]);
			same_end(&p);
			vm_down(&p.slow.vm);
			vm_down(&p.quick.vm);
		}
	}
}

/* Slots change between two faults: what the vCPU remembers of the old ones is void. */
static void another_slot_now(void **state)
{
	struct test_vm vm;
	uint32_t id;

	vm_up(&vm, state, NULL);
	id = add_slot(&vm, 0, GPA, 16 * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	assert_int_equal(use(&vm, 0, GPA, TDP_W).pa, SLOT_PA);
	assert_int_equal(use(&vm, 0, GPA + TEST_PAGE, TDP_W).pa, SLOT_PA + TEST_PAGE);
	assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
	stopped(&vm, 0, GPA + 2 * TEST_PAGE, TDP_W, TDP_FAULT_MMIO);
	id = add_slot(&vm, 0, GPA, 16 * TEST_PAGE, 2 * SLOT_PA, TDP_SLOT_FORCE_4K);
	assert_int_equal(use(&vm, 0, GPA, TDP_W).pa, 2 * SLOT_PA);
	assert_int_equal(use(&vm, 0, GPA + 2 * TEST_PAGE, TDP_W).pa, 2 * SLOT_PA + 2 * TEST_PAGE);
	assert_int_equal(tdp_slot_set_flags(vm.mm, id, TDP_SLOT_FORCE_4K | TDP_SLOT_READONLY),
			 TDP_OK);
	stopped(&vm, 0, GPA + 3 * TEST_PAGE, TDP_W, TDP_FAULT_READONLY);
	vm_down(&vm);
}

/* Once is enough, also where an entry above was shut by a log that is off again. */
static void works_at_once(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		struct twin t;

		if (shapes[i].before != logged_once)
			continue;
		twin_up(&t, state, &shapes[i], false);
		for (uint64_t page = 0; page < 4; page++)
			assert_true(use(&t.vm, 0, GPA + page * TEST_PAGE, TDP_W).faults <= 1);
		vm_down(&t.vm);
	}
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(comes_to_the_same_end),
		TEST_CASE(another_slot_now),
		TEST_CASE(works_at_once),
	};

	return test_run("straight", cases, ARRAY_LEN(cases));
}
