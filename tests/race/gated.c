/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A backend as gate.h is meant for: each vCPU flushes its own TLB, on its way into the guest. Its vCPUs are in no
 * hurry: kicked, they go on using what they have cached for a while before they leave. Beside them pages are
 * taken away, write protected, logged and harvested, slots and roots come and go; what a call promised holds when
 * it returns.
 *
 * TDP_RACE_MS: how long, for each format (500).
 */
#include "unit/machine.h"

#include <sched.h>
#include <time.h>

#include <tdp/gate.h>

#define VCPUS 2u
#define PAGES 24u

struct gated {
	struct test_vm vm;
	struct tdp_backend_ops ops;
	struct tdp_gate *gate;
	struct test_backing mem; /* pages that come and go */
	tdp_gpa_t paged, ram;
	uint32_t ram_slot;
	_Atomic bool stop;
	_Atomic uint32_t kicks[VCPUS];
	_Atomic uint64_t cell[PAGES]; /* of ram: how often it was written */
	_Atomic uint64_t entries, late;
};

/* ---- the backend ----------------------------------------------------------------------------- */

static void must(struct gated *g, const char *what, int status)
{
	if (status < 0)
		test_violation(&g->vm.env, "%s: %s", what, tdp_status_name(status));
}

static void kick(void *ctx, uint32_t vcpu)
{
	struct gated *g = ctx;

	atomic_fetch_add(&g->kicks[vcpu], 1);
}

static int probe(void *ctx, enum tdp_format format, struct tdp_backend_caps *caps)
{
	struct gated *g = ctx;

	return tdp_emu_backend.probe(g->vm.emu, format, caps);
}

static int root_load(void *ctx, void *cookie, const struct tdp_root_view *root)
{
	struct gated *g = ctx;

	return tdp_emu_backend.root_load(g->vm.emu, cookie, root);
}

static void flush(struct gated *g, struct tdp_range range, uint32_t what)
{
	if (tdp_gate_flush(g->gate, range, what) != TDP_OK)
		test_violation(&g->vm.env, "tdp_gate_flush");
}

static void flush_range(void *ctx, struct tdp_range range)
{
	flush(ctx, range, 0);
}

static void flush_all(void *ctx)
{
	flush(ctx, range_of(0, 0), TDP_GATE_FLUSH_ALL);
}

static uint64_t flush_begin(void *ctx, struct tdp_range range, uint32_t levels)
{
	struct gated *g = ctx;
	uint64_t token = 0;

	(void)levels;
	if (tdp_gate_flush_begin(g->gate, range, 0, &token) != TDP_OK)
		test_violation(&g->vm.env, "tdp_gate_flush_begin");
	return token;
}

static void flush_wait(void *ctx, uint64_t token)
{
	struct gated *g = ctx;

	if (tdp_gate_flush_wait(g->gate, token) != TDP_OK)
		test_violation(&g->vm.env, "tdp_gate_flush_wait");
}

static void flush_vcpu(void *ctx, void *cookie, struct tdp_range range)
{
	struct gated *g = ctx;

	tdp_emu_backend.flush_vcpu(g->vm.emu, cookie, range);
}

static void reload(void *ctx)
{
	flush(ctx, range_of(0, 0), TDP_GATE_RELOAD);
}

/* ---- a vCPU ---------------------------------------------------------------------------------- */

struct runner {
	struct gated *g;
	uint32_t cpu;
	struct test_rand rand;
	tdp_gpa_t gpa; /* of the latest access … */
	uint32_t access;
	bool again; /* … which has not worked yet */
};

static void serve(struct runner *r, const struct tdp_gate_work *work)
{
	struct gated *g = r->g;
	struct tdp_emu_vcpu *emu = g->vm.cpu[r->cpu].emu;

	if (work->what)
		flush_vcpu(g, emu, everything(&g->vm));
	for (uint32_t i = 0; i < work->count; i++)
		flush_vcpu(g, emu, work->range[i]);
	if (work->what & TDP_GATE_RELOAD)
		must(g, "load", tdp_vcpu_load(g->vm.cpu[r->cpu].vcpu));
	if (tdp_gate_done(g->gate, r->cpu, work) != TDP_OK)
		test_violation(&g->vm.env, "tdp_gate_done");
}

/*
 * One access in the guest; true: it has to leave for this exit, and comes again with the same access. A write to ram
 * counts up its cell first.
 */
static bool one_access(struct runner *r, struct tdp_emu_exit *ex)
{
	struct gated *g = r->g;

	if (!r->again) {
		uint64_t page = test_below(&r->rand, PAGES);
		bool ram = test_one_in(&r->rand, 2);

		r->access = test_one_in(&r->rand, 2) ? TDP_W : TDP_R;
		r->gpa = (ram ? g->ram : g->paged) + page * TEST_PAGE;
		if (ram && r->access == TDP_W)
			atomic_fetch_add(&g->cell[page], 1);
	}
	r->again = tdp_emu_access(g->vm.cpu[r->cpu].emu, r->gpa, r->access, ex) != TDP_EMU_OK;
	return r->again;
}

