/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * O10, KVM 2021 and guest_memfd 2026: a slot of more bytes than the type could count, or bound
 * to a file at an offset whose sum with the size was negative as a signed number, passed the
 * checks. Here slots are made at every extreme of size, output address and owner's address:
 * refused when any sum wraps or leaves its width, accepted up to the last byte, and then found
 * by the owner's address also above half of 64 bits.
 */
#include "museum.h"

struct scene {
	struct test_vm vm;
	struct test_backing b;
	uint64_t huge;
};

static int add(struct scene *s, uint64_t size, tdp_pa_t pa, uint64_t backing_start)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc)};
	uint32_t id = 4711;
	int status;

	desc.gpa = museum_range(0, size);
	desc.pa = pa;
	desc.backing_start = backing_start;
	status = tdp_slot_add(s->vm.mm, &desc, &id);
	if (status == TDP_OK)
		assert_int_equal(tdp_slot_remove(s->vm.mm, id), TDP_OK);
	else
		assert_int_equal(id, 4711);
	return status;
}

static void sums_that_wrap(void **state)
{
	struct tdp_backend_caps caps = {.size = (uint32_t)sizeof(caps)};
	struct scene s;
	uint64_t limit, top;

	museum_start(&s.vm, state, NULL);
	s.huge = museum_huge(&s.vm);
	top = test_vm_size(&s.vm);
	assert_int_equal(tdp_emu_backend.probe(s.vm.emu, s.vm.fmt->format, &caps), TDP_OK);
	limit = (uint64_t)1 << caps.pa_bits;

	/* Output addresses: up to the width, not a page more, and never around. */
	assert_int_equal(add(&s, s.huge, limit - s.huge, 0), TDP_OK);
	assert_int_equal(add(&s, s.huge, limit - s.huge + TEST_PAGE, 0), TDP_ERANGE);
	assert_int_equal(add(&s, s.huge, limit, 0), TDP_ERANGE);
	assert_int_equal(add(&s, s.huge, 0 - s.huge, 0), TDP_ERANGE);
	assert_int_equal(add(&s, s.huge, 0 - TEST_PAGE, 0), TDP_ERANGE);
	assert_int_equal(add(&s, s.huge, ((uint64_t)1 << 63) - TEST_PAGE, 0), TDP_ERANGE);
	/* Sizes. */
	assert_int_equal(add(&s, top, 0, 0), top <= limit ? TDP_OK : TDP_ERANGE);
	assert_int_equal(add(&s, top + TEST_PAGE, 0, 0), TDP_ERANGE);
	assert_int_equal(add(&s, (uint64_t)1 << 63, 0, 0), TDP_ERANGE);
	assert_int_equal(add(&s, 0 - TEST_PAGE, 0, 0), TDP_ERANGE);
	assert_int_equal(add(&s, 0, 0, 0), TDP_EINVAL);
	/* The owner's addresses: any that do not wrap. */
	assert_int_equal(add(&s, s.huge, MUSEUM_PA, 0 - s.huge + TEST_PAGE), TDP_ERANGE);
	assert_int_equal(add(&s, s.huge, MUSEUM_PA, 0 - TEST_PAGE), TDP_ERANGE);
	assert_int_equal(add(&s, s.huge, MUSEUM_PA, INT64_MAX & ~(TEST_PAGE - 1)), TDP_OK);
	assert_int_equal(add(&s, s.huge, MUSEUM_PA, (uint64_t)1 << 63), TDP_OK);
	assert_int_equal(test_vm_check(&s.vm), 0);
	museum_end(&s.vm);
}

static int found(void *arg, uint32_t as_id, struct tdp_range range)
{
	struct tdp_range *out = arg;

	(void)as_id;
	assert_int_equal(out->size, 0); /* once */
	*out = range;
	return 0;
}

/* Owner's addresses are unsigned: nothing changes where they would become negative. */
static void owners_addresses_are_unsigned(void **state)
{
	struct scene s;
	uint64_t starts[4];

	museum_start(&s.vm, state, NULL);
	s.huge = museum_huge(&s.vm);
	starts[0] = 0;
	starts[1] = ((uint64_t)1 << 63) - TEST_PAGE;
	starts[2] = (uint64_t)1 << 63;
	starts[3] = 0 - 2 * s.huge;
	for (unsigned i = 0; i < ARRAY_LEN(starts); i++) {
		struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc)};
		struct tdp_range r = {0, 0};
		uint32_t id;

		desc.gpa = museum_range(s.huge, s.huge);
		desc.pa = MUSEUM_PA;
		desc.backing_start = starts[i];
		assert_int_equal(tdp_slot_add(s.vm.mm, &desc, &id), TDP_OK);
		assert_int_equal(tdp_backing_ranges(s.vm.mm, starts[i] + s.huge - TEST_PAGE,
						    2 * TEST_PAGE, found, &r),
				 TDP_OK);
		assert_int_equal(r.start, 2 * s.huge - TEST_PAGE);
		assert_int_equal(r.size, TEST_PAGE);
		r.size = 0;
		assert_int_equal(
			tdp_backing_ranges(s.vm.mm, starts[i] + s.huge, TEST_PAGE, found, &r),
			TDP_OK);
		assert_int_equal(r.size, 0); /* right behind it */
		assert_int_equal(tdp_slot_remove(s.vm.mm, id), TDP_OK);
	}
	museum_end(&s.vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(sums_that_wrap),
						 TEST_CASE(owners_addresses_are_unsigned)};

	return test_run("museum/O10", cases, ARRAY_LEN(cases));
}
