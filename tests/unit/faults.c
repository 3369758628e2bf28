/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tdp_fault() and tdp_populate(): descriptor, outcomes, fast path, relaxing, prefetch, write
 * tracking.
 */
#include "steps.h"

#define GPA GIB

static int give(struct test_vm *vm, struct tdp_fault f, struct tdp_fault_result *r)
{
	if (r) {
		memset(r, 0xa5, sizeof(*r));
		r->size = (uint32_t)sizeof(*r);
	}
	return tdp_fault(vm->cpu[0].vcpu, &f, r);
}

/* F01: input stays input, hints change nothing, the answer is in the result. */
static void descriptor(void **state)
{
	static const uint32_t hints[] = {0,
					 TDP_FAULT_PRESENT,
					 TDP_FAULT_RSVD,
					 TDP_FAULT_ACCESS_FLAG,
					 TDP_FAULT_WALK,
					 TDP_FAULT_GVA};
	struct tdp_fault_result r;
	struct test_vm vm;
	uint32_t id;

	vm_up(&vm, state, NULL);
	id = add_slot(&vm, 0, GPA + TEST_PAGE, 16 * TEST_PAGE, SLOT_PA, 0);
	load(&vm, 0);
	for (size_t i = 0; i < ARRAY_LEN(hints); i++) {
		tdp_gpa_t gpa = GPA + (1 + i) * TEST_PAGE;
		struct tdp_fault f = {.gpa = gpa + 0x123,
				      .access = TDP_W,
				      .flags = hints[i],
				      .gva = 0x7777},
				 was = f;

		r.size = (uint32_t)sizeof(r);
		assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &f, &r), TDP_FAULT_FIXED);
		assert_memory_equal(&f, &was, sizeof(f));
		assert_int_equal(r.gpa, gpa);
		assert_int_equal(r.pa, SLOT_PA + i * TEST_PAGE);
		assert_int_equal(r.lg2, 12);
		assert_int_equal(r.prot, TDP_RWX);
		assert_int_equal(r.slot, id);
		assert_int_equal(give(&vm, f, &r), TDP_FAULT_SPURIOUS);
		assert_int_equal(r.pa, SLOT_PA + i * TEST_PAGE);
	}
	assert_int_equal(give(&vm, (struct tdp_fault){.gpa = GPA, .access = TDP_R}, &r),
			 TDP_FAULT_MMIO);
	assert_int_equal(r.slot, ~(uint32_t)0);
	vm_down(&vm);
}

/* F02: each outcome, by the access that leads to it. */
static void every_outcome(void **state)
{
	struct tdp_stats before, after;
	struct test_backing mem;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	vm.max_retries = 0;
	add_backing(&vm, &mem, GPA, 4 * TEST_PAGE, TDP_RWX, 12);
	add_slot(&vm, 0, 2 * GPA, TEST_PAGE, SLOT_PA, TDP_SLOT_READONLY);
	load(&vm, 0);
	before = stats_of(&vm);
	assert_int_equal(fault(&vm, 0, GPA, TDP_R), TDP_FAULT_FIXED);
	assert_int_equal(fault(&vm, 0, GPA, TDP_R), TDP_FAULT_SPURIOUS);
	assert_int_equal(tdp_invalidate_begin(vm.mm, range_of(GPA + TEST_PAGE, TEST_PAGE)), TDP_OK);
	stopped(&vm, 0, GPA + TEST_PAGE, TDP_R, TDP_FAULT_RETRY);
	assert_int_equal(tdp_invalidate_end(vm.mm, range_of(GPA + TEST_PAGE, TEST_PAGE)), TDP_OK);
	stopped(&vm, 0, GPA / 2, TDP_W, TDP_FAULT_MMIO);
	stopped(&vm, 0, 2 * GPA, TDP_W, TDP_FAULT_READONLY);
	assert_int_equal(tdp_write_track(vm.mm, 0, range_of(GPA, TEST_PAGE), true), TDP_OK);
	stopped(&vm, 0, GPA, TDP_W, TDP_FAULT_TRACKED);
	after = stats_of(&vm);
	for (int i = 0; i < TDP_FAULT_OUTCOMES; i++)
		assert_int_equal(after.faults[i], before.faults[i] + 1);
	test_backing_fini(&mem);
	vm_down(&vm);
}

