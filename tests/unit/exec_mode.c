/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Execution by the guest's mode (row E22): memory that is executable for the supervisor only, or for the
 * user only, through everything that changes leaves; and refused where it cannot be said.
 */
#include "steps.h"

#define GPA GIB
#define SUPERVISOR TDP_X
#define USER (TDP_X | TDP_EMU_USER)

static const struct test_vm_options by_mode = {.with_caps = TDP_CAP_EXEC_BY_MODE, .cpus = 2};

static bool has_modes(const struct test_format *fmt)
{
	return fmt->format != TDP_FMT_NPT;
}

/* Fetches of a page that grants x, by vCPU 0: each goes through or is refused, and nothing changes that. */
static void fetches(struct test_vm *vm, tdp_gpa_t gpa, uint32_t x)
{
	for (unsigned i = 0; i < 2; i++) {
		uint32_t access = i ? USER : SUPERVISOR;

		if (x & (i ? TDP_XU : TDP_XS))
			assert_int_equal(use(vm, 0, gpa, access).prot & TDP_X, x);
		else
			stopped(vm, 0, gpa, access, TDP_EACCES);
	}
	assert_int_equal(leaf_at(vm, gpa).prot & TDP_X, x);
}

/* ---- what can be asked for ---- */

static void refused_without_the_capability(void **state)
{
	static const uint32_t prots[] = {TDP_XS,
					 TDP_XU,
					 TDP_R | TDP_XS,
					 TDP_R | TDP_XU,
					 TDP_R | TDP_W | TDP_XS,
					 TDP_R | TDP_W | TDP_XU};
	struct test_dump before, after;
	struct test_backing mem;
	struct tdp_slot_desc desc;
	struct test_vm vm;
	uint32_t id;

	/* Nested paging cannot say it, whatever its walker claims. */
	vm_up(&vm, state, has_modes(format_of(state)) ? NULL : &by_mode);
	add_slot(&vm, 0, 0, TEST_PAGE, SLOT_PA, 0);
	use(&vm, 0, 0, TDP_W);
	add_backing(&vm, &mem, 2 * GPA, 4 * TEST_PAGE, TDP_RWX, 12);
	assert_int_equal(test_dump_take(&vm, 0, &before), TDP_OK);
	for (size_t i = 0; i < ARRAY_LEN(prots); i++) {
		id = 12345;
		assert_int_equal(try_slot(&vm, GPA, TEST_PAGE, SLOT_PA, prots[i], &id),
				 TDP_ENOTSUP);
		assert_int_equal(id, 12345);
		desc.size = (uint32_t)sizeof(desc);
		assert_int_equal(tdp_slot_find(vm.mm, 0, GPA, &id, &desc), TDP_ENOENT);
		/* What a resolver says that no leaf can. */
		mem.prot = prots[i];
		stopped(&vm, 0, 2 * GPA, SUPERVISOR, TDP_EFAULT);
		stopped(&vm, 0, 2 * GPA, TDP_R, TDP_EFAULT);
	}
	assert_int_equal(test_dump_take(&vm, 0, &after), TDP_OK);
	assert_int_equal(test_dump_diff(&before, &after, true), 0);
	test_dump_free(&before);
	test_dump_free(&after);
	/* Both or none is for everybody. */
	mem.prot = TDP_R | TDP_X;
	fetches(&vm, 2 * GPA, TDP_X);
	mem.prot = TDP_R;
	stopped(&vm, 0, 2 * GPA + TEST_PAGE, SUPERVISOR, TDP_EACCES);
	stopped(&vm, 0, 2 * GPA + TEST_PAGE, USER, TDP_EACCES);
	vm_down(&vm);
	test_backing_fini(&mem);
}

/* A walker that claims it, with a format that cannot say it: the claim is not used. */
static int claims_modes(void *ctx, enum tdp_format format, struct tdp_backend_caps *caps)
{
	int ret = tdp_emu_backend.probe(ctx, format, caps);

	caps->flags |= TDP_CAP_EXEC_BY_MODE | TDP_CAP_EXEC_ONLY;
	return ret;
}

static void a_claim_is_not_enough(void **state)
{
	struct tdp_backend_ops ops = tdp_emu_backend;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	tdp_vcpu_destroy(vm.cpu[0].vcpu);
	assert_int_equal(tdp_mm_destroy(vm.mm), TDP_OK);
	ops.probe = claims_modes;
	vm.cfg.backend = &ops;
	assert_int_equal(tdp_mm_create(&vm.cfg, &vm.mm), TDP_OK);
	assert_int_equal(tdp_vcpu_create(vm.mm, vm.cpu[0].emu, &vm.cpu[0].vcpu), TDP_OK);
	assert_int_equal(try_slot(&vm, GPA, TEST_PAGE, SLOT_PA, TDP_R | TDP_XS, NULL), TDP_ENOTSUP);
	assert_int_equal(try_slot(&vm, GPA, TEST_PAGE, SLOT_PA, TDP_R | TDP_XU, NULL), TDP_ENOTSUP);
	vm_down(&vm);
}

