/* SPDX-License-Identifier: BSD-2-Clause */
/* Replays a trace through one VM: the epochs, what the hypervisor does in them, what came out. */
#ifndef REPLAY_RUN_H
#define REPLAY_RUN_H

#include "vm.h"

#define EPOCHS_MAX 64u

/* What a page was in one epoch, for the picture. */
#define CELL_DIRTY 0x1u /* the log had it */
#define CELL_YOUNG 0x2u /* it had been accessed, says the library */
struct cell {
	uint32_t uses;
	uint8_t flags;
	uint8_t lg2; /* of the page that maps it; 0: none */
};

struct result {
	const struct vm_format *format;
	struct tdp_mm_info info;
	struct tdp_stats stats;
	struct tdp_emu_stats emu;
	/* The beginning again with TLB and walk caches off: with huge pages, with 4K pages only. */
	struct tdp_emu_stats bare_huge, bare_4k;
	uint64_t outcomes[TDP_FAULT_OUTCOMES];
	uint64_t accesses, device_reads, device_writes, rom_writes, resolves, moved;
	uint64_t tables_peak, table_bytes_peak;
	uint64_t leaves_4k_peak, leaves_2m_peak;
	uint64_t dirty[EPOCHS_MAX], young[EPOCHS_MAX]; /* pages; dirty only while logging */
	uint64_t recovered;  /* huge pages made again after logging */
	uint64_t reclaim_steps;
	/* What must be the same for every format. */
	uint64_t answers, dirty_hash, young_hash, memory, translations;
	double seconds;
	uint64_t errors;
	char first_error[160];
};

struct plan {
	unsigned epochs;                 /* a multiple of 4, at most EPOCHS_MAX */
	/* Pages of the trace by epochs, or NULL: cells[epoch * npages + page]. */
	struct cell *cells;
	void (*progress)(void *arg, const struct vm *vm, uint64_t done, const char *what);
	void *progress_arg;
};

/* The parts of the plan by epoch: what is done in [epoch / 4 * n, ...). */
enum phase { PHASE_DEMAND, PHASE_MIGRATE, PHASE_RECLAIM, PHASE_REBUILD };
extern const char *const phase_names[4];
static inline enum phase phase_of(const struct plan *plan, unsigned epoch)
{
	return (enum phase)(epoch * 4 / plan->epochs);
}

/* Returns 0 when everything was as it must be; result->errors counts what was not. */
int run_format(const struct plan *plan, const struct vm_format *format, struct guest *guest,
	       struct result *result);

#endif
