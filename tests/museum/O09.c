/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * O09, Xen/Arm 2016 and 2013: the CPU reported a physical address range that the table of known
 * ones did not have, and it was used as an index all the same; and a guest named an address
 * above the reach of its root, which stopped the host at an assertion. Here a walker reports
 * every kind of nonsense about itself, and a caller asks for geometries that do not exist: the
 * mm is refused with a status and nothing is left; what is accepted has a sane geometry.
 */
#include "museum.h"

static struct tdp_backend_caps lie; /* what the walker says */

static int probe(void *ctx, enum tdp_format format, struct tdp_backend_caps *caps)
{
	uint32_t size = caps->size;

	(void)ctx;
	(void)format;
	*caps = lie;
	caps->size = size;
	return TDP_OK;
}

static struct tdp_backend_caps honest(const struct test_vm *vm)
{
	struct tdp_backend_caps caps = {.size = (uint32_t)sizeof(caps)};

	assert_int_equal(tdp_emu_backend.probe(vm->emu, vm->fmt->format, &caps), TDP_OK);
	return caps;
}

/* An mm on the walker that lies; refused, or plausible. */
static int try_create(struct test_vm *vm, const struct tdp_mm_config *cfg)
{
	struct tdp_mm *mm = NULL;
	struct tdp_mm_info info = {.size = (uint32_t)sizeof(info)};
	uint64_t objects = atomic_load(&vm->env.obj_bytes);
	int status = tdp_mm_create(cfg, &mm);

	if (status != TDP_OK) {
		assert_true(status < 0);
		assert_null(mm);
	} else {
		assert_int_equal(tdp_mm_info(mm, &info), TDP_OK);
		assert_in_range(info.gpa_bits, TDP_PAGE_LG2 + 1, 52);
		assert_in_range(info.levels, 1, TDP_LEVELS_MAX);
		assert_in_range(info.root_pages, 1, 16);
		assert_true(info.leaf_levels & 1);
		assert_true(TDP_PAGE_LG2 + info.levels * info.index_lg2 + 4 >= info.gpa_bits);
		assert_int_equal(tdp_mm_destroy(mm), 0);
	}
	assert_int_equal(atomic_load(&vm->env.obj_bytes), objects);
	return status;
}

static void walker_that_lies(void **state)
{
	struct tdp_backend_ops ops = tdp_emu_backend;
	static const uint8_t widths[] = {0, 1, 11, 12, 65, 127, 128, 200, 255};
	struct tdp_mm_config cfg;
	struct test_vm vm;

	museum_start(&vm, state, NULL);
	ops.probe = probe;
	cfg = vm.cfg;
	cfg.backend = &ops;
	cfg.gpa_bits = 0;
	cfg.levels = 0;
	lie = honest(&vm);
	lie.max_levels = 0;
	assert_int_equal(try_create(&vm, &cfg), TDP_OK);
	for (unsigned i = 0; i < ARRAY_LEN(widths); i++) {
		lie = honest(&vm);
		lie.gpa_bits = widths[i];
		assert_int_equal(try_create(&vm, &cfg), TDP_ENOTSUP);
		lie = honest(&vm);
		lie.pa_bits = widths[i];
		assert_int_equal(try_create(&vm, &cfg), TDP_ENOTSUP);
	}
	lie = honest(&vm);
	lie.leaf_levels = 0;
	assert_int_equal(try_create(&vm, &cfg), TDP_ENOTSUP);
	lie.leaf_levels = ~1u; /* huge pages only */
	assert_int_equal(try_create(&vm, &cfg), TDP_ENOTSUP);
	for (unsigned bbm = 3; bbm <= 255; bbm += 84) {
		lie = honest(&vm);
		lie.bbm_level = (uint8_t)bbm;
		assert_int_equal(try_create(&vm, &cfg), TDP_ENOTSUP);
	}
	/* Everything else may be accepted if it comes to something sane. */
	for (unsigned bits = 13; bits <= 64; bits++) {
		for (unsigned levels = 0; levels < 256; levels += 1 + levels / 8) {
			lie = honest(&vm);
			lie.gpa_bits = (uint8_t)bits;
			lie.pa_bits = (uint8_t)bits;
			lie.max_levels = (uint8_t)levels;
			lie.leaf_levels = ~0u;
			lie.flags = honest(&vm).flags | 0xffff0000u;
			try_create(&vm, &cfg);
		}
	}
	museum_end(&vm);
}

static void caller_that_asks_too_much(void **state)
{
	static const uint32_t numbers[] = {6, 7, 16, 64, 65, 255, 256, 0x80000000u, 0xffffffffu};
	struct tdp_backend_caps caps = {.size = (uint32_t)sizeof(caps)};
	struct tdp_mm_config cfg;
	struct test_vm vm;

	museum_start(&vm, state, NULL);
	caps = honest(&vm);
	for (unsigned i = 0; i < ARRAY_LEN(numbers); i++) {
		cfg = vm.cfg;
		cfg.levels = numbers[i];
		assert_true(try_create(&vm, &cfg) < 0);
		cfg = vm.cfg;
		cfg.format = numbers[i];
		assert_true(try_create(&vm, &cfg) < 0);
		assert_true(tdp_pick_levels((enum tdp_format)(numbers[i] & 0x7fffffff), &caps, 48,
					    0) < 0);
		if (numbers[i] > 52) {
			cfg = vm.cfg;
			cfg.gpa_bits = numbers[i];
			assert_int_equal(try_create(&vm, &cfg), TDP_ERANGE);
			assert_true(tdp_pick_levels(vm.fmt->format, &caps, numbers[i], 0) < 0);
		}
	}
	cfg = vm.cfg;
	cfg.gpa_bits = TDP_PAGE_LG2;
	assert_int_equal(try_create(&vm, &cfg), TDP_ERANGE);
	/* A guest that names what its root cannot reach gets an answer, at any size of the lie. */
	for (unsigned bit = vm.info.gpa_bits; bit < 64; bit++) {
		struct tdp_fault fault = {.gpa = (uint64_t)1 << bit, .access = TDP_W};

		assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &fault, NULL), TDP_ERANGE);
		fault.gpa |= test_vm_size(&vm) - 1;
		assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &fault, NULL), TDP_ERANGE);
	}
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(walker_that_lies),
						 TEST_CASE(caller_that_asks_too_much)};

	return test_run("museum/O09", cases, ARRAY_LEN(cases));
}
