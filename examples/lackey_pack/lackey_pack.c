/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Turns the text of `valgrind --tool=lackey --trace-mem=yes` on standard input into a compact trace
 * on standard output (examples/traces/README.md has the format). A filter: nothing is kept but the
 * last address of each kind, so a run of any length needs no room.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096u
#define LINE 64u

enum kind { FETCH, LOAD, STORE, MODIFY, KINDS };

struct packer {
	uint64_t last[KINDS];  /* address of the last record of each kind */
	uint64_t fetch_line;   /* line of the last fetch, written or not */
	uint64_t seen;         /* accesses read, before sampling */
	uint64_t written;
	uint64_t skip, burst, every, limit;
};

static int put(struct packer *p, enum kind kind, uint64_t addr)
{
	uint64_t delta = addr - p->last[kind];
	/* Zigzag: small distances in both directions become small numbers. */
	uint64_t word = delta << 1 ^ (delta >> 63 ? UINT64_MAX : 0);

	p->last[kind] = addr;
	p->written++;
	/* First byte: kind in bits 0..1, five bits of the number, bit 7: more follows. */
	uint64_t rest = word >> 5;
	int byte = (int)((word & 31) << 2 | kind | (rest ? 0x80 : 0));

	while (putchar(byte) != EOF && rest) {
		byte = (int)((rest & 127) | (rest >> 7 ? 0x80 : 0));
		rest >>= 7;
	}
	return ferror(stdout) ? -1 : 0;
}

/* Whether the access with this number falls into the window and into a burst. */
static bool sampled(const struct packer *p, uint64_t number)
{
	if (number < p->skip)
		return false;
	return !p->every || (number - p->skip) % p->every < p->burst;
}

static int access_line(struct packer *p, enum kind kind, uint64_t addr, uint64_t size)
{
	/* A CPU fetches lines, not instructions: a run of fetches from one line is one access. */
	if (kind == FETCH) {
		if (addr / LINE == p->fetch_line)
			return 0;
		p->fetch_line = addr / LINE;
	}
	if (!sampled(p, p->seen++))
		return 0;
	if (put(p, kind, addr))
		return -1;
	/* An access that crosses into the next page is two accesses to an MMU. */
	if (kind != FETCH && size > 1 && (addr + size - 1) / PAGE != addr / PAGE)
		return put(p, kind, (addr + size - 1) / PAGE * PAGE);
	return 0;
}

/* One line of lackey: "I  04001000,3", " L 1fff000100,8"; anything else is not an access. */
static bool parse(const char *s, enum kind *kind, uint64_t *addr, uint64_t *size)
{
	char *end;

	if (s[0] == 'I' && s[1] == ' ')
		*kind = FETCH;
	else if (s[0] == ' ' && s[1] == 'L')
		*kind = LOAD;
	else if (s[0] == ' ' && s[1] == 'S')
		*kind = STORE;
	else if (s[0] == ' ' && s[1] == 'M')
		*kind = MODIFY;
	else
		return false;
	*addr = strtoull(s + 2, &end, 16);
	if (end == s + 2 || *end != ',')
		return false;
	*size = strtoull(end + 1, NULL, 10);
	return *size > 0 && *size <= PAGE;
}

static const char usage[] =
	"usage: lackey_pack [-n LIMIT] [-s SKIP] [-b BURST -e EVERY] [-c COMMAND] < lackey-text > trace\n"
	"  -n, --limit N    end after N accesses written (0: no limit)\n"
	"  -s, --skip N     leave out the first N accesses\n"
	"  -b, --burst N    with -e M: write the first N accesses of every M\n"
	"  -e, --every M\n"
	"  -c, --command S  note in the header what was traced\n";

static bool number(const char *s, uint64_t *out)
{
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	*out = strtoull(s, &end, 10);
	return !*end;
}

static int options(int argc, char **argv, struct packer *p, const char **command)
{
	static const struct option longs[] = {
		{"limit", required_argument, NULL, 'n'}, {"skip", required_argument, NULL, 's'},
		{"burst", required_argument, NULL, 'b'}, {"every", required_argument, NULL, 'e'},
		{"command", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0}};
	bool ok = true;
	int c;

	while ((c = getopt_long(argc, argv, "n:s:b:e:c:h", longs, NULL)) != -1) {
		switch (c) {
		case 'n': ok = number(optarg, &p->limit); break;
		case 's': ok = number(optarg, &p->skip); break;
		case 'b': ok = number(optarg, &p->burst); break;
		case 'e': ok = number(optarg, &p->every); break;
		case 'c': *command = optarg; break;
		case 'h': fputs(usage, stdout); exit(0);
		default: ok = false;
		}
		if (!ok)
			return -1;
	}
	if (optind != argc || (!p->burst != !p->every) || p->burst > p->every)
		return -1;
	return 0;
}

int main(int argc, char **argv)
{
	struct packer p = {.fetch_line = UINT64_MAX};
	const char *command = "";
	char line[256];

	if (options(argc, argv, &p, &command)) {
		fputs(usage, stderr);
		return 2;
	}
	printf("TDPTRACE 1\ncommand: ");
	for (const char *c = command; *c; c++)
		putchar(*c == '\n' ? ' ' : *c);
	printf("\nsampling: skip %" PRIu64 ", %" PRIu64 " of every %" PRIu64 "\n\n", p.skip,
	       p.burst, p.every);
	while (fgets(line, sizeof(line), stdin)) {
		enum kind kind;
		uint64_t addr, size;

		if (!parse(line, &kind, &addr, &size))
			continue;
		if (access_line(&p, kind, addr, size))
			break;
		if (p.limit && p.written >= p.limit)
			break;
	}
	if (fflush(stdout) || ferror(stdout)) {
		perror("lackey_pack: standard output");
		return 1;
	}
	fprintf(stderr, "lackey_pack: %" PRIu64 " accesses seen, %" PRIu64 " written\n", p.seen,
		p.written);
	return p.written ? 0 : 1;
}
