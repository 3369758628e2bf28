/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The map behind TLB and walk caches: open addressing, grows instead of evicting, so that a
 * translation stays until something really drops it.
 */
#include <stdlib.h>
#include <string.h>

#include "emu_int.h"

#define MAP_FIRST_LG2 8u

static uint32_t map_mask(const struct emu_map *map)
{
	return ((uint32_t)1 << map->cap_lg2) - 1;
}

static uint32_t map_home(const struct emu_map *map, uint64_t tag, uint64_t key)
{
	uint64_t h = (key >> 12) ^ (key << 52) ^ (tag * 0xff51afd7ed558ccdull);

	h *= 0x9e3779b97f4a7c15ull;
	return (uint32_t)(h >> (64 - map->cap_lg2));
}

static bool map_live(const struct emu_map *map, uint32_t i)
{
	return map->slot[i].gen == map->gen;
}

static uint64_t map_key(uint64_t addr, unsigned lg2)
{
	return (addr >> lg2 << lg2) | lg2;
}

void tdpi_emu_map_free(struct emu_map *map)
{
	free(map->slot);
	memset(map, 0, sizeof(*map));
}

static struct emu_slot *map_lookup(struct emu_map *map, uint64_t tag, uint64_t key)
{
	uint32_t i = map_home(map, tag, key);

	for (; map_live(map, i); i = (i + 1) & map_mask(map)) {
		if (map->slot[i].key == key && map->slot[i].tag == tag)
			return &map->slot[i];
	}
	return NULL;
}

struct emu_slot *tdpi_emu_map_at(struct emu_map *map, uint64_t tag, uint64_t addr, unsigned lg2)
{
	if (!(map->sizes >> lg2 & 1))
		return NULL;
	return map_lookup(map, tag, map_key(addr, lg2));
}

struct emu_slot *tdpi_emu_map_find(struct emu_map *map, uint64_t tag, uint64_t addr)
{
	/* Smallest block first: the deepest table of the walk cache, the most specific page. */
	for (uint64_t sizes = map->sizes; sizes; sizes &= sizes - 1) {
		unsigned lg2 = (unsigned)__builtin_ctzll(sizes);
		struct emu_slot *s = map_lookup(map, tag, map_key(addr, lg2));

		if (s)
			return s;
	}
	return NULL;
}

void tdpi_emu_map_clear(struct emu_map *map)
{
	if (!map->count)
		return;
	map->count = 0;
	map->sizes = 0;
	map->ntags = 0;
	memset(map->per_size, 0, sizeof(map->per_size));
	if (++map->gen == 0) {
		memset(map->slot, 0, sizeof(*map->slot) << map->cap_lg2);
		map->gen = 1;
	}
}

static void map_insert(struct emu_map *map, const struct emu_slot *s)
{
	uint32_t i = map_home(map, s->tag, s->key);

	while (map_live(map, i))
		i = (i + 1) & map_mask(map);
	map->slot[i] = *s;
	map->slot[i].gen = map->gen;
}

static bool map_grow(struct emu_map *map)
{
	struct emu_map bigger = *map;

	bigger.cap_lg2 = map->slot ? map->cap_lg2 + 1 : MAP_FIRST_LG2;
	bigger.gen = 1;
	if (bigger.cap_lg2 > 30)
		return false;
	bigger.slot = calloc((size_t)1 << bigger.cap_lg2, sizeof(*bigger.slot));
	if (!bigger.slot)
		return false;
	for (uint32_t i = 0; map->slot && i <= map_mask(map); i++) {
		if (map_live(map, i))
			map_insert(&bigger, &map->slot[i]);
	}
	free(map->slot);
	*map = bigger;
	return true;
}

static void map_note_tag(struct emu_map *map, uint64_t tag)
{
	for (uint32_t i = 0; i < map->ntags && i < EMU_TAGS; i++) {
		if (map->tags[i] == tag)
			return;
	}
	if (map->ntags < EMU_TAGS)
		map->tags[map->ntags] = tag;
	if (map->ntags <= EMU_TAGS)
		map->ntags++;
}

void tdpi_emu_map_put(struct emu_map *map, const struct emu_slot *s)
{
	struct emu_slot *old = map->count ? map_lookup(map, s->tag, s->key) : NULL;
	unsigned lg2 = emu_slot_lg2(s);

	if (old) {
		*old = *s;
		old->gen = map->gen;
		return;
	}
	if ((!map->slot || map->count >= (uint32_t)1 << (map->cap_lg2 - 1)) && !map_grow(map)) {
		/* No memory: forgetting is always legal for a TLB. */
		tdpi_emu_map_clear(map);
		if (!map->slot)
			return;
	}
	map_insert(map, s);
	map_note_tag(map, s->tag);
	map->count++;
	map->per_size[lg2]++;
	map->sizes |= EMU_BIT(lg2);
}

