/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The core in a hypervisor without an operating system: memory from a static arena, one thread, no
 * libc but memcpy and its three relatives. Nested paging on one AMD core; exits come from a list.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tdp/decode.h>
#include <tdp/tdp.h>
#include <tdp/walk.h>

/* ---- memory: chunks for tables, lines of 64 bytes for objects ---------------------------- */

#define CHUNK_LG2 16u
#define CHUNK ((uint64_t)1 << CHUNK_LG2)
#define CHUNKS 8u
#define LINE 64u
#define LINES 2048u

struct arena {
	_Alignas(1 << 16) uint8_t chunk[CHUNKS][1 << CHUNK_LG2];
	_Alignas(64) uint8_t line[LINES][LINE];
	bool chunk_used[CHUNKS];
	bool line_used[LINES];
	unsigned outstanding; /* chunks and objects */
};
static struct arena arena;

static void *chunk_alloc(void *priv, uint64_t size)
{
	struct arena *a = priv;

	for (unsigned i = 0; size == CHUNK && i < CHUNKS; i++)
		if (!a->chunk_used[i]) {
			a->chunk_used[i] = true;
			a->outstanding++;
			return a->chunk[i];
		}
	return NULL;
}

static void chunk_free(void *priv, void *chunk, uint64_t size)
{
	struct arena *a = priv;

	(void)size;
	a->chunk_used[((uint8_t *)chunk - a->chunk[0]) / (1 << CHUNK_LG2)] = false;
	a->outstanding--;
}

/* First fit; a hypervisor makes a handful of objects per VM. */
static void *obj_alloc(void *priv, uint64_t size)
{
	struct arena *a = priv;
	uint64_t want = (size + LINE - 1) / LINE, run = 0;

	for (unsigned i = 0; i < LINES; i++) {
		run = a->line_used[i] ? 0 : run + 1;
		if (run < want)
			continue;
		for (uint64_t j = i + 1 - want; j <= i; j++) {
			a->line_used[j] = true;
			for (unsigned b = 0; b < LINE; b++)
				a->line[j][b] = 0;
		}
		a->outstanding++;
		return a->line[i + 1 - want];
	}
	return NULL;
}

static void obj_free(void *priv, void *obj, uint64_t size)
{
	struct arena *a = priv;
	size_t first = (size_t)((uint8_t *)obj - a->line[0]) / LINE;

	for (size_t j = 0; j < (size + LINE - 1) / LINE; j++)
		a->line_used[first + j] = false;
	a->outstanding--;
}

static const struct tdp_env env = {
	.size = sizeof(env),
	.priv = &arena,
	.chunk_alloc = chunk_alloc,
	.chunk_free = chunk_free,
	.chunk_lg2 = CHUNK_LG2,
	.obj_alloc = obj_alloc,
	.obj_free = obj_free,
	.linear_offset = 0, /* the tables are mapped where they are */
	.rcu = &tdp_rcu_single,
};

/* ---- the core: what AMD's VMCB has of nested paging (APM vol. 2, appendix B) ------------- */

struct vmcb {
	uint64_t n_cr3;
	uint8_t tlb_control; /* 1: flush everything at the next VMRUN */
};

static int probe(void *ctx, enum tdp_format format, struct tdp_backend_caps *caps)
{
	(void)ctx;
	if (format != TDP_FMT_NPT)
		return TDP_ENOTSUP;
	caps->flags = TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY | TDP_CAP_FAULT_INVALIDATES |
		      TDP_CAP_WALKS_TABLES;
	caps->leaf_levels = 0x7;
	caps->gpa_bits = 48;
	caps->pa_bits = 48;
	caps->max_levels = 4;
	return TDP_OK;
}

static int root_load(void *ctx, void *vcpu_cookie, const struct tdp_root_view *root)
{
	struct vmcb *vmcb = ctx;

	(void)vcpu_cookie;
	vmcb->n_cr3 = root ? root->hw[0] : 0;
	if (root && root->flags & TDP_ROOT_FLUSH)
		vmcb->tlb_control = 1;
	return TDP_OK;
}

/* The only core is here and not in the guest, so what it does before the next VMRUN is in time. */
static void flush_all(void *ctx)
{
	((struct vmcb *)ctx)->tlb_control = 1;
}

