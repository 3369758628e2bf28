/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Replays the memory accesses of a real program in a virtual machine, once for each second-stage
 * format, under the emulated walker, and compares the answers (traces: examples/traces/README.md).
 */
#include "report.h"

#include <errno.h>
#include <getopt.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <tdp/posix.h>

#define QUICK_ACCESSES 150000u

static const char usage[] =
	"usage: replay [OPTION...] [TRACE]\n"
	"Replay a recorded trace of memory accesses (a file that xz or zstd may have compressed, or\n"
	"standard input when it is - or missing) in a virtual machine for each entry format.\n"
	"\n"
	"  -f, --format F   only this format (may be repeated); `--format help' lists them\n"
	"  -s, --svg FILE   write the picture there\n"
	"  -n, --limit N    only the first N accesses\n"
	"  -q, --quick      the first 150000 accesses, 16 epochs\n"
	"  -e, --epochs N   4 to 64, a multiple of 4 (default 32)\n"
	"  -h, --help\n"
	"\n"
	"Exit: 0 all formats gave the same, right answers; 1 they did not; 2 wrong use; 3 no trace.\n";

struct options {
	const struct vm_format *formats[FORMATS_MAX];
	unsigned nformats;
	const char *svg, *trace;
	uint64_t limit;
	unsigned epochs;
};

/* ---- progress ---------------------------------------------------------------------------- */

struct progress {
	bool tty;
	uint64_t total;
	unsigned format, nformats;
	unsigned percent; /* last written */
	struct timespec last;
};

static void progress(void *arg, const struct vm *vm, uint64_t done, const char *what)
{
	struct progress *p = arg;
	unsigned percent = (unsigned)(done * 100 / p->total);
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	/* A terminal gets ten lines a second over each other; a file gets one each 50 percent. */
	if (p->tty) {
		if ((now.tv_sec - p->last.tv_sec) * 10 + (now.tv_nsec - p->last.tv_nsec) / 100000000 < 1
		    && done != p->total)
			return;
	} else if (percent / 50 == p->percent / 50) {
		return;
	}
	p->last = now;
	p->percent = percent;
	fprintf(stderr, "%s[%u/%u] %-10s %3u%%  %-14s %8llu accesses %8llu faults%s",
		p->tty ? "\r" : "", p->format + 1, p->nformats, vm->format->name, percent, what,
		(unsigned long long)vm->accesses,
		(unsigned long long)(vm->outcomes[TDP_FAULT_FIXED] + vm->outcomes[TDP_FAULT_MMIO]),
		p->tty ? " " : "\n");
	fflush(stderr);
}

/* ---- the trace --------------------------------------------------------------------------- */

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

/* Compressed files are read through the tool that made them; the shell never parses the name. */
static FILE *open_trace(const char *name, bool *piped)
{
	const char *tool = ends_with(name, ".xz") ? "xz" : ends_with(name, ".zst") ? "zstd" : NULL;
	char command[64];

	*piped = false;
	if (!strcmp(name, "-"))
		return stdin;
	if (!tool)
		return fopen(name, "rb");
	if (access(name, R_OK) || setenv("TDP_TRACE_FILE", name, 1))
		return NULL;
	*piped = true;
	snprintf(command, sizeof(command), "exec %s -dc -- \"$TDP_TRACE_FILE\"", tool);
	return popen(command, "r");
}

static int load_trace(struct trace *trace, const struct options *o)
{
	char error[128];
	bool piped;
	FILE *in = open_trace(o->trace, &piped);
	int status;

	if (!in) {
		fprintf(stderr, "replay: %s: %s\n", o->trace, strerror(errno));
		return -1;
	}
	status = trace_read(trace, in, o->limit, error, sizeof(error));
	if (status)
		fprintf(stderr, "replay: %s: %s\n", o->trace, error);
	if (piped)
		pclose(in); /* with --limit it is told to stop early, which is no error */
	else if (in != stdin)
		fclose(in);
	return status;
}

/* ---- options ----------------------------------------------------------------------------- */

static int add_format(struct options *o, const char *name)
{
	if (!strcmp(name, "help")) {
		for (unsigned i = 0; i < vm_nformats; i++)
			printf("%-12s %s\n", vm_formats[i].name, vm_formats[i].what);
		exit(0);
	}
	for (unsigned i = 0; i < vm_nformats; i++)
		if (!strcmp(name, vm_formats[i].name) && o->nformats < FORMATS_MAX) {
			o->formats[o->nformats++] = &vm_formats[i];
			return 0;
		}
	fprintf(stderr, "replay: no format \"%s\"; try --format help\n", name);
	return -1;
}

