/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C09, KVM RISC-V 2026: a fault looked its page up, found that an invalidation had made the
 * answer stale, and returned to be tried again without giving the page back. Here each way out
 * of a fault that comes after the lookup (stale, roots gone, mapped by somebody else meanwhile,
 * not permitted, nonsense from the backing, failed, mapped) releases exactly what was looked up,
 * and says rightly whether it was mapped.
 */
#include "museum.h"

enum meanwhile { NOTHING, INVALIDATE, ROOTS_GO, OTHER_FAULTS };

struct scene {
	struct test_vm vm;
	struct tdp_range range;
	struct tdp_backing_ops ops;
	struct tdp_page answer;
	int status;
	enum meanwhile what; /* once, after the answer was made up */
	unsigned resolved, released, mapped;
};

static void meanwhile(void *arg)
{
	struct scene *s = arg;
	struct tdp_fault fault = {.gpa = s->range.start, .access = TDP_W};
	enum meanwhile what = s->what;

	s->what = NOTHING;
	if (what == INVALIDATE)
		if (tdp_invalidate_begin(s->vm.mm, s->range) ||
		    tdp_invalidate_end(s->vm.mm, s->range))
			test_violation(&s->vm.env, "cannot invalidate");
	if (what == ROOTS_GO && tdp_roots_invalidate(s->vm.mm))
		test_violation(&s->vm.env, "cannot invalidate the roots");
	if (what == OTHER_FAULTS && tdp_fault(s->vm.cpu[1].vcpu, &fault, NULL) != TDP_FAULT_FIXED)
		test_violation(&s->vm.env, "the other vCPU cannot map");
}

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
		   struct tdp_page *page)
{
	struct scene *s = arg;

	(void)gpa;
	(void)want_lg2;
	(void)access;
	*page = s->answer;
	if (s->status == TDP_OK)
		s->resolved++;
	if (s->what != NOTHING)
		museum_meanwhile(&s->vm, meanwhile, s);
	return s->status;
}

static void release(void *arg, tdp_gpa_t gpa, const struct tdp_page *page, uint32_t flags)
{
	struct scene *s = arg;

	if (gpa != s->range.start || page->cookie != s->answer.cookie)
		test_violation(&s->vm.env, "release of another page");
	s->released++;
	s->mapped += (flags & TDP_RELEASE_MAPPED) != 0;
}

/* One fault; then what was looked up is given back, and as mapped if it was. */
static void fault(struct scene *s, uint32_t access, int outcome, unsigned mapped)
{
	struct tdp_fault f = {.gpa = s->range.start, .access = access};
	unsigned before = s->mapped;

	assert_int_equal(tdp_fault(s->vm.cpu[0].vcpu, &f, NULL), outcome);
	assert_int_equal(s->resolved, s->released);
	assert_int_equal(s->mapped - before, mapped);
	assert_int_equal(tdp_zap(s->vm.mm, 0, s->range, 0), TDP_OK);
	for (uint32_t i = 0; i < s->vm.cpus; i++)
		assert_int_equal(tdp_vcpu_load(s->vm.cpu[i].vcpu), TDP_OK);
}

static void every_way_out_releases(void **state)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc)};
	struct scene s;
	uint32_t id;

	memset(&s, 0, sizeof(s));
	museum_start(&s.vm, state, &(struct test_vm_options){.cpus = 2});
	s.range = museum_range(museum_huge(&s.vm), TEST_PAGE);
	s.ops.size = (uint32_t)sizeof(s.ops);
	s.ops.resolve = resolve;
	s.ops.release = release;
	s.answer = (struct tdp_page){.pa = MUSEUM_PA, .lg2 = 12, .prot = TDP_RWX, .cookie = 77};
	desc.gpa = s.range;
	desc.backing = &s.ops;
	desc.backing_arg = &s;
	assert_int_equal(tdp_slot_add(s.vm.mm, &desc, &id), TDP_OK);

	fault(&s, TDP_W, TDP_FAULT_FIXED, 1);
	s.what = INVALIDATE;
	fault(&s, TDP_W, TDP_FAULT_RETRY, 0);
	s.what = ROOTS_GO;
	fault(&s, TDP_W, TDP_FAULT_RETRY, 0);
	s.what = OTHER_FAULTS; /* the other one mapped its own answer, ours changed nothing */
	fault(&s, TDP_W, TDP_FAULT_SPURIOUS, 1);
	s.answer.prot = TDP_R;
	fault(&s, TDP_W, TDP_EACCES, 0);
	s.answer.prot = TDP_RWX;
	s.answer.pa = MUSEUM_PA + 1;
	fault(&s, TDP_W, TDP_EFAULT, 0);
	s.answer.pa = MUSEUM_PA;
	s.status = TDP_EFAULT;
	fault(&s, TDP_W, TDP_EFAULT, 0);
	s.status = TDP_EAGAIN;
	fault(&s, TDP_W, TDP_FAULT_RETRY, 0);
	s.status = TDP_OK;
	fault(&s, TDP_R, TDP_FAULT_FIXED, 1);
	assert_int_equal(s.released, 8);

	/* The slot can go: no lookup still holds it. */
	assert_int_equal(tdp_slot_remove(s.vm.mm, id), TDP_OK);
	museum_end(&s.vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(every_way_out_releases)};

	return test_run("museum/C09", cases, ARRAY_LEN(cases));
}