/* F16: what failed is told apart by status; nothing is mapped, nothing stays resolved. */
static void failures_tell_apart(void **state)
{
	struct test_backing mem;
	struct test_dump before;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	add_backing(&vm, &mem, GPA, 4 * TEST_PAGE, TDP_R | TDP_W, 12);
	use(&vm, 0, GPA, TDP_R);
	before = dump_of(&vm);
	stopped(&vm, 0, GPA, TDP_X, TDP_EACCES);
	test_backing_fail(&mem, range_of(GPA + TEST_PAGE, TEST_PAGE), true);
	stopped(&vm, 0, GPA + TEST_PAGE, TDP_R, TDP_EFAULT);
	mem.fail_status = TDP_ENOSPC; /* the resolver's own answer, whatever it is */
	stopped(&vm, 0, GPA + TEST_PAGE, TDP_R, TDP_ENOSPC);
	assert_int_equal(stats_of(&vm).fault_errors, 3);
	same_as(&vm, &before);
	test_backing_fini(&mem);
	vm_down(&vm);
}

/* F16: a failed fault says where it was and in which slot, and nothing of a leaf. */
static void failures_say_where(void **state)
{
	struct tdp_fault_result r = {.size = sizeof(r)};
	struct tdp_fault f = {.size = sizeof(f), .gpa = GPA + TEST_PAGE + 5, .access = TDP_R};
	struct test_backing mem;
	struct test_vm vm;
	uint32_t id;

	vm_up(&vm, state, NULL);
	add_backing(&vm, &mem, GPA, 4 * TEST_PAGE, TDP_R | TDP_W, 12);
	assert_int_equal(tdp_slot_find(vm.mm, 0, GPA, &id, NULL), TDP_OK);
	load(&vm, 0);
	test_backing_fail(&mem, range_of(GPA + TEST_PAGE, TEST_PAGE), true);
	r.slot = 77;
	assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &f, &r), TDP_EFAULT);
	assert_int_equal(r.gpa, GPA + TEST_PAGE);
	assert_int_equal(r.lg2, 12);
	assert_int_equal(r.slot, id);
	assert_int_equal(r.pa | r.prot, 0);
	test_backing_fini(&mem);
	vm_down(&vm);
}

/* F18, F23: an address that the guest or the output cannot have is refused and maps nothing. */
static void unmappable_addresses(void **state)
{
	struct tdp_fault size = {.gpa = GPA, .access = TDP_R, .flags = TDP_FAULT_SIZE};
	struct test_dump before;
	struct test_backing mem;
	struct test_vm vm;
	uint32_t pa_bits;

	vm_up(&vm, state, NULL);
	pa_bits = vm.fmt->format == TDP_FMT_S2_4K || vm.fmt->format == TDP_FMT_TEST ? 48 : 52;
	add_backing(&vm, &mem, GPA, 4 * TEST_PAGE, TDP_RWX, 12);
	load(&vm, 0);
	use(&vm, 0, GPA, TDP_R);
	before = dump_of(&vm);
	assert_int_equal(fault(&vm, 0, test_vm_size(&vm), TDP_R), TDP_ERANGE);
	assert_int_equal(fault(&vm, 0, ~(uint64_t)0, TDP_W), TDP_ERANGE);
	assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &size, NULL), TDP_ERANGE);
	/* The resolver names memory that no entry can hold. */
	mem.frame[1] = (uint64_t)1 << (pa_bits - 12);
	assert_int_equal(fault(&vm, 0, GPA + TEST_PAGE, TDP_R), TDP_EFAULT);
	assert_int_equal(try_slot(&vm, 2 * GPA, TEST_PAGE, (tdp_pa_t)1 << pa_bits, TDP_RWX, NULL),
			 TDP_ERANGE);
	assert_int_equal(try_slot(&vm, 2 * GPA, 2 * TEST_PAGE, ((tdp_pa_t)1 << pa_bits) - TEST_PAGE,
				  TDP_RWX, NULL),
			 TDP_ERANGE);
	same_as(&vm, &before);
	/* The last page of either width is one. */
	assert_int_equal(try_slot(&vm, test_vm_size(&vm) - TEST_PAGE, TEST_PAGE,
				  ((tdp_pa_t)1 << pa_bits) - TEST_PAGE, TDP_RWX, NULL),
			 TDP_OK);
	use(&vm, 0, test_vm_size(&vm) - 1, TDP_W);
	test_backing_fini(&mem);
	vm_down(&vm);
}

/* ---- in place -------------------------------------------------------------------------------- */

