/* SPDX-License-Identifier: BSD-2-Clause */
/* The table: one column per format, and the comparison of what must be the same. */
#include "report.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define LABEL 34
#define COLUMN 12

static void label(FILE *out, const char *text)
{
	fprintf(out, "%-*s", LABEL, text);
}

static void heading(FILE *out, const char *text)
{
	fprintf(out, "\n%s\n", text);
}

static void row(FILE *out, const char *text, const struct result *results, unsigned n,
		size_t offset)
{
	label(out, text);
	for (unsigned i = 0; i < n; i++) {
		uint64_t value;

		memcpy(&value, (const char *)&results[i] + offset, sizeof(value));
		fprintf(out, "%*" PRIu64, COLUMN, value);
	}
	fputc('\n', out);
}

/* The same, left out when it is 0 everywhere. */
static void row_if(FILE *out, const char *text, const struct result *results, unsigned n,
		   size_t offset)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t value;

		memcpy(&value, (const char *)&results[i] + offset, sizeof(value));
		if (value) {
			row(out, text, results, n, offset);
			return;
		}
	}
}

#define ROW(text, member) row(out, text, results, n, offsetof(struct result, member))
#define ROW_IF(text, base, i)                                                                      \
	row_if(out, text, results, n,                                                              \
	       offsetof(struct result, base) + (size_t)(i) * sizeof(uint64_t))

static void table_head(FILE *out, const struct result *results, unsigned n)
{
	label(out, "");
	for (unsigned i = 0; i < n; i++)
		fprintf(out, "%*s", COLUMN, results[i].format->name);
	fputc('\n', out);
	label(out, "levels: guest x second stage");
	for (unsigned i = 0; i < n; i++)
		fprintf(out, "%*u x %u", COLUMN - 4,
			results[i].format->paging == GUEST_X86_5 ? 5u : 4u, results[i].info.levels);
	fputc('\n', out);
	label(out, "Accessed, Dirty set by");
	for (unsigned i = 0; i < n; i++) {
		bool a = results[i].info.ad & 1, d = results[i].info.ad & 2;

		fprintf(out, "%*s", COLUMN, d ? "MMU" : a ? "MMU, faults" : "faults");
	}
	fputc('\n', out);
}

static void faults(FILE *out, const struct result *results, unsigned n)
{
	static const char *const names[TDP_FAULT_OUTCOMES] = {
		"  fixed", "  spurious", "  retry", "  MMIO, emulated", "  read-only, emulated",
		"  write-tracked"};

	heading(out, "second-stage faults by outcome");
	for (unsigned i = 0; i < TDP_FAULT_OUTCOMES; i++)
		row(out, names[i], results, n,
		    offsetof(struct result, outcomes) + i * sizeof(uint64_t));
	ROW("  fixed without a look-up", stats.fault_fast);
	ROW_IF("  retry without a look-up or lock", stats.fault_prechecked, 0);
	ROW("  look-ups of backing memory", resolves);
}

static void memory(FILE *out, const struct result *results, unsigned n)
{
	heading(out, "tables");
	ROW("  tables, most at once", tables_peak);
	ROW("  bytes of tables, most at once", table_bytes_peak);
	ROW("  bytes taken from the host", stats.chunk_bytes);
	ROW("  4K leaves, most at once", leaves_4k_peak);
	ROW("  2M leaves, most at once", leaves_2m_peak);
	ROW("  splits", stats.splits);
	ROW("  collapses", stats.collapses);
	ROW("  2M leaves after the migration", recovered);
	ROW("  pages moved to another frame", moved);
	ROW("  roots made", stats.root_creates);
	ROW("  reclaim steps", reclaim_steps);
}

static void flushes(FILE *out, const struct result *results, unsigned n)
{
	static const char *const causes[TDP_FLUSH_CAUSES] = {
		"    mappings removed", "    tables unlinked", "    permission taken",
		"    dirty harvested", "    break before make", "    owed by another",
		"    roots", "    aging", "    one vCPU, permission given"};

	heading(out, "flushes");
	ROW("  of ranges", stats.flush_range);
	ROW("  of everything", stats.flush_all);
	ROW("  of one vCPU", stats.flush_vcpu);
	ROW("  vCPUs made to reload", emu.reloads);
	fprintf(out, "  by cause\n");
	for (unsigned i = 0; i < TDP_FLUSH_CAUSES; i++)
		ROW_IF(causes[i], stats.flush_cause, i);
	fprintf(out, "  by call\n");
	for (unsigned i = 0; i < TDP_OPS; i++) {
		char name[LABEL];

		snprintf(name, sizeof(name), "    %s", tdp_op_name(i));
		ROW_IF(name, stats.flush_op, i);
	}
}

