/* SPDX-License-Identifier: BSD-2-Clause */
/* Birth and death of an mm, argument checks that all calls share, and the bugged state. */
#include "mm/mm.h"

#include "fmt/contract.h"
#include "mm/range.h"
#include "mm/root.h"
#include "mm/struct.h"

const struct tdpi_engine *tdpi_engine_of(uint32_t format)
{
	switch (format) {
	case TDP_FMT_EPT: return &tdpi_ept_engine;
	case TDP_FMT_NPT: return &tdpi_npt_engine;
	case TDP_FMT_S2_4K: return &tdpi_s2_engine;
	case TDP_FMT_TEST: return &tdpi_test_engine;
	default: return NULL;
	}
}

TDPI_COLD void tdpi_bug(struct tdp_mm *mm, const char *why)
{
	if (tdpi_xchg_relaxed(&mm->bugged, 1u) == 0 && mm->env.log)
		mm->env.log(mm->env.priv, TDP_LOG_BUG, why);
}

int tdpi_span_check(const struct tdp_mm *mm, uint32_t as_id, struct tdp_range range,
		    struct tdpi_span *span)
{
	int ret = tdpi_mm_check(mm);

	if (ret)
		return ret;
	if (range.size == 0 || (range.start | range.size) & (TDP_PAGE_SIZE - 1) ||
	    (as_id >= TDP_AS_MAX && as_id != TDP_AS_ALL))
		return TDP_EINVAL;
	/* By subtraction: start + size may wrap. */
	if (range.start >> mm->gpa_bits || range.size > TDPI_BIT(mm->gpa_bits) - range.start)
		return TDP_ERANGE;
	span->start = range.start >> TDP_PAGE_LG2;
	span->end = span->start + (range.size >> TDP_PAGE_LG2);
	return TDP_OK;
}

/* ---- create ---- */

static int check_env(struct tdp_mm *mm)
{
	const struct tdp_env *e = &mm->env;
	const struct tdp_rcu_ops *r = &mm->rcu;

	if (e->flags || e->reserved || r->flags || !e->chunk_alloc || !e->chunk_free ||
	    !e->obj_alloc || !e->obj_free)
		return TDP_EINVAL;
	if (!e->virt_to_phys != !e->phys_to_virt || !e->wait != !e->wake ||
	    !e->should_yield != !e->yield || !e->node != !e->chunk_alloc_on)
		return TDP_EINVAL;
	if (!r->read_lock || !r->read_unlock || !r->defer || !r->synchronize || !r->barrier ||
	    !r->thread_register || !r->thread_unregister)
		return TDP_EINVAL;
	if (e->chunk_lg2 && (e->chunk_lg2 < 13 || e->chunk_lg2 > 30))
		return TDP_EINVAL;
	mm->chunk_mask = TDPI_BIT(e->chunk_lg2 ? e->chunk_lg2 : 21) - 1;
	return TDP_OK;
}

static int check_backend(struct tdp_mm *mm, const struct tdp_mm_config *cfg)
{
	const struct tdp_backend_ops *o = &mm->backend;
	struct tdp_backend_caps *caps = &mm->caps;
	int ret;

	if (o->flags || !o->probe || !o->root_load || !o->flush_range || !o->flush_all ||
	    !o->reload || !o->flush_begin != !o->flush_wait)
		return TDP_EINVAL;
	mm->engine = tdpi_engine_of(cfg->format);
	if (!mm->engine)
		return TDP_EINVAL;
	caps->size = sizeof(*caps);
	ret = o->probe(cfg->backend_ctx, (enum tdp_format)cfg->format, caps);
	if (ret)
		return ret < 0 ? ret : TDP_ENOTSUP;
	/* Nonsense from below is refused here, before anything is computed from it. */
	if (caps->gpa_bits <= TDP_PAGE_LG2 || caps->gpa_bits > 64 ||
	    caps->pa_bits <= TDP_PAGE_LG2 || caps->pa_bits > 64 ||
	    !(caps->leaf_levels & mm->engine->leaf_levels & 1) || caps->bbm_level > 2)
		return TDP_ENOTSUP;
	caps->gpa_bits = (uint8_t)tdpi_min64(caps->gpa_bits, mm->engine->gpa_bits_max);
	caps->pa_bits = (uint8_t)tdpi_min64(caps->pa_bits, mm->engine->pa_bits_max);
	return TDP_OK;
}

