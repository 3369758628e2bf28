/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F07, Xen 2020 (XSA-321) and ACRN 2019: a device walked tables that the CPU had changed in its cache and never
 * written back, the 512 entries of a split superpage among them, because its IOMMU does not snoop.
 *
 * Here a second walker sees tables only as table_sync() has shown them. Whenever the library flushes, and
 * after each operation, its view of every page must be that of the memory itself.
 */
#include "flush.h"

#define COPIES 256u

/* What the device sees of a table page: nothing it can use until it was shown. */
static struct copy {
	const void *va;
	uint64_t word[TEST_PAGE / 8];
} copies[COPIES];
static unsigned copy_count, syncs, checks, differ;
static void (*table_state)(void *priv, void *va, uint64_t size, int in_use);

static struct copy *copy_of(const void *at)
{
	const void *va = (const void *)((uintptr_t)at & ~(uintptr_t)(TEST_PAGE - 1));
	unsigned i = 0;

	while (i < copy_count && copies[i].va != va)
		i++;
	if (i == copy_count) {
		if (copy_count == COPIES)
			abort();
		copies[copy_count++].va = va;
		memset(copies[i].word, 0, sizeof(copies[i].word));
	}
	return &copies[i];
}

/* A page that was out of use: what the device had of it is worth nothing. */
static void taken(void *priv, void *va, uint64_t size, int in_use)
{
	table_state(priv, va, size, in_use);
	if (in_use)
		memset(copy_of(va)->word, 0, sizeof(copies[0].word));
}

static void shown(void *ctx, const void *va, uint64_t len)
{
	struct copy *copy = copy_of(va);
	uint64_t offset = (uintptr_t)va & (TEST_PAGE - 1);

	(void)ctx;
	syncs++;
	memcpy((char *)copy->word + offset, va, (size_t)len);
}

static int device_reads(void *arg, tdp_pa_t pa, uint64_t *entry)
{
	void *at = test_env_mem(arg, pa);

	*entry = copy_of(at)->word[(pa & (TEST_PAGE - 1)) / 8];
	return 0;
}

static void compare(struct tdp_range ignored)
{
	static const uint32_t accesses[] = {TDP_R, TDP_W, TDP_X};
	struct test_vm *vm = spy.vm;
	uint64_t size = table_span(vm, 0);

	(void)ignored;
	checks++;
	if (!spy.loaded[0])
		return;
	for (unsigned i = 0; i < 3 * 64; i++) {
		tdp_gpa_t gpa = GPA + i * (size / 64) + i % 3 * TEST_PAGE;

		for (unsigned a = 0; a < ARRAY_LEN(accesses); a++) {
			struct tdp_emu_exit cpu, device;
			int c = by_tables(vm, 0, gpa, accesses[a], &cpu);
			int d = tdp_emu_walk_foreign(vm->fmt->format, spy.hw[0], spy.caps.flags,
						     device_reads, &vm->env, gpa, accesses[a],
						     &device);

			if (c != d ||
			    (c == TDP_EMU_OK && (cpu.pa != device.pa || cpu.lg2 != device.lg2)))
				differ++;
		}
	}
}

static void does_not_snoop(struct tdp_backend_ops *ops)
{
	ops->table_sync = shown;
}

static void host(struct tdp_env *env)
{
	table_state = env->table_state;
	env->table_state = taken;
}

static void same(int status)
{
	assert_true(status >= 0);
	compare(museum_range(0, 0));
	assert_int_equal(differ, 0);
}

static void operations(struct test_vm *vm, uint32_t slot)
{
	uint64_t size = table_span(vm, 0), bits[1];
	struct tdp_range all = range_of(GPA, 2 * size), block = range_of(GPA, size);
	struct tdp_range page = range_of(GPA + size / 2, TEST_PAGE);

	touch_linear(vm, 0, GPA, TDP_W);
	touch_linear(vm, 0, GPA + size, TDP_R);
	same(0);
	same(tdp_split(vm->mm, 0, block, TDP_PAGE_LG2));
	same(tdp_write_protect(vm->mm, 0, page));
	touch_linear(vm, 0, page.start, TDP_W);
	same(tdp_zap(vm->mm, 0, page, 0));
	touch_linear(vm, 0, page.start, TDP_R);
	touch_linear(vm, 0, page.start, TDP_W);
	same(tdp_write_track(vm->mm, 0, page, true));
	same(tdp_write_track(vm->mm, 0, page, false));
	touch_linear(vm, 0, page.start, TDP_W);
	same(tdp_age(vm->mm, 0, all, NULL));
	for (uint64_t at = 0; at < size; at += TEST_PAGE)
		touch_linear(vm, 0, GPA + at, TDP_W);
	same(tdp_collapse(vm->mm, 0, all, 0, NULL));
	assert_true(lg2_at(vm, 0, GPA) > TDP_PAGE_LG2);
	/* The edges of a range split what they cut, in place. */
	same(tdp_zap(vm->mm, 0, page, 0));
	same(tdp_zap(vm->mm, 0, block, 0));
	touch_linear(vm, 0, GPA, TDP_W);
	same(tdp_dirty_log(vm->mm, slot, TDP_LOG_WRPROT | TDP_LOG_EAGER_SPLIT));
	touch_linear(vm, 0, page.start, TDP_W);
	same(tdp_dirty_harvest(vm->mm, slot, 0, bits, 1));
	same(tdp_dirty_log(vm->mm, slot, TDP_LOG_OFF | TDP_LOG_RECOVER));
	museum_answer(vm, GPA + 3 * size, TDP_R, TDP_FAULT_MMIO);
	same(0);
	same(tdp_zap_table(vm->mm, table_at(vm, GPA - GPA % table_span(vm, 1), 1)));
	touch_linear(vm, 0, GPA, TDP_W);
	same(0);
}

static void the_device_sees_what_the_cpu_wrote(void **state)
{
	struct test_vm_options opts = {.host = host};
	struct test_vm *vm;
	uint32_t slot;

	copy_count = syncs = checks = differ = 0;
	vm = spied_vm(state, &opts, does_not_snoop);
	spy.on_flush = compare;
	assert_int_equal(test_vm_slot(vm, 0, GPA, 2 * table_span(vm, 0), PA, 0, &slot), TDP_OK);
	operations(vm, slot);
	assert_true(syncs > 0 && checks > 20);
	close_vm(vm);
}

/* A tree of at least three levels, so that there is a table that is no root above the lowest. */
static bool three_levels(const struct test_format *fmt)
{
	return fmt->tree_levels > 2;
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(the_device_sees_what_the_cpu_wrote, three_levels),
	};

	return test_run("museum/F07", cases, ARRAY_LEN(cases));
}
