/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file point.h
 * Where a step begins: what code under test tells the explorer (<tdp/explore.h>).
 */
#ifndef TDP_POINT_H
#define TDP_POINT_H

#include <tdp/base.h>

#ifdef __cplusplus
extern "C" {
#endif

enum tdp_point {
	TDP_POINT_READ = 0,
	TDP_POINT_WRITE = 1,   /* also a read-modify-write */
	TDP_POINT_ACQUIRE = 2, /* takes the lock `object`: waits while another actor has it */
	TDP_POINT_RELEASE = 3,
	TDP_POINT_FENCE = 4, /* a full fence, object NULL: the explorer passes over it */
};

/**
 * The calling actor is about to do one atomic step on [object, object + size). Returns when it is its turn.
 * Outside of an actor it returns at once. Backends and callbacks under test call it before each access to
 * what actors share; around a lock of theirs, ACQUIRE before taking and RELEASE before dropping it.
 * `object` is only compared, never read. Not between two points: anything that waits for another actor.
 */
TDP_API void tdp_test_point(enum tdp_point kind, const void *object, size_t size);

#ifdef __cplusplus
}
#endif
#endif
