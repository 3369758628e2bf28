/* SPDX-License-Identifier: BSD-2-Clause */
/* The hypervisor's own work on a VM: logging, copying, aging, moving, splitting, zapping. */
#ifndef REPLAY_HOST_H
#define REPLAY_HOST_H

#include "run.h"

struct run {
	const struct plan *plan;
	struct result *result;
	struct vm vm;
	struct cell *cells;           /* of the current epoch, or NULL */
	uint8_t *shadow[REGIONS];     /* the other side of the migration */
	uint64_t *bitmap[REGIONS];    /* young pages of the last epoch */
	uint64_t *harvest[REGIONS];   /* dirty pages of the last round */
	unsigned rounds;              /* harvests so far */
	uint64_t huge_before;         /* 2M leaves before the migration */
};

int host_init(struct run *run);
void host_free(struct run *run);

/* Note the page sizes for the picture and the peaks. */
void host_look(struct run *run, unsigned epoch);
/* Clear Accessed everywhere; every page touched since the last time must have been young. */
void host_age(struct run *run, unsigned epoch);
/*
 * Forget who was young, after huge pages were made: where the MMU sets Accessed they start so, as
 * it may just have used a small one; elsewhere they do not.
 */
void host_age_anew(struct run *run);
/* tdp_verify() must have nothing to say. */
void host_verify(struct run *run);

void host_migrate_begin(struct run *run);
/* Harvest and copy. Every page stored to since the last round must be there. */
void host_migrate_round(struct run *run, unsigned epoch);
/* The last round, the guest stands still; then both sides must be equal. Recover huge pages. */
void host_migrate_end(struct run *run);

/* Pages of REGION_PAGED that were not young get another frame. */
void host_move_cold(struct run *run);
/* Some of them, dirty or not: what they were stored to stays in the log. */
void host_move_some(struct run *run, unsigned epoch);
void host_split(struct run *run);
void host_collapse(struct run *run);
/* Zap 64 KiB out of the middle of each huge page of RAM. */
void host_balloon(struct run *run);
void host_fast_zap(struct run *run);
/* Tear down a few tables of old roots. */
void host_reclaim_step(struct run *run);

/* Map all, then: the checksum of all translations and of memory, which must be the model's. */
void host_final(struct run *run);

#endif
