/* SPDX-License-Identifier: BSD-2-Clause */
/* Text into a caller's buffer, without libc: always terminated, length counted beyond the end. */
#ifndef TDPI_MM_TEXT_H
#define TDPI_MM_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct tdpi_text {
	char *buf;
	size_t size;   /* of buf */
	size_t length; /* of the text so far, also what did not fit */
};

void tdpi_text_init(struct tdpi_text *t, char *buf, size_t size);
void tdpi_text_str(struct tdpi_text *t, const char *s);
void tdpi_text_u64(struct tdpi_text *t, uint64_t v);
void tdpi_text_hex(struct tdpi_text *t, uint64_t v); /* with 0x */
/* "4K", "2M", "1G" … */
void tdpi_text_size(struct tdpi_text *t, unsigned lg2);
/* "rwx wb" … and SW bits */
void tdpi_text_prot(struct tdpi_text *t, uint32_t prot);
/* Terminate; the length it needed. */
int tdpi_text_end(struct tdpi_text *t);

#endif