/* ---- what is granted ---- */

static void each_mode_by_itself(void **state)
{
	static const uint32_t prots[] = {
		TDP_R,  TDP_R | TDP_XS, TDP_R | TDP_XU,         TDP_R | TDP_X,         TDP_XS,
		TDP_XU, TDP_X,          TDP_R | TDP_W | TDP_XS, TDP_R | TDP_W | TDP_XU};
	struct test_vm vm;

	vm_up(&vm, state, &by_mode);
	for (size_t i = 0; i < ARRAY_LEN(prots); i++) {
		tdp_gpa_t gpa = GPA + i * TEST_PAGE;

		assert_int_equal(
			try_slot(&vm, gpa, TEST_PAGE, SLOT_PA + i * TEST_PAGE, prots[i], NULL),
			TDP_OK);
		if (prots[i] & TDP_R)
			use(&vm, 0, gpa, TDP_R); /* is there already, for another access */
		if (!(prots[i] & TDP_X)) {
			stopped(&vm, 0, gpa, SUPERVISOR, TDP_EACCES);
			stopped(&vm, 0, gpa, USER, TDP_EACCES);
			continue;
		}
		fetches(&vm, gpa, prots[i] & TDP_X);
		fetches(&vm, gpa, prots[i] & TDP_X);
		if (!(prots[i] & TDP_R))
			stopped(&vm, 0, gpa, TDP_R, TDP_EACCES);
		if (prots[i] & TDP_W)
			use(&vm, 0, gpa, TDP_W);
		else
			stopped(&vm, 0, gpa, TDP_W, TDP_EACCES);
	}
	vm_down(&vm);
}

/* Without the right to read, either alone is execute-only and needs that capability as well. */
static void alone_needs_execute_only(void **state)
{
	struct test_vm_options opts = by_mode;
	struct test_vm vm;

	opts.without_caps = TDP_CAP_EXEC_ONLY;
	vm_up(&vm, state, &opts);
	assert_int_equal(try_slot(&vm, GPA, TEST_PAGE, SLOT_PA, TDP_XS, NULL), TDP_ENOTSUP);
	assert_int_equal(try_slot(&vm, GPA, TEST_PAGE, SLOT_PA, TDP_XU, NULL), TDP_ENOTSUP);
	assert_int_equal(try_slot(&vm, GPA, TEST_PAGE, SLOT_PA, TDP_X, NULL), TDP_ENOTSUP);
	assert_int_equal(try_slot(&vm, GPA, TEST_PAGE, SLOT_PA, TDP_R | TDP_XU, NULL), TDP_OK);
	fetches(&vm, GPA, TDP_XU);
	vm_down(&vm);
}

/* A fetch is mended when every bit of `access` is granted: TDP_X, the mode unknown, asks for both. */
static void an_unknown_mode_asks_for_both(void **state)
{
	struct test_vm vm;

	vm_up(&vm, state, &by_mode);
	assert_int_equal(try_slot(&vm, GPA, TEST_PAGE, SLOT_PA, TDP_R | TDP_XS, NULL), TDP_OK);
	assert_int_equal(try_slot(&vm, 2 * GPA, TEST_PAGE, SLOT_PA, TDP_R | TDP_X, NULL), TDP_OK);
	load(&vm, 0);
	assert_int_equal(fault(&vm, 0, GPA, TDP_X), TDP_EACCES);
	assert_int_equal(translate(&vm, 0, GPA, NULL), TDP_ENOENT);
	assert_int_equal(fault(&vm, 0, GPA, TDP_XU), TDP_EACCES);
	assert_int_equal(fault(&vm, 0, GPA, TDP_XS), TDP_FAULT_FIXED);
	assert_int_equal(fault(&vm, 0, GPA, TDP_XS), TDP_FAULT_SPURIOUS);
	assert_int_equal(fault(&vm, 0, GPA, TDP_XU), TDP_EACCES);
	assert_int_equal(fault(&vm, 0, GPA, TDP_X), TDP_EACCES);
	assert_int_equal(fault(&vm, 0, GPA, TDP_R | TDP_XS), TDP_FAULT_SPURIOUS);
	assert_int_equal(fault(&vm, 0, 2 * GPA, TDP_X), TDP_FAULT_FIXED);
	assert_int_equal(fault(&vm, 0, 2 * GPA, TDP_XS), TDP_FAULT_SPURIOUS);
	assert_int_equal(fault(&vm, 0, 2 * GPA, TDP_XU), TDP_FAULT_SPURIOUS);
	vm_down(&vm);
}

