/* SPDX-License-Identifier: BSD-2-Clause */
/* Pictures of pages over epochs: accesses, dirty pages and page sizes, as SVG and in a terminal. */
#include "report.h"

#include <string.h>

#define ROWS_TEXT 32u
#define ROWS_SVG 160u

struct cell picture_bin(const struct plan *plan, const struct guest *guest, unsigned epoch,
			uint32_t first, uint32_t end)
{
	const struct cell *cells = plan->cells + (uint64_t)epoch * guest->trace->npages;
	struct cell sum = {0};
	uint64_t uses = 0;

	for (uint32_t i = first; i < end; i++) {
		uses += cells[i].uses;
		sum.flags |= cells[i].flags;
		if (cells[i].lg2 > sum.lg2)
			sum.lg2 = cells[i].lg2;
	}
	sum.uses = uses > UINT32_MAX ? UINT32_MAX : (uint32_t)uses;
	return sum;
}

static unsigned log2_of(uint64_t n)
{
	unsigned lg2 = 0;

	while (n >>= 1)
		lg2++;
	return lg2;
}

/* 0 for none, else 1..steps by the logarithm, where `most` gives steps. */
static unsigned heat(uint64_t uses, uint64_t most, unsigned steps)
{
	if (!uses)
		return 0;
	return 1 + log2_of(uses) * (steps - 1) / (log2_of(most) ? log2_of(most) : 1);
}

static uint32_t row_start(const struct guest *guest, unsigned row, unsigned rows)
{
	return (uint32_t)((uint64_t)guest->trace->npages * row / rows);
}

static unsigned row_count(const struct guest *guest, unsigned most)
{
	return guest->trace->npages < most ? guest->trace->npages : most;
}

static uint64_t most_uses(const struct plan *plan, const struct guest *guest, unsigned rows)
{
	uint64_t most = 1;

	for (unsigned row = 0; row < rows; row++)
		for (unsigned e = 0; e < plan->epochs; e++) {
			struct cell c = picture_bin(plan, guest, e, row_start(guest, row, rows),
						    row_start(guest, row + 1, rows));

			if (c.uses > most)
				most = c.uses;
		}
	return most;
}

/* ---- terminal ---------------------------------------------------------------------------- */

static void text_cell(FILE *out, struct cell cell, uint64_t most, enum picture_style style)
{
	static const char ascii[] = " .:-=+*%@";
	static const char *const blocks[] = {" ", "░", "▒", "▓", "█"};
	static const unsigned char cold[] = {0, 17, 18, 19, 25, 31, 37, 43, 49};
	static const unsigned char warm[] = {0, 52, 88, 124, 160, 196, 202, 208, 214};

	switch (style) {
	case PICTURE_ASCII:
		fputc(ascii[heat(cell.uses, most, 8)], out);
		break;
	case PICTURE_UNICODE:
		fputs(blocks[heat(cell.uses, most, 4)], out);
		break;
	case PICTURE_COLOUR: {
		unsigned step = heat(cell.uses, most, 8);

		if (!step)
			fputs("\033[0m ", out);
		else
			fprintf(out, "\033[48;5;%um ",
				cell.flags & CELL_DIRTY ? warm[step] : cold[step]);
		break;
	}
	}
}

void picture_text(FILE *out, const struct plan *plan, const struct guest *guest,
		  enum picture_style style, unsigned columns)
{
	unsigned rows = row_count(guest, ROWS_TEXT);
	unsigned wide = (columns > 20 ? columns - 16 : 4) / plan->epochs;
	uint64_t most = most_uses(plan, guest, rows);

	if (!wide)
		wide = 1;
	fprintf(out, "\nAccesses: pages by guest-virtual address (down) over epochs (right)%s\n",
		style == PICTURE_COLOUR ? "; red: harvested as dirty" : "");
	fprintf(out, "%14s ", "");
	for (unsigned e = 0; e < plan->epochs; e += plan->epochs / 4)
		fprintf(out, "|%-*.*s", (int)(plan->epochs / 4 * wide - 1),
			(int)(plan->epochs / 4 * wide - 1), phase_names[phase_of(plan, e)]);
	fputc('\n', out);
	for (unsigned row = 0; row < rows; row++) {
		uint32_t first = row_start(guest, row, rows);

		fprintf(out, "%#14llx ",
			(unsigned long long)(guest->trace->pages[first].vpn << PAGE_LG2));
		for (unsigned e = 0; e < plan->epochs; e++) {
			struct cell cell = picture_bin(plan, guest, e, first,
						       row_start(guest, row + 1, rows));

			for (unsigned i = 0; i < wide; i++)
				text_cell(out, cell, most, style);
		}
		fprintf(out, "%s\n", style == PICTURE_COLOUR ? "\033[0m" : "");
	}
}

/* ---- SVG --------------------------------------------------------------------------------- */

enum panel { PANEL_USES, PANEL_DIRTY, PANEL_YOUNG, PANEL_SIZE, PANELS };

