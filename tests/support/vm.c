/* SPDX-License-Identifier: BSD-2-Clause */
/* A machine: mm, emulated walker and vCPUs of one format, its access loop, its checks and dumps. */
#include "support.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull;

static void on_emu_violation(void *arg, const char *what, tdp_gpa_t gpa, tdp_pa_t pa)
{
	test_violation(arg, "walker: %s (gpa %#llx, pa %#llx)", what, (ull)gpa, (ull)pa);
}

static int cpus_create(struct test_vm *vm, uint32_t cpus)
{
	int status;

	for (vm->cpus = 0; vm->cpus < cpus; vm->cpus++) {
		struct test_cpu *cpu = &vm->cpu[vm->cpus];

		status = tdp_emu_vcpu_create(vm->emu, &cpu->emu);
		if (status < 0)
			return status;
		status = tdp_vcpu_create(vm->mm, cpu->emu, &cpu->vcpu);
		if (status < 0) {
			tdp_emu_vcpu_destroy(cpu->emu);
			return status;
		}
	}
	return TDP_OK;
}

static int machine_create(struct test_vm *vm, const struct test_format *fmt,
			  const struct test_vm_options *o)
{
	struct tdp_emu_config emu = tdp_emu_config_default();
	int status;

	emu.flags = o->emu_flags;
	emu.without_caps = fmt->without_caps | o->without_caps;
	emu.with_caps = o->with_caps;
	emu.violation = on_emu_violation;
	emu.violation_arg = &vm->env;
	if (o->env_flags & TEST_ENV_HOOKS) {
		emu.mem = test_env_mem;
		emu.mem_arg = &vm->env;
	}
	status = tdp_emu_create(&emu, &vm->emu);
	if (status < 0)
		return status;
	vm->env.emu = vm->emu;
	tdp_emu_forbid(vm->emu,
		       (tdp_pa_t)(uintptr_t)vm->env.canary ^
			       (o->env_flags & TEST_ENV_HOOKS ? (uint64_t)1 << 46 : 0),
		       TEST_PAGE);
	vm->cfg = tdp_mm_config_default();
	vm->cfg.flags = fmt->mm_flags | o->mm_flags;
	vm->cfg.format = (uint32_t)fmt->format;
	vm->cfg.gpa_bits = fmt->gpa_bits;
	vm->cfg.levels = fmt->levels;
	vm->cfg.max_roots = o->max_roots;
	vm->cfg.table_limit = o->table_limit;
	vm->cfg.vmid = fmt->format == TDP_FMT_S2_4K ? 7 : 0;
	vm->cfg.env = &vm->env.env;
	vm->cfg.backend = &tdp_emu_backend;
	vm->cfg.backend_ctx = vm->emu;
	status = tdp_mm_create(&vm->cfg, &vm->mm);
	if (status < 0)
		return status;
	vm->info.size = (uint32_t)sizeof(vm->info);
	status = tdp_mm_info(vm->mm, &vm->info);
	if (status < 0)
		return status;
	return cpus_create(vm, o->cpus ? o->cpus : 1);
}

static void machine_destroy(struct test_vm *vm)
{
	struct tdp_emu_stats stats = {.size = (uint32_t)sizeof(stats)};
	int status;

	while (vm->cpus) {
		vm->cpus--;
		tdp_vcpu_destroy(vm->cpu[vm->cpus].vcpu);
		tdp_emu_vcpu_destroy(vm->cpu[vm->cpus].emu);
	}
	if (vm->mm) {
		status = tdp_mm_destroy(vm->mm);
		if (status != TDP_OK)
			test_violation(&vm->env, "tdp_mm_destroy: %d", status);
	}
	vm->mm = NULL;
	if (vm->emu) {
		if (tdp_emu_stats(vm->emu, &stats) < 0 || stats.violations)
			test_violation(&vm->env, "the walker counted %llu violations",
				       (ull)stats.violations);
		vm->env.emu = NULL;
		tdp_emu_destroy(vm->emu);
	}
	vm->emu = NULL;
}

