/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the unit tests of the emulated walker share: a small physical memory that tests fill with
 * literal words, one emu with one vCPU, and checks of exits. Nothing of lib/ is used.
 */
#ifndef TDP_TEST_EMU_TABLES_H
#define TDP_TEST_EMU_TABLES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tdp/emu.h>

/* Physical memory: PAGES pages from BASE on. Page n of it is at P(n). */
#define BASE 0x10000000ull
#define PAGES 64u
#define P(n) (BASE + (uint64_t)(n)*4096)

struct rig {
	struct tdp_emu *emu;
	struct tdp_emu_vcpu *v;
	uint64_t (*page)[512];
	int violations;
	const char *what;
	struct tdp_emu_exit exit;
};

static inline void *rig_mem(void *arg, tdp_pa_t pa)
{
	struct rig *r = arg;

	if (pa < BASE || pa >= P(PAGES))
		return NULL;
	return (char *)r->page + (pa - BASE);
}

static inline void rig_violation(void *arg, const char *what, tdp_gpa_t gpa, tdp_pa_t pa)
{
	struct rig *r = arg;

	(void)gpa;
	(void)pa;
	r->violations++;
	r->what = what;
}

static inline void rig_open(struct rig *r, struct tdp_emu_config cfg)
{
	memset(r, 0, sizeof(*r));
	r->page = aligned_alloc(4096, PAGES * 4096);
	assert_non_null(r->page);
	memset(r->page, 0, PAGES * 4096);
	cfg.mem = rig_mem;
	cfg.mem_arg = r;
	cfg.violation = rig_violation;
	cfg.violation_arg = r;
	assert_int_equal(tdp_emu_create(&cfg, &r->emu), TDP_OK);
	assert_int_equal(tdp_emu_vcpu_create(r->emu, &r->v), TDP_OK);
}

static inline void rig_close(struct rig *r)
{
	tdp_emu_vcpu_destroy(r->v);
	tdp_emu_destroy(r->emu);
	free(r->page);
}

static inline struct tdp_root_view view_of(uint32_t format, uint64_t hw0, uint64_t hw1)
{
	struct tdp_root_view view = {0};

	view.size = (uint32_t)sizeof(view);
	view.format = format;
	view.hw[0] = hw0;
	view.hw[1] = hw1;
	return view;
}

static inline int load_root(struct rig *r, struct tdp_emu_vcpu *v, uint32_t format, uint64_t hw0,
			    uint64_t hw1, uint32_t flags)
{
	struct tdp_root_view view = view_of(format, hw0, hw1);

	view.flags = flags;
	return tdp_emu_backend.root_load(r->emu, v, &view);
}

static inline void flush_all(struct rig *r)
{
	tdp_emu_backend.flush_all(r->emu);
}

static inline void flush_range(struct rig *r, uint64_t start, uint64_t size)
{
	tdp_emu_backend.flush_range(r->emu, (struct tdp_range){start, size});
}

static inline void flush_vcpu(struct rig *r, struct tdp_emu_vcpu *v, uint64_t start, uint64_t size)
{
	tdp_emu_backend.flush_vcpu(r->emu, v, (struct tdp_range){start, size});
}

/* An access that must succeed, with this output. */
#define expect_pa(r, address, access, out)                                                         \
	do {                                                                                       \
		assert_int_equal(tdp_emu_access((r)->v, (address), (access), &(r)->exit),          \
				 TDP_EMU_OK);                                                      \
		assert_int_equal((r)->exit.reason, TDP_EMU_OK);                                    \
		assert_int_equal((r)->exit.pa, (out));                                             \
		assert_int_equal((r)->exit.gpa, (address));                                        \
	} while (0)

#define expect_ept(r, address, access, qual)                                                       \
	do {                                                                                       \
		assert_int_equal(tdp_emu_access((r)->v, (address), (access), &(r)->exit),          \
				 TDP_EMU_EPT_VIOLATION);                                           \
		assert_int_equal((r)->exit.raw.ept.qualification, (qual));                         \
		assert_int_equal((r)->exit.raw.ept.gpa, (address));                                \
		assert_int_equal((r)->exit.raw.ept.gla, (address));                                \
	} while (0)

#define expect_misconfig(r, address)                                                               \
	do {                                                                                       \
		assert_int_equal(tdp_emu_access((r)->v, (address), TDP_R, &(r)->exit),             \
				 TDP_EMU_EPT_MISCONFIG);                                           \
		assert_int_equal((r)->exit.raw.ept.gpa, (address));                                \
	} while (0)

#define expect_npf(r, address, access, info1)                                                      \
	do {                                                                                       \
		assert_int_equal(tdp_emu_access((r)->v, (address), (access), &(r)->exit),          \
				 TDP_EMU_NPF);                                                     \
		assert_int_equal((r)->exit.raw.npf.exitinfo1, (info1));                            \
		assert_int_equal((r)->exit.raw.npf.exitinfo2, (address));                          \
	} while (0)

#define expect_s2(r, address, access, esr_value)                                                   \
	do {                                                                                       \
		assert_int_equal(tdp_emu_access((r)->v, (address), (access), &(r)->exit),          \
				 TDP_EMU_S2_ABORT);                                                \
		assert_int_equal((r)->exit.raw.s2.esr, (esr_value));                               \
		assert_int_equal((r)->exit.raw.s2.hpfar, (address) >> 12 << 4);                    \
		assert_int_equal((r)->exit.raw.s2.far, (address));                                 \
	} while (0)

#define expect_test(r, address, access, fault)                                                     \
	do {                                                                                       \
		assert_int_equal(tdp_emu_access((r)->v, (address), (access), &(r)->exit),          \
				 TDP_EMU_TEST_FAULT);                                              \
		assert_int_equal((r)->exit.raw.test.code, (fault));                                \
		assert_int_equal((r)->exit.raw.test.gpa, (address));                               \
	} while (0)

static inline struct tdp_emu_stats stats_of(struct rig *r)
{
	struct tdp_emu_stats st = {0};

	st.size = (uint32_t)sizeof(st);
	assert_int_equal(tdp_emu_stats(r->emu, &st), TDP_OK);
	return st;
}

#endif
