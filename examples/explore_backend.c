/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is a backend of one's own right in every order of its steps?
 *
 * vCPUs walk tables and use their TLBs while other threads change those tables and flush. Nearly every order of
 * these steps is harmless; the one that is not comes once a month, at a customer's. So this program takes a small
 * backend (two vCPUs, each with a software TLB that it flushes itself) and runs it with the library in *every* order
 * that could make a difference, one after the other, on one thread. In each it looks whether anybody reaches what
 * a finished call had promised to be out of reach.
 *
 *   explore_backend                  every order of four programs: all are right, exit status 0
 *   explore_backend --broken=ack     with a mistake in serve(): 1, and an order that shows it
 *   explore_backend --broken=entry   with a mistake in enter(): the same
 *   explore_backend [--broken=...] --replay=PROGRAM:ORDER   one order again, told step by step
 *
 * For a backend of your own:
 *   1. Link tdp::explore instead of tdp::tdp (find_package(tdp COMPONENTS explore), pkg-config tdp-explore): the same
 *      library, which asks before each of its steps who is next.
 *   2. Ask as well: tdp_test_point() before each access to what threads share (look() and change() below), and
 *      around each lock. What only one thread uses needs none.
 *   3. Wait in env.wait() only, as tdp_explore_env() sets it: a loop of your own would wait for ever.
 *   4. Write setup(), what each thread does (an actor), and what must not happen: tdp_explore_fail() says that it did.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tdp/explore.h>
#include <tdp/tdp.h>

#define PAGE TDP_PAGE_SIZE
#define VCPUS 2
#define LEVELS 4
#define MEMORY ((tdp_pa_t)1 << 40) /* where frame 0 of the guest's memory is; names nothing real */

static enum { NO_MISTAKE, MISTAKE_ACK, MISTAKE_ENTRY } mistake;

/* ---- steps --------------------------------------------------------------------------------------------- */

/*
 * An access to what threads share is one step. Before it, at the point, any other actor may come first. (A product
 * has macros here that leave the points out.)
 */