/* F06: W taken by us, or an aged leaf: mended without a lookup or an allocation, and logged. */
static void fast_without_lookup(void **state)
{
	struct test_backing mem;
	struct test_vm vm;
	struct tdp_stats before, after;
	uint64_t bits = 0, tables;
	uint32_t id;

	vm_up(&vm, state, NULL);
	id = add_backing(&vm, &mem, GPA, 8 * TEST_PAGE, TDP_RWX, 12);
	use(&vm, 0, GPA, TDP_W);
	use(&vm, 0, GPA + TEST_PAGE, TDP_W);
	assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_WRPROT), TDP_OK);
	assert_int_equal(tdp_age(vm.mm, 0, range_of(GPA + TEST_PAGE, TEST_PAGE), NULL), 1);
	assert_int_equal(tdp_vcpu_topup(vm.cpu[0].vcpu), TDP_OK);
	before = stats_of(&vm);
	tables = atomic_load(&vm.env.tables_total);
	test_env_fail(&vm.env, 1);
	assert_int_equal(use(&vm, 0, GPA, TDP_W).faults, 1);
	assert_int_equal(use(&vm, 0, GPA + TEST_PAGE, TDP_R).faults != 0, has_no_a(vm.fmt));
	test_env_fail(&vm.env, 0);
	after = stats_of(&vm);
	assert_int_equal(after.resolves, before.resolves);
	assert_int_equal(after.fault_fast - before.fault_fast, has_no_a(vm.fmt) ? 2 : 1);
	assert_int_equal(atomic_load(&vm.env.tables_total), tables);
	assert_true(leaf_at(&vm, GPA).prot & TDP_W);
	assert_true(leaf_at(&vm, GPA + TEST_PAGE).flags & TDP_MAP_ACCESSED);
	assert_int_equal(tdp_dirty_get(vm.mm, id, 0, &bits, 1), TDP_OK);
	assert_int_equal(bits, 1);
	test_backing_fini(&mem);
	vm_down(&vm);
}

/*
 * F19: a right that was missing is added in the same leaf: no table, no other size, no broadcast.
 */
static void permission_is_added_in_place(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct tdp_mapping was, is;
	struct tdp_backend_caps caps = {.size = (uint32_t)sizeof(caps)};
	struct tdp_stats before, after;
	struct test_vm vm;
	uint64_t broadcasts;

	vm_up(&vm, state, &opts);
	assert_int_equal(tdp_emu_backend.probe(vm.emu, vm.fmt->format, &caps), TDP_OK);
	add_slot(&vm, 0, GPA, 4 * block_of(&vm), SLOT_PA, 0);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(GPA, 4 * block_of(&vm)),
				      TDP_POPULATE_READ | TDP_POPULATE_YOUNG, NULL),
			 TDP_OK);
	use(&vm, 0, GPA, TDP_R);
	use(&vm, 1, GPA, TDP_R);
	was = leaf_at(&vm, GPA);
	before = stats_of(&vm);
	broadcasts = broadcasts_of(&vm);
	assert_int_equal(use(&vm, 0, GPA, TDP_W).faults, 1);
	is = leaf_at(&vm, GPA);
	after = stats_of(&vm);
	assert_int_equal(is.lg2, was.lg2);
	assert_int_equal(is.pa, was.pa);
	assert_int_equal(is.prot, was.prot | TDP_W);
	assert_int_equal(broadcasts_of(&vm), broadcasts);
	assert_memory_equal(after.tables, before.tables, sizeof(after.tables));
	assert_int_equal(after.flush_cause[TDP_FLUSH_LOCAL] - before.flush_cause[TDP_FLUSH_LOCAL],
			 !(caps.flags & TDP_CAP_FAULT_INVALIDATES));
	/* The other vCPU still holds the read-only translation: its fault finds the work done. */
	assert_true(use(&vm, 1, GPA, TDP_W).faults <= 1);
	assert_int_equal(stats_of(&vm).faults[TDP_FAULT_FIXED], after.faults[TDP_FAULT_FIXED]);
	vm_down(&vm);
}

/* F11: what is there stays bit for bit, whatever is prefetched over it. */
static void prefetch_never_changes_a_leaf(void **state)
{
	struct tdp_fault f = {.access = TDP_RWX, .flags = TDP_FAULT_PREFETCH};
	struct test_dump before;
	struct test_vm vm;
	uint64_t size, words[12];
	uint32_t id;

	vm_up(&vm, state, NULL);
	size = 2 * block_of(&vm);
	id = add_slot(&vm, 0, GPA, size, SLOT_PA, 0);
	use(&vm, 0, GPA, TDP_R);
	assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_WRPROT), TDP_OK);
	use(&vm, 0, GPA + 2 * TEST_PAGE, TDP_W);
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(GPA + 5 * TEST_PAGE, TEST_PAGE), 0), TDP_OK);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(GPA, size), 0, NULL), TDP_OK);
	/* Old ones, protected ones, tracked ones: none is what a prefetch would make. */
	assert_true(tdp_age(vm.mm, 0, range_of(GPA, size), NULL) >= 0);
	before = dump_of(&vm);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(GPA, size), TDP_POPULATE_YOUNG, NULL),
			 TDP_OK);
	for (f.gpa = GPA; f.gpa < GPA + 8 * TEST_PAGE; f.gpa += TEST_PAGE)
		assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &f, NULL), TDP_FAULT_SPURIOUS);
	same_as(&vm, &before);
	/* Nor does one that begins at an empty page and goes on over others. */
	for (uint64_t p = 0; p < ARRAY_LEN(words); p++)
		words[p] = word_at(&vm, GPA + (p + 1) * TEST_PAGE, NULL);
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(GPA, TEST_PAGE), 0), TDP_OK);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(GPA, size), TDP_POPULATE_YOUNG, NULL),
			 TDP_OK);
	assert_true(mapped(&vm, 0, GPA));
	for (uint64_t p = 0; p < ARRAY_LEN(words); p++)
		assert_int_equal(word_at(&vm, GPA + (p + 1) * TEST_PAGE, NULL), words[p]);
	vm_down(&vm);
}

