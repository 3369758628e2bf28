/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A host whose freed objects stay where they are until the test lets them go, so that a use after free reads
 * something known: what was in them, or zeros.
 */
#ifndef TESTS_MUSEUM_KEPT_H
#define TESTS_MUSEUM_KEPT_H

#include <stdint.h>
#include <string.h>

#include <tdp/env.h>

#define KEPT_MAX 256u

static struct {
	void (*obj_free)(void *priv, void *obj, uint64_t size);
	void *priv;
	bool zero;
	unsigned count;
	void *obj[KEPT_MAX];
	uint64_t size[KEPT_MAX];
} kept;

static inline void kept_free(void *priv, void *obj, uint64_t size)
{
	if (!obj)
		return;
	if (kept.count == KEPT_MAX) {
		kept.obj_free(priv, obj, size);
		return;
	}
	if (kept.zero)
		memset(obj, 0, (size_t)size);
	kept.priv = priv;
	kept.obj[kept.count] = obj;
	kept.size[kept.count++] = size;
}

static inline void kept_begin(struct tdp_env *env, bool zero)
{
	kept.obj_free = env->obj_free;
	kept.zero = zero;
	kept.count = 0;
	env->obj_free = kept_free;
}

/* Before the host counts what is left. */
static inline void kept_let_go(void)
{
	for (unsigned i = 0; i < kept.count; i++)
		kept.obj_free(kept.priv, kept.obj[i], kept.size[i]);
	kept.count = 0;
}

#endif