static int pick_geometry(struct tdp_mm *mm, const struct tdp_mm_config *cfg)
{
	bool x86 = cfg->format == TDP_FMT_EPT || cfg->format == TDP_FMT_NPT;
	int levels;

	mm->gpa_bits = cfg->gpa_bits ? cfg->gpa_bits : mm->caps.gpa_bits;
	if (!cfg->gpa_bits && x86) {
		unsigned most = cfg->levels ? cfg->levels : mm->caps.max_levels;

		if (most && most < 5)
			mm->gpa_bits = (uint32_t)tdpi_min64(mm->gpa_bits, 48);
	}
	if (mm->gpa_bits <= TDP_PAGE_LG2)
		return TDP_ERANGE;
	if (cfg->levels && !x86)
		return TDP_EINVAL;
	levels =
		tdp_pick_levels((enum tdp_format)cfg->format, &mm->caps, mm->gpa_bits, cfg->levels);
	if (levels < 0)
		return levels;
	mm->levels = (uint32_t)levels;
	mm->index_lg2 = mm->engine->index_lg2;
	mm->leaf_levels = mm->engine->leaf_levels & mm->caps.leaf_levels &
			  (uint32_t)(TDPI_BIT(mm->levels) - 1);
	mm->root_pages = mm->engine->root_pages(mm->gpa_bits, mm->levels);
	/* A chunk holds a root, aligned to its size, behind its own metadata. */
	return mm->chunk_mask + 1 >= 2 * (uint64_t)mm->root_pages * TDP_PAGE_SIZE ? TDP_OK
										  : TDP_EINVAL;
}

static int pick_ad(struct tdp_mm *mm, const struct tdp_mm_config *cfg)
{
	uint32_t ad = 0;

	if (mm->caps.flags & TDP_CAP_HW_ACCESSED)
		ad |= TDPI_HW_A;
	if (ad && mm->caps.flags & TDP_CAP_HW_DIRTY)
		ad |= TDPI_HW_D;
	/* Only arm64 can have one without the other. */
	if (cfg->format != TDP_FMT_S2_4K && ad != (TDPI_HW_A | TDPI_HW_D))
		ad = 0;
	if (cfg->flags & TDP_MM_NO_HW_AD)
		ad = 0;
	if (mm->engine->ad_always && !ad)
		return TDP_ENOTSUP;
	mm->ad = ad;
	return TDP_OK;
}

static int pick_rest(struct tdp_mm *mm, const struct tdp_mm_config *cfg)
{
	bool x86 = cfg->format == TDP_FMT_EPT || cfg->format == TDP_FMT_NPT;

	if (cfg->flags & ~(TDP_MM_NO_HW_AD | TDP_MM_SCRUB | TDP_MM_FLUSH_ON_AGE |
			   TDP_MM_NO_MMIO_CACHE | TDP_MM_SLOT_ZAP_ALL | TDP_MM_AGE_TABLES))
		return TDP_EINVAL;
	if (cfg->flags & TDP_MM_AGE_TABLES && !(mm->engine->table_a && mm->ad & TDPI_HW_A))
		return TDP_ENOTSUP;
	if (cfg->max_roots > 256 ||
	    (cfg->mmio_gen_bits && (cfg->mmio_gen_bits < 3 || cfg->mmio_gen_bits > 16)))
		return TDP_EINVAL;
	if (cfg->vmid && (cfg->format != TDP_FMT_S2_4K || cfg->vmid > UINT16_MAX))
		return TDP_EINVAL;
	if (cfg->encrypt_mask && (!x86 || cfg->encrypt_mask & (TDP_PAGE_SIZE - 1) ||
				  (mm->caps.pa_bits < 64 && cfg->encrypt_mask >> mm->caps.pa_bits)))
		return TDP_EINVAL;
	mm->flags = cfg->flags;
	if (mm->caps.flags & TDP_CAP_FLUSH_ON_AGE)
		mm->flags |= TDP_MM_FLUSH_ON_AGE;
	mm->format = cfg->format;
	mm->max_roots = cfg->max_roots ? cfg->max_roots : 64;
	mm->mmio_gen_bits = cfg->mmio_gen_bits ? cfg->mmio_gen_bits : 16;
	mm->vmid = cfg->vmid;
	mm->table_limit = cfg->table_limit;
	mm->encrypt_mask = cfg->encrypt_mask;
	mm->pa_offset = mm->env.linear_offset + cfg->encrypt_mask;
	return TDP_OK;
}