int test_vm_init(struct test_vm *vm, const struct test_format *fmt,
		 const struct test_vm_options *opts)
{
	static const struct test_vm_options none;
	const struct test_vm_options *o = opts ? opts : &none;
	uint32_t chunk = o->chunk_lg2 == TEST_CHUNK_SMALL ? fmt->chunk_lg2 : o->chunk_lg2;
	int status;

	memset(vm, 0, sizeof(*vm));
	if (o->cpus > TEST_CPUS_MAX)
		return TDP_EINVAL;
	vm->fmt = fmt;
	vm->max_steps = 16;
	vm->max_retries = 1u << 20;
	status = test_env_init(&vm->env, o->env_flags, chunk, o->rcu);
	if (status < 0)
		return status;
	vm->env.format = (uint32_t)fmt->format;
	if (o->host)
		o->host(&vm->env.env);
	test_env_fail(&vm->env, o->fail_after);
	vm->env.env.rcu->thread_register();
	status = machine_create(vm, fmt, o);
	if (status < 0) {
		machine_destroy(vm);
		vm->env.env.rcu->thread_unregister();
		if (test_env_fini(&vm->env))
			status = TDP_EIO;
	}
	return status;
}

uint64_t test_vm_fini(struct test_vm *vm)
{
	machine_destroy(vm);
	vm->env.env.rcu->thread_unregister();
	return test_env_fini(&vm->env);
}

/* What is counted is what is there. */
static uint64_t recount(struct test_vm *vm, const struct tdp_report *report)
{
	struct tdp_stats stats = {.size = (uint32_t)sizeof(stats)};
	uint64_t complaints = 0, tables = 0, flushes;

	if (tdp_stats(vm->mm, &stats) < 0)
		return 1;
	flushes = stats.flush_range + stats.flush_all + stats.flush_vcpu;
	for (uint32_t op = 0; op < TDP_OPS; op++)
		flushes -= stats.flush_op[op];
	if (flushes) {
		complaints++;
		fprintf(stderr, "%lld flushes that nobody asked for\n", (long long)flushes);
	}
	for (uint32_t level = 0; level < TDP_LEVELS_MAX; level++) {
		tables += stats.tables[level];
		complaints += stats.leaves[level] != report->leaves[level];
	}
	complaints += stats.mmio != report->mmio;
	/* A root that is torn down is counted out, also while somebody still holds it. */
	complaints += stats.roots_invalid ? tables > report->tables : tables != report->tables;
	if (complaints)
		fprintf(stderr,
			"counted: %llu tables, %llu 4K leaves, %llu MMIO entries; "
			"there: %llu, %llu, %llu (or leaves of other sizes)\n",
			(ull)tables, (ull)stats.leaves[0], (ull)stats.mmio, (ull)report->tables,
			(ull)report->leaves[0], (ull)report->mmio);
	return complaints;
}

uint64_t test_vm_check(struct test_vm *vm)
{
	struct tdp_report report = {.size = (uint32_t)sizeof(report)};
	struct tdp_emu_stats stats = {.size = (uint32_t)sizeof(stats)};
	uint64_t complaints = 0, tables = atomic_load(&vm->env.tables);
	int status = tdp_verify(vm->mm, &report);

	if (status == TDP_OK &&
	    report.allocated != report.tables + report.retired + report.cached) {
		/* A dead root is on no list while it waits for its grace period. */
		vm->env.env.rcu->barrier();
		tables = atomic_load(&vm->env.tables);
		memset(&report, 0, sizeof(report));
		report.size = (uint32_t)sizeof(report);
		status = tdp_verify(vm->mm, &report);
	}

	if (status != TDP_OK || report.errors) {
		complaints++;
		fprintf(stderr, "verify: %s, %u errors: %.127s\n", tdp_status_name(status),
			report.errors, report.first);
	}
	if (report.allocated != report.tables + report.retired + report.cached ||
	    report.allocated != tables) {
		complaints++;
		fprintf(stderr,
			"census: %llu tables + %llu retired + %llu cached, %llu allocated; "
			"%llu by table_state\n",
			(ull)report.tables, (ull)report.retired, (ull)report.cached,
			(ull)report.allocated, (ull)tables);
	}
	if (status == TDP_OK)
		complaints += recount(vm, &report);
	if (tdp_emu_stats(vm->emu, &stats) < 0 || stats.violations) {
		complaints++;
		fprintf(stderr, "the walker counted %llu violations\n", (ull)stats.violations);
	}
	if (atomic_load(&vm->env.violations)) {
		complaints++;
		fprintf(stderr, "%llu violations\n", (ull)atomic_load(&vm->env.violations));
	}
	return complaints;
}