#define LEFT 130u
#define TOP 60u
#define PANEL_W 320u /* about */
#define CELL_H 3u
#define GAP 18u

static unsigned cell_width(const struct plan *plan)
{
	return PANEL_W / plan->epochs;
}

static const char *svg_colour(enum panel panel, struct cell cell, uint64_t most)
{
	static const char *const ramp[] = {
		NULL, "#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962",
		"#addc30", "#fde725"};

	switch (panel) {
	case PANEL_USES:
		return ramp[heat(cell.uses, most, 9)];
	case PANEL_DIRTY:
		return cell.flags & CELL_DIRTY ? "#d7301f" : NULL;
	case PANEL_YOUNG:
		return cell.flags & CELL_YOUNG ? "#238b45" : NULL;
	case PANEL_SIZE:
		if (!cell.lg2)
			return NULL;
		return cell.lg2 >= 30 ? "#08306b" : cell.lg2 >= 21 ? "#2171b5" : "#c6dbef";
	case PANELS:
		break;
	}
	return NULL;
}

/* Equal neighbours in a row become one rectangle, which keeps the file small. */
static void svg_row(FILE *out, const struct plan *plan, const struct guest *guest,
		    enum panel panel, unsigned row, unsigned rows, uint64_t most)
{
	unsigned left = LEFT + panel * (plan->epochs * cell_width(plan) + GAP);
	unsigned start = 0;
	const char *run = NULL;

	for (unsigned e = 0; e <= plan->epochs; e++) {
		const char *colour = NULL;

		if (e < plan->epochs)
			colour = svg_colour(panel,
					    picture_bin(plan, guest, e, row_start(guest, row, rows),
							row_start(guest, row + 1, rows)), most);
		if (colour == run)
			continue;
		if (run)
			fprintf(out, "<rect x='%u' y='%u' width='%u' height='%u' fill='%s'/>\n",
				left + start * cell_width(plan), TOP + row * CELL_H, (e - start) * cell_width(plan),
				CELL_H, run);
		run = colour;
		start = e;
	}
}

static void svg_panel(FILE *out, const struct plan *plan, const struct guest *guest,
		      enum panel panel, unsigned rows, uint64_t most)
{
	static const char *const titles[PANELS] = {
		"accesses (logarithm)", "dirty: harvested in the round", "young: found by aging",
		"mapped: light 4K, dark 2M"};
	unsigned width = plan->epochs * cell_width(plan);
	unsigned left = LEFT + panel * (width + GAP);

	fprintf(out, "<text x='%u' y='%u' font-weight='bold'>%s</text>\n", left, TOP - 20,
		titles[panel]);
	fprintf(out, "<rect x='%u' y='%u' width='%u' height='%u' fill='#f4f4f4'/>\n", left, TOP,
		width, rows * CELL_H);
	for (unsigned row = 0; row < rows; row++)
		svg_row(out, plan, guest, panel, row, rows, most);
	for (unsigned phase = 0; phase < 4; phase++) {
		unsigned x = left + width * phase / 4;

		fprintf(out, "<text x='%u' y='%u' font-size='8'>%s</text>\n", x + 2, TOP - 6,
			phase_names[phase]);
		fprintf(out, "<line x1='%u' y1='%u' x2='%u' y2='%u' stroke='#888'/>\n", x, TOP - 14,
			x, TOP + rows * CELL_H);
	}
}

int picture_svg(const char *path, const struct plan *plan, const struct guest *guest,
		const struct result *result)
{
	unsigned rows = row_count(guest, ROWS_SVG);
	unsigned width = LEFT + PANELS * (plan->epochs * cell_width(plan) + GAP);
	uint64_t most = most_uses(plan, guest, rows);
	FILE *out = fopen(path, "w");
	bool bad;

	if (!out)
		return -1;
	fprintf(out, "<svg xmlns='http://www.w3.org/2000/svg' width='%u' height='%u' "
		"font-family='sans-serif' font-size='11'>\n", width, TOP + rows * CELL_H + 30);
	fprintf(out, "<rect width='100%%' height='100%%' fill='white'/>\n");
	fprintf(out, "<text x='4' y='16'>%s: %s, %u epochs, %llu accesses, %u pages</text>\n",
		result->format->what, guest->trace->command, plan->epochs,
		(unsigned long long)guest->trace->count, guest->trace->npages);
	for (unsigned row = 0; row < rows; row += 8)
		fprintf(out, "<text x='4' y='%u' font-family='monospace' font-size='9'>%#llx</text>\n",
			TOP + row * CELL_H + 8, (unsigned long long)
			(guest->trace->pages[row_start(guest, row, rows)].vpn << PAGE_LG2));
	for (unsigned panel = 0; panel < PANELS; panel++)
		svg_panel(out, plan, guest, (enum panel)panel, rows, most);
	fprintf(out, "<text x='%u' y='%u'>pages by guest-virtual address, down; epochs, right"
		"</text>\n</svg>\n", LEFT, TOP + rows * CELL_H + 20);
	bad = ferror(out);
	return fclose(out) || bad ? -1 : 0;
}
