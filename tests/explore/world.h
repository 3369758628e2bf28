/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small machine whose every order of steps is tried: what the programs of tests/explore share. One page table
 * of the guest's memory is enough for most races, so the world is a few pages at GPA, made anew for each order.
 */
#ifndef TESTS_EXPLORE_WORLD_H
#define TESTS_EXPLORE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/mm.h"

#include <tdp/explore.h>

#define PA ((tdp_pa_t)1 << 40) /* names nothing real */
#define PAGES 32u

struct world {
	const struct test_format *fmt;
	struct test_vm vm;
	struct tdp_backing_ops backing;
	tdp_gpa_t gpa;  /* of page 0 */
	uint64_t block; /* bytes that a table of 4K pages covers */
	uint32_t slot;
	tdp_pa_t pa[PAGES]; /* what backs each page now */
	uint32_t flag[4];   /* told from one actor to another */
	uint64_t bits[2];   /* answers of harvests */
	int status[4];
	void (*build)(void); /* the program's part of setup(): slots, mappings, loaded vCPUs */
	int (*judge)(void);  /* its part of check() */
	bool roots_matter;   /* their reference counts are steps */
	uint32_t mm_flags;   /* TDP_MM_*, besides those of the format */
	uint64_t orders;     /* of all programs */
};

static struct world w;

/* ---- steps of the world's own ---- */

static inline void tell(unsigned n)
{
	tdp_test_point(TDP_POINT_WRITE, &w.flag[n], sizeof(w.flag[n]));
	w.flag[n] = 1;
}

static inline bool told(unsigned n)
{
	tdp_test_point(TDP_POINT_READ, &w.flag[n], sizeof(w.flag[n]));
	return w.flag[n] != 0;
}

static inline tdp_gpa_t page(unsigned n)
{
	return w.gpa + n * TEST_PAGE;
}

static inline struct tdp_range pages(unsigned n, unsigned count)
{
	struct tdp_range r = {page(n), count * TEST_PAGE};

	return r;
}

static inline struct tdp_range block(void)
{
	struct tdp_range r = {w.gpa, w.block};

	return r;
}

static inline void must(int status, const char *what)
{
	if (status < 0)
		tdp_explore_fail(what);
}

/* Memory that is given out again: whoever reaches it from now on is wrong. */
static inline void reuse(tdp_pa_t pa)
{
	tdp_emu_forbid(w.vm.emu, pa, TEST_PAGE);
}

/* One access: 0 done, 1 it faulted (and is not tried again), negative: no root. */
static inline int access_once(unsigned cpu, tdp_gpa_t gpa, uint32_t access)
{
	struct tdp_emu_exit exit;
	int reason = tdp_emu_access(w.vm.cpu[cpu].emu, gpa, access, &exit);

	if (reason == TDP_EMU_RELOAD)
		return -1;
	return reason != TDP_EMU_OK;
}

/* As a vCPU does it, but RETRY is an answer: whoever is in the way is an actor that must get its turn. */
static inline int guest(unsigned cpu, tdp_gpa_t gpa, uint32_t access)
{
	return test_vm_access(&w.vm, cpu, gpa, access, NULL);
}

/* ---- backing whose pages move ---- */

static inline int world_resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
				struct tdp_page *out)
{
	unsigned n = (unsigned)((gpa - w.gpa) / TEST_PAGE);

	(void)arg;
	(void)want_lg2;
	(void)access;
	tdp_test_point(TDP_POINT_READ, &w.pa[n], sizeof(w.pa[n]));
	out->pa = w.pa[n];
	out->lg2 = TDP_PAGE_LG2;
	out->prot = TDP_RWX;
	return TDP_OK;
}

static inline void paged_slot(void)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc)};

	w.backing = (struct tdp_backing_ops){.size = (uint32_t)sizeof(w.backing),
					     .resolve = world_resolve};
	desc.gpa = pages(0, PAGES);
	desc.backing = &w.backing;
	must(tdp_slot_add(w.vm.mm, &desc, &w.slot), "slot");
}

static inline void linear_slot(uint64_t size, uint32_t flags)
{
	must(test_vm_slot(&w.vm, 0, w.gpa, size, PA, flags, &w.slot), "slot");
}

/* Another page of memory is behind page n from now on. */
static inline void move_page(unsigned n)
{
	tdp_pa_t old = w.pa[n];

	tdp_test_point(TDP_POINT_WRITE, &w.pa[n], sizeof(w.pa[n]));
	w.pa[n] = old + ((tdp_pa_t)1 << 30);
	reuse(old);
}

/* As a host does that takes a page away. */
static inline void replace_page(unsigned n)
{
	must(tdp_invalidate_begin(w.vm.mm, pages(n, 1)), "begin");
	must(tdp_zap(w.vm.mm, 0, pages(n, 1), 0), "zap");
	move_page(n);
	must(tdp_invalidate_end(w.vm.mm, pages(n, 1)), "end");
}

