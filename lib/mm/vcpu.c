/* SPDX-License-Identifier: BSD-2-Clause */
/* vCPUs: which root each one runs on, its table cache, its own statistics. */
#include "mm/root.h"

int tdp_vcpu_create(struct tdp_mm *mm, void *cookie, struct tdp_vcpu **vcpu)
{
	struct tdp_vcpu *v;
	int ret = tdpi_mm_check(mm);

	if (ret)
		return ret;
	if (!vcpu)
		return TDP_EINVAL;
	v = tdpi_obj_alloc(&mm->env, sizeof(*v));
	if (!v)
		return TDP_ENOMEM;
	v->mm = mm;
	v->cookie = cookie;
	tdpi_lock(&mm->env, &mm->vcpus_lock, TDPI_LOCK_VCPUS);
	v->next = mm->vcpus;
	v->prev = &mm->vcpus;
	if (v->next)
		v->next->prev = &v->next;
	mm->vcpus = v;
	mm->vcpu_count++;
	tdpi_unlock(&mm->env, &mm->vcpus_lock);
	*vcpu = v;
	return TDP_OK;
}

/* The backend first: nobody may walk from a root that nobody references. */
static void unload(struct tdp_vcpu *v)
{
	struct tdp_root *root = v->root;

	if (!root)
		return;
	v->mm->backend.root_load(v->mm->backend_ctx, v->cookie, NULL);
	v->root = NULL;
	tdpi_root_drop(v->mm, root);
}

void tdp_vcpu_destroy(struct tdp_vcpu *v)
{
	struct tdp_mm *mm;

	if (!v)
		return;
	mm = v->mm;
	unload(v);
	tdpi_cache_drain(mm, &v->cache);
	tdpi_lock(&mm->env, &mm->vcpus_lock, TDPI_LOCK_VCPUS);
	*v->prev = v->next;
	if (v->next)
		v->next->prev = v->prev;
	mm->vcpu_count--;
	tdpi_counts_merge(mm, &v->counts);
	tdpi_unlock(&mm->env, &mm->vcpus_lock);
	mm->env.obj_free(mm->env.priv, v, sizeof(*v));
}

int tdp_vcpu_topup(struct tdp_vcpu *v)
{
	int ret;

	if (!v)
		return TDP_EINVAL;
	ret = tdpi_mm_check(v->mm);
	return ret ? ret : tdpi_cache_topup(v->mm, &v->cache, v->mm->engine->fault_tables);
}

int tdp_vcpu_set_as(struct tdp_vcpu *v, uint32_t as_id)
{
	int ret;

	if (!v)
		return TDP_EINVAL;
	ret = tdpi_mm_check(v->mm);
	if (ret)
		return ret;
	if (as_id >= TDP_AS_MAX)
		return TDP_ERANGE;
	v->as_id = as_id;
	return TDP_OK;
}

static int load_root(struct tdp_vcpu *v, struct tdp_root *root)
{
	struct tdp_mm *mm = v->mm;
	uint64_t generation = tdpi_load_acquire(&mm->reload_generation);
	struct tdp_root_view view;
	int ret;

	/*
	 * Flushed whenever the root changes: the walker's tags (VMID, ASID) need not tell two roots apart, and
	 * the page of a new root may have been one of an old one.
	 */
	tdpi_root_fill_view(mm, root, &view);
	view.flags = TDP_ROOT_FLUSH;
	ret = mm->backend.root_load(mm->backend_ctx, v->cookie, &view);
	if (ret)
		return ret;
	tdpi_count(&v->counts, flush_vcpu, 1);
	tdpi_count_flush(&v->counts, TDP_OP_LOAD, 1u << TDP_FLUSH_ROOT);
	v->loaded_generation = generation; /* read before: a reload meanwhile makes us load again */
	return TDP_OK;
}

/*
 * A root can become invalid between finding and loading it, and the reload that throws vCPUs out can have
 * passed this one already. It marks roots before it passes, we look after loading: one of the two sees
 * the other (A3), so no vCPU is left on a root that is torn down without a flush.
 */
static int change_root(struct tdp_vcpu *v, tdp_role_t role)
{
	struct tdp_mm *mm = v->mm;
	struct tdp_root *root, *old;
	int ret;

	do {
		ret = tdpi_root_get(mm, role, &v->counts, &root);
		if (ret)
			return ret;
		ret = load_root(v, root);
		if (ret) {
			tdpi_root_drop(mm, root);
			return ret;
		}
		old = v->root;
		v->root = root;
		if (old)
			tdpi_root_drop(mm, old);
		tdpi_fence_seq_cst();
	} while (tdpi_load_acquire(&root->invalid));
	return TDP_OK;
}

int tdp_vcpu_load(struct tdp_vcpu *v)
{
	struct tdp_root *now;
	struct tdp_mm *mm;
	tdp_role_t role;
	int ret;

	if (!v)
		return TDP_EINVAL;
	mm = v->mm;
	ret = tdpi_mm_check(mm);
	if (ret)
		return ret;
	role = tdp_role_root(mm, v->as_id);
	now = v->root;
	if (now && now->role == role && !tdpi_load_acquire(&now->invalid) &&
	    v->loaded_generation == tdpi_load_acquire(&mm->reload_generation))
		return TDP_OK;
	ret = change_root(v, role);
	if (ret)
		unload(v);
	return ret;
}

void tdp_vcpu_guest_enter(struct tdp_vcpu *v)
{
	if (v && v->mm->rcu.thread_offline)
		v->mm->rcu.thread_offline();
}

void tdp_vcpu_guest_exit(struct tdp_vcpu *v)
{
	if (v && v->mm->rcu.thread_online)
		v->mm->rcu.thread_online();
}