static int fill_mm(struct tdp_mm *mm, const struct tdp_mm_config *cfg, const struct tdp_env *env)
{
	int ret;

	mm->env = *env;
	mm->backend_ctx = cfg->backend_ctx;
	ret = tdpi_struct_copy(&mm->rcu, sizeof(mm->rcu), env->rcu, env->rcu->size);
	if (!ret)
		ret = tdpi_struct_copy(&mm->backend, sizeof(mm->backend), cfg->backend,
				       cfg->backend->size);
	if (!ret)
		ret = check_env(mm);
	if (!ret)
		ret = check_backend(mm, cfg);
	if (!ret)
		ret = pick_geometry(mm, cfg);
	if (!ret)
		ret = pick_ad(mm, cfg);
	return ret ? ret : pick_rest(mm, cfg);
}

int tdp_mm_create(const struct tdp_mm_config *config, struct tdp_mm **out)
{
	struct tdp_mm_config cfg;
	struct tdp_env env;
	struct tdp_mm *mm;
	int ret;

	if (!config || !out)
		return TDP_EINVAL;
	ret = tdpi_struct_copy(&cfg, sizeof(cfg), config, config->size);
	if (ret)
		return ret;
	if (!cfg.env || !cfg.backend)
		return TDP_EINVAL;
	ret = tdpi_struct_copy(&env, sizeof(env), cfg.env, cfg.env->size);
	if (ret)
		return ret;
	if (!env.rcu || !env.obj_alloc || !env.obj_free)
		return TDP_EINVAL;
	mm = tdpi_obj_alloc(&env, sizeof(*mm));
	if (!mm)
		return TDP_ENOMEM;
	ret = fill_mm(mm, &cfg, &env);
	if (ret) {
		env.obj_free(env.priv, mm, sizeof(*mm));
		return ret;
	}
	*out = mm;
	return TDP_OK;
}

/* ---- destroy ---- */

static bool in_use(struct tdp_mm *mm)
{
	bool used = mm->vcpu_count != 0;

	tdpi_rcu_lock(mm);
	for (struct tdp_root *r = tdpi_load_acquire(&mm->roots); r; r = tdpi_load_acquire(&r->next))
		used |= tdpi_load_relaxed(&r->users) != 0;
	tdpi_rcu_unlock(mm);
	return used;
}

int tdp_mm_destroy(struct tdp_mm *mm)
{
	uint64_t leaked;

	if (!mm)
		return TDP_EINVAL;
	tdpi_lockcheck(&mm->env, TDPI_AT_BEGIN);
	if (in_use(mm))
		return TDP_EBUSY;
	tdpi_store_relaxed(&mm->dying, 1u);
	if (mm->inv.running && mm->env.log)
		mm->env.log(mm->env.priv, TDP_LOG_WARN,
			    "destroyed with an invalidation still open");
	/* No vCPU is left, so nothing walks from a root and nothing needs a flush. */
	tdpi_roots_mark_invalid(mm);
	tdpi_roots_mark_stopped(mm);
	tdpi_roots_reclaim(mm, 0);
	tdpi_retire_wait(mm);
	tdpi_slots_destroy(mm);
	leaked = mm->tables_taken;
	tdpi_pool_release(mm);
	mm->env.obj_free(mm->env.priv, mm, sizeof(*mm));
	return (int)tdpi_min64(leaked, INT32_MAX);
}