/* ---- what outlives what ---- */

/* After a step that succeeded: the leaf says what it said, and the guest gets that and no more. */
#define KEPT(step)                                                                                 \
	do {                                                                                       \
		int status = (step);                                                               \
                                                                                                   \
		assert_true(status >= 0);                                                          \
		assert_int_equal(leaf_at(&vm, GPA).prot &TDP_X, x);                                \
		fetches(&vm, GPA, x);                                                              \
		fetches(&vm, GPA + block.size - TEST_PAGE, x);                                     \
	} while (0)

static void through_every_change(void **state, uint32_t x)
{
	struct tdp_range block;
	uint64_t collapsed = 0;
	struct test_vm vm;
	uint32_t id;

	vm_up(&vm, state, &by_mode);
	block = range_of(GPA, (uint64_t)1 << huge_lg2(&vm));
	assert_int_equal(try_slot(&vm, GPA, block.size, SLOT_PA, TDP_R | TDP_W | x, &id), TDP_OK);
	/* Not used yet: where the MMU sets no Accessed, tracked from the beginning. */
	KEPT(tdp_populate(vm.mm, 0, block, 0, NULL));
	assert_int_equal(leaf_at(&vm, GPA).lg2, huge_lg2(&vm));
	use(&vm, 0, GPA, TDP_W);
	KEPT(tdp_age(vm.mm, 0, block, NULL));
	KEPT(tdp_write_protect(vm.mm, 0, block));
	use(&vm, 0, GPA, TDP_W);
	KEPT(tdp_split(vm.mm, 0, block, 12));
	assert_int_equal(leaf_at(&vm, GPA).lg2, 12);
	KEPT(tdp_age(vm.mm, 0, block, NULL));
	for (tdp_gpa_t gpa = GPA; gpa < GPA + block.size; gpa += TEST_PAGE)
		use(&vm, 0, gpa, TDP_W);
	KEPT(tdp_collapse(vm.mm, 0, block, 0, &collapsed));
	assert_int_equal(collapsed, 1);
	KEPT(tdp_write_track(vm.mm, 0, block, true));
	KEPT(tdp_write_track(vm.mm, 0, block, false));
	KEPT(tdp_dirty_log(vm.mm, id, TDP_LOG_AUTO));
	use(&vm, 0, GPA, TDP_W);
	KEPT(tdp_dirty_clear(vm.mm, id, 0, block.size / TEST_PAGE));
	use(&vm, 0, GPA, TDP_W);
	KEPT(tdp_dirty_log(vm.mm, id, TDP_LOG_OFF));
	KEPT(tdp_zap(vm.mm, 0, range_of(GPA + TEST_PAGE, TEST_PAGE), TDP_ZAP_KEEP_YOUNG));
	vm_down(&vm);
}

static void supervisor_only_stays(void **state)
{
	through_every_change(state, TDP_XS);
}

static void user_only_stays(void **state)
{
	through_every_change(state, TDP_XU);
}

/*
 * The one leaf of which nothing but user execution is granted, aged: with nothing saved but that it is
 * still a leaf, and wakes up as it was.
 */
static void execute_alone_is_aged(void **state)
{
	static const uint32_t prots[] = {TDP_XS, TDP_XU, TDP_X};
	struct tdp_mapping leaf;
	struct test_vm vm;

	vm_up(&vm, state, &by_mode);
	for (size_t i = 0; i < ARRAY_LEN(prots); i++) {
		tdp_gpa_t gpa = GPA + i * TEST_PAGE;
		uint32_t access = prots[i] & TDP_XS ? SUPERVISOR : USER;

		assert_int_equal(try_slot(&vm, gpa, TEST_PAGE, SLOT_PA, prots[i], NULL), TDP_OK);
		use(&vm, 0, gpa, access);
		assert_int_equal(tdp_age(vm.mm, 0, range_of(gpa, TEST_PAGE), NULL), 1);
		leaf = leaf_at(&vm, gpa);
		assert_int_equal((leaf.flags & TDP_MAP_TRACKED_ACCESS) != 0, tracks_access(vm.fmt));
		assert_int_equal(leaf.prot & TDP_RWX, prots[i]);
		assert_int_equal(tdp_test_age(vm.mm, 0, range_of(gpa, TEST_PAGE)), 0);
		/* A refused fetch is no use of it. */
		if (prots[i] != TDP_X)
			stopped(&vm, 0, gpa, access ^ TDP_EMU_USER, TDP_EACCES);
		assert_int_equal(tdp_test_age(vm.mm, 0, range_of(gpa, TEST_PAGE)), 0);
		tdp_emu_backend.flush_all(vm.emu); /* what was cached while it was young */
		assert_int_equal(use(&vm, 0, gpa, access).prot, prots[i]);
		assert_int_equal(tdp_test_age(vm.mm, 0, range_of(gpa, TEST_PAGE)), 1);
		fetches(&vm, gpa, prots[i]);
	}
	vm_down(&vm);
}