static int parse_number(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(s, &end, 10);
	return *s < '0' || *s > '9' || *end || errno || *out < min || *out > max ? -1 : 0;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"format", required_argument, NULL, 'f'}, {"svg", required_argument, NULL, 's'},
		{"limit", required_argument, NULL, 'n'}, {"quick", no_argument, NULL, 'q'},
		{"epochs", required_argument, NULL, 'e'}, {"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0}};
	uint64_t epochs = 32;
	int c, bad = 0;

	while ((c = getopt_long(argc, argv, "f:s:n:qe:h", longs, NULL)) != -1) {
		switch (c) {
		case 'f': bad |= add_format(o, optarg); break;
		case 's': o->svg = optarg; break;
		case 'n': bad |= parse_number(optarg, 1, UINT64_MAX, &o->limit); break;
		case 'q': o->limit = QUICK_ACCESSES; epochs = 16; break;
		case 'e': bad |= parse_number(optarg, 4, EPOCHS_MAX, &epochs); break;
		case 'h': fputs(usage, stdout); exit(0);
		default: bad = -1;
		}
	}
	if (bad || epochs % 4 || argc - optind > 1)
		return -1;
	o->epochs = (unsigned)epochs;
	o->trace = optind < argc ? argv[optind] : "-";
	for (unsigned i = 0; !o->nformats && i < vm_nformats; i++)
		o->formats[i] = &vm_formats[i];
	if (!o->nformats)
		o->nformats = vm_nformats;
	return 0;
}

/* ---- the whole --------------------------------------------------------------------------- */

static void pictures(const struct options *o, const struct plan *plan, const struct guest *guest,
		     const struct result *result)
{
	enum picture_style style = PICTURE_ASCII;
	struct winsize window = {.ws_col = 80};

	if (isatty(STDOUT_FILENO)) {
		ioctl(STDOUT_FILENO, TIOCGWINSZ, &window);
		if (!strcmp(nl_langinfo(CODESET), "UTF-8"))
			style = PICTURE_UNICODE;
		if (!getenv("NO_COLOR") && getenv("TERM") && strcmp(getenv("TERM"), "dumb"))
			style = PICTURE_COLOUR;
	}
	picture_text(stdout, plan, guest, style, window.ws_col ? window.ws_col : 80);
	if (!o->svg)
		return;
	if (picture_svg(o->svg, plan, guest, result))
		fprintf(stderr, "replay: %s: %s\n", o->svg, strerror(errno));
	else
		printf("\nPicture with dirty pages and page sizes: %s\n", o->svg);
}

static int replay(const struct options *o, const struct trace *trace, struct guest *guest)
{
	struct result *results = calloc(o->nformats, sizeof(*results));
	struct progress p = {.tty = isatty(STDERR_FILENO), .total = trace->count,
			     .nformats = o->nformats};
	struct plan plan = {.epochs = o->epochs, .progress = progress, .progress_arg = &p};
	struct cell *cells = calloc((size_t)o->epochs * trace->npages, sizeof(*cells));
	unsigned failed = 0, differ;

	if (!results || !cells) {
		fprintf(stderr, "replay: out of memory\n");
		free(results);
		free(cells);
		return 1;
	}
	for (p.format = 0; p.format < o->nformats; p.format++) {
		struct result *result = &results[p.format];

		/* The pictures show the first format; the others are compared with it. */
		plan.cells = p.format ? NULL : cells;
		p.percent = 0;
		if (!run_format(&plan, o->formats[p.format], guest, result))
			continue;
		failed++;
		fprintf(stderr, "%sreplay: %s: %llu errors, first: %s\n", p.tty ? "\n" : "",
			result->format->name, (unsigned long long)result->errors,
			result->first_error);
	}
	if (p.tty)
		fprintf(stderr, "\r%79s\r", "");
	plan.cells = cells;
	differ = report_table(stdout, results, o->nformats, &plan);
	pictures(o, &plan, guest, &results[0]);
	printf("\n%s: %u formats, %u with errors, %u answers that differ\n",
	       failed || differ ? "FAILED" : "OK", o->nformats, failed, differ);
	free(results);
	free(cells);
	return failed || differ;
}

int main(int argc, char **argv)
{
	struct options o = {0};
	struct trace trace;
	struct guest guest;
	char error[128];
	int status;

	setlocale(LC_CTYPE, "");
	if (parse(argc, argv, &o)) {
		fputs(usage, stderr);
		return 2;
	}
	if (load_trace(&trace, &o))
		return 3;
	if (guest_init(&guest, &trace, error, sizeof(error))) {
		fprintf(stderr, "replay: %s: %s\n", o.trace, error);
		trace_free(&trace);
		return 3;
	}
	printf("Trace: %s\n  %llu accesses (%llu fetches, %llu loads, %llu stores, %llu both) to "
	       "%u pages\n\n", trace.command[0] ? trace.command : "(unnamed)",
	       (unsigned long long)trace.count, (unsigned long long)trace.kinds[TRACE_FETCH],
	       (unsigned long long)trace.kinds[TRACE_LOAD],
	       (unsigned long long)trace.kinds[TRACE_STORE],
	       (unsigned long long)trace.kinds[TRACE_MODIFY], trace.npages);
	fflush(stdout);
	tdp_posix_env_memb()->rcu->thread_register();
	status = replay(&o, &trace, &guest);
	tdp_posix_env_memb()->rcu->thread_unregister();
	guest_free(&guest);
	trace_free(&trace);
	return status;
}
