/* SPDX-License-Identifier: BSD-2-Clause */
/* Running invalidations: one covering range and one sequence for all of them (A4; read side in slot.h). */
#include "mm/mm.h"

int tdp_invalidate_begin(struct tdp_mm *mm, struct tdp_range range)
{
	struct tdpi_invalidation *inv;
	struct tdpi_span span;
	int ret = tdpi_span_check(mm, TDP_AS_ALL, range, &span);

	if (ret)
		return ret;
	inv = &mm->inv;
	tdpi_lock(&mm->env, &inv->lock, TDPI_LOCK_INV);
	if (inv->running == UINT32_MAX) {
		ret = TDP_ENOSPC;
	} else if (inv->running == 0) {
		/* Released: who reads these has seen the seq of the range before. */
		tdpi_store_release(&inv->start, span.start);
		tdpi_store_release(&inv->end, span.end);
	} else {
		/* Only ever wider while any runs: whatever mix of old and new is read, it covers the old. */
		tdpi_store_release(&inv->start, tdpi_min64(inv->start, span.start));
		tdpi_store_release(&inv->end, tdpi_max64(inv->end, span.end));
	}
	if (!ret)
		tdpi_store_release(&inv->running, inv->running + 1); /* A4: publish */
	tdpi_unlock(&mm->env, &inv->lock);
	return ret;
}

int tdp_invalidate_end(struct tdp_mm *mm, struct tdp_range range)
{
	struct tdpi_invalidation *inv;
	struct tdpi_span span;
	int ret = tdpi_span_check(mm, TDP_AS_ALL, range, &span);

	if (ret)
		return ret;
	inv = &mm->inv;
	tdpi_lock(&mm->env, &inv->lock, TDPI_LOCK_INV);
	if (inv->running == 0 || span.start < inv->start || span.end > inv->end) {
		ret = TDP_EINVAL;
	} else {
		/* First the sequence: whoever no longer sees the range must see that it moved. */
		tdpi_add_acq_rel(&inv->seq, 1);
		tdpi_store_release(&inv->running, inv->running - 1);
	}
	tdpi_unlock(&mm->env, &inv->lock);
	return ret;
}