/* ---- given and taken by the backing ---- */

static void the_backing_gives_and_takes(void **state)
{
	struct test_backing mem;
	struct test_vm vm;

	vm_up(&vm, state, &by_mode);
	add_backing(&vm, &mem, GPA, 4 * TEST_PAGE, TDP_RWX, 12);
	mem.prot = TDP_R | TDP_XS;
	fetches(&vm, GPA, TDP_XS);
	/* Raised in place. */
	mem.prot = TDP_R | TDP_X;
	use(&vm, 0, GPA, USER);
	fetches(&vm, GPA, TDP_X);
	/* Another vCPU has cached it; what is lowered is flushed before the fault returns. */
	use(&vm, 1, GPA, SUPERVISOR);
	mem.prot = TDP_R | TDP_W | TDP_XU;
	use(&vm, 0, GPA, TDP_W);
	stopped(&vm, 1, GPA, SUPERVISOR, TDP_EACCES);
	use(&vm, 1, GPA, USER);
	fetches(&vm, GPA, TDP_XU);
	vm_down(&vm);
	test_backing_fini(&mem);
}

/* ---- text ---- */

struct line {
	char text[160];
};

static int keep_line(void *arg, const char *text)
{
	struct line *line = arg;

	snprintf(line->text, sizeof(line->text), "%s", text);
	return 0;
}

static void text_tells_modes_apart(void **state)
{
	/* clang-format off */
	static const struct { uint32_t prot; const char *text; } want[] = {
		{TDP_R, " r-- wb"}, {TDP_R | TDP_XS, " r-s wb"}, {TDP_R | TDP_XU, " r-u wb"},
		{TDP_R | TDP_X, " r-x wb"}, {TDP_XU, " --u wb"},
	};
	/* clang-format on */
	struct test_vm vm;

	vm_up(&vm, state, &by_mode);
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		tdp_gpa_t gpa = GPA + i * TEST_PAGE;
		struct line line = {""};
		char text[512];

		assert_int_equal(try_slot(&vm, gpa, TEST_PAGE, SLOT_PA, want[i].prot, NULL),
				 TDP_OK);
		assert_int_equal(
			tdp_populate(vm.mm, 0, range_of(gpa, TEST_PAGE), TDP_POPULATE_YOUNG, NULL),
			TDP_OK);
		assert_int_equal(tdp_dump(vm.mm, 0, range_of(gpa, TEST_PAGE), keep_line, &line),
				 TDP_OK);
		if (!strstr(line.text, want[i].text))
			fail_msg("\"%s\" does not say \"%s\"", line.text, want[i].text);
		assert_true(tdp_explain(vm.mm, 0, gpa, text, sizeof(text)) > 0);
		if (!strstr(text, want[i].text))
			fail_msg("\"%s\" does not say \"%s\"", text, want[i].text);
	}
	vm_down(&vm);
}

static bool has_no_modes(const struct test_format *fmt)
{
	return !has_modes(fmt);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(refused_without_the_capability),
		TEST_CASE_IF(a_claim_is_not_enough, has_no_modes),
		TEST_CASE_IF(each_mode_by_itself, has_modes),
		TEST_CASE_IF(alone_needs_execute_only, has_modes),
		TEST_CASE_IF(an_unknown_mode_asks_for_both, has_modes),
		TEST_CASE_IF(supervisor_only_stays, has_modes),
		TEST_CASE_IF(user_only_stays, has_modes),
		TEST_CASE_IF(execute_alone_is_aged, has_modes),
		TEST_CASE_IF(the_backing_gives_and_takes, has_modes),
		TEST_CASE_IF(text_tells_modes_apart, has_modes),
	};

	return test_run("exec_mode", cases, ARRAY_LEN(cases));
}
