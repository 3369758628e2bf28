/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H01, Intel's protected KVM, 2026: the host asked to unmap 4K inside a 2M page, and the walker
 * went on into the page itself: guest-controlled bytes were read as page-table entries, and a
 * page that was still mapped got unpinned.
 *
 * Here the memory under huge leaves cannot be read or written at all while every call that
 * walks or changes tables runs over it. Whoever takes it for a table dies of it. And no table
 * is found by the address of data.
 */
#define _DEFAULT_SOURCE
#include "huge.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned char *data;
static uint64_t data_size;

static void on_segv(int sig, siginfo_t *info, void *context)
{
	static const char ours[] = "H01: guest memory under a huge leaf was used as a table\n";
	static const char other[] = "H01: segmentation fault elsewhere\n";
	uintptr_t at = (uintptr_t)info->si_addr - (uintptr_t)data;
	ssize_t ignored;

	(void)sig;
	(void)context;
	if (at < data_size)
		ignored = write(STDERR_FILENO, ours, sizeof(ours) - 1);
	else
		ignored = write(STDERR_FILENO, other, sizeof(other) - 1);
	(void)ignored;
	_exit(1);
}

/* Address space aligned to `size`, with no access: guest memory that nobody may look into. */
static unsigned char *hide_memory(uint64_t size, void **map)
{
	uintptr_t at;

	*map = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(*map, MAP_FAILED);
	at = ((uintptr_t)*map + size - 1) & ~(uintptr_t)(size - 1);
	return (unsigned char *)*map + (at - (uintptr_t)*map);
}

static int count_line(void *arg, const char *line)
{
	(void)line;
	++*(unsigned *)arg;
	return 0;
}

static int count_visit(void *arg, const struct tdp_visit *visit)
{
	(void)visit;
	++*(unsigned *)arg;
	return 0;
}

/* Everything that only looks, and what counts by page, in and around the leaf. */
static void look(struct test_vm *vm, struct tdp_range leaf, uint32_t lg2)
{
	struct tdp_report report = {.size = (uint32_t)sizeof(report)};
	tdp_gpa_t gpa = leaf.start + leaf.size / 2 + 5 * TEST_PAGE, table_gpa;
	uint32_t flags = TDP_WALK_LEAF | TDP_WALK_TABLE_PRE | TDP_WALK_MMIO;
	struct tdp_range one = {gpa, TEST_PAGE};
	uint64_t bits[1], young;
	unsigned lines = 0, visits = 0;
	char text[1024];
	tdp_pa_t pa;

	assert_int_equal(lg2_at(vm, 0, gpa), lg2);
	assert_int_equal(path_at(vm, 0, gpa).last_level, (lg2 - TDP_PAGE_LG2) / vm->info.index_lg2);
	assert_int_equal(tdp_walk(vm->mm, 0, leaf, flags, count_visit, &visits), 0);
	assert_true(visits >= 1 && visits < 2 * TDP_LEVELS_MAX);
	assert_int_equal(tdp_dump(vm->mm, 0, one, count_line, &lines), 0);
	assert_int_equal(lines, 1);
	assert_true(tdp_explain(vm->mm, 0, gpa, text, sizeof(text)) > 0);
	assert_int_equal(tdp_verify(vm->mm, &report), TDP_OK);
	assert_int_equal(tdp_test_age(vm->mm, 0, one), 1);
	assert_int_equal(tdp_age_bitmap(vm->mm, 0, one, false, bits, 1), 1);
	assert_int_equal(bits[0], 1);
	assert_int_equal(tdp_age(vm->mm, 0, leaf, &young), 1);
	assert_int_equal(young, 1);
	for (pa = (uintptr_t)data; pa < (uintptr_t)data + leaf.size; pa += leaf.size / 4) {
		assert_int_equal(tdp_zap_table(vm->mm, pa), TDP_ENOENT);
		assert_int_equal(tdp_table_gpa(vm->mm, pa, 0, &table_gpa, NULL), TDP_ENOENT);
		assert_false(tdp_is_root(vm->mm, pa));
	}
	assert_int_equal(lg2_at(vm, 0, gpa), lg2);
}

