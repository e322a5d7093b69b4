// SPDX-License-Identifier: GPL-2.0-only
/*
 * Adds or deletes one rule, for the fields that the auditctl of the guest does
 * not know yet:
 *
 *	rule add|del LIST ACTION FIELD OPERATOR VALUE... [-S N...] [-k KEY]
 *
 * LIST is user, task, exit, exclude, filesystem or io_uring, ACTION always or
 * never. FIELD is a number, or contid, or cgroupns-id and so on, or path;
 * OPERATOR is =, !=, <, >, <=, >=, & or &=, VALUE a number, or unset for contid,
 * or a file for path, where OPERATOR is =, as it is where VALUE is a colon and a
 * text, which goes into the buffer. Without -S all system calls are meant.
 * Prints the name of the errno, 0 for none; the exit status is 0 if the kernel
 * was asked.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>

#include "netlink.h"

#define NOT_ASKED	2

static const char *const lists[] = {
	[AUDIT_FILTER_USER] = "user", [AUDIT_FILTER_TASK] = "task",
	[AUDIT_FILTER_EXIT] = "exit", [AUDIT_FILTER_EXCLUDE] = "exclude",
	[AUDIT_FILTER_FS] = "filesystem", [AUDIT_FILTER_URING_EXIT] = "io_uring",
};

static const struct {
	const char *text;
	unsigned int flag;
} operators[] = {
	{ "=", AUDIT_EQUAL }, { "!=", AUDIT_NOT_EQUAL },
	{ "<", AUDIT_LESS_THAN }, { ">", AUDIT_GREATER_THAN },
	{ "<=", AUDIT_LESS_THAN_OR_EQUAL },
	{ ">=", AUDIT_GREATER_THAN_OR_EQUAL },
	{ "&", AUDIT_BIT_MASK }, { "&=", AUDIT_BIT_TEST },
};

/* By their names fields have a u64 in the buffer, by their numbers a value. */
static const struct {
	const char *name;
	unsigned int field;
} wide[] = {
	{ "contid", 27 },	/* AUDIT_CONTID */
	{ "cgroupns-id", 122 },	/* AUDIT_NS_CGROUP_ID, and so on */
	{ "ipcns-id", 123 }, { "mntns-id", 124 }, { "netns-id", 125 },
	{ "pidns-id", 126 }, { "timens-id", 127 }, { "userns-id", 128 },
	{ "utsns-id", 129 },
};

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))

static _Noreturn void stop(const char *why, const char *what)
{
	fprintf(stderr, "rule: %s %s\n", why, what ? what : "");
	exit(NOT_ASKED);
}

static uint64_t number(const char *word)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(word, &end, 0);
	if (*word < '0' || *word > '9' || *end || errno)
		stop("no number:", word);
	return value;
}

static void add_text(struct audit_rule_data *rule, size_t room,
		     unsigned int field, const char *text)
{
	unsigned int at = rule->field_count++;
	size_t len = strlen(text);

	if (at >= AUDIT_MAX_FIELDS || rule->buflen + len > room)
		stop("too long:", text);
	rule->fields[at] = field;
	rule->fieldflags[at] = AUDIT_EQUAL;
	rule->values[at] = len;
	memcpy(rule->buf + rule->buflen, text, len);
	rule->buflen += len;
}

static void add_field(struct audit_rule_data *rule, size_t room,
		      const char *name, const char *op, const char *value)
{
	unsigned int at = rule->field_count++;
	uint64_t wanted;
	size_t i;

	if (at >= AUDIT_MAX_FIELDS)
		stop("too many fields at", name);
	for (i = 0; i < COUNT(operators); i++)
		if (!strcmp(op, operators[i].text))
			rule->fieldflags[at] = operators[i].flag;
	if (!rule->fieldflags[at])
		stop("no operator:", op);
	for (i = 0; i < COUNT(wide) && strcmp(name, wide[i].name); i++)
		;
	if (i == COUNT(wide)) {
		rule->fields[at] = number(name);
		rule->values[at] = number(value);
		return;
	}
	wanted = strcmp(value, "unset") ? number(value) : UINT64_MAX;
	if (rule->buflen + sizeof(wanted) > room)
		stop("too long at", name);
	rule->fields[at] = wide[i].field;
	rule->values[at] = sizeof(wanted);
	memcpy(rule->buf + rule->buflen, &wanted, sizeof(wanted));
	rule->buflen += sizeof(wanted);
}

static void add_call(struct audit_rule_data *rule, const char *word)
{
	uint64_t call = number(word);

	if (call >= AUDIT_BITMASK_SIZE * 32)
		stop("no system call:", word);
	rule->mask[AUDIT_WORD(call)] |= AUDIT_BIT(call);
}

int main(int argc, char **argv)
{
	static union {
		struct audit_rule_data rule;
		char room[4096];
	} made;
	struct audit_rule_data *rule = &made.rule;
	size_t room = sizeof(made) - sizeof(*rule), i;
	struct audit_answer answer;
	int at, fd, calls = 0;

	if (argc < 4 || (strcmp(argv[1], "add") && strcmp(argv[1], "del")))
		stop("usage: rule add|del LIST ACTION FIELD OPERATOR VALUE...",
		     "[-S N...] [-k KEY]");
	rule->flags = UINT32_MAX;
	for (i = 0; i < COUNT(lists); i++)
		if (lists[i] && !strcmp(argv[2], lists[i]))
			rule->flags = i;
	if (rule->flags == UINT32_MAX)
		stop("no list:", argv[2]);
	rule->action = !strcmp(argv[3], "always") ? AUDIT_ALWAYS : AUDIT_NEVER;

	for (at = 4; at < argc;) {
		if (at + 1 == argc)
			stop("incomplete:", argv[at]);
		if (!strcmp(argv[at], "-S")) {
			add_call(rule, argv[at + 1]);
			calls++;
			at += 2;
		} else if (!strcmp(argv[at], "-k")) {
			add_text(rule, room, AUDIT_FILTERKEY, argv[at + 1]);
			at += 2;
		} else if (at + 2 == argc) {
			stop("incomplete:", argv[at]);
		} else if (!strcmp(argv[at], "path")) {
			add_text(rule, room, AUDIT_WATCH, argv[at + 2]);
			at += 3;
		} else if (*argv[at + 2] == ':') {
			add_text(rule, room, number(argv[at]),
				 argv[at + 2] + 1);
			at += 3;
		} else {
			add_field(rule, room, argv[at], argv[at + 1],
				  argv[at + 2]);
			at += 3;
		}
	}
	/* As libaudit: what other lists do with the mask is to ignore it. */
	if (!calls)
		memset(rule->mask, 0xff, sizeof(rule->mask));

	fd = audit_socket();
	if (fd < 0 ||
	    audit_ask_data(fd, !strcmp(argv[1], "add") ? AUDIT_ADD_RULE :
			   AUDIT_DEL_RULE, rule, sizeof(*rule) + rule->buflen,
			   &answer)) {
		perror("rule");
		return NOT_ASKED;
	}
	puts(audit_errno_name(answer.err));
	return 0;
}
