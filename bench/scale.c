/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Do two threads on disjoint halves of one VM get twice as much done as one? Nothing but the library is measured: the
 * walker is an empty one (EPT, hardware A and D) whose flushes are counted.
 *
 *   bench_scale [-m MIB] [-r ROUNDS] [-s] [-b]
 *     -m MIB     guest memory of each half (256)
 *     -r ROUNDS  of which the median is told (9)
 *     -s         the same 2 MiB for both threads, page by page in turn, instead of halves
 *     -b         one slot for both halves, whose backing is asked about each page (resolve), instead of linear ones
 *
 * For each operation: nanoseconds per page of one thread alone; how much faster two threads are together; and the
 * floor, which is two threads on two VMs, that share nothing but the machine. The three are taken in turn, in the
 * same process, so that the ratios hold where the machine's mood changes.
 */
#include "common.h"

#define STEP ((uint64_t)2 << 20) /* of calls that take a range */

struct vm {
	struct tdp_mm *mm;
	struct tdp_vcpu *vcpu[2];
	uint32_t slot[2];
	_Atomic uint64_t flushes;
};

struct job {
	struct vm *vm;
	unsigned half;
	uint64_t first, pages, stride; /* of page numbers */
	const struct operation *op;
	pthread_barrier_t *start;
	double begin, end;
};

struct operation {
	const char *name;
	void (*fn)(const struct job *job);
	bool from_empty; /* nothing is mapped before; else all is, written and young */
	bool ranges;     /* takes ranges: has no form that two threads share page by page */
};

static uint64_t half_pages;
static bool same_region, backed;

/* ---- operations ---- */

static void op_fault(const struct job *job)
{
	struct tdp_fault fault = {.size = sizeof(fault), .access = TDP_W};

	for (uint64_t i = 0; i < job->pages; i++) {
		fault.gpa = (job->first + i * job->stride) * PAGE;
		must(tdp_fault(job->vm->vcpu[job->half], &fault, NULL), "fault");
	}
}

static void op_lookup(const struct job *job)
{
	struct tdp_mapping m = {.size = sizeof(m)};

	for (uint64_t i = 0; i < job->pages; i++)
		must(tdp_translate(job->vm->mm, 0, (job->first + i * job->stride) * PAGE, &m),
		     "lookup");
}

static void by_steps(const struct job *job, int (*fn)(struct tdp_mm *mm, struct tdp_range r))
{
	uint64_t end = (job->first + job->pages) * PAGE;

	for (uint64_t gpa = job->first * PAGE; gpa < end; gpa += STEP)
		must(fn(job->vm->mm, (struct tdp_range){gpa, end - gpa < STEP ? end - gpa : STEP}),
		     job->op->name);
}

static int zap(struct tdp_mm *mm, struct tdp_range r)
{
	return tdp_zap(mm, 0, r, 0);
}

static int protect(struct tdp_mm *mm, struct tdp_range r)
{
	return tdp_write_protect(mm, 0, r);
}

static int age(struct tdp_mm *mm, struct tdp_range r)
{
	return tdp_age(mm, 0, r, NULL);
}

static void op_zap(const struct job *job)
{
	by_steps(job, zap);
}

static void op_protect(const struct job *job)
{
	by_steps(job, protect);
}

static void op_age(const struct job *job)
{
	by_steps(job, age);
}

static void op_harvest(const struct job *job)
{
	uint64_t bits[STEP / PAGE / 64];

	uint64_t first = backed ? job->first : 0; /* of the slot */

	for (uint64_t page = first; page < first + job->pages; page += STEP / PAGE)
		must(tdp_dirty_harvest(job->vm->mm, job->vm->slot[job->half], page, bits,
				       sizeof(bits) / sizeof(bits[0])),
		     "harvest");
}

static const struct operation operations[] = {
	{"fault", op_fault, true, false},     {"lookup", op_lookup, false, false},
	{"zap", op_zap, false, true},         {"write-protect", op_protect, false, true},
	{"harvest", op_harvest, false, true}, {"age", op_age, false, true},
};

/* ---- machines ---- */

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t max_lg2, uint32_t access,
		   struct tdp_page *page)
{
	(void)arg, (void)max_lg2, (void)access;
	page->pa = ((uint64_t)1 << 40) + gpa;
	page->lg2 = 12;
	page->prot = TDP_RWX;
	return TDP_OK;
}

static const struct tdp_backing_ops memory = {.size = sizeof(memory), .resolve = resolve};

/* Half by half, or one for both. */
static void add_slot(struct vm *vm, unsigned half)
{
	struct tdp_slot_desc desc = {.size = sizeof(desc), .flags = TDP_SLOT_FORCE_4K};

	vm->slot[half] = vm->slot[0];
	if (half && backed)
		return;
	desc.gpa.start = half * half_pages * PAGE;
	desc.gpa.size = half_pages * PAGE * (backed ? 2 : 1);
	if (backed)
		desc.backing = &memory;
	else
		desc.pa = ((uint64_t)1 << 40) + desc.gpa.start;
	must(tdp_slot_add(vm->mm, &desc, &vm->slot[half]), "slot");
	must(tdp_dirty_log(vm->mm, vm->slot[half], TDP_LOG_DBIT), "log");
}

