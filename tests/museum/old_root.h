/* SPDX-License-Identifier: BSD-2-Clause */
/* A root that the test holds, valid or not: what is in its tables, read by the walker alone. */
#ifndef TESTS_MUSEUM_OLD_ROOT_H
#define TESTS_MUSEUM_OLD_ROOT_H

#include "museum.h"

struct old_root {
	struct tdp_root *root;
	struct tdp_root_view view;
	uint32_t caps;
};

static inline void old_root_hold(struct test_vm *vm, uint32_t as_id, struct old_root *o)
{
	struct tdp_backend_caps caps = {.size = (uint32_t)sizeof(caps)};

	memset(o, 0, sizeof(*o));
	assert_int_equal(tdp_emu_backend.probe(vm->emu, vm->fmt->format, &caps), TDP_OK);
	o->caps = caps.flags;
	o->view.size = (uint32_t)sizeof(o->view);
	assert_int_equal(tdp_root_get(vm->mm, tdp_role_root(vm->mm, as_id), &o->root), TDP_OK);
	assert_int_equal(tdp_root_view(vm->mm, o->root, &o->view), TDP_OK);
}

static inline int old_root_read(void *arg, tdp_pa_t pa, uint64_t *entry)
{
	(void)arg;
	memcpy(entry, (const void *)(uintptr_t)pa, sizeof(*entry));
	return 0;
}

static inline bool old_root_maps(const struct old_root *o, tdp_gpa_t gpa)
{
	struct tdp_emu_exit exit;

	return tdp_emu_walk_foreign(o->view.format, o->view.hw, o->caps, old_root_read, NULL, gpa,
				    TDP_R, &exit) == TDP_EMU_OK;
}

#endif