/* Empty slot i and move later entries of its run up, so that lookups need no tombstones. */
static void map_remove(struct emu_map *map, uint32_t i)
{
	uint32_t mask = map_mask(map), j = i;
	unsigned lg2 = emu_slot_lg2(&map->slot[i]);

	map->count--;
	if (--map->per_size[lg2] == 0)
		map->sizes &= ~EMU_BIT(lg2);
	for (;;) {
		uint32_t home;

		j = (j + 1) & mask;
		if (!map_live(map, j))
			break;
		home = map_home(map, map->slot[j].tag, map->slot[j].key);
		if (((j - home) & mask) >= ((j - i) & mask)) {
			map->slot[i] = map->slot[j];
			i = j;
		}
	}
	map->slot[i].gen = map->gen - 1;
}

static bool overlaps(uint64_t a, unsigned lg2, uint64_t start, uint64_t last)
{
	return a <= last && a + (EMU_BIT(lg2) - 1) >= start;
}

static void map_drop_scan(struct emu_map *map, uint64_t start, uint64_t last, uint32_t levels,
			  bool aux)
{
	for (uint32_t i = 0; map->count && i <= map_mask(map); i++) {
		/* A removal may move another entry here: look again. */
		while (map_live(map, i)) {
			const struct emu_slot *s = &map->slot[i];
			uint64_t at = aux ? s->aux : emu_slot_start(s);

			if (!overlaps(at, emu_slot_lg2(s), start, last) || !(levels >> s->level & 1))
				break;
			map_remove(map, i);
		}
	}
}

/* Is looking up every possible block cheaper than looking at every slot? */
static bool map_probes_cheap(const struct emu_map *map, uint64_t start, uint64_t last)
{
	uint64_t blocks = 0;

	if (map->ntags > EMU_TAGS)
		return false;
	for (uint64_t sizes = map->sizes; sizes; sizes &= sizes - 1) {
		unsigned lg2 = (unsigned)__builtin_ctzll(sizes);

		blocks += (last >> lg2) - (start >> lg2) + 1;
	}
	return blocks * map->ntags < ((uint64_t)1 << map->cap_lg2) / 4;
}

void tdpi_emu_map_drop(struct emu_map *map, uint64_t start, uint64_t last, uint32_t levels)
{
	if (!map->count)
		return;
	if (!map_probes_cheap(map, start, last)) {
		map_drop_scan(map, start, last, levels, false);
		return;
	}
	for (uint64_t sizes = map->sizes; sizes; sizes &= sizes - 1) {
		unsigned lg2 = (unsigned)__builtin_ctzll(sizes);

		for (uint64_t b = start >> lg2; b <= last >> lg2; b++) {
			for (uint32_t t = 0; t < map->ntags; t++) {
				struct emu_slot *s = map_lookup(map, map->tags[t], b << lg2 | lg2);

				if (s && levels >> s->level & 1)
					map_remove(map, (uint32_t)(s - map->slot));
			}
		}
	}
}

void tdpi_emu_map_drop_aux(struct emu_map *map, uint64_t start, uint64_t last, uint32_t levels)
{
	if (map->count)
		map_drop_scan(map, start, last, levels, true);
}

void tdpi_emu_map_drop_addr(struct emu_map *map, uint64_t tag, uint64_t addr)
{
	struct emu_slot *s;

	while ((s = tdpi_emu_map_find(map, tag, addr)))
		map_remove(map, (uint32_t)(s - map->slot));
}

static bool map_overlap_scan(struct emu_map *map, const uint64_t *tag, uint64_t start,
			     uint64_t last, bool (*fn)(void *arg, const struct emu_slot *s),
			     void *arg)
{
	for (uint32_t i = 0; i <= map_mask(map); i++) {
		const struct emu_slot *s = &map->slot[i];

		if (map_live(map, i) && (!tag || s->tag == *tag) &&
		    overlaps(emu_slot_start(s), emu_slot_lg2(s), start, last) && fn(arg, s))
			return true;
	}
	return false;
}

bool tdpi_emu_map_overlap(struct emu_map *map, const uint64_t *tag, uint64_t start, uint64_t last,
			  bool (*fn)(void *arg, const struct emu_slot *s), void *arg)
{
	if (!map->count)
		return false;
	if (!tag || !map_probes_cheap(map, start, last))
		return map_overlap_scan(map, tag, start, last, fn, arg);
	for (uint64_t sizes = map->sizes; sizes; sizes &= sizes - 1) {
		unsigned lg2 = (unsigned)__builtin_ctzll(sizes);

		for (uint64_t b = start >> lg2; b <= last >> lg2; b++) {
			const struct emu_slot *s = map_lookup(map, *tag, b << lg2 | lg2);

			if (s && fn(arg, s))
				return true;
		}
	}
	return false;
}