/* ---- running ---- */

/* What all operations do and undo, or do under a lock that no other step needs. */
static inline void ignore_bookkeeping(void)
{
	struct tdp_mm *mm = w.vm.mm;

	tdp_explore_ignore(&mm->pool_lock, offsetof(struct tdp_mm, retire_lock) -
						   offsetof(struct tdp_mm, pool_lock));
	tdp_explore_ignore(&mm->retire_lock, offsetof(struct tdp_mm, retire_rcu) -
						     offsetof(struct tdp_mm, retire_lock));
	if (!w.roots_matter)
		tdp_explore_ignore(&mm->roots->refs, sizeof(mm->roots->refs));
}

static inline int world_setup(void *arg)
{
	struct test_vm_options opts = {.cpus = 2,
				       .mm_flags = w.mm_flags,
				       .chunk_lg2 = TEST_CHUNK_SMALL,
				       .host = tdp_explore_env,
				       .rcu = &tdp_rcu_explore};
	struct world fresh = {.fmt = w.fmt,
			      .build = w.build,
			      .judge = w.judge,
			      .roots_matter = w.roots_matter,
			      .mm_flags = w.mm_flags,
			      .orders = w.orders};
	int ret;

	(void)arg;
	w = fresh;
	ret = test_vm_init(&w.vm, w.fmt, &opts);
	if (ret)
		return ret;
	w.vm.max_retries = 0;
	w.block = (uint64_t)1 << test_vm_lg2(&w.vm, 1);
	w.gpa = (uint64_t)1 << test_vm_lg2(&w.vm, 2);
	for (unsigned n = 0; n < PAGES; n++)
		w.pa[n] = PA + n * TEST_PAGE;
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		ret = tdp_vcpu_load(w.vm.cpu[cpu].vcpu);
		if (!ret)
			ret = tdp_vcpu_topup(w.vm.cpu[cpu].vcpu);
		if (ret)
			return ret;
	}
	w.build();
	ignore_bookkeeping();
	return TDP_OK;
}

static inline int world_check(void *arg)
{
	(void)arg;
	if (test_vm_check(&w.vm))
		return 1;
	return w.judge ? w.judge() : 0;
}

static inline int world_teardown(void *arg)
{
	(void)arg;
	return test_vm_fini(&w.vm) ? -1 : 0;
}

struct world_program {
	const char *name;
	void (*build)(void);
	int (*judge)(void);
	void (*actor[3])(void *arg);
	bool (*wanted)(const struct test_format *fmt); /* NULL: every format */
	uint32_t preemptions;                          /* 0: all orders */
	bool roots_matter;
	uint32_t mm_flags;
};

/* Every order; TDP_EXPLORE_REPLAY=schedule repeats one, TDP_EXPLORE_MAX bounds their number. */
static inline struct tdp_explore_result world_explore(const struct test_format *fmt,
						      const struct world_program *p)
{
	struct tdp_explore_program program = {.size = (uint32_t)sizeof(program),
					      .actors = p->actor[2] ? 3 : 2,
					      .setup = world_setup,
					      .check = world_check,
					      .teardown = world_teardown};
	struct tdp_explore_config config = {
		.size = (uint32_t)sizeof(config),
		.max_schedules = test_env_number("TDP_EXPLORE_MAX", 0),
		.preemptions = p->preemptions,
		.replay = getenv("TDP_EXPLORE_REPLAY"),
	};
	struct tdp_explore_result result = {.size = (uint32_t)sizeof(result)};
	int ret;

	for (unsigned i = 0; i < program.actors; i++)
		program.actor[i] = p->actor[i];
	w.fmt = fmt;
	w.build = p->build;
	w.judge = p->judge;
	w.roots_matter = p->roots_matter;
	w.mm_flags = p->mm_flags;
	ret = tdp_explore(&config, &program, &result);
	if (ret && ret != TDP_EIO)
		fail_msg("%s: %d", p->name, ret);
	w.orders += result.schedules + result.pruned;
	printf("# %-28s %-10s %6llu orders, %5llu given up, up to %4u steps%s\n", p->name,
	       fmt->name, (unsigned long long)result.schedules, (unsigned long long)result.pruned,
	       result.steps,
	       result.failed     ? ", FAILED"
	       : result.complete ? ""
				 : ", NOT ALL");
	return result;
}

static inline void world_holds(const struct test_format *fmt, const struct world_program *p)
{
	struct tdp_explore_result r = world_explore(fmt, p);

	if (r.failed)
		fail_msg("%s: %s\nTDP_FORMAT=%s TDP_PROGRAM='%s' TDP_EXPLORE_REPLAY=%s", p->name,
			 r.what, fmt->name, p->name, r.schedule);
	if (!getenv("TDP_EXPLORE_REPLAY") && !getenv("TDP_EXPLORE_MAX"))
		assert_int_equal(r.complete, 1);
}

#endif
