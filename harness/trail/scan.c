// SPDX-License-Identifier: GPL-2.0-only
/*
 * Finds the lines of audit logs and reads their headers.
 *
 * A line of the usual shape is settled here:
 *
 *	[node=HOST ]type=TYPE msg=audit(SECONDS.MILLIS:SERIAL): FIELDS
 *
 * Any other, and one that may be damaged (a quote left open, a second header), is marked LOOK:
 * harness.audit.records.parse_record has the last word on it. Types and nodes are numbered by
 * the caller, who is asked about a word that is new.
 */
#include <malloc.h>
#include <stdint.h>
#include <string.h>

/* The same bits stand in lines.py. */
#define LOOK		0x01
#define NUMBERED	0x02

struct word {
	const char *text;
	uint32_t size;
	int32_t number;
	uint8_t mark;
};

struct words {
	const struct word *all;
	int32_t count;
	int32_t last;		/* where the one before was found: most come in runs */
};

struct columns {
	uint32_t *start, *end;
	int32_t *kind, *node;
	int64_t *time_ms, *serial;
	uint8_t *mark;
};

struct scan {
	const char *data;
	uint32_t at, to;
	struct words kinds, nodes;
	struct columns out;
	uint32_t lines;
	/* The word that the caller has to number before it goes on; of a node, if asked. */
	uint32_t asked, asked_size, asked_node;
};

static const struct word *find_word(struct words *words, const char *text, uint32_t size)
{
	const struct word *one = &words->all[words->last];

	if (words->last < words->count && one->size == size && !memcmp(one->text, text, size))
		return one;
	for (int32_t at = 0; at < words->count; at++) {
		one = &words->all[at];
		if (one->size == size && !memcmp(one->text, text, size)) {
			words->last = at;
			return one;
		}
	}
	return NULL;
}

/* The decimal number that begins at *text, of at most so many digits; -1 if there is none. */
static int64_t read_number(const char **text, const char *end, int most)
{
	const char *p = *text;
	int64_t value = 0;

	while (p < end && *p >= '0' && *p <= '9' && p - *text < most)
		value = value * 10 + (*p++ - '0');
	if (p == *text)
		return -1;
	*text = p;
	return value;
}

static int count_quotes(const char *from, const char *end)
{
	int count = 0;

	for (; from < end; from++)
		count += *from == '"';
	return count;
}

/* Whether the line names a CONTAINER_ID by its number, at its end: " record=1" to "=999". */
static int ends_with_number(const char *from, const char *end)
{
	const char *p = end;

	while (p > from && end - p < 3 && p[-1] >= '0' && p[-1] <= '9')
		p--;
	return p < end && p - from >= 8 && !memcmp(p - 8, " record=", 8);
}

/* Whether a line whose header is whole may be damaged behind it. */
static int is_odd(const char *from, const char *body, const char *fields_end, const char *end)
{
	int texts = 0, closed = 0;
	const char *p;

	if (count_quotes(from, fields_end) & 1)
		return 1;
	for (p = body; (p = memchr(p, '(', end - p)); p++)
		if (p - body >= 10 && !memcmp(p - 10, " msg=audit", 10))
			return 1;
	for (p = from; (p = memchr(p, '\'', fields_end - p)); p++) {
		texts += p - from >= 5 && !memcmp(p - 5, " msg=", 5);
		closed += p + 1 == end || p[1] == 0x1d;
	}
	return texts > closed;
}

enum line { SETTLED, STRANGE, ASKED };

static enum line ask(struct scan *scan, const char *text, uint32_t size, int node)
{
	scan->asked = text - scan->data;
	scan->asked_size = size;
	scan->asked_node = node;
	return ASKED;
}

/* Reads a line into the row of the columns that is next. */
static enum line read_line(struct scan *scan, const char *from, const char *end)
{
	const struct columns *out = &scan->out;
	const char *p = from, *space, *fields_end;
	const struct word *node = NULL, *kind;
	int64_t seconds, millis, serial;
	uint32_t row = scan->lines;

	if (end - p > 5 && !memcmp(p, "node=", 5)) {
		p += 5;
		space = memchr(p, ' ', end - p);
		if (!space || space == p)
			return STRANGE;
		node = find_word(&scan->nodes, p, space - p);
		if (!node)
			return ask(scan, p, space - p, 1);
		p = space + 1;
	}
	if (end - p < 6 || memcmp(p, "type=", 5))
		return STRANGE;
	p += 5;
	space = memchr(p, ' ', end - p);
	if (!space || space == p || end - space < 12 || memcmp(space, " msg=audit(", 11))
		return STRANGE;
	kind = find_word(&scan->kinds, p, space - p);
	if (!kind)
		return ask(scan, p, space - p, 0);

	p = space + 11;
	/* Larger ones are no times, and a double, as Python has it, would round them. */
	seconds = read_number(&p, end, 12);
	if (seconds < 0 || *p++ != '.')
		return STRANGE;
	space = p;
	millis = read_number(&p, end, 3);
	if (p - space != 3 || *p++ != ':')
		return STRANGE;
	serial = read_number(&p, end, 18);
	if (serial < 0 || end - p < 2 || p[0] != ')' || p[1] != ':')
		return STRANGE;

	fields_end = memchr(p, 0x1d, end - p);
	if (!fields_end)
		fields_end = end;
	out->kind[row] = kind->number;
	out->node[row] = node ? node->number : -1;
	out->time_ms[row] = seconds * 1000 + millis;
	out->serial[row] = serial;
	out->mark[row] = kind->mark | (node ? node->mark : 0);
	if (ends_with_number(p, fields_end))
		out->mark[row] |= NUMBERED;
	return is_odd(from, p, fields_end, end) ? STRANGE : SETTLED;
}

/*
 * Reads the lines of data from at on, up to a word that the caller has to number or to the end.
 * Every line ends with a newline before to; the columns have room for all. Empty lines are left
 * out. Returns 0 when all was read.
 */
int scan_lines(struct scan *scan)
{
	const struct columns *out = &scan->out;

	while (scan->at < scan->to) {
		const char *from = scan->data + scan->at;
		const char *end = memchr(from, '\n', scan->to - scan->at);
		uint32_t row = scan->lines;

		if (end > from) {
			out->start[row] = scan->at;
			out->end[row] = end - scan->data;
			out->kind[row] = out->node[row] = -1;
			out->time_ms[row] = out->serial[row] = -1;
			out->mark[row] = 0;
			switch (read_line(scan, from, end)) {
			case ASKED:
				return 1;
			case STRANGE:
				out->mark[row] |= LOOK;
				scan->lines++;
				break;
			case SETTLED:
				scan->lines++;
			}
		}
		scan->at = end - scan->data + 1;
	}
	return 0;
}

/* How many lines there are, and whether all of it is ASCII. */
uint32_t count_lines(const char *data, uint32_t size, uint8_t *ascii)
{
	uint32_t count = 0;
	uint8_t all = 0;

	for (uint32_t at = 0; at < size; at++) {
		count += data[at] == '\n';
		all |= data[at];
	}
	*ascii = !(all & 0x80);
	return count;
}

/*
 * Has the C library keep what is freed (man mallopt): every block needs arrays of the same sizes
 * as the one before it, and new pages for them take longer than what is done with them.
 */
void keep_memory(void)
{
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
}
