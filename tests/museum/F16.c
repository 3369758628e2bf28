/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F16, Hafnium with VHE 2021: the flush instruction acts on the translation regime that is current when it is
 * executed, and at that moment it was the hypervisor's own, not the guest's.
 *
 * Here two memories have a walker each, and every operation names the one that it is for. A walker that is
 * handed something else than its own context refuses and counts; the guests of both go on with what is theirs.
 */
#include "flush.h"

/* What the library gets as context; nothing else looks like it. */
struct regime {
	uint64_t magic;
	struct tdp_emu *emu;
	struct tdp_mm *mm;
	struct tdp_emu_vcpu *cpu;
	struct tdp_vcpu *vcpu;
	tdp_pa_t pa;
};
#define MAGIC 0x7265676965ull

static struct regime *current;
static unsigned calls, foreign;
static uint32_t without;

static bool refused(const void *ctx)
{
	calls++;
	foreign += ctx != current;
	return ctx != current;
}

static int probe(void *ctx, enum tdp_format format, struct tdp_backend_caps *caps)
{
	int ret = refused(ctx) ? TDP_EIO : tdp_emu_backend.probe(current->emu, format, caps);

	caps->flags &= ~without;
	return ret;
}

static int root_load(void *ctx, void *cookie, const struct tdp_root_view *root)
{
	if (refused(ctx) || cookie != current->cpu)
		return TDP_EIO;
	return tdp_emu_backend.root_load(current->emu, cookie, root);
}

static void flush_range(void *ctx, struct tdp_range range)
{
	if (!refused(ctx))
		tdp_emu_backend.flush_range(current->emu, range);
}

static void flush_all(void *ctx)
{
	if (!refused(ctx))
		tdp_emu_backend.flush_all(current->emu);
}

static void flush_vcpu(void *ctx, void *cookie, struct tdp_range range)
{
	if (!refused(ctx) && cookie == current->cpu)
		tdp_emu_backend.flush_vcpu(current->emu, cookie, range);
}

static void reload(void *ctx)
{
	if (!refused(ctx))
		tdp_emu_backend.reload(current->emu);
}

static void table_sync(void *ctx, const void *va, uint64_t len)
{
	(void)va;
	(void)len;
	refused(ctx);
}

static const struct tdp_backend_ops ops = {
	.size = (uint32_t)sizeof(ops),
	.name = "regimes",
	.probe = probe,
	.root_load = root_load,
	.flush_range = flush_range,
	.flush_all = flush_all,
	.flush_vcpu = flush_vcpu,
	.reload = reload,
	.table_sync = table_sync,
};

static tdp_pa_t guest(struct regime *r, tdp_gpa_t gpa, uint32_t access)
{
	struct tdp_emu_exit exit;

	current = r;
	for (unsigned step = 0; step < 8; step++) {
		struct tdp_fault fault = {
			.size = (uint32_t)sizeof(fault), .gpa = gpa, .access = access};
		int reason = tdp_emu_access(r->cpu, gpa, access, &exit);

		if (reason == TDP_EMU_OK)
			return exit.pa;
		if (reason == TDP_EMU_RELOAD)
			assert_int_equal(tdp_vcpu_load(r->vcpu), TDP_OK);
		else
			assert_true(tdp_fault(r->vcpu, &fault, NULL) >= 0);
	}
	return 0;
}

static void open_regime(struct regime *r, struct test_vm *vm, tdp_pa_t pa)
{
	struct tdp_mm_config cfg = vm->cfg;
	struct tdp_emu_config emu = tdp_emu_config_default();
	struct tdp_slot_desc slot = {
		.size = (uint32_t)sizeof(slot), .gpa = range_of(GPA, table_span(vm, 0)), .pa = pa};
	uint32_t id;

	memset(r, 0, sizeof(*r));
	r->magic = MAGIC;
	r->pa = pa;
	emu.without_caps = vm->fmt->without_caps;
	current = r;
	cfg.backend = &ops;
	cfg.backend_ctx = r;
	assert_int_equal(tdp_emu_create(&emu, &r->emu), TDP_OK);
	assert_int_equal(tdp_emu_vcpu_create(r->emu, &r->cpu), TDP_OK);
	assert_int_equal(tdp_mm_create(&cfg, &r->mm), TDP_OK);
	assert_int_equal(tdp_vcpu_create(r->mm, r->cpu, &r->vcpu), TDP_OK);
	assert_int_equal(tdp_slot_add(r->mm, &slot, &id), TDP_OK);
}

static void close_regime(struct regime *r)
{
	current = r;
	tdp_vcpu_destroy(r->vcpu);
	assert_int_equal(tdp_mm_destroy(r->mm), TDP_OK);
	tdp_emu_vcpu_destroy(r->cpu);
	tdp_emu_destroy(r->emu);
}

static void taken(struct regime *r, struct test_vm *vm, unsigned how)
{
	struct tdp_range all = range_of(GPA, table_span(vm, 0)), page = range_of(GPA, TEST_PAGE);
	struct tdp_emu_exit exit;
	uint32_t access = TDP_R;

	current = r;
	switch (how) {
	case 0: assert_int_equal(tdp_zap(r->mm, 0, page, 0), TDP_OK); break;
	case 1: assert_int_equal(tdp_zap(r->mm, 0, all, 0), TDP_OK); break;
	case 2:
		assert_int_equal(tdp_write_protect(r->mm, 0, page), TDP_OK);
		access = TDP_W;
		break;
	default: assert_int_equal(tdp_roots_invalidate(r->mm), TDP_OK);
	}
	assert_int_equal(foreign, 0);
	assert_int_not_equal(tdp_emu_access(r->cpu, GPA, access, &exit), TDP_EMU_OK);
}

static void each_regime_its_own(void **state)
{
	for (unsigned round = 0; round < 2; round++) {
		struct test_vm *vm = open_vm(state, NULL);
		struct regime a, b;

		calls = foreign = 0;
		without = round ? TDP_CAP_RANGE_FLUSH : 0;
		open_regime(&a, vm, PA);
		open_regime(&b, vm, PA + ((tdp_pa_t)1 << 40));
		for (unsigned how = 0; how < 4; how++) {
			assert_int_equal(guest(&a, GPA, TDP_W), a.pa);
			assert_int_equal(guest(&b, GPA, TDP_W), b.pa);
			taken(&a, vm, how);
			/* The other one is not asked, and has lost nothing. */
			assert_int_equal(guest(&b, GPA, TDP_W), b.pa);
			assert_int_equal(guest(&a, GPA + TEST_PAGE, TDP_W), a.pa + TEST_PAGE);
			taken(&b, vm, how);
		}
		assert_true(calls > 0);
		assert_int_equal(foreign, 0);
		close_regime(&b);
		close_regime(&a);
		assert_int_equal(foreign, 0);
		close_vm(vm);
	}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(each_regime_its_own)};

	return test_run("museum/F16", cases, ARRAY_LEN(cases));
}