/* Until an exit, or some time after it was kicked. */
static bool run_guest(struct runner *r, struct tdp_emu_exit *ex)
{
	struct gated *g = r->g;
	uint32_t kicks = atomic_load(&g->kicks[r->cpu]);
	unsigned more = 40;

	for (unsigned i = 0; i < 2000 && more > 0; i++) {
		if (one_access(r, ex))
			return true;
		if (atomic_load(&g->kicks[r->cpu]) != kicks) {
			more--;
			atomic_fetch_add_explicit(&g->late, 1, memory_order_relaxed);
		}
	}
	return false;
}

static void handle(struct runner *r, const struct tdp_emu_exit *ex)
{
	struct gated *g = r->g;
	struct tdp_fault fault = {.size = (uint32_t)sizeof(fault)};
	int status;

	if (ex->reason == TDP_EMU_RELOAD)
		status = tdp_vcpu_load(g->vm.cpu[r->cpu].vcpu);
	else if (tdp_emu_decode(ex, &fault) != TDP_OK)
		status = TDP_EINVAL;
	else
		status = tdp_fault(g->vm.cpu[r->cpu].vcpu, &fault, NULL);
	/* No root is loaded when a reload came by. */
	if (status < 0 && status != TDP_ENOENT)
		test_violation(&g->vm.env, "exit %u: %s", ex->reason, tdp_status_name(status));
	if (status > TDP_FAULT_RETRY)
		test_violation(&g->vm.env, "outcome %d", status);
}

static void *vcpu_main(void *arg)
{
	struct runner *r = arg;
	struct gated *g = r->g;
	struct tdp_gate_work work = {.size = (uint32_t)sizeof(work)};
	struct tdp_emu_exit ex;
	unsigned left = 100000; /* once nobody is in its way any more */
	bool exit;

	g->vm.env.env.rcu->thread_register();
	while (!atomic_load(&g->stop) || (r->again && left-- > 0)) {
		while (tdp_gate_enter(g->gate, r->cpu, &work) == 1)
			serve(r, &work);
		atomic_fetch_add_explicit(&g->entries, 1, memory_order_relaxed);
		exit = run_guest(r, &ex);
		if (tdp_gate_leave(g->gate, r->cpu) != TDP_OK)
			test_violation(&g->vm.env, "tdp_gate_leave");
		if (exit)
			handle(r, &ex);
	}
	if (r->again)
		test_violation(&g->vm.env, "vCPU %u: an access never works", r->cpu);
	g->vm.env.env.rcu->thread_unregister();
	return NULL;
}

/* ---- the host -------------------------------------------------------------------------------- */

static void manage(struct gated *g, struct test_rand *rand, uint64_t *copy)
{
	struct tdp_mm *mm = g->vm.mm;
	uint64_t first = test_below(rand, PAGES), bits = 0;
	struct tdp_range part = range_of(first * TEST_PAGE, TEST_PAGE);

	part.size += test_below(rand, PAGES - first) * TEST_PAGE;
	switch (test_below(rand, 12)) {
	default:
		part.start += g->paged;
		must(g, "discard", test_backing_discard(&g->mem, mm, 0, part));
		break;
	case 0:
		part.start += g->ram;
		must(g, "protect", tdp_write_protect(mm, 0, part));
		break;
	case 1:
		part.start += g->ram;
		must(g, "age", tdp_age(mm, 0, part, NULL));
		break;
	case 2:
		must(g, "invalidate", tdp_roots_invalidate(mm));
		if (test_one_in(rand, 2)) /* a zap has several roots to flush for */
			break;
		must(g, "reclaim", tdp_roots_reclaim(mm, 0));
		test_rcu_run();
		break;
	case 3:
	case 4:
	case 5:
		must(g, "harvest", tdp_dirty_harvest(mm, g->ram_slot, 0, &bits, 1));
		for (unsigned i = 0; i < PAGES; i++)
			if (bits >> i & 1)
				copy[i] = atomic_load(&g->cell[i]);
		break;
	case 6:
		part.start += g->ram;
		must(g, "zap", tdp_zap(mm, 0, part, 0));
		break;
	}
}

