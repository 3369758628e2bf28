/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file base.h
 * Addresses, ranges, permissions, status codes and the version: what every other header needs.
 *
 * Freestanding C11 and C++11. Nothing here has state.
 */
#ifndef TDP_BASE_H
#define TDP_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TDP_VERSION_MAJOR 0
#define TDP_VERSION_MINOR 1
#define TDP_VERSION_PATCH 0
#define TDP_VERSION_NUMBER (TDP_VERSION_MAJOR * 10000 + TDP_VERSION_MINOR * 100 + TDP_VERSION_PATCH)

/** Marks what the shared object exports; everything else is hidden. */
#if defined(_WIN32)
#define TDP_API
#else
#define TDP_API __attribute__((visibility("default")))
#endif

/** Guest-physical byte address: the input of a second-stage walk. */
typedef uint64_t tdp_gpa_t;
/** Output byte address of a second-stage walk, as the walker (the MMU) sees it. */
typedef uint64_t tdp_pa_t;

/**
 * Half-open byte range [start, start + size) of guest-physical addresses.
 *
 * Every call that takes one refuses it with TDP_EINVAL when start or size is not a multiple of the
 * granule (4 KiB in all present formats) or size is 0, and with TDP_ERANGE when start + size wraps
 * or lies beyond the guest-physical width. Ranges are never rounded and never clamped.
 */
struct tdp_range {
	tdp_gpa_t start;
	uint64_t size;
};

/** Granule of all present formats: log2 of the smallest page. */
#define TDP_PAGE_LG2 12u
#define TDP_PAGE_SIZE ((uint64_t)1 << TDP_PAGE_LG2)

/**
 * What a guest access wants, and what a mapping permits. Execution is two rights, by the guest's mode:
 * TDP_XS for supervisor-mode linear addresses (EPT) or EL1 (arm64), TDP_XU for user-mode linear addresses or
 * EL0. TDP_X is both, and what is meant wherever modes are not told apart. A mapping that grants one
 * without the other needs TDP_CAP_EXEC_BY_MODE and a format that can say it (all but NPT), else its
 * `prot` is refused with TDP_ENOTSUP.
 */
#define TDP_R 0x1u
#define TDP_W 0x2u
#define TDP_XS 0x4u
#define TDP_XU 0x8u
#define TDP_X (TDP_XS | TDP_XU)
#define TDP_RWX (TDP_R | TDP_W | TDP_X)

/**
 * Memory types, bits 4..6 of a `prot` word.
 * WB 0, WT 1, WC 2, UC 3 (arm64: Normal-NC for WC, Device-nGnRE for UC). A type that the format
 * cannot say is refused with TDP_ENOTSUP (NPT has no WC with the power-on PAT).
 */
#define TDP_MT_SHIFT 4u
#define TDP_MT_MASK (0x7u << TDP_MT_SHIFT)
#define TDP_MT_WB (0u << TDP_MT_SHIFT)
#define TDP_MT_WT (1u << TDP_MT_SHIFT)
#define TDP_MT_WC (2u << TDP_MT_SHIFT)
#define TDP_MT_UC (3u << TDP_MT_SHIFT)
/** The guest's own memory type is ignored (EPT: IPAT). Formats without such a bit ignore it. */
#define TDP_MT_FORCE 0x80u

/** Four software bits of the user, bits 8..11 of a `prot` word, kept by every operation. */
#define TDP_SW_SHIFT 8u
#define TDP_SW_MASK (0xfu << TDP_SW_SHIFT)
#define TDP_SW(n) (1u << (TDP_SW_SHIFT + (n)))

/** All bits that a `prot` word may have. */
#define TDP_PROT_MASK (TDP_RWX | TDP_MT_MASK | TDP_MT_FORCE | TDP_SW_MASK)

/** Selects every address space where a call takes an as_id. */
#define TDP_AS_ALL 0xffffffffu
/** Address spaces of one VM are numbered 0 .. TDP_AS_MAX - 1 (x86: 0 normal, 1 SMM). */
#define TDP_AS_MAX 8u

/*
 * Status codes: name, number, meaning. The numbers are those of Linux errno, negated; errno itself
 * is never used. A call returns TDP_OK or an outcome >= 0, or one of these.
 */
#define TDP_STATUS_LIST(X)                                                                         \
	X(OK, 0, "success")                                                                        \
	X(EPERM, -1, "operation not permitted in this state")                                      \
	X(ENOENT, -2, "no such object, slot or mapping")                                           \
	X(EIO, -5, "the mm is marked bugged: an invariant was broken earlier")                     \
	X(E2BIG, -7, "a structure is longer than this library knows and not zero there")           \
	X(EAGAIN, -11, "try again: another thread is changing the same thing")                     \
	X(ENOMEM, -12, "out of memory or over the table limit; nothing changed")                   \
	X(EACCES, -13, "the backing memory does not permit this access")                           \
	X(EFAULT, -14, "backing memory could not be resolved")                                     \
	X(EBUSY, -16, "still in use")                                                              \
	X(EEXIST, -17, "already there or overlapping")                                             \
	X(EINVAL, -22, "invalid argument")                                                         \
	X(ENOSPC, -28, "a fixed limit is reached")                                                 \
	X(ERANGE, -34, "address beyond the guest-physical width, or the range wraps")              \
	X(ENOTSUP, -95, "not supported by this format or backend")                                 \
	X(ESHUTDOWN, -108, "the mm is being destroyed")

enum tdp_status {
#define TDP_STATUS_ENUM(name, number, text) TDP_##name = (number),
	TDP_STATUS_LIST(TDP_STATUS_ENUM)
#undef TDP_STATUS_ENUM
};

/** Name of a status ("TDP_EINVAL"), "TDP_?" for a number that is none. Never NULL, static storage. */
TDP_API const char *tdp_status_name(int status);
/** One line of English for a status. Never NULL, static storage. */
TDP_API const char *tdp_strerror(int status);
/** TDP_VERSION_NUMBER of the library that is linked, to compare with that of the header. */
TDP_API unsigned tdp_version_number(void);

#ifdef __cplusplus
}
#endif
#endif