/* ---- one access ------------------------------------------------------------------------------ */

static int decode(struct test_vm *vm, const struct tdp_emu_exit *ex, tdp_gpa_t gpa, uint32_t access,
		  struct tdp_fault *fault)
{
	uint64_t page = ~(TEST_PAGE - 1);
	int status = tdp_emu_decode(ex, fault);

	if (status < 0) {
		test_violation(&vm->env, "access %#llx: exit %u cannot be decoded: %d", (ull)gpa,
			       ex->reason, status);
		return status;
	}
	if ((fault->gpa & page) != (gpa & page)) {
		test_violation(&vm->env, "access %#llx reported as fault at %#llx", (ull)gpa,
			       (ull)fault->gpa);
		return TDP_EINVAL;
	}
	if (!(fault->access & access) || (fault->flags & TDP_FAULT_RSVD)) {
		test_violation(&vm->env, "access %#llx (%u) reported as %#x, flags %#x", (ull)gpa,
			       access, fault->access, fault->flags);
		return TDP_EINVAL;
	}
	return TDP_OK;
}

static int fault_step(struct test_vm *vm, struct test_cpu *cpu, const struct tdp_emu_exit *ex,
		      tdp_gpa_t gpa, uint32_t access, struct test_access *out)
{
	struct tdp_fault fault = {0};

	if (decode(vm, ex, gpa, access, &fault) < 0)
		return TEST_BROKEN;
	memset(&out->result, 0, sizeof(out->result));
	out->result.size = (uint32_t)sizeof(out->result);
	out->outcome = tdp_fault(cpu->vcpu, &fault, &out->result);
	out->faults++;
	cpu->faults++;
	if (out->outcome < 0) {
		cpu->errors++;
		return TEST_STATUS;
	}
	if (out->outcome >= TDP_FAULT_OUTCOMES) {
		test_violation(&vm->env, "tdp_fault answered %d", out->outcome);
		return TEST_BROKEN;
	}
	cpu->outcomes[out->outcome]++;
	if (out->outcome == TDP_FAULT_FIXED || out->outcome == TDP_FAULT_SPURIOUS)
		return TEST_OK;
	if (out->outcome == TDP_FAULT_RETRY) {
		if (out->retries++ >= vm->max_retries)
			return vm->max_retries ? TEST_LIVELOCK : TEST_OUTCOME;
		sched_yield();
		return TEST_OK;
	}
	return TEST_OUTCOME;
}

int test_vm_access(struct test_vm *vm, uint32_t n, tdp_gpa_t gpa, uint32_t access,
		   struct test_access *out)
{
	struct test_cpu *cpu = &vm->cpu[n];
	struct test_access mine;
	struct tdp_emu_exit ex;
	uint32_t steps;
	int answer;

	if (!out)
		out = &mine;
	memset(out, 0, sizeof(*out));
	for (steps = 0; steps <= vm->max_steps + out->retries; steps++) {
		switch (tdp_emu_access(cpu->emu, gpa, access, &ex)) {
		case TDP_EMU_OK:
			out->pa = ex.pa;
			out->lg2 = ex.lg2;
			out->prot = ex.prot;
			out->refs = ex.refs;
			return TEST_OK;
		case TDP_EMU_RELOAD:
			cpu->reloads++;
			out->reloads++;
			out->outcome = tdp_vcpu_load(cpu->vcpu);
			if (out->outcome < 0)
				return TEST_STATUS;
			break;
		case TDP_EMU_GUEST_FAULT:
		case TDP_EMU_BUS_ERROR:
			test_violation(&vm->env, "access %#llx: exit reason %u", (ull)gpa,
				       ex.reason);
			return TEST_BROKEN;
		default:
			answer = fault_step(vm, cpu, &ex, gpa, access, out);
			if (answer == TEST_LIVELOCK)
				goto livelock;
			if (answer != TEST_OK)
				return answer;
		}
	}
livelock:
	test_violation(&vm->env,
		       "%s: access %#llx (%u) makes no progress: %u faults, %u retries, "
		       "%u reloads, last outcome %d",
		       vm->fmt->name, (ull)gpa, access, out->faults, out->retries, out->reloads,
		       out->outcome);
	return TEST_LIVELOCK;
}

