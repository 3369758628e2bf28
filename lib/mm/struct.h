/* SPDX-License-Identifier: BSD-2-Clause */
/* Versioned structures of the caller: shorter ones are zero beyond their end, longer ones must be. */
#ifndef TDPI_MM_STRUCT_H
#define TDPI_MM_STRUCT_H

#include "base/bits.h"
#include "base/mem.h"

#include <tdp/base.h>

/* Copy src, `given` bytes long by its own word, into dst of `size` bytes. TDP_EINVAL, TDP_E2BIG. */
static inline int tdpi_struct_copy(void *dst, size_t size, const void *src, uint32_t given)
{
	if (tdpi_likely(src && given == size)) {
		memcpy(dst, src, size); /* of a size that the compiler knows */
		return TDP_OK;
	}
	if (!src || given < sizeof(uint32_t))
		return TDP_EINVAL;
	for (size_t i = size; i < given; i++)
		if (((const unsigned char *)src)[i])
			return TDP_E2BIG;
	memset(dst, 0, size);
	memcpy(dst, src, given < size ? given : size);
	return TDP_OK;
}

#endif
