/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers and words for dump, explain and role differences; and the names of status codes. */
#include "mm/text.h"

#include <tdp/base.h>
#include <tdp/walk.h>

void tdpi_text_init(struct tdpi_text *t, char *buf, size_t size)
{
	t->buf = buf;
	t->size = size;
	t->length = 0;
}

static void put(struct tdpi_text *t, char c)
{
	if (t->length + 1 < t->size)
		t->buf[t->length] = c;
	t->length++;
}

void tdpi_text_str(struct tdpi_text *t, const char *s)
{
	for (; *s; s++)
		put(t, *s);
}

static void number(struct tdpi_text *t, uint64_t v, unsigned base)
{
	char digits[20];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	while (n)
		put(t, digits[--n]);
}

void tdpi_text_u64(struct tdpi_text *t, uint64_t v)
{
	number(t, v, 10);
}

void tdpi_text_hex(struct tdpi_text *t, uint64_t v)
{
	tdpi_text_str(t, "0x");
	number(t, v, 16);
}

void tdpi_text_size(struct tdpi_text *t, unsigned lg2)
{
	number(t, (uint64_t)1 << lg2 % 10, 10);
	put(t, "BKMGTPE"[lg2 / 10]);
}

void tdpi_text_prot(struct tdpi_text *t, uint32_t prot)
{
	static const char mt[8][4] = {"wb", "wt", "wc", "uc", "mt4", "mt5", "mt6", "mt7"};

	put(t, prot & TDP_R ? 'r' : '-');
	put(t, prot & TDP_W ? 'w' : '-');
	put(t, "-sux"[(prot & TDP_X) / TDP_XS]);
	put(t, ' ');
	tdpi_text_str(t, mt[(prot & TDP_MT_MASK) >> TDP_MT_SHIFT]);
	if (prot & TDP_MT_FORCE)
		tdpi_text_str(t, " forced");
	if (prot & TDP_SW_MASK) {
		tdpi_text_str(t, " sw=");
		tdpi_text_u64(t, (prot & TDP_SW_MASK) >> TDP_SW_SHIFT);
	}
}

int tdpi_text_end(struct tdpi_text *t)
{
	if (t->size)
		t->buf[t->length < t->size ? t->length : t->size - 1] = 0;
	return (int)t->length;
}

/* ---- names ---- */

const char *tdp_status_name(int status)
{
	switch (status) {
#define X(name, number, text)                                                                      \
	case (number): return "TDP_" #name;
		TDP_STATUS_LIST(X)
#undef X
	}
	return "TDP_?";
}

const char *tdp_strerror(int status)
{
	switch (status) {
#define X(name, number, text)                                                                      \
	case (number): return text;
		TDP_STATUS_LIST(X)
#undef X
	}
	return status > 0 ? "an outcome, not a failure" : "unknown status";
}

const char *tdp_op_name(uint32_t op)
{
	switch (op) {
#define X(name, text)                                                                              \
	case TDP_OP_##name: return text;
		TDP_OP_LIST(X)
#undef X
	}
	return "?";
}

unsigned tdp_version_number(void)
{
	return TDP_VERSION_NUMBER;
}
