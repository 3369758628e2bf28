/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long does a vCPU's fault take while another thread zaps, harvests or collapses a large guest?
 *
 *   bench_latency [-m MIB] [-b MICROSECONDS] [-r ROUNDS] [OPERATION...]
 *     -m MIB           guest memory of the operation, in 4K pages (65536)
 *     -b MICROSECONDS  budget of a step (200)
 *     -r ROUNDS        operations per line (3)
 *
 * One thread faults all the time: elsewhere (a GiB of its own), or at random places of the very range. The other does
 * the operation: not at all (the floor: what the machine itself does to a fault), in one call, or as a job in
 * steps of the budget. Told are the faults' percentiles and maximum, and the longest call of the other thread: what
 * anybody waits for who waits for that call. The walker does nothing, so flushes cost nothing.
 */
#include "common.h"

#include <stdatomic.h>

#include <tdp/job.h>

#define OWN ((uint64_t)1 << 46) /* the vCPU's own slot */
#define OWN_PAGES (((uint64_t)1 << 30) / PAGE)
#define SAMPLES ((size_t)1 << 23) /* of a line; what comes after is not kept */

struct vm {
	struct tdp_mm *mm;
	struct tdp_vcpu *vcpu;
	uint32_t slot;
	uint64_t pages, flushes, *bitmap;
};

struct operation {
	const char *name;
	void (*before)(struct vm *vm); /* each round */
	int (*whole)(struct vm *vm);
	struct tdp_job job;
};

struct line {
	uint32_t *ns; /* SAMPLES */
	size_t count;
	bool same;
	struct vm *vm;
	atomic_bool stop, ready;
};

static uint64_t budget_ns = 200000;
static unsigned rounds = 3;

/* ---- the vCPU ---- */

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

static uint64_t ns_now(void)
{
	return tdp_posix_env_memb()->now(NULL);
}

static void *fault_all_the_time(void *arg)
{
	struct tdp_fault fault = {.size = sizeof(fault), .access = TDP_W};
	uint64_t random = 0x9e3779b97f4a7c15;
	struct line *line = arg;
	struct vm *vm = line->vm;

	pin(1);
	tdp_posix_env_memb()->rcu->thread_register();
	atomic_store(&line->ready, true);
	while (!atomic_load_explicit(&line->stop, memory_order_relaxed)) {
		uint64_t page = next_random(&random) >> 20, begin, took;
		int ret;

		if (line->same) {
			fault.gpa = page % vm->pages * PAGE;
		} else {
			fault.gpa = OWN + page % OWN_PAGES * PAGE;
			must(tdp_zap(vm->mm, 0, (struct tdp_range){fault.gpa, PAGE}, 0), "zap");
		}
		begin = ns_now();
		do
			ret = tdp_fault(vm->vcpu, &fault, NULL);
		while (ret == TDP_FAULT_RETRY);
		took = ns_now() - begin;
		must(ret, "fault");
		if (line->count < SAMPLES)
			line->ns[line->count++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
	}
	tdp_posix_env_memb()->rcu->thread_unregister();
	return NULL;
}

/* ---- operations ---- */

static struct tdp_range all(const struct vm *vm)
{
	return (struct tdp_range){0, vm->pages * PAGE};
}

static void map_small(struct vm *vm)
{
	must(tdp_populate(vm->mm, 0, all(vm), TDP_POPULATE_YOUNG, NULL), "populate");
	must(tdp_split(vm->mm, 0, all(vm), 12), "split");
}

static int zap(struct vm *vm)
{
	return tdp_zap(vm->mm, 0, all(vm), 0);
}

static void map_and_log(struct vm *vm)
{
	must(tdp_dirty_log(vm->mm, vm->slot, TDP_LOG_OFF), "log off");
	map_small(vm);
	must(tdp_dirty_log(vm->mm, vm->slot, TDP_LOG_DBIT | TDP_LOG_INITIALLY_SET), "log");
}

static int harvest(struct vm *vm)
{
	return tdp_dirty_harvest(vm->mm, vm->slot, 0, vm->bitmap, vm->pages / 64);
}

static int collapse(struct vm *vm)
{
	return tdp_collapse(vm->mm, 0, all(vm), 0, NULL);
}

static int age(struct vm *vm)
{
	return tdp_age(vm->mm, 0, all(vm), NULL);
}

static int protect(struct vm *vm)
{
	return tdp_write_protect(vm->mm, 0, all(vm));
}

static const struct operation operations[] = {
	{"zap", map_small, zap, {.kind = TDP_JOB_ZAP}},
	{"harvest", map_and_log, harvest, {.kind = TDP_JOB_HARVEST}},
	{"collapse", map_small, collapse, {.kind = TDP_JOB_COLLAPSE}},
	{"age", map_small, age, {.kind = TDP_JOB_AGE}},
	{"write-protect", map_small, protect, {.kind = TDP_JOB_WRITE_PROTECT}},
};

enum mode { NOTHING, WHOLE, STEPS };

/* The longest call. */
static uint64_t operate(struct vm *vm, const struct operation *op, enum mode mode)
{
	struct tdp_job job = op->job;
	uint64_t longest = 0;
	int ret = 0;

	job.size = sizeof(job);
	job.range = all(vm);
	job.max_ns = budget_ns;
	if (job.kind == TDP_JOB_HARVEST) {
		job.slot = vm->slot;
		job.bitmap = vm->bitmap;
		job.words = vm->pages / 64;
	}
	do {
		uint64_t begin = ns_now(), took;

		ret = mode == WHOLE ? op->whole(vm) : tdp_job_step(vm->mm, &job);
		took = ns_now() - begin;
		longest = took > longest ? took : longest;
		must(ret, op->name);
	} while (mode == STEPS && ret == 1);
	return longest;
}

/* ---- measuring ---- */

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double micros(const struct line *line, double part)
{
	size_t at = (size_t)((double)line->count * part);

	return line->ns[at < line->count ? at : line->count - 1] / 1000.0;
}

static void measure(struct vm *vm, const struct operation *op, enum mode mode, bool same,
		    uint32_t *ns)
{
	static const char *const names[] = {"nothing", "one call", "steps"};
	struct line line = {.ns = ns, .same = same, .vm = vm};
	struct timespec pause = {0, 200000000};
	uint64_t longest = 0;

	for (unsigned i = 0; i < rounds; i++) {
		pthread_t thread;
		uint64_t took = 0;

		op->before(vm);
		atomic_store(&line.stop, false);
		atomic_store(&line.ready, false);
		if (pthread_create(&thread, NULL, fault_all_the_time, &line))
			exit(1);
		while (!atomic_load(&line.ready))
			;
		if (mode == NOTHING)
			nanosleep(&pause, NULL);
		else
			took = operate(vm, op, mode);
		longest = took > longest ? took : longest;
		atomic_store(&line.stop, true);
		pthread_join(thread, NULL);
	}
	qsort(ns, line.count, sizeof(*ns), by_value);
	printf("%-14s %-9s %-10s %9zu %9.2f %9.2f %9.2f %10.1f %13.1f\n", op->name, names[mode],
	       same ? "same range" : "elsewhere", line.count, micros(&line, 0.5),
	       micros(&line, 0.99), micros(&line, 0.999), micros(&line, 1), (double)longest / 1000);
	fflush(stdout);
}

static void vm_open(struct vm *vm)
{
	struct tdp_mm_config cfg = tdp_mm_config_default();
	struct tdp_slot_desc desc = {.size = sizeof(desc)}, own = desc;
	uint32_t id;

	cfg.format = TDP_FMT_EPT;
	cfg.gpa_bits = 48;
	cfg.env = tdp_posix_env_memb();
	cfg.backend = &walker;
	cfg.backend_ctx = &vm->flushes;
	must(tdp_mm_create(&cfg, &vm->mm), "create");
	desc.gpa = all(vm);
	desc.pa = (uint64_t)1 << 40;
	must(tdp_slot_add(vm->mm, &desc, &vm->slot), "slot");
	own.gpa = (struct tdp_range){OWN, OWN_PAGES * PAGE};
	own.pa = (uint64_t)1 << 45;
	own.flags = TDP_SLOT_FORCE_4K;
	must(tdp_slot_add(vm->mm, &own, &id), "slot");
	must(tdp_vcpu_create(vm->mm, vm, &vm->vcpu), "vcpu");
	must(tdp_vcpu_load(vm->vcpu), "load");
}

static bool wanted(const struct operation *op, char **names, int count)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(names[i], op->name))
			return true;
	return count == 0;
}