static void gated_open(struct gated *g, const struct test_format *fmt)
{
	struct test_vm_options opts = {.cpus = VCPUS, .env_flags = TEST_ENV_WAIT};
	struct test_vm *vm = &g->vm;
	struct tdp_slot_desc desc;
	uint32_t id;

	assert_int_equal(test_vm_init(vm, fmt, &opts), TDP_OK);
	for (uint32_t i = 0; i < VCPUS; i++)
		tdp_vcpu_destroy(vm->cpu[i].vcpu);
	assert_int_equal(tdp_mm_destroy(vm->mm), TDP_OK);
	vm->mm = NULL;
	assert_int_equal(tdp_gate_create(&vm->env.env, VCPUS, kick, g, &g->gate), TDP_OK);
	g->ops = (struct tdp_backend_ops){
		.size = (uint32_t)sizeof(g->ops),
		.name = "gated",
		.probe = probe,
		.root_load = root_load,
		.flush_range = flush_range,
		.flush_all = flush_all,
		.flush_vcpu = flush_vcpu,
		.reload = reload,
		.flush_begin = flush_begin,
		.flush_wait = flush_wait,
	};
	vm->cfg.backend = &g->ops;
	vm->cfg.backend_ctx = g;
	assert_int_equal(tdp_mm_create(&vm->cfg, &vm->mm), TDP_OK);
	for (uint32_t i = 0; i < VCPUS; i++)
		assert_int_equal(tdp_vcpu_create(vm->mm, vm->cpu[i].emu, &vm->cpu[i].vcpu), TDP_OK);
	g->ram = GIB;
	g->paged = GIB + ((uint64_t)1 << test_vm_lg2(vm, 2));
	assert_int_equal(test_vm_slot(vm, 0, g->ram, PAGES * TEST_PAGE, SLOT_PA, 0, &g->ram_slot),
			 TDP_OK);
	assert_int_equal(test_backing_init(&g->mem, &vm->env, g->paged, PAGES * TEST_PAGE,
					   (tdp_pa_t)1 << 47, TDP_RWX, TDP_PAGE_LG2),
			 TDP_OK);
	desc = test_backing_slot(&g->mem, 0, 0);
	assert_int_equal(tdp_slot_add(vm->mm, &desc, &id), TDP_OK);
	assert_int_equal(tdp_dirty_log(vm->mm, g->ram_slot, TDP_LOG_AUTO), TDP_OK);
}

static void gated_close(struct gated *g)
{
	struct tdp_gate_stats stats = {.size = (uint32_t)sizeof(stats)};
	struct tdp_stats mm = {.size = (uint32_t)sizeof(mm)};
	uint32_t id;

	assert_int_equal(tdp_gate_stats(g->gate, &stats), TDP_OK);
	assert_int_equal(tdp_stats(g->vm.mm, &mm), TDP_OK);
	print_message("  %llu entries, %llu accesses after a kick, %llu flushes, %llu kicks, "
		      "%llu begun\n",
		      (unsigned long long)atomic_load(&g->entries),
		      (unsigned long long)atomic_load(&g->late), (unsigned long long)stats.flushes,
		      (unsigned long long)stats.kicks, (unsigned long long)mm.flush_begun);
	assert_true(atomic_load(&g->late) > 0 && stats.lazy > 0);
	assert_int_equal(tdp_slot_find(g->vm.mm, 0, g->paged, &id, NULL), TDP_OK);
	assert_int_equal(tdp_slot_remove(g->vm.mm, id), TDP_OK);
	test_backing_fini(&g->mem);
	test_rcu_run();
	assert_int_equal(test_vm_check(&g->vm), 0);
	for (uint32_t i = 0; i < VCPUS; i++) /* leave the gate before it goes */
		root_load(g, g->vm.cpu[i].emu, NULL);
	tdp_gate_destroy(g->gate);
	assert_int_equal(test_vm_fini(&g->vm), 0);
}

static void vcpus_leave_late(void **state)
{
	uint64_t ms = test_env_number("TDP_RACE_MS", 500), bits = 0, copy[PAGES] = {0};
	struct gated *g = calloc(1, sizeof(*g)); /* a failed one stays: its vCPUs still run */
	struct runner runner[VCPUS];
	pthread_t thread[VCPUS];
	struct timespec now, end;
	struct test_rand rand;

	assert_non_null(g);
	gated_open(g, *state);
	test_rand_init(&rand, test_seed());
	for (uint32_t i = 0; i < VCPUS; i++) {
		runner[i] = (struct runner){.g = g, .cpu = i};
		test_rand_init(&runner[i].rand, test_seed() + 1 + i);
		assert_int_equal(pthread_create(&thread[i], NULL, vcpu_main, &runner[i]), 0);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += (time_t)(ms / 1000);
	end.tv_nsec += (long)(ms % 1000) * 1000000;
	do {
		manage(g, &rand, copy);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - end.tv_sec) * 1000000000 + (now.tv_nsec - end.tv_nsec) < 0);
	atomic_store(&g->stop, true);
	for (uint32_t i = 0; i < VCPUS; i++)
		pthread_join(thread[i], NULL);
	/* What was written and is in no harvest: nothing. */
	assert_int_equal(tdp_dirty_harvest(g->vm.mm, g->ram_slot, 0, &bits, 1), TDP_OK);
	for (unsigned i = 0; i < PAGES; i++)
		if (!(bits >> i & 1) && copy[i] != atomic_load(&g->cell[i]))
			test_violation(&g->vm.env, "page %u was copied at write %llu of %llu", i,
				       (unsigned long long)copy[i],
				       (unsigned long long)atomic_load(&g->cell[i]));
	gated_close(g);
	free(g);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(vcpus_leave_late),
	};

	return test_run("gated", cases, ARRAY_LEN(cases));
}
