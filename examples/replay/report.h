/* SPDX-License-Identifier: BSD-2-Clause */
/* What the replay found, for people: a table with the formats side by side, and pictures. */
#ifndef REPLAY_REPORT_H
#define REPLAY_REPORT_H

#include "run.h"

/* At most so many columns. */
#define FORMATS_MAX 16u

/* The table; returns the number of differences between formats in what must be the same. */
unsigned report_table(FILE *out, const struct result *results, unsigned n,
		      const struct plan *plan);

enum picture_style { PICTURE_ASCII, PICTURE_UNICODE, PICTURE_COLOUR };
/* Pages over epochs in at most `columns` columns. */
void picture_text(FILE *out, const struct plan *plan, const struct guest *guest,
		  enum picture_style style, unsigned columns);
/* The same with the dirty pages and the page sizes. Returns 0 or -1 (errno). */
int picture_svg(const char *path, const struct plan *plan, const struct guest *guest,
		const struct result *result);

/* The cell of several pages together: all uses, any flag, the largest page size. */
struct cell picture_bin(const struct plan *plan, const struct guest *guest, unsigned epoch,
			uint32_t first, uint32_t end);

#endif