int test_vm_touch(struct test_vm *vm, uint32_t cpu, tdp_gpa_t gpa, uint32_t access)
{
	return test_vm_access(vm, cpu, gpa, access, NULL) == TEST_OK ? 0 : -1;
}

/* ---- small things ---------------------------------------------------------------------------- */

int test_vm_slot(struct test_vm *vm, uint32_t as_id, tdp_gpa_t gpa, uint64_t size, tdp_pa_t pa,
		 uint32_t flags, uint32_t *id)
{
	struct tdp_slot_desc desc = {0};
	uint32_t ignored;

	desc.size = (uint32_t)sizeof(desc);
	desc.flags = flags;
	desc.gpa.start = gpa;
	desc.gpa.size = size;
	desc.pa = pa;
	desc.as_id = as_id;
	return tdp_slot_add(vm->mm, &desc, id ? id : &ignored);
}

uint32_t test_vm_lg2(const struct test_vm *vm, uint32_t level)
{
	return TDP_PAGE_LG2 + level * vm->info.index_lg2;
}

uint32_t test_vm_max_lg2(const struct test_vm *vm)
{
	uint32_t level, lg2 = TDP_PAGE_LG2;

	for (level = 0; level < TDP_LEVELS_MAX; level++)
		if (vm->info.leaf_levels & (1u << level))
			lg2 = test_vm_lg2(vm, level);
	return lg2;
}

uint64_t test_vm_size(const struct test_vm *vm)
{
	return (uint64_t)1 << vm->info.gpa_bits;
}

bool test_vm_has_wc(const struct test_vm *vm)
{
	return vm->fmt->format != TDP_FMT_NPT;
}

/* ---- dumps ----------------------------------------------------------------------------------- */

static int dump_visit(void *arg, const struct tdp_visit *visit)
{
	struct test_dump *dump = arg;

	if (dump->count == dump->room) {
		size_t room = dump->room ? 2 * dump->room : 256;
		struct tdp_visit *v = realloc(dump->visits, room * sizeof(*v));

		if (!v) {
			dump->failed = true;
			return TDP_ENOMEM;
		}
		dump->visits = v;
		dump->room = room;
	}
	dump->visits[dump->count++] = *visit;
	return 0;
}

int test_dump_take(struct test_vm *vm, uint32_t as_id, struct test_dump *dump)
{
	struct tdp_range all = {0, test_vm_size(vm)};
	int status;

	memset(dump, 0, sizeof(*dump));
	status = tdp_walk(vm->mm, as_id, all, TDP_WALK_LEAF | TDP_WALK_TABLE_PRE | TDP_WALK_MMIO,
			  dump_visit, dump);
	return status == TDP_ENOENT ? TDP_OK : status; /* no root yet: nothing is mapped */
}

void test_dump_free(struct test_dump *dump)
{
	free(dump->visits);
	memset(dump, 0, sizeof(*dump));
}

static bool dump_skips(const struct tdp_visit *v, bool leaves_only)
{
	return leaves_only && v->kind != TDP_ENTRY_LEAF;
}

static void dump_show(const char *who, const struct tdp_visit *v)
{
	if (v)
		fprintf(stderr, "  %s: gpa %#llx level %u kind %u entry %#llx prot %#x flags %#x\n",
			who, (ull)v->gpa, v->level, v->kind, (ull)v->entry, v->prot, v->flags);
	else
		fprintf(stderr, "  %s: nothing more\n", who);
}

int test_dump_diff(const struct test_dump *a, const struct test_dump *b, bool leaves_only)
{
	size_t i = 0, j = 0;

	for (;; i++, j++) {
		const struct tdp_visit *x, *y;

		while (i < a->count && dump_skips(&a->visits[i], leaves_only))
			i++;
		while (j < b->count && dump_skips(&b->visits[j], leaves_only))
			j++;
		x = i < a->count ? &a->visits[i] : NULL;
		y = j < b->count ? &b->visits[j] : NULL;
		if (!x && !y)
			return 0;
		if (x && y && x->gpa == y->gpa && x->level == y->level && x->entry == y->entry &&
		    x->kind == y->kind)
			continue;
		fprintf(stderr, "tables differ:\n");
		dump_show("before", x);
		dump_show("after", y);
		return -1;
	}
}