static uint32_t look(const uint32_t *word)
{
	tdp_test_point(TDP_POINT_READ, word, sizeof(*word));
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static void change(uint32_t *word, uint32_t value)
{
	tdp_test_point(TDP_POINT_WRITE, word, sizeof(*word));
	__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

/* ---- the machine, and the world around it -------------------------------------------------------------- */

#define IN_GUEST 1u

struct vcpu {
	unsigned number;
	struct tdp_vcpu *tdp; /* the library's idea of it */
	/*
	 * Twice the number of the last flush that it has served, plus IN_GUEST. In one word, because a flush waits
	 * until either changes. Its own thread writes it, everybody reads it: each access is a step.
	 */
	uint32_t state;
	/* The rest is seen by its own thread only: no steps. */
	uint64_t root; /* 0: none, or taken away */
	/* The TLB. All guests here use page 0 only, so one entry is enough. */
	uint64_t tlb_pa;
	uint32_t tlb_prot; /* 0: nothing is cached */
	bool late;         /* only with MISTAKE_ACK */
};

/* What calls that have returned promised. */
enum promise {
	NOTHING,
	PROTECTED, /* page 0: writes fault */
	STOPPED,   /* nobody uses the root that all had first */
};

/* Made anew for each order. */
static struct {
	struct tdp_env env;
	struct tdp_mm *mm;
	struct vcpu vcpu[VCPUS];
	pthread_mutex_t lock; /* for who changes the next two */
	uint32_t flush;       /* number of the latest flush */
	uint32_t reload;      /* number of the latest that took the roots away as well */
	/* The world: */
	uint32_t frame;    /* of memory that is behind guest page 0 */
	uint32_t gone;     /* frames up to this one are somebody else's by now */
	uint32_t promised; /* enum promise */
	uint64_t first_root;
	const char *wrong; /* what must not happen and did */
	bool told;         /* steps are told (replay) */
} m;

static void tell(const char *format, ...)
{
	va_list list;

	if (!m.told)
		return;
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	putchar('\n');
}

/* What must not happen did. The order is run to its end all the same. */
static void wrong(const char *what)
{
	tell("WRONG: %s", what);
	m.wrong = what;
	tdp_explore_fail(what);
}

static void must(int status, const char *what)
{
	if (status < 0)
		wrong(what);
}

/* ---- the backend: flushes ------------------------------------------------------------------------------ */

static void forget(struct vcpu *v)
{
	v->tlb_prot = 0;
	v->late = false;
}

/*
 * Has anybody flushed since this vCPU last looked? Then it drops what it has cached, and says so *after* that: as
 * soon as it has said so the flush may return, and the memory go to somebody else.
 */
static void serve(struct vcpu *v, bool on_entry)
{
	uint32_t number = look(&m.flush), served = v->state / 2;

	if (number == served)
		return;
	if (look(&m.reload) > served)
		v->root = 0;
	if (mistake == MISTAKE_ACK && !on_entry)
		v->late = true; /* "it is on its way out, and drops everything there" */
	else
		forget(v);
	change(&v->state, number * 2 + (v->state & IN_GUEST));
	tell("vCPU %u: flush %u is served%s", v->number, number, v->late ? ", it says" : "");
}

/*
 * First in, then a look for flushes; a flush first has its number, then looks who is in. So one of the two sees the
 * other, whatever the order. (Real processors need a full fence between the two steps, on both sides; here memory is
 * sequentially consistent, and a forgotten fence is not found. <tdp/gate.h> has all of this ready.)
 */
static void enter(struct vcpu *v)
{
	if (mistake == MISTAKE_ENTRY)
		serve(v, true); /* "what is due is flushed, now it can go in" */
	change(&v->state, v->state | IN_GUEST);
	tell("vCPU %u: enters the guest", v->number);
	if (mistake != MISTAKE_ENTRY)
		serve(v, true);
}

static void leave(struct vcpu *v)
{
	if (v->late)
		forget(v);
	change(&v->state, v->state & ~IN_GUEST);
	tell("vCPU %u: leaves the guest", v->number);
}

/*
 * On return nobody uses what he had cached before. vCPUs that are out will flush when they enter, and are not
 * waited for. Those that are in flush between two instructions (where this machine looks for it; others are kicked
 * by an interrupt), or leave.
 */
static void flush_and_wait(bool reload)
{
	uint32_t number, state;

	tdp_test_point(TDP_POINT_ACQUIRE, &m.lock, sizeof(m.lock)); /* before it is taken, */
	pthread_mutex_lock(&m.lock);
	number = look(&m.flush) + 1;
	if (reload)
		change(&m.reload, number);
	change(&m.flush, number);
	tdp_test_point(TDP_POINT_RELEASE, &m.lock,
		       sizeof(m.lock)); /* and before it is given back */
	pthread_mutex_unlock(&m.lock);
	tell("flush %u begins%s", number, reload ? ", and takes the roots away" : "");
	for (struct vcpu *v = m.vcpu; v < m.vcpu + VCPUS; v++) {
		while ((state = look(&v->state)) & IN_GUEST && state / 2 < number) {
			tell("flush %u waits for vCPU %u", number, v->number);
			m.env.wait(m.env.priv, &v->state, state); /* as long as it is `state` */
		}
	}
	tell("flush %u ends", number);
}

static void flush_all(void *ctx)
{
	(void)ctx;
	flush_and_wait(false);
}

static void flush_range(void *ctx, struct tdp_range range)
{
	(void)range; /* not called without TDP_CAP_RANGE_FLUSH, but asked for */
	flush_all(ctx);
}

static void reload(void *ctx)
{
	(void)ctx;
	flush_and_wait(true);
}

/* By the vCPU's thread, out of the guest. First the number, so that a reload meanwhile takes this root away, too. */
static int root_load(void *ctx, void *cookie, const struct tdp_root_view *root)
{
	struct vcpu *v = cookie;
	uint32_t number = look(&m.flush);

	(void)ctx;
	forget(v);
	v->root = root ? root->pa : 0;
	change(&v->state, number * 2);
	tell("vCPU %u: has %s root", v->number, root ? "a new" : "no");
	return TDP_OK;
}

static int probe(void *ctx, enum tdp_format format, struct tdp_backend_caps *caps)
{
	(void)ctx;
	if (format != TDP_FMT_EPT)
		return TDP_ENOTSUP;
	/* No Accessed, no Dirty. What faults is not in the vCPU's own TLB any more: see instruction(). */
	caps->flags = TDP_CAP_WALKS_TABLES | TDP_CAP_FAULT_INVALIDATES;
	caps->leaf_levels = 0x1; /* 4K */
	caps->gpa_bits = 48;
	caps->pa_bits = 48;
	caps->max_levels = LEVELS;
	return TDP_OK;
}

static const struct tdp_backend_ops backend = {
	.size = sizeof(backend), .name = "explored", .probe = probe, .root_load = root_load,
	.flush_range = flush_range, .flush_all = flush_all, .reload = reload,
};

/* ---- the backend: the guest ---------------------------------------------------------------------------- */

enum stop { DONE, FAULT, NO_ROOT };

/* What page 0 is (Intel SDM vol. 3C, 29.3.2, 4K leaves only) goes into the TLB. Each entry is read in a step. */
static void walk(struct vcpu *v)
{
	uint64_t table = v->root, entry;
	uint32_t prot = TDP_R | TDP_W; /* bits 0 and 1 of an entry */

	for (unsigned level = 0; level < LEVELS && prot; level++) {
		const uint64_t *ref = (const uint64_t *)(uintptr_t)table; /* page 0: entry 0 */

		tdp_test_point(TDP_POINT_READ, ref, sizeof(*ref));
		entry = __atomic_load_n(ref, __ATOMIC_SEQ_CST);
		prot &= (uint32_t)entry;
		table = entry & 0x000ffffffffff000u;
	}
	v->tlb_pa = table;
	v->tlb_prot = prot;
}

static enum stop instruction(struct vcpu *v, uint32_t access)
{
	uint32_t promised = look(&m.promised); /* before it begins */
	bool hit = !(access & ~v->tlb_prot);
	uint32_t frame;

	if (!v->root)
		return NO_ROOT;
	if (!hit)
		walk(v);
	if (access & ~v->tlb_prot) {
		v->tlb_prot = 0;
		tell("vCPU %u: faults", v->number);
		return FAULT;
	}
	frame = (uint32_t)((v->tlb_pa - MEMORY) / PAGE);
	tell("vCPU %u: %s frame %u %s", v->number, access & TDP_W ? "writes to" : "reads", frame,
	     hit ? "as its TLB says" : "after a walk");
	if (frame <= look(&m.gone))
		wrong("memory was used after its zap");
	if (promised == PROTECTED && access & TDP_W)
		wrong("a write got through after the protection");
	if (promised == STOPPED && v->root == m.first_root)
		wrong("a root was used after its invalidation");
	return DONE;
}

static enum stop run_guest(struct vcpu *v, uint32_t access, unsigned instructions)
{
	enum stop stop;

	enter(v);
	stop = instruction(v, access);
	while (stop == DONE && --instructions > 0) {
		serve(v, false);
		stop = instruction(v, access);
	}
	leave(v);
	return stop;
}

/* ---- the host: memory for tables, memory for the guest ------------------------------------------------ */

static void *chunk_alloc(void *priv, uint64_t size)
{
	(void)priv;
	return aligned_alloc(size, size);
}

static void *obj_alloc(void *priv, uint64_t size)
{
	void *object = aligned_alloc(64, (size + 63) / 64 * 64);

	(void)priv;
	return object ? memset(object, 0, size) : NULL;
}

static void host_free(void *priv, void *memory, uint64_t size)
{
	(void)priv, (void)size;
	free(memory);
}

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
		   struct tdp_page *page)
{
	(void)arg, (void)want_lg2, (void)access;
	page->pa = MEMORY + look(&m.frame) * PAGE + gpa;
	page->lg2 = TDP_PAGE_LG2;
	page->prot = TDP_RWX;
	return TDP_OK;
}

static const struct tdp_backing_ops backing = {.size = sizeof(backing), .resolve = resolve};

/* ---- actors: what each thread does --------------------------------------------------------------------- */

/*
 * A vCPU's thread: run the guest, mend what stopped it. An actor that goes round in a loop until another has done
 * something never ends; so where the library says "again", because somebody is in the way, this one is through.
 */
static enum stop run_vcpu(struct vcpu *v, uint32_t access, unsigned instructions)
{
	struct tdp_fault fault = {.size = sizeof(fault), .access = access};
	enum stop stop = NO_ROOT;
	int status = TDP_OK;

	for (unsigned tries = 0; tries < 4 && stop != DONE && status != TDP_FAULT_RETRY; tries++) {
		status = tdp_vcpu_load(v->tdp);
		must(status, "load failed");
		stop = run_guest(v, access, instructions);
		if (stop == FAULT)
			status = tdp_fault(v->tdp, &fault, NULL);
		must(status, "fault failed");
	}
	return stop;
}

static void vcpu0_writes(void *arg)
{
	(void)arg;
	run_vcpu(&m.vcpu[0], TDP_W, 2);
}

/* And mends nothing: a fault is what is wanted. */
static void vcpu0_only_writes(void *arg)
{
	(void)arg;
	run_guest(&m.vcpu[0], TDP_W, 2);
}

static const struct tdp_range page0 = {0, PAGE};

/* The owner of the memory behind page 0 wants it back, and gives the guest the next frame. */
static void takes_frame(void *arg)
{
	uint32_t old = m.frame;

	(void)arg;
	must(tdp_invalidate_begin(m.mm, page0), "invalidate_begin failed");
	must(tdp_zap(m.mm, 0, page0, 0), "zap failed");
	tell("the zap has returned");
	change(&m.frame, old + 1);
	change(&m.gone, old);
	tell("frame %u is somebody else's", old);
	must(tdp_invalidate_end(m.mm, page0), "invalidate_end failed");
}

static void protects(void *arg)
{
	(void)arg;
	must(tdp_write_protect(m.mm, 0, page0), "write_protect failed");
	change(&m.promised, PROTECTED);
	tell("the write protection has returned");
}

/* New roots for everybody. The old tables are torn down later without a flush, so nobody may be in them. */
static void invalidates(void *arg)
{
	(void)arg;
	must(tdp_roots_invalidate(m.mm), "roots_invalidate failed");
	change(&m.promised, STOPPED);
	tell("the invalidation has returned");
}

/* ---- programs: which actors, and where they begin ------------------------------------------------------ */

static const struct program {
	const char *name, *what;
	bool cached; /* both vCPUs have page 0 in their TLBs, writable; else it is not mapped */
	void (*actor[2])(void *arg);
} programs[] = {
	{"fault-zap", "a fault beside a zap", false, {vcpu0_writes, takes_frame}},
	{"access-zap", "writes beside a zap", true, {vcpu0_writes, takes_frame}},
	{"protect", "writes beside write protection", true, {vcpu0_only_writes, protects}},
	{"invalidate", "root load beside invalidation", true, {vcpu0_writes, invalidates}},
};
#define PROGRAMS (sizeof(programs) / sizeof(programs[0]))

/* Before each order. Nobody else runs yet, and points are nothing. A failure here ends everything. */
static int setup(void *arg)
{
	struct tdp_slot_desc ram = {.size = sizeof(ram), .gpa = {0, PAGE}, .backing = &backing};
	struct tdp_mm_config cfg = tdp_mm_config_default();
	bool told = m.told;
	uint32_t slot;
	int status;

	memset(&m, 0, sizeof(m));
	pthread_mutex_init(&m.lock, NULL);
	m.frame = 1;
	m.env.size = sizeof(m.env);
	m.env.chunk_lg2 = 17;
	m.env.chunk_alloc = chunk_alloc, m.env.chunk_free = host_free;
	m.env.obj_alloc = obj_alloc, m.env.obj_free = host_free;
	tdp_explore_env(&m.env); /* its RCU and its wait, before there is an mm */
	cfg.format = TDP_FMT_EPT;
	cfg.env = &m.env;
	cfg.backend = &backend;
	status = tdp_mm_create(&cfg, &m.mm);
	if (!status)
		status = tdp_slot_add(m.mm, &ram, &slot);
	for (unsigned i = 0; i < VCPUS && !status; i++) {
		m.vcpu[i].number = i;
		status = tdp_vcpu_create(m.mm, &m.vcpu[i], &m.vcpu[i].tdp);
		if (!status && ((const struct program *)arg)->cached)
			run_vcpu(&m.vcpu[i], TDP_W, 1);
	}
	m.first_root = m.vcpu[0].root;
	m.told = told;
	return status;
}

/* After the actors. Who was out of the guest all the time has not flushed yet, and must before he uses anything. */
static int check(void *arg)
{
	(void)arg;
	tell("both actors are through; each vCPU reads once more");
	for (unsigned i = 0; i < VCPUS; i++)
		if (run_vcpu(&m.vcpu[i], TDP_R, 1) != DONE)
			wrong("a vCPU could not go on");
	return m.wrong != NULL;
}

static int teardown(void *arg)
{
	int leaked;

	(void)arg;
	m.told = false;
	for (unsigned i = 0; i < VCPUS; i++)
		tdp_vcpu_destroy(m.vcpu[i].tdp);
	leaked = tdp_mm_destroy(m.mm);
	pthread_mutex_destroy(&m.lock);
	return leaked ? TDP_EIO : TDP_OK;
}

/* Every order of a program, or (replay) one. */
static void explore(const struct program *p, const char *order, struct tdp_explore_result *result)
{
	struct tdp_explore_config config = {.size = sizeof(config), .replay = order};
	struct tdp_explore_program program = {.size = sizeof(program), .actors = 2};
	int status;

	program.arg = (void *)(uintptr_t)p; /* handed to the functions, which only read it */
	program.setup = setup, program.check = check, program.teardown = teardown;
	memcpy(program.actor, p->actor, sizeof(p->actor));
	result->size = sizeof(*result);
	m.told = order != NULL;
	status = tdp_explore(&config, &program, result);
	if (result->failed && m.wrong) /* what check() found is only known here */
		snprintf(result->what, sizeof(result->what), "%s", m.wrong);
	if (status == TDP_OK || result->failed)
		return;
	fprintf(stderr, "%s: %s\n", p->name, tdp_strerror(status));
	exit(3);
}

/* Of --replay=PROGRAM:ORDER the order, if it is this program's. */
static const char *order_of(const char *option, const struct program *p)
{
	char start[64];
	int length = snprintf(start, sizeof(start), "--replay=%s:", p->name);

	return strncmp(option, start, (size_t)length) ? NULL : option + length;
}

int main(int argc, char **argv)
{
	static struct tdp_explore_result results[PROGRAMS];
	const char *replay = NULL, *broken = "";
	int failed = -1, tried = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--broken=ack"))
			mistake = MISTAKE_ACK, broken = argv[i];
		else if (!strcmp(argv[i], "--broken=entry"))
			mistake = MISTAKE_ENTRY, broken = argv[i];
		else /* anything else is the order of no program */
			replay = argv[i];
	}
	for (int i = 0; i < (int)PROGRAMS; i++) {
		const char *order = replay ? order_of(replay, &programs[i]) : NULL;
		struct tdp_explore_result *r = &results[i];

		if (replay && !order)
			continue;
		tried++;
		explore(&programs[i], order, r);
		printf("%-10s  %-30s  %5llu orders of up to %3u steps: %s\n", programs[i].name,
		       programs[i].what, (unsigned long long)r->schedules + r->failed, r->steps,
		       r->failed      ? r->what
		       : r->schedules ? "all are right"
				      : "no such order; another mistake, another build?");
		if (r->failed && failed < 0)
			failed = i;
		if (!r->failed && (order ? !r->schedules : !r->complete))
			return 3; /* not that order, or more than a million */
	}
	if (!tried) {
		fprintf(stderr,
			"usage: explore_backend [--broken=ack|entry] [--replay=PROGRAM:ORDER]\n");
		return 2;
	}
	if (failed >= 0 && !replay)
		printf("\nThe first of these orders, a letter for each step (a: the vCPU, b: who is beside "
		       "it, z: callbacks of RCU).\nTo have it told:\n\n%s %s --replay=%s:%s\n",
		       argv[0], broken, programs[failed].name, results[failed].schedule);
	return failed >= 0;
}