static void vm_open(struct vm *vm)
{
	struct tdp_mm_config cfg = tdp_mm_config_default();

	cfg.format = TDP_FMT_EPT;
	cfg.gpa_bits = 48;
	cfg.env = tdp_posix_env_memb();
	cfg.backend = &walker;
	cfg.backend_ctx = &vm->flushes;
	must(tdp_mm_create(&cfg, &vm->mm), "create");
	for (unsigned half = 0; half < 2; half++) {
		add_slot(vm, half);
		must(tdp_vcpu_create(vm->mm, vm, &vm->vcpu[half]), "vcpu");
		must(tdp_vcpu_load(vm->vcpu[half]), "load");
	}
}

static void vm_close(struct vm *vm)
{
	for (unsigned half = 0; half < 2; half++)
		tdp_vcpu_destroy(vm->vcpu[half]);
	must(tdp_mm_destroy(vm->mm), "destroy");
}

/* As the operation wants to find it: both halves. */
static void vm_reset(struct vm *vm, const struct operation *op)
{
	struct job job = {.vm = vm, .pages = 2 * half_pages, .stride = 1, .op = op};

	must(tdp_zap(vm->mm, 0, (struct tdp_range){0, 2 * half_pages * PAGE}, 0), "zap");
	if (!op->from_empty)
		op_fault(&job);
}

/* ---- measuring ---- */

static void *run_job(void *arg)
{
	struct job *job = arg;

	pin(job->half);
	tdp_posix_env_memb()->rcu->thread_register();
	pthread_barrier_wait(job->start);
	job->begin = now();
	job->op->fn(job);
	job->end = now();
	tdp_posix_env_memb()->rcu->thread_unregister();
	return NULL;
}

static struct job job_of(struct vm *vm, const struct operation *op, unsigned half,
			 pthread_barrier_t *start)
{
	struct job job = {.vm = vm, .half = half, .op = op, .start = start, .stride = 1};

	job.first = half * half_pages;
	job.pages = half_pages;
	if (same_region) {
		job.first = half;
		job.pages = STEP / PAGE / 2;
		job.stride = 2;
	}
	return job;
}

/* Seconds until all are through. b NULL: one thread alone. */
static double measure(struct vm *a, struct vm *b, const struct operation *op)
{
	pthread_barrier_t start;
	unsigned count = b ? 2 : 1;
	pthread_t thread[2];
	struct job job[2];
	double begin, end;

	vm_reset(a, op);
	if (b && b != a)
		vm_reset(b, op);
	pthread_barrier_init(&start, NULL, count);
	for (unsigned i = 0; i < count; i++) {
		job[i] = job_of(i ? b : a, op, i, &start);
		if (pthread_create(&thread[i], NULL, run_job, &job[i]))
			exit(1);
	}
	for (unsigned i = 0; i < count; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_destroy(&start);
	begin = job[0].begin;
	end = job[0].end;
	if (count == 2) {
		begin = job[1].begin < begin ? job[1].begin : begin;
		end = job[1].end > end ? job[1].end : end;
	}
	return end - begin;
}

static void bench(struct vm vm[2], const struct operation *op, unsigned rounds)
{
	double *alone = calloc(rounds, sizeof(*alone)), *gain = calloc(rounds, sizeof(*gain));
	double *floor = calloc(rounds, sizeof(*floor)), per_page;
	uint64_t pages = same_region ? STEP / PAGE / 2 : half_pages;

	if (!alone || !gain || !floor)
		exit(1);
	for (unsigned i = 0; i < rounds; i++) {
		alone[i] = measure(&vm[0], NULL, op);
		gain[i] = 2 * alone[i] / measure(&vm[0], &vm[0], op);
		floor[i] = 2 * alone[i] / measure(&vm[0], &vm[1], op);
	}
	per_page = median(alone, rounds) * 1e9 / (double)pages;
	printf("%-14s %8.2f ns/page   two threads x%.2f   two VMs x%.2f   of the floor %.2f\n",
	       op->name, per_page, median(gain, rounds), median(floor, rounds),
	       median(gain, rounds) / median(floor, rounds));
	free(alone);
	free(gain);
	free(floor);
}

int main(int argc, char **argv)
{
	unsigned rounds = 9;
	uint64_t mib = 256;
	struct vm vm[2];
	int option;

	while ((option = getopt(argc, argv, "m:r:sb")) != -1) {
		switch (option) {
		case 'm': mib = strtoull(optarg, NULL, 10); break;
		case 'r': rounds = (unsigned)strtoul(optarg, NULL, 10); break;
		case 's': same_region = true; break;
		case 'b': backed = true; break;
		default:
			fprintf(stderr, "usage: %s [-m MIB] [-r ROUNDS] [-s] [-b]\n", argv[0]);
			return 2;
		}
	}
	if (!rounds || rounds > 10000 || mib < 2 || mib > 1 << 20 || mib % 2) {
		fprintf(stderr, "%s: -m is even, 2 to 1048576; -r is 1 to 10000\n", argv[0]);
		return 2;
	}
	half_pages = mib * 256;
	memset(vm, 0, sizeof(vm));
	tdp_posix_env_memb()->rcu->thread_register();
	vm_open(&vm[0]);
	vm_open(&vm[1]);
	printf("%s, %" PRIu64 " MiB each, median of %u rounds\n",
	       same_region ? "the same 2 MiB page by page" : "disjoint halves", mib, rounds);
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (!same_region || !operations[i].ranges)
			bench(vm, &operations[i], rounds);
	vm_close(&vm[0]);
	vm_close(&vm[1]);
	tdp_posix_env_memb()->rcu->thread_unregister();
	return 0;
}