int main(int argc, char **argv)
{
	uint32_t *ns = calloc(SAMPLES, sizeof(*ns));
	struct vm vm = {.pages = 65536 * 256};
	int option;

	while ((option = getopt(argc, argv, "m:b:r:")) != -1) {
		switch (option) {
		case 'm': vm.pages = strtoull(optarg, NULL, 10) * 256; break;
		case 'b': budget_ns = strtoull(optarg, NULL, 10) * 1000; break;
		case 'r': rounds = (unsigned)strtoul(optarg, NULL, 10); break;
		default:
			fprintf(stderr,
				"usage: %s [-m MIB] [-b MICROSECONDS] [-r ROUNDS] [OPERATION...]\n",
				argv[0]);
			return 2;
		}
	}
	if (!ns || !rounds || rounds > 1000 || !budget_ns || vm.pages < 512 ||
	    vm.pages > (uint64_t)1 << 28 || vm.pages % 512) {
		fprintf(stderr, "%s: -m is even, 2 to 1048576; -r is 1 to 1000; -b is not 0\n",
			argv[0]);
		return 2;
	}
	vm.bitmap = calloc(vm.pages / 64, 8);
	if (!vm.bitmap)
		return 1;
	pin(0);
	tdp_posix_env_memb()->rcu->thread_register();
	vm_open(&vm);
	printf("%" PRIu64 " MiB of 4K pages, steps of %" PRIu64 " us, %u rounds; in us\n",
	       vm.pages / 256, budget_ns / 1000, rounds);
	printf("%-14s %-9s %-10s %9s %9s %9s %9s %10s %13s\n", "beside", "as", "faults", "faults",
	       "p50", "p99", "p99.9", "max", "longest call");
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		for (int mode = NOTHING; mode <= STEPS; mode++)
			for (int same = 0; same < 2; same++)
				if (wanted(&operations[i], argv + optind, argc - optind))
					measure(&vm, &operations[i], (enum mode)mode, same, ns);
	tdp_vcpu_destroy(vm.vcpu);
	must(tdp_mm_destroy(vm.mm), "destroy");
	tdp_posix_env_memb()->rcu->thread_unregister();
	free(vm.bitmap);
	free(ns);
	return 0;
}