/* F14: counted per page; the write faults until the last one is gone. */
static void write_tracking_counts(void **state)
{
	struct tdp_range page = range_of(GPA + TEST_PAGE, TEST_PAGE);
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, 4 * block_of(&vm), SLOT_PA, 0);
	use(&vm, 0, GPA, TDP_W);
	use(&vm, 0, page.start, TDP_W);
	assert_int_equal(tdp_write_track(vm.mm, 0, page, false), TDP_ENOSPC);
	assert_int_equal(tdp_write_track(vm.mm, 0, page, true), TDP_OK);
	assert_int_equal(tdp_write_track(vm.mm, 0, page, true), TDP_OK);
	for (int i = 0; i < 2; i++) {
		assert_false(leaf_at(&vm, page.start).flags & TDP_MAP_MMU_WRITABLE);
		stopped(&vm, 0, page.start, TDP_W, TDP_FAULT_TRACKED);
		use(&vm, 0, page.start, TDP_R);
		use(&vm, 0, GPA, TDP_W);
		use(&vm, 0, GPA + 2 * TEST_PAGE, TDP_W);
		assert_int_equal(tdp_write_track(vm.mm, 0, page, false), TDP_OK);
	}
	use(&vm, 0, page.start, TDP_W);
	/* Also for a page that is not mapped yet. */
	assert_int_equal(tdp_write_track(vm.mm, 0, page, true), TDP_OK);
	assert_int_equal(tdp_zap(vm.mm, 0, page, 0), TDP_OK);
	stopped(&vm, 0, page.start, TDP_W, TDP_FAULT_TRACKED);
	use(&vm, 0, page.start, TDP_R);
	stopped(&vm, 0, page.start, TDP_W, TDP_FAULT_TRACKED);
	assert_int_equal(tdp_write_track(vm.mm, 0, page, false), TDP_OK);
	vm_down(&vm);
}

/* F15: says how far it came, goes on from there, and does not wait for memory that is gone. */
static void populate_goes_on(void **state)
{
	struct test_backing mem;
	struct test_vm vm;
	uint64_t done = 0, size, hole;
	uint32_t id;

	vm_up(&vm, state, NULL);
	size = 3 * block_of(&vm);
	hole = block_of(&vm) + 5 * TEST_PAGE;
	id = add_backing(&vm, &mem, GPA, size, TDP_RWX, test_vm_lg2(&vm, 1));
	test_backing_drop(&mem, range_of(GPA + hole, TEST_PAGE)); /* small pages around it */
	test_backing_fail(&mem, range_of(GPA + hole, TEST_PAGE), true);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(GPA, size), 0, &done), TDP_EFAULT);
	assert_true(done <= hole && done >= block_of(&vm));
	for (uint64_t at = 0; at < done; at += TEST_PAGE)
		assert_true(mapped(&vm, 0, GPA + at));
	test_backing_fail(&mem, range_of(GPA + hole, TEST_PAGE), false);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(GPA + done, size - done), 0, &hole),
			 TDP_OK);
	assert_int_equal(done + hole, size);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(GPA, size + TEST_PAGE), 0, &done),
			 TDP_ENOENT);
	assert_int_equal(done, size);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(GPA, size), TDP_POPULATE_STRICT, &done),
			 TDP_EEXIST);
	assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(GPA, size), 0, &done), TDP_ENOENT);
	assert_int_equal(done, 0);
	test_backing_fini(&mem);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(descriptor),
		TEST_CASE(every_outcome),
		TEST_CASE(failures_tell_apart),
		TEST_CASE(failures_say_where),
		TEST_CASE(unmappable_addresses),
		TEST_CASE(fast_without_lookup),
		TEST_CASE(permission_is_added_in_place),
		TEST_CASE(prefetch_never_changes_a_leaf),
		TEST_CASE(write_tracking_counts),
		TEST_CASE(populate_goes_on),
	};

	return test_run("faults", cases, ARRAY_LEN(cases));
}