static void flush_range(void *ctx, struct tdp_range range)
{
	(void)range;
	flush_all(ctx);
}

static void reload(void *ctx)
{
	((struct vmcb *)ctx)->n_cr3 = 0;
	flush_all(ctx);
}

static const struct tdp_backend_ops backend = {
	.size = sizeof(backend), .name = "one AMD core", .probe = probe, .root_load = root_load,
	.flush_range = flush_range, .flush_all = flush_all, .reload = reload,
};

/* ---- a few exits ------------------------------------------------------------------------- */

/* EXITINFO1 of a nested page fault (APM vol. 2, 15.25.6): the error code; bit 32: final. */
#define NPF_WRITE 0x2u
#define NPF_USER 0x4u
#define NPF_FETCH 0x10u
#define NPF_FINAL ((uint64_t)1 << 32)

#define RAM_BYTES ((uint64_t)64 << 20)
#define RAM_PA ((uint64_t)1 << 32)

static const struct {
	uint64_t exitinfo1, exitinfo2;
	int outcome;
} exits[] = {
	{NPF_FINAL | NPF_USER | NPF_FETCH, 0x1000, TDP_FAULT_FIXED},
	{NPF_FINAL | NPF_USER | NPF_WRITE, 0x7ff8, TDP_FAULT_SPURIOUS}, /* in the huge page just made */
	{NPF_FINAL | NPF_USER | NPF_WRITE, (32 << 20) + 8, TDP_FAULT_FIXED},
	{NPF_FINAL | NPF_USER, RAM_BYTES - 1, TDP_FAULT_FIXED},
	{NPF_FINAL | NPF_USER, 0xfee00000, TDP_FAULT_MMIO},
	{NPF_FINAL | NPF_USER | NPF_WRITE, 0xfee00000, TDP_FAULT_MMIO},
};

/* Returns 0, or the number of the step that went wrong. */
static int run(struct tdp_mm *mm, struct tdp_vcpu *vcpu, struct vmcb *vmcb)
{
	struct tdp_slot_desc ram = {.size = sizeof(ram), .gpa = {0, RAM_BYTES}, .pa = RAM_PA};
	struct tdp_mapping map = {.size = sizeof(map)};
	struct tdp_report report = {.size = sizeof(report)};
	struct tdp_range page = {0x3000, 0x1000};
	struct tdp_fault fault;
	uint32_t slot;

	if (tdp_slot_add(mm, &ram, &slot) || tdp_vcpu_load(vcpu) || !vmcb->n_cr3)
		return 1;
	for (unsigned i = 0; i < sizeof(exits) / sizeof(exits[0]); i++)
		if (tdp_decode_npf(exits[i].exitinfo1, exits[i].exitinfo2, &fault) ||
		    tdp_fault(vcpu, &fault, NULL) != exits[i].outcome)
			return 10 + (int)i;
	if (tdp_translate(mm, 0, 0x5000, &map) || map.pa + (0x5000 - map.gpa) != RAM_PA + 0x5000)
		return 2;
	if (map.lg2 != 21)
		return 3;
	vmcb->tlb_control = 0;
	/* One page out of the middle: the rest of the huge page stays, and the TLB must know. */
	if (tdp_zap(mm, 0, page, 0) || !vmcb->tlb_control)
		return 4;
	if (tdp_translate(mm, 0, 0x3000, &map) != TDP_ENOENT || tdp_translate(mm, 0, 0x4000, &map) ||
	    map.lg2 != 12 || map.pa != RAM_PA + 0x4000)
		return 5;
	return tdp_verify(mm, &report) ? 6 : 0;
}

int main(void)
{
	struct tdp_mm_config cfg = tdp_mm_config_default();
	struct vmcb vmcb = {0, 0};
	struct tdp_vcpu *vcpu;
	struct tdp_mm *mm;
	int failed;

	cfg.format = TDP_FMT_NPT;
	cfg.env = &env;
	cfg.backend = &backend;
	cfg.backend_ctx = &vmcb;
	if (tdp_mm_create(&cfg, &mm))
		return 100;
	if (tdp_vcpu_create(mm, NULL, &vcpu))
		return 101;
	failed = run(mm, vcpu, &vmcb);
	tdp_vcpu_destroy(vcpu);
	if (tdp_mm_destroy(mm) || arena.outstanding)
		return 102;
	return failed;
}
