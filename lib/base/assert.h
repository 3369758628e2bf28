/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Assertions by tier. TDP_DEBUG 0: none but the always-on checks that mark an mm bugged (mm/mm.h).
 * 1: TDPI_ASSERT, 2: TDPI_ASSERT_DEBUG, 3: whole-tree checks after each operation.
 * Switched off they still type-check their expression. A failed one traps: debug builds only.
 */
#ifndef TDPI_BASE_ASSERT_H
#define TDPI_BASE_ASSERT_H

#ifndef TDP_DEBUG
#define TDP_DEBUG 0
#endif

#define TDPI_ASSERT_OFF(cond) ((void)sizeof(!(cond)))
#define TDPI_ASSERT_ON(cond) ((cond) ? (void)0 : __builtin_trap())

#if TDP_DEBUG >= 1
#define TDPI_ASSERT(cond) TDPI_ASSERT_ON(cond)
#else
#define TDPI_ASSERT(cond) TDPI_ASSERT_OFF(cond)
#endif
#if TDP_DEBUG >= 2
#define TDPI_ASSERT_DEBUG(cond) TDPI_ASSERT_ON(cond)
#else
#define TDPI_ASSERT_DEBUG(cond) TDPI_ASSERT_OFF(cond)
#endif

#if defined(__cplusplus)
#define TDPI_STATIC_ASSERT(cond, text) static_assert(cond, text)
#else
#define TDPI_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#endif

#endif
