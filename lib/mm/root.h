/* SPDX-License-Identifier: BSD-2-Clause */
/* Roots: found by role, referenced, invalidated at once, torn down later. */
#ifndef TDPI_MM_ROOT_H
#define TDPI_MM_ROOT_H

#include "mm/op.h"

/* The valid root with this role, found or made; referenced. Outside read sections. */
int tdpi_root_get(struct tdp_mm *mm, tdp_role_t role, struct tdpi_counts *counts,
		  struct tdp_root **root);
/* One more reference unless the root is dead. Inside a read section, or holding one. */
bool tdpi_root_hold(struct tdp_root *root);
/* True: it was the last one, the root is on its way out. Never drops the last one of a valid root. */
bool tdpi_root_drop(struct tdp_mm *mm, struct tdp_root *root);
void tdpi_root_fill_view(const struct tdp_mm *mm, const struct tdp_root *root,
			 struct tdp_root_view *view);

#define TDPI_ROOTS_VALID 1u
#define TDPI_ROOTS_INVALID 2u
#define TDPI_ROOTS_ALL 3u
/*
 * The root after prev (NULL: the first) of an address space (TDP_AS_ALL: any), referenced; prev's reference
 * is dropped. The body may sleep. Who leaves the loop early drops the root. A root made meanwhile may be missed.
 */
struct tdp_root *tdpi_root_next(struct tdp_mm *mm, struct tdp_root *prev, uint32_t as_id,
				unsigned which);
#define tdpi_for_each_root(mm, root, as_id, which)                                                 \
	for (struct tdp_root *root = tdpi_root_next(mm, NULL, as_id, which); root;                 \
	     root = tdpi_root_next(mm, root, as_id, which))

/*
 * The same inside one read section, without references: what most operations need. The body stays in the section but
 * for iter_breathe(), which holds the root meanwhile. Who leaves the loop early leaves the section. Whoever makes a
 * root that is missed sees what the caller has published before (A4d).
 */
struct tdp_root *tdpi_root_inside(struct tdp_mm *mm, struct tdp_root *prev, uint32_t as_id,
				  unsigned which);
#define tdpi_for_each_root_inside(mm, root, as_id, which)                                          \
	for (struct tdp_root *root = tdpi_root_inside(mm, NULL, as_id, which); root;               \
	     root = tdpi_root_inside(mm, root, as_id, which))

/* Mark all valid roots invalid (no backend call). How many. */
uint32_t tdpi_roots_mark_invalid(struct tdp_mm *mm);
/* … and say that nothing walks from them (destroy: no vCPU is left). */
void tdpi_roots_mark_stopped(struct tdp_mm *mm);
/* tdp_roots_reclaim() without checks. True: more to do. */
bool tdpi_roots_reclaim(struct tdp_mm *mm, uint64_t max_tables);
/* tdp_roots_invalidate() without checks. */
void tdpi_roots_invalidate(struct tdp_mm *mm, enum tdp_op op);

#endif
