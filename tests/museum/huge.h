/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the pieces about levels and huge pages share: where memory lies, one machine per test, and
 * the exact cover: every leaf of a range against what the test knows by arithmetic.
 */
#ifndef TESTS_MUSEUM_HUGE_H
#define TESTS_MUSEUM_HUGE_H

#include "museum.h"

/* Aligned to the largest leaf of any format, and nowhere near memory of this process. */
#define PA ((tdp_pa_t)1 << 47)
#define GPA ((tdp_gpa_t)1 << 30)

/* Leaf levels above 0. */
struct huge_levels {
	unsigned count;
	unsigned level[TDP_LEVELS_MAX];
};

/*
 * On the heap: of a test that fails, callbacks that still wait may run while the next one is
 * running.
 */
static inline struct test_vm *open_vm(void **state, const struct test_vm_options *opts)
{
	struct test_vm *vm = malloc(sizeof(*vm));

	assert_non_null(vm);
	assert_int_equal(test_vm_init(vm, *state, opts), TDP_OK);
	vm->max_retries = 256;
	return vm;
}

static inline void close_vm(struct test_vm *vm)
{
	assert_int_equal(test_vm_check(vm), 0);
	assert_int_equal(test_vm_fini(vm), 0);
	free(vm);
}

static inline struct huge_levels huge_levels(const struct test_vm *vm)
{
	struct huge_levels h = {0};
	unsigned level;

	for (level = 1; level < vm->info.levels; level++)
		if (vm->info.leaf_levels >> level & 1)
			h.level[h.count++] = level;
	return h;
}

static inline uint64_t leaf_size(const struct test_vm *vm, unsigned level)
{
	return (uint64_t)1 << test_vm_lg2(vm, level);
}

static inline struct tdp_range range_of(tdp_gpa_t start, uint64_t size)
{
	return museum_range(start, size);
}

/* An access that must succeed; what it did. */
static inline struct test_access touch(struct test_vm *vm, uint32_t cpu, tdp_gpa_t gpa,
				       uint32_t access)
{
	struct test_access a;

	assert_int_equal(test_vm_access(vm, cpu, gpa, access, &a), TEST_OK);
	return a;
}

/* An access to linear memory of [GPA, ...) at PA: right, and how many faults it took. */
static inline uint32_t touch_linear(struct test_vm *vm, uint32_t cpu, tdp_gpa_t gpa,
				    uint32_t access)
{
	struct test_access a = touch(vm, cpu, gpa, access);

	assert_int_equal(a.pa, PA + (gpa - GPA));
	return a.faults;
}

static inline struct tdp_mapping mapping_at(struct test_vm *vm, uint32_t as_id, tdp_gpa_t gpa)
{
	struct tdp_mapping m = {.size = (uint32_t)sizeof(m)};
	int status = tdp_translate(vm->mm, as_id, gpa, &m);

	if (status != TDP_OK) {
		assert_int_equal(status, TDP_ENOENT);
		m.lg2 = 0;
	}
	return m;
}

/* log2 of the page that maps gpa, 0: none does. */
static inline uint32_t lg2_at(struct test_vm *vm, uint32_t as_id, tdp_gpa_t gpa)
{
	return mapping_at(vm, as_id, gpa).lg2;
}

static inline struct tdp_path path_at(struct test_vm *vm, uint32_t as_id, tdp_gpa_t gpa)
{
	struct tdp_path path = {.size = (uint32_t)sizeof(path)};

	assert_int_equal(tdp_walk_gpa(vm->mm, as_id, gpa, &path), TDP_OK);
	return path;
}

static inline struct tdp_stats stats_of(struct test_vm *vm)
{
	struct tdp_stats stats = {.size = (uint32_t)sizeof(stats)};

	assert_int_equal(tdp_stats(vm->mm, &stats), TDP_OK);
	return stats;
}

/* Tables in use now, by the host's own census; what waited for a grace period is let go first. */
static inline uint64_t tables_of(struct test_vm *vm)
{
	do
		test_rcu_run();
	while (test_rcu_pending());
	return atomic_load(&vm->env.tables);
}

static inline struct test_dump dump_of(struct test_vm *vm, uint32_t as_id)
{
	struct test_dump dump;

	assert_int_equal(test_dump_take(vm, as_id, &dump), TDP_OK);
	assert_false(dump.failed);
	return dump;
}

/*
 * Linear memory: [range) is mapped without a gap to PA + (gpa - GPA), no leaf reaches over an
 * edge of `inside`, and R|W|X is `in` there and `out` elsewhere. 0 for either: nothing is
 * mapped there.
 */
static inline void assert_cover(struct test_vm *vm, struct tdp_range range, struct tdp_range inside,
				uint32_t in, uint32_t out)
{
	struct test_dump dump = dump_of(vm, 0);
	tdp_gpa_t next = range.start, edge = inside.start + inside.size;
	size_t i;

	for (i = 0; i < dump.count && next < range.start + range.size; i++) {
		const struct tdp_visit *v = &dump.visits[i];
		tdp_gpa_t end = v->gpa + ((uint64_t)1 << v->lg2);
		bool is_in = v->gpa >= inside.start && v->gpa < edge;

		if (v->kind != TDP_ENTRY_LEAF || end <= range.start)
			continue;
		if (!in && next == inside.start)
			next = edge;
		if (!out && next < inside.start)
			next = inside.start;
		assert_int_equal(v->gpa, next);
		assert_int_equal(v->pa, PA + (v->gpa - GPA));
		assert_int_equal(v->prot & TDP_RWX, is_in ? in : out);
		if (is_in)
			assert_true(end <= edge);
		else
			assert_true(end <= inside.start || v->gpa >= edge);
		next = end;
	}
	if (!in && next == inside.start)
		next = edge;
	assert_true(next >= range.start + range.size);
	test_dump_free(&dump);
}

/*
 * The walker by itself: its own decoder from the root register down, no TLB, no walk cache,
 * each entry judged alone. Returns an enum tdp_emu_reason.
 */
static inline int read_entry(void *arg, tdp_pa_t pa, uint64_t *entry)
{
	const uint64_t *at = test_env_mem(arg, pa);

	*entry = __atomic_load_n(at, __ATOMIC_RELAXED);
	return 0;
}

static inline int bare_walk(struct test_vm *vm, uint32_t as_id, tdp_gpa_t gpa, uint32_t access,
			    struct tdp_emu_exit *exit)
{
	struct tdp_root_view view = {.size = (uint32_t)sizeof(view)};
	struct tdp_backend_caps caps = {.size = (uint32_t)sizeof(caps)};
	struct tdp_root *root;

	assert_int_equal(tdp_emu_backend.probe(vm->emu, vm->fmt->format, &caps), TDP_OK);
	assert_int_equal(tdp_root_get(vm->mm, tdp_role_root(vm->mm, as_id), &root), TDP_OK);
	assert_int_equal(tdp_root_view(vm->mm, root, &view), TDP_OK);
	assert_int_equal(tdp_root_put(vm->mm, root), 0);
	return tdp_emu_walk_foreign(view.format, view.hw, caps.flags, read_entry, &vm->env, gpa,
				    access, exit);
}

#endif
