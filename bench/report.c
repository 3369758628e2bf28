/* SPDX-License-Identifier: BSD-2-Clause */
/* What is told: a line of a table for people, a line of JSON for the rest. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

static const char *const formats[BENCH_FORMATS] = {"ept", "npt", "s2"};
static FILE *json;

static const char *page_name(unsigned lg2)
{
	return lg2 == 12 ? "4K" : lg2 == 21 ? "2M" : "1G";
}

bool tell_open(const char *path)
{
	json = path ? fopen(path, "a") : NULL;
	return !path || json;
}

void tell_close(void)
{
	if (json && fclose(json))
		die("the JSON file was not written");
}

void tell_head(void)
{
	printf("%-22s %-12s %-16s %9s %9s %-6s %7s %5s %9s %7s %7s %6s %8s %8s  %s\n", "question",
	       "", "", "ns", "floor", "", "ratio", "+-%", "cpu", "locked", "instr", "flush",
	       "tables", "MiB", "aim");
	fflush(stdout);
}

/* Four digits of anything. */
static const char *digits(char *to, size_t size, double v)
{
	if (v < 0)
		snprintf(to, size, "-");
	else
		snprintf(to, size,
			 v < 10     ? "%.3f"
			 : v < 100  ? "%.2f"
			 : v < 1000 ? "%.1f"
				    : "%.0f",
			 v);
	return to;
}

static void tell_line(const struct result *r)
{
	char where[32], size[16], text[7][24], aim[160] = "";
	uint64_t gib = r->s->shape.bytes / GIB;

	if (gib >= 1)
		snprintf(size, sizeof(size), "%" PRIu64 "G", gib);
	else
		snprintf(size, sizeof(size), "%" PRIu64 "M", r->s->shape.bytes / MIB);
	snprintf(where, sizeof(where), "%s %s %s%s", formats[r->s->shape.format],
		 page_name(r->page_lg2), size, r->s->cold ? " cold" : "");
	if (r->note)
		snprintf(aim, sizeof(aim), "%s", r->note);
	else if (r->aim_ns > 0)
		snprintf(aim, sizeof(aim), "<= %s %s", digits(text[5], 24, r->aim_ns), r->unit);
	else if (r->aim_ratio > 0)
		snprintf(aim, sizeof(aim), "<= %sx", digits(text[5], 24, r->aim_ratio));
	printf("%-22s %-12s %-16s %9s %9s %-6s %7s %5.1f %9s %7s %7s %6.0f %8" PRIu64
	       " %8.1f  %s\n",
	       r->name,
	       strcmp(r->engine, "libtdp") ? r->engine
	       : r->variant                ? r->variant
					   : "",
	       where, digits(text[0], 24, r->ns.median), digits(text[1], 24, r->floor_ns.median),
	       r->floor, digits(text[2], 24, r->ratio.median), r->ns.spread * 100,
	       digits(text[6], 24, r->cpu_ns), digits(text[3], 24, r->instructions.locked),
	       digits(text[4], 24, r->instructions.all), r->flushes, r->tables,
	       (double)r->bytes / (double)MIB, aim);
	fflush(stdout);
}

static void number(const char *name, double v)
{
	if (v < 0)
		fprintf(json, ",\"%s\":null", name);
	else
		fprintf(json, ",\"%s\":%.9g", name, v);
}

static void figure(const char *name, const struct figure *f)
{
	char part[32];

	number(name, f->median);
	snprintf(part, sizeof(part), "%s_low", name);
	number(part, f->low);
	snprintf(part, sizeof(part), "%s_high", name);
	number(part, f->high);
}

static void tell_json(const struct result *r)
{
	fprintf(json, "{\"name\":\"%s\",\"variant\":\"%s\",\"engine\":\"%s\",\"format\":\"%s\"",
		r->name, r->variant ? r->variant : "", r->engine, formats[r->s->shape.format]);
	fprintf(json, ",\"page\":\"%s\",\"guest_bytes\":%" PRIu64 ",\"cache\":\"%s\"",
		page_name(r->page_lg2), r->s->shape.bytes, r->s->cold ? "cold" : "hot");
	fprintf(json, ",\"threads\":%u,\"entries\":%" PRIu64 ",\"unit\":\"%s\",\"floor\":\"%s\"",
		r->threads, r->entries, r->unit, r->floor);
	figure("ns", &r->ns);
	figure("floor_ns", &r->floor_ns);
	figure("ratio", &r->ratio);
	number("cpu_ns", r->cpu_ns);
	number("locked_per_entry", r->instructions.locked);
	number("instructions_per_entry", r->instructions.all);
	fprintf(json, ",\"rounds\":%u", r->rounds);
	number("spread", r->ns.spread);
	number("flushes", r->flushes);
	fprintf(json, ",\"tables\":%" PRIu64 ",\"table_bytes\":%" PRIu64, r->tables, r->bytes);
	if (r->aim_ns > 0)
		number("aim_ns", r->aim_ns);
	if (r->aim_ratio > 0)
		number("aim_ratio", r->aim_ratio);
	if (r->more)
		fprintf(json, ",%s", r->more);
	fprintf(json, "}\n");
	fflush(json);
}

void tell(const struct result *r)
{
	tell_line(r);
	if (json)
		tell_json(r);
}
