/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A backend of one's own: a flat EPT walker without TLB, Accessed and Dirty, as a simulator of a
 * small machine could have it: all that a backend must do, and the library then keeps the books.
 */
#include <stdio.h>
#include <string.h>
#include <tdp/decode.h>
#include <tdp/posix.h>
#include <tdp/tdp.h>

#define LEVELS 4
#define FETCH 0x4u /* bit 2; bits 0 and 1 are TDP_R and TDP_W */
#define PERMISSIONS 0x7u
#define LARGE 0x80u                             /* bit 7 of an entry: a 2M or 1G page */
#define ADDRESS 0x000ffffffffff000u             /* bits 51..12 */
#define QUALIFICATION_GLA_VALID 0x80u           /* and bit 8: the access itself, not a guest walk */
#define QUALIFICATION_NOT_WALK 0x100u

/* The whole machine: where its only CPU finds the tables; 0 when it has none. */
struct machine {
	uint64_t root;
	unsigned loads, flushes;
};

static int probe(void *ctx, enum tdp_format format, struct tdp_backend_caps *caps)
{
	(void)ctx;
	if (format != TDP_FMT_EPT)
		return TDP_ENOTSUP;
	/* Neither Accessed nor Dirty: the library finds out by faults what the guest did. */
	caps->flags = TDP_CAP_WALKS_TABLES | TDP_CAP_EXEC_ONLY;
	caps->leaf_levels = 0x3; /* 4K and 2M */
	caps->gpa_bits = 48;
	caps->pa_bits = 48;
	caps->max_levels = LEVELS;
	return TDP_OK;
}

static int root_load(void *ctx, void *vcpu_cookie, const struct tdp_root_view *root)
{
	struct machine *m = ctx;

	(void)vcpu_cookie;
	m->root = root ? root->pa : 0;
	m->loads += root != NULL;
	return TDP_OK;
}

/* Nothing is cached, and the CPU runs on the thread that flushes: no walk can be under way. */
static void flush_range(void *ctx, struct tdp_range range)
{
	(void)range;
	((struct machine *)ctx)->flushes++;
}

static void flush_all(void *ctx)
{
	((struct machine *)ctx)->flushes++;
}

/* No walk from an old root until the next root_load(). */
static void reload(void *ctx)
{
	((struct machine *)ctx)->root = 0;
}

static const struct tdp_backend_ops backend = {
	.size = sizeof(backend), .name = "flat", .probe = probe, .root_load = root_load,
	.flush_range = flush_range, .flush_all = flush_all, .reload = reload,
};

/*
 * The walk (Intel SDM vol. 3C, 29.3.2). 0 and *pa, or an exit qualification (table 28-7): bits 0..2
 * what was wanted, bits 3..5 what the entries permit.
 */
static uint64_t walk(const struct machine *m, uint64_t gpa, uint32_t access, uint64_t *pa)
{
	uint64_t wanted = (access & (TDP_R | TDP_W)) | (access & TDP_X ? FETCH : 0);
	uint64_t table = m->root, permitted = PERMISSIONS, entry = 0;
	int level;

	for (level = LEVELS - 1; level >= 0; level--) {
		unsigned index = (unsigned)(gpa >> (12 + 9 * level) & 511);

		memcpy(&entry, (const char *)(uintptr_t)table + index * 8u, 8);
		permitted &= entry;
		if (!permitted || level == 0 || entry & LARGE)
			break;
		table = entry & ADDRESS;
	}
	if ((permitted & wanted) != wanted)
		return wanted | permitted << 3 | QUALIFICATION_GLA_VALID | QUALIFICATION_NOT_WALK;
	entry &= ADDRESS >> (12 + 9 * level) << (12 + 9 * level);
	*pa = entry | (gpa & (((uint64_t)1 << (12 + 9 * level)) - 1));
	return 0;
}

