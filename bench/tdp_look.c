/* SPDX-License-Identifier: BSD-2-Clause */
/* What a VM of libtdp looks like from outside: its leaves, its counts, its tables, and the memory that they take. */
#include "tdp.h"

#include <stdlib.h>
#include <sys/mman.h>

#include <tdp/walk.h>

/* ---- looking ---- */

void tdp_vm_look(void *arg, uint64_t gpa, struct bench_seen *seen)
{
	struct tdp_mapping m = {.size = sizeof(m)};
	struct tdp_vm *vm = arg;

	if (tdp_translate(vm->mm, 0, gpa, &m))
		return;
	*seen = (struct bench_seen){
		.mapped = 1,
		.writable = !!(m.prot & TDP_W),
		.young = !!(m.flags & TDP_MAP_ACCESSED),
		.dirty = !!(m.flags & TDP_MAP_DIRTY),
		.page_lg2 = m.lg2,
		.pa = m.pa,
	};
}

void tdp_vm_counts(void *arg, struct bench_counts *out)
{
	struct tdp_stats stats = {.size = sizeof(stats)};
	struct tdp_vm *vm = arg;

	if (tdp_stats(vm->mm, &stats))
		die("libtdp: no statistics");
	*out = (struct bench_counts){.bytes = stats.chunk_bytes,
				     .flushes = stats.flush_range + stats.flush_all};
	for (unsigned level = 0; level < TDP_LEVELS_MAX; level++) {
		out->leaves += stats.leaves[level];
		out->tables += stats.tables[level];
	}
}

struct visitor {
	bench_table_fn *fn;
	void *arg;
};

static int visit(void *arg, const struct tdp_visit *v)
{
	const struct visitor *to = arg;

	/* The environment's offset between addresses here and for the walker is 0. */
	to->fn(to->arg, (uint64_t *)(uintptr_t)v->pa, PER_TABLE, v->level - 1);
	return 0;
}

void tdp_vm_tables(void *arg, bench_table_fn *fn, void *fn_arg)
{
	struct tdp_root_view view = {.size = sizeof(view)};
	struct visitor to = {fn, fn_arg};
	struct tdp_vm *vm = arg;
	struct tdp_root *root;
	int ret = tdp_root_get(vm->mm, tdp_role_root(vm->mm, 0), &root);

	if (ret || tdp_root_view(vm->mm, root, &view))
		die("libtdp: no root to be seen");
	fn(fn_arg, (uint64_t *)(uintptr_t)view.pa, PER_TABLE * view.pages, view.levels - 1u);
	tdp_root_put(vm->mm, root);
	ret = tdp_walk(vm->mm, 0, (struct tdp_range){0, vm->shape.bytes}, TDP_WALK_TABLE_PRE, visit,
		       &to);
	if (ret)
		die("libtdp: walk: %s", tdp_strerror(ret));
}

/* ---- memory ---- */

#define CHUNK (2 * MIB) /* of the environment's */

/* What the kernel has given of the chunks that hold the tables. */
struct resident {
	uint64_t *chunk; /* addresses, each once */
	size_t count, room;
	uint64_t bytes;
};

static void resident_note(void *arg, uint64_t *entries, unsigned count, unsigned level)
{
	uint64_t chunk = (uint64_t)(uintptr_t)entries & ~(CHUNK - 1);
	unsigned char page[CHUNK / (4 * KIB)];
	struct resident *r = arg;

	(void)count, (void)level;
	for (size_t i = r->count; i-- > 0;)
		if (r->chunk[i] == chunk)
			return;
	if (r->count == r->room)
		die("libtdp: tables outside of its chunks");
	r->chunk[r->count++] = chunk;
	if (mincore((void *)(uintptr_t)chunk, CHUNK, page))
		die("libtdp: a chunk that is not mapped");
	for (size_t i = 0; i < sizeof(page); i++)
		r->bytes += (page[i] & 1u) * 4 * KIB;
}

int tdp_vm_trim(struct bench_work *w)
{
	struct tdp_stats stats = {.size = sizeof(stats)};
	struct tdp_vm *vm = w->vm;
	struct resident r = {0};
	int ret = tdp_trim(vm->mm, NULL);

	if (!ret)
		ret = tdp_stats(vm->mm, &stats);
	if (ret)
		return ret;
	r.room = stats.chunk_bytes / CHUNK;
	r.chunk = zeroed(r.room + 1, sizeof(*r.chunk));
	tdp_vm_tables(vm, resident_note, &r);
	if (r.count != r.room)
		die("libtdp: a chunk without tables is left");
	w->done = r.bytes;
	free(r.chunk);
	return 0;
}