/* Each change that meets a leaf larger than its range; from a fresh huge leaf every time. */
static void change(struct test_vm *vm, uint32_t slot, struct tdp_range leaf, unsigned what)
{
	tdp_gpa_t gpa = leaf.start + leaf.size / 2 + 5 * TEST_PAGE;
	struct tdp_range one = {gpa, TEST_PAGE};
	uint64_t done, made;

	switch (what) {
	case 0:
		assert_int_equal(tdp_zap(vm->mm, 0, one, 0), TDP_OK);
		assert_int_equal(lg2_at(vm, 0, gpa), 0);
		break;
	case 1:
		assert_int_equal(tdp_zap(vm->mm, 0, one, TDP_ZAP_LAZY), TDP_OK);
		assert_int_equal(lg2_at(vm, 0, gpa), 0);
		break;
	case 2:
		assert_int_equal(tdp_write_protect(vm->mm, 0, one), TDP_OK);
		assert_int_equal(lg2_at(vm, 0, gpa), TDP_PAGE_LG2);
		break;
	case 3: assert_int_equal(tdp_write_protect(vm->mm, 0, leaf), TDP_OK); break;
	case 4:
		assert_int_equal(tdp_write_track(vm->mm, 0, one, true), TDP_OK);
		assert_int_equal(tdp_write_track(vm->mm, 0, one, false), TDP_OK);
		break;
	case 5:
		assert_int_equal(tdp_dirty_log(vm->mm, slot, TDP_LOG_WRPROT), TDP_OK);
		assert_int_equal(test_vm_touch(vm, 0, gpa, TDP_W), 0);
		assert_int_equal(tdp_dirty_clear(vm->mm, slot, 0, leaf.size >> TDP_PAGE_LG2),
				 TDP_OK);
		assert_int_equal(tdp_dirty_log(vm->mm, slot, TDP_LOG_OFF), TDP_OK);
		break;
	case 6:
		assert_int_equal(tdp_split(vm->mm, 0, one, TDP_PAGE_LG2), TDP_OK);
		assert_int_equal(lg2_at(vm, 0, gpa), TDP_PAGE_LG2);
		break;
	case 7:
		assert_int_equal(tdp_populate(vm->mm, 0, leaf, 0, &done), TDP_OK);
		assert_int_equal(done, leaf.size);
		break;
	case 8:
		assert_int_equal(tdp_collapse(vm->mm, 0, leaf, 0, &made), TDP_OK);
		assert_int_equal(made, 0);
		break;
	case 9: assert_int_equal(tdp_compact(vm->mm, 0, leaf), 0); break;
	case 10: assert_int_equal(tdp_zap(vm->mm, 0, one, TDP_ZAP_KEEP_YOUNG), TDP_OK); break;
	default:
		assert_int_equal(tdp_roots_invalidate(vm->mm), TDP_OK);
		assert_int_equal(tdp_roots_reclaim(vm->mm, 0), 0);
		break;
	}
}
#define CHANGES 12u

static void run_level(void **state, unsigned level)
{
	struct sigaction act = {0}, old;
	struct tdp_range leaf;
	struct test_vm *vm;
	uint32_t lg2, slot;
	void *map;
	unsigned what;

	vm = open_vm(state, NULL);
	lg2 = test_vm_lg2(vm, level);
	leaf = range_of(GPA, leaf_size(vm, level));
	data_size = leaf.size;
	data = hide_memory(leaf.size, &map);
	act.sa_sigaction = on_segv;
	act.sa_flags = SA_SIGINFO;
	assert_int_equal(sigaction(SIGSEGV, &act, &old), 0);
	assert_int_equal(test_vm_slot(vm, 0, GPA, leaf.size, (uintptr_t)data, 0, &slot), TDP_OK);
	for (what = 0; what < CHANGES; what++) {
		assert_int_equal(touch(vm, 0, GPA + 3 * TEST_PAGE, TDP_W).lg2, lg2);
		look(vm, leaf, lg2);
		change(vm, slot, leaf, what);
		assert_int_equal(touch(vm, 0, GPA + 7 * TEST_PAGE, TDP_R).pa,
				 (uintptr_t)data + 7 * TEST_PAGE);
		assert_int_equal(test_vm_check(vm), 0);
		assert_int_equal(tdp_zap(vm->mm, 0, leaf, 0), TDP_OK);
		assert_true(tdp_compact(vm->mm, 0, leaf) >= 0);
	}
	assert_int_equal(sigaction(SIGSEGV, &old, NULL), 0);
	close_vm(vm);
	munmap(map, 2 * leaf.size);
}

static void leaf_data_is_no_table(void **state)
{
	const struct test_format *fmt = *state;
	struct huge_levels h;
	struct test_vm *vm;
	unsigned i;

	vm = open_vm(state, NULL);
	h = huge_levels(vm);
	close_vm(vm);
	assert_true(h.count > 0 && fmt->tree_levels > h.level[0]);
	for (i = 0; i < h.count; i++)
		run_level(state, h.level[i]);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(leaf_data_is_no_table)};

	return test_run("museum/H01", cases, ARRAY_LEN(cases));
}
