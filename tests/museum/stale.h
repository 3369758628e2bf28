/* SPDX-License-Identifier: BSD-2-Clause */
/* A backing whose answer is true when it is given and false when it arrives: something happens in between. */
#ifndef TESTS_MUSEUM_STALE_H
#define TESTS_MUSEUM_STALE_H

#include "museum.h"

struct stale {
	struct test_vm vm;
	struct test_backing b;
	struct tdp_backing_ops ops, inner;
	uint64_t huge;
	uint32_t slot;
	unsigned armed; /* after that many more answers: `meanwhile` */
	unsigned asked;
	void (*meanwhile)(void *arg);
	int status;
};

static inline int stale_resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
				struct tdp_page *page)
{
	struct stale *s = arg;
	int ret = s->inner.resolve(&s->b, gpa, want_lg2, access, page);

	s->asked++;
	if (s->armed && --s->armed == 0)
		museum_meanwhile(&s->vm, s->meanwhile, s);
	return ret;
}

static inline void stale_release(void *arg, tdp_gpa_t gpa, const struct tdp_page *page,
				 uint32_t flags)
{
	struct stale *s = arg;

	s->inner.release(&s->b, gpa, page, flags);
}

/* One huge page's worth of memory at `huge`, in blocks of lg2. */
static inline void stale_start(struct stale *s, void **state, bool large)
{
	struct tdp_slot_desc desc;

	memset(s, 0, sizeof(*s));
	museum_start(&s->vm, state, &(struct test_vm_options){.cpus = 2});
	s->huge = museum_huge(&s->vm);
	assert_int_equal(test_backing_init(&s->b, &s->vm.env, s->huge, s->huge, MUSEUM_PA, 0,
					   large ? test_vm_lg2(&s->vm, 1) : TDP_PAGE_LG2),
			 TDP_OK);
	s->inner = s->b.ops;
	s->ops = s->b.ops;
	s->ops.resolve = stale_resolve;
	s->ops.release = stale_release;
	desc = test_backing_slot(&s->b, 0, 0);
	desc.backing = &s->ops;
	desc.backing_arg = s;
	assert_int_equal(tdp_slot_add(s->vm.mm, &desc, &s->slot), TDP_OK);
}

static inline void stale_end(struct stale *s)
{
	museum_end(&s->vm);
	test_backing_fini(&s->b);
}

#endif