static void walks_by_refs(FILE *out, const struct result *results, unsigned n, size_t offset)
{
	static const struct {
		const char *name;
		unsigned from, to;
	} bins[] = {
		{"  1..4 references", 1, 4}, {"  5..8", 5, 8}, {"  9..12", 9, 12},
		{"  13..16", 13, 16}, {"  17..20", 17, 20}, {"  21..23", 21, 23},
		{"  24 (4 x 4 levels, all 4K)", 24, 24}, {"  25..34", 25, 34},
		{"  35 (5 x 5 levels, all 4K)", 35, 35}, {"  more", 36, TDP_EMU_REFS_MAX - 1}};

	for (unsigned b = 0; b < sizeof(bins) / sizeof(bins[0]); b++) {
		uint64_t sums[FORMATS_MAX] = {0}, any = 0;

		for (unsigned i = 0; i < n; i++) {
			struct tdp_emu_stats stats;

			memcpy(&stats, (const char *)&results[i] + offset, sizeof(stats));
			for (unsigned r = bins[b].from; r <= bins[b].to; r++)
				sums[i] += stats.refs_hist[r];
			any |= sums[i];
		}
		if (!any && bins[b].from != 24)
			continue;
		label(out, bins[b].name);
		for (unsigned i = 0; i < n; i++)
			fprintf(out, "%*" PRIu64, COLUMN, sums[i]);
		fputc('\n', out);
	}
}

static void walker(FILE *out, const struct result *results, unsigned n)
{
	heading(out, "the walker");
	ROW("  accesses (and again after faults)", emu.accesses);
	ROW("  TLB hits", emu.tlb_hits);
	ROW("  walks", emu.walks);
	ROW("  walk cache hits", emu.walk_cache_hits);
	ROW("  table entries read", emu.refs);
	ROW("  second-stage faults", emu.exits);
	ROW("  Accessed bits set by the MMU", emu.accessed_set);
	ROW("  Dirty bits set by the MMU", emu.dirty_set);
	heading(out, "walks by references to memory");
	walks_by_refs(out, results, n, offsetof(struct result, emu));
	heading(out, "the beginning again without TLB and walk caches, huge pages");
	walks_by_refs(out, results, n, offsetof(struct result, bare_huge));
	heading(out, "the same with 4K pages only");
	walks_by_refs(out, results, n, offsetof(struct result, bare_4k));
}

static void rounds(FILE *out, const struct result *results, unsigned n, const struct plan *plan)
{
	unsigned first = plan->epochs / 4 * PHASE_MIGRATE;

	heading(out, "migration: dirty pages harvested in each round");
	for (unsigned e = first; e < plan->epochs / 4 * (PHASE_MIGRATE + 1); e++) {
		char text[32];

		snprintf(text, sizeof(text), "  round %u%s", e - first, e == first ? " (all)" : "");
		row(out, text, results, n, offsetof(struct result, dirty) + e * sizeof(uint64_t));
	}
	heading(out, "young memory found by aging, in pages of 4K");
	for (unsigned e = 0; e < plan->epochs; e++) {
		char text[48];

		snprintf(text, sizeof(text), "  epoch %-2u  %s", e,
			 e * 4 % plan->epochs < 4 ? phase_names[phase_of(plan, e)] : "");
		row(out, text, results, n, offsetof(struct result, young) + e * sizeof(uint64_t));
	}
}

/* A line of the comparison; the answer is whether all are alike. */
static unsigned same(FILE *out, const char *text, const struct result *results, unsigned n,
		     size_t offset)
{
	unsigned differ = 0;
	uint64_t first, value;

	memcpy(&first, (const char *)&results[0] + offset, sizeof(first));
	label(out, text);
	for (unsigned i = 0; i < n; i++) {
		memcpy(&value, (const char *)&results[i] + offset, sizeof(value));
		fprintf(out, "    %08" PRIx32, (uint32_t)(value ^ value >> 32));
		differ |= value != first;
	}
	fprintf(out, "  %s\n", differ ? "DIFFERENT" : "same");
	return differ;
}

#define SAME(text, member) same(out, text, results, n, offsetof(struct result, member))

unsigned report_table(FILE *out, const struct result *results, unsigned n,
		      const struct plan *plan)
{
	unsigned differ = 0;

	table_head(out, results, n);
	heading(out, "the guest");
	ROW("  accesses", accesses);
	ROW("  device register reads", device_reads);
	ROW("  device register writes", device_writes);
	ROW("  writes to ROM", rom_writes);
	faults(out, results, n);
	memory(out, results, n);
	flushes(out, results, n);
	walker(out, results, n);
	rounds(out, results, n, plan);
	heading(out, "what every format must answer alike (hashes)");
	differ += SAME("  each access: page, data, outcome", answers);
	differ += SAME("  dirty pages of each round", dirty_hash);
	differ += SAME("  young 4K pages of each epoch", young_hash);
	differ += SAME("  memory at the end", memory);
	differ += SAME("  all translations at the end", translations);
	label(out, "seconds");
	for (unsigned i = 0; i < n; i++)
		fprintf(out, "%*.2f", COLUMN, results[i].seconds);
	fputc('\n', out);
	return differ;
}