/* One guest access, with its faults; returns how it ended. */
static int guest_access(struct machine *m, struct tdp_vcpu *vcpu, uint64_t gpa, uint32_t access,
			uint64_t *pa)
{
	struct tdp_fault fault = {.size = sizeof(fault)};
	uint64_t qualification;

	for (unsigned tries = 0; tries < 8; tries++) {
		int status = tdp_vcpu_load(vcpu);

		if (status)
			return status;
		qualification = walk(m, gpa, access, pa);
		if (!qualification)
			return TDP_FAULT_FIXED;
		status = tdp_decode_ept(qualification, gpa, gpa, &fault);
		if (!status)
			status = tdp_fault(vcpu, &fault, NULL);
		if (status > TDP_FAULT_RETRY || status < 0)
			return status;
	}
	return TDP_EAGAIN;
}

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                    \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static int use(struct machine *m, struct tdp_mm *mm, struct tdp_vcpu *vcpu)
{
	struct tdp_slot_desc ram = {.size = sizeof(ram), .gpa = {0, 16u << 20}, .pa = 1u << 30};
	struct tdp_range page = {0x7000, 0x1000};
	uint64_t pa = 0, young = 0, dirty[64];
	uint32_t slot;

	CHECK(!tdp_slot_add(mm, &ram, &slot));
	CHECK(guest_access(m, vcpu, 0x7123, TDP_R, &pa) == TDP_FAULT_FIXED);
	CHECK(pa == ram.pa + 0x7123);
	CHECK(guest_access(m, vcpu, 32u << 20, TDP_R, &pa) == TDP_FAULT_MMIO);
	/* Dirty log by write protection, as this machine has no Dirty bit. */
	CHECK(!tdp_dirty_log(mm, slot, TDP_LOG_AUTO));
	CHECK(guest_access(m, vcpu, 0x9000, TDP_W, &pa) == TDP_FAULT_FIXED);
	CHECK(guest_access(m, vcpu, 0xa000, TDP_R, &pa) == TDP_FAULT_FIXED);
	CHECK(!tdp_dirty_harvest(mm, slot, 0, dirty, 64) && dirty[0] == 1u << 9);
	/* Aging without an Accessed bit: the page faults once to say that it was used. */
	CHECK(tdp_age(mm, 0, ram.gpa, &young) == 1 && young > 0);
	CHECK(tdp_test_age(mm, 0, page) == 0);
	CHECK(guest_access(m, vcpu, 0x7000, TDP_R, &pa) == TDP_FAULT_FIXED);
	CHECK(tdp_test_age(mm, 0, page) == 1);
	/* Unmapped is unmapped: the walker itself says so. */
	CHECK(guest_access(m, vcpu, 0xa000, TDP_R, &pa) == TDP_FAULT_FIXED);
	CHECK(!tdp_zap(mm, 0, page, 0));
	CHECK(walk(m, 0x7000, TDP_R, &pa) != 0 && walk(m, 0xa000, TDP_R, &pa) == 0);
	printf("%u root loads, %u flushes\n", m->loads, m->flushes);
	return 0;
}

int main(void)
{
	const struct tdp_env *env = tdp_posix_env_memb();
	struct tdp_mm_config cfg = tdp_mm_config_default();
	struct machine machine = {0};
	struct tdp_vcpu *vcpu;
	struct tdp_mm *mm;
	int failed;

	env->rcu->thread_register();
	cfg.format = TDP_FMT_EPT;
	cfg.env = env;
	cfg.backend = &backend;
	cfg.backend_ctx = &machine;
	CHECK(!tdp_mm_create(&cfg, &mm));
	CHECK(!tdp_vcpu_create(mm, NULL, &vcpu));
	failed = use(&machine, mm, vcpu);
	tdp_vcpu_destroy(vcpu);
	CHECK(tdp_mm_destroy(mm) == 0);
	CHECK(machine.root == 0);
	env->rcu->thread_unregister();
	return failed;
}