/*
 * In the child of a fork only this thread exists and what others had in hand is lost, so nothing is walked that
 * they might have been changing; memory goes by the lists that name it.
 */
void tdp_mm_abandon(struct tdp_mm *mm)
{
	if (!mm)
		return;
	for (struct tdp_vcpu *v = mm->vcpus, *next; v; v = next) {
		next = v->next;
		mm->env.obj_free(mm->env.priv, v, sizeof(*v));
	}
	for (struct tdp_root *r = mm->roots, *next; r; r = next) {
		next = r->next;
		mm->env.obj_free(mm->env.priv, r, sizeof(*r));
	}
	tdpi_slots_destroy(mm);
	tdpi_pool_release(mm);
	mm->env.obj_free(mm->env.priv, mm, sizeof(*mm));
}

/* ---- what it is ---- */

int tdp_mm_info(const struct tdp_mm *mm, struct tdp_mm_info *info)
{
	if (!mm || !info || info->size != sizeof(*info))
		return TDP_EINVAL;
	info->flags = mm->flags;
	info->format = mm->format;
	info->gpa_bits = mm->gpa_bits;
	info->levels = mm->levels;
	info->index_lg2 = mm->index_lg2;
	info->leaf_levels = mm->leaf_levels;
	info->ad = mm->ad;
	info->root_pages = mm->root_pages;
	info->bugged = tdpi_load_relaxed(&mm->bugged);
	return TDP_OK;
}

uint64_t tdp_table_bytes_max(const struct tdp_mm *mm, uint64_t bytes)
{
	uint64_t pages = (bytes >> TDP_PAGE_LG2) + 1, tables;

	if (!mm)
		return 0;
	tables = mm->root_pages;
	/* At each level below the root: what the pages fill, and one more for an unaligned start. */
	for (unsigned level = 0; level + 1 < mm->levels; level++)
		tables += (pages >> tdpi_level_shift(mm, level + 1)) + 2;
	return tables * TDP_PAGE_SIZE;
}

/* ---- fork ---- */

static const struct tdp_rcu_ops *rcu_of(const struct tdp_env *env)
{
	return env && env->size >= offsetof(struct tdp_env, rcu) + sizeof(env->rcu) ? env->rcu
										    : NULL;
}

#define HAS(ops, member)                                                                           \
	((ops)->size >= offsetof(struct tdp_rcu_ops, member) + sizeof((ops)->member))

void tdp_before_fork(const struct tdp_env *env)
{
	const struct tdp_rcu_ops *rcu = rcu_of(env);

	if (rcu && HAS(rcu, before_fork) && rcu->before_fork)
		rcu->before_fork();
}

void tdp_after_fork_parent(const struct tdp_env *env)
{
	const struct tdp_rcu_ops *rcu = rcu_of(env);

	if (rcu && HAS(rcu, after_fork_parent) && rcu->after_fork_parent)
		rcu->after_fork_parent();
}

void tdp_after_fork_child(const struct tdp_env *env)
{
	const struct tdp_rcu_ops *rcu = rcu_of(env);

	if (rcu && HAS(rcu, after_fork_child) && rcu->after_fork_child)
		rcu->after_fork_child();
}

/* ---- RCU for one thread ---- */

static void nothing(void)
{
}

static void defer_now(struct tdp_rcu_head *head, void (*fn)(struct tdp_rcu_head *head))
{
	fn(head);
}

const struct tdp_rcu_ops tdp_rcu_single = {
	.size = sizeof(struct tdp_rcu_ops),
	.read_lock = nothing,
	.read_unlock = nothing,
	.defer = defer_now,
	.synchronize = nothing,
	.barrier = nothing,
	.thread_register = nothing,
	.thread_unregister = nothing,
};
