// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does one thing that concerns the audit of a user namespace again and again:
 * its first allocation in the kernel fails, then its second, and so on until
 * nothing fails any more. Prints a line for each time, as fault.h says.
 *
 *	fault STEP FOLDER
 *
 * It is run in a container that has a daemon, and rules for all that it is to
 * be told of; the names of the steps are in steps[], at the end. What is told of
 * a system call can be found by the number of the time, the first being 1: in
 * an argument that means nothing to the kernel, see each step. FOLDER is one on
 * a tmpfs. The step "begin" is done once, without failures.
 */
#define _GNU_SOURCE
#include <linux/fs.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "fault.h"

#define AGAIN		1	/* an allocation failed, so there may be one more */
#define NEVER		1000000	/* more than anything allocates */
#define EXITS		40
#define EXIT_MARK	4242	/* asked for by a rule */
#define NOBODY		4242	/* a user, and the magic of a file system */
#define SELF		"/run/nsaudit/fault"
#define KEY		"fault"	/* of what is asked for in a directory */
#define MOUNTS		2	/* in that */
#define LONG_PATH	3000	/* a record begins with room for 1024 bytes */

struct step {
	const char *name;
	void (*prepare)(void);
	int (*act)(unsigned int nth);		/* the errno */
	const char *(*look)(unsigned int nth);	/* the state */
	int arg;
	bool nested;	/* each time the first task of new namespaces */
	bool once;	/* without failures */
	void (*all)(void);	/* instead of all these: every time of it */
};

static const struct step *step;
static char *folder;
static int asker = -1;		/* the socket that a step asks by */
static pid_t target;

static void none(void)
{
}

static const char *nothing(unsigned int nth)
{
	(void)nth;
	return "-";
}

static void open_asker(void)
{
	asker = renew(asker);
}

/* -- limits, and what is asked for ---------------------------------------- */

static int set_status(int fd, unsigned int mask, unsigned int value)
{
	struct audit_status status = { .mask = mask };

	switch (mask) {
	case AUDIT_STATUS_ENABLED:
		status.enabled = value;
		break;
	case AUDIT_STATUS_PID:
		status.pid = value;
		break;
	case AUDIT_STATUS_BACKLOG_LIMIT:
		status.backlog_limit = value;
		break;
	}
	return ask(fd, AUDIT_SET, &status, sizeof(status));
}

/* More than wait at any time, and something else each time. */
static unsigned int new_limit(unsigned int nth)
{
	return 20000 + nth;
}

static int limit(unsigned int nth)
{
	return set_status(asker, AUDIT_STATUS_BACKLOG_LIMIT, new_limit(nth));
}

static const char *limit_set(unsigned int nth)
{
	struct audit_status status = { 0 };

	errno = get_status(&status);
	if (errno)
		stop("AUDIT_GET");
	return status.backlog_limit == new_limit(nth) ? "set" : "unset";
}

/* Without what it is to be about, which suffices to be refused. */
static int request(unsigned int nth)
{
	(void)nth;
	return ask(asker, step->arg, NULL, 0);
}

/* The reply, which comes after the acknowledgment, was sent by the asker. */
static const char *replied(unsigned int nth)
{
	struct {
		struct nlmsghdr head;
		char text[AUDIT_TEXT_MAX];
	} got;

	(void)nth;
	do {
		if (recv(asker, &got, sizeof(got), MSG_DONTWAIT) < 0)
			return errno == EAGAIN ? "untold" : audit_errno_name(errno);
	} while (got.head.nlmsg_type != step->arg);
	return "told";
}

/* How many rules are told, less than none if the list has no end. */
static int count_rules(int fd, int flags)
{
	struct {
		struct nlmsghdr head;
		char text[AUDIT_TEXT_MAX];
	} got;
	int count = 0;

	for (;;) {
		if (recv(fd, &got, sizeof(got), flags) < 0) {
			if (errno != EAGAIN)
				stop("a list");
			return -count - 1;
		}
		if (got.head.nlmsg_type == NLMSG_DONE)
			return count;
		count += got.head.nlmsg_type == AUDIT_LIST_RULES;
	}
}

/* One list is sent at a time: when another one is there, the first one is. */
static const char *listed(unsigned int nth)
{
	static char text[32];
	int fd = audit_socket(), all, count;

	(void)nth;
	if (fd < 0 || ask(fd, AUDIT_LIST_RULES, NULL, 0))
		stop("AUDIT_LIST_RULES");
	all = count_rules(fd, 0);
	close(fd);
	count = count_rules(asker, MSG_DONTWAIT);
	if (count == all)
		return "all";
	if (count == -1)
		return "none";
	snprintf(text, sizeof(text), "%d-of-%d%s",
		 count < 0 ? -count - 1 : count, all,
		 count < 0 ? ",endless" : "");
	return text;
}

static int listen_in(unsigned int nth)
{
	struct audit_answer answer;

	(void)nth;
	audit_join(asker, NLGRP_USERNS, &answer);
	return answer.err;
}

static const char *listens(unsigned int nth)
{
	uint32_t groups = 0;
	socklen_t len = sizeof(groups);

	(void)nth;
	if (getsockopt(asker, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, &groups,
		       &len))
		stop("NETLINK_LIST_MEMBERSHIPS");
	return groups ? "joined" : "apart";
}

/* -- rules ---------------------------------------------------------------- */

static struct {
	struct audit_rule_data rule;
	char room[256];
} made;

static void field(int type, unsigned int value, const char *text)
{
	struct audit_rule_data *rule = &made.rule;
	int i = rule->field_count++;

	rule->fields[i] = type;
	rule->fieldflags[i] = AUDIT_EQUAL;
	rule->values[i] = text ? strlen(text) : value;
	if (text) {
		memcpy(rule->buf + rule->buflen, text, strlen(text));
		rule->buflen += strlen(text);
	}
}

static void about_call(unsigned int number)
{
	made.rule.mask[AUDIT_WORD(number)] |= AUDIT_BIT(number);
}

static char *in_folder(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

/*
 * A rule that is about nobody, for the list or of the kind of the step; that of
 * a directory is about some calls.
 */
static void make_rule(void)
{
	struct audit_rule_data *rule = &made.rule;

	memset(&made, 0, sizeof(made));
	rule->flags = AUDIT_FILTER_EXIT;
	rule->action = AUDIT_NEVER;
	switch (step->arg) {
	case AUDIT_WATCH:
	case AUDIT_EXE:
		field(step->arg, 0, SELF);
		break;
	case AUDIT_DIR:
		field(step->arg, 0, in_folder("tree"));
		break;
	case AUDIT_FILTER_EXCLUDE:
		field(AUDIT_MSGTYPE, AUDIT_LAST_USER_MSG, NULL);
		rule->flags = step->arg;
		break;
	case AUDIT_FILTER_FS:
		field(AUDIT_FSTYPE, NOBODY, NULL);
		rule->flags = step->arg;
		break;
	default:
		field(AUDIT_UID, NOBODY, NULL);
		rule->flags = step->arg;
	}
	if (rule->flags != AUDIT_FILTER_EXIT)
		return;
	rule->action = AUDIT_ALWAYS;
	if (step->arg == AUDIT_DIR) {
		about_call(SYS_faccessat);
		about_call(SYS_fchmodat);
		about_call(SYS_linkat);
		field(AUDIT_FILTERKEY, 0, KEY);
	} else {
		about_call(SYS_getpid);
		field(AUDIT_UID, NOBODY, NULL);
		field(AUDIT_FILTERKEY, 0, "nobody");
	}
}

static size_t made_len(void)
{
	return sizeof(made.rule) + made.rule.buflen;
}

static int ask_rule(int type)
{
	return ask(asker, type, &made.rule, made_len());
}

static void before_add(void)
{
	make_rule();
	open_asker();
}

static void before_delete(void)
{
	before_add();
	errno = ask_rule(AUDIT_ADD_RULE);
	if (errno)
		stop("adding a rule");
}

static int add_rule(unsigned int nth)
{
	(void)nth;
	return ask_rule(AUDIT_ADD_RULE);
}

static int delete_rule(unsigned int nth)
{
	(void)nth;
	return ask_rule(AUDIT_DEL_RULE);
}

/* There is none afterwards. */
static const char *there(unsigned int nth)
{
	(void)nth;
	/* An answer that could not be sent is no answer to this. */
	open_asker();
	return take_rule(asker, &made.rule, made_len());
}

/* -- directories ---------------------------------------------------------- */

static void make_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		stop(path);
	close(fd);
}

/* A file in the directory of the rule, 0, or in what is mounted there. */
static const char *below(unsigned int place)
{
	char name[32];

	snprintf(name, sizeof(name), place ? "tree/%u/file" : "tree/file", place);
	return in_folder(name);
}

/* Once for all steps. */
static void make_tree(void)
{
	char name[32], *path;
	unsigned int i;

	if (mkdir(in_folder("tree"), 0700)) {
		if (errno != EEXIST)
			stop("tree");
		return;
	}
	make_file(below(0));
	for (i = 1; i <= MOUNTS; i++) {
		snprintf(name, sizeof(name), "tree/%u", i);
		path = in_folder(name);
		if (mkdir(path, 0700) || mount("tmpfs", path, "tmpfs", 0, NULL))
			stop(path);
		make_file(below(i));
	}
}

static void before_add_dir(void)
{
	make_tree();
	before_add();
}

static void before_delete_dir(void)
{
	make_tree();
	before_delete();
}

/* In each place something is done that is told if the rule is about it. */
static const char *dir_there(unsigned int nth)
{
	unsigned int i;

	/* where a path is absolute the first argument is nothing to the kernel */
	for (i = 0; i <= MOUNTS; i++)
		if (syscall(SYS_fchmodat, nth, below(i), 0600))
			stop("fchmodat");
	return there(nth);
}

static int look_below(unsigned int nth)
{
	return syscall(SYS_faccessat, nth, below(MOUNTS), F_OK) ? errno : 0;
}

/* Nothing but the first name of the call is in the directory. */
static int link_out(unsigned int nth)
{
	char file[256];

	strcpy(file, below(0));
	return syscall(SYS_linkat, nth, file, nth, in_folder("link"), 0) ?
	       errno : 0;
}

static const char *linked(unsigned int nth)
{
	bool done = !unlink(in_folder("link"));

	if (strcmp(there(nth), "there"))
		stop("a rule");
	return done ? "linked" : "none";
}

/* -- what is told --------------------------------------------------------- */

static int message(unsigned int nth)
{
	return say_number(asker, nth);
}

/* The third argument is nothing to the kernel, but it is in the record. */
static int call(unsigned int nth)
{
	return syscall(SYS_getpriority, 0, 0, nth) < 0 ? errno : 0;
}

/*
 * The first one is nothing to it where a path is absolute. The path is so long
 * that its record has to grow.
 */
static int open_path(unsigned int nth)
{
	char path[LONG_PATH];
	int len = snprintf(path, sizeof(path), "%s", folder), fd;

	memset(path + len, '/', sizeof(path) - 1 - len);
	path[sizeof(path) - 1] = 0;
	fd = syscall(SYS_openat, nth, path, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static char paths[2][256];
static ino_t first_inode;

static ino_t inode_of(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		stop(path);
	return st.st_ino;
}

/*
 * Two files in a directory each, of different names: the call has six names
 * then, and an audit context room for five.
 */
static void make_files(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		snprintf(paths[i], sizeof(paths[i]), "%s/%d", folder, i);
		if (mkdir(paths[i], 0700) && errno != EEXIST)
			stop(paths[i]);
		strcat(paths[i], i ? "/other" : "/one");
		make_file(paths[i]);
	}
	first_inode = inode_of(paths[0]);
}

static int exchange(unsigned int nth)
{
	return syscall(SYS_renameat2, nth, paths[0], nth, paths[1],
		       RENAME_EXCHANGE) ? errno : 0;
}

static const char *exchanged(unsigned int nth)
{
	(void)nth;
	return inode_of(paths[0]) == first_inode ? "same" : "exchanged";
}

static void make_target(void)
{
	if (!target)
		target = child();
}

static int signal_target(unsigned int nth)
{
	return syscall(SYS_kill, target, 0, nth) ? errno : 0;
}

/* -- new tasks, and old ones ---------------------------------------------- */

/* The audit is told nothing of what they do: that is noted when they are made. */
static void before_fork(void)
{
	before_add();
	made.rule.values[0] = 0;
	errno = add_rule(0);
	if (errno)
		stop("adding a rule");
}

static int have_child(unsigned int nth)
{
	(void)nth;
	target = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (!target) {
		for (;;)
			pause();
	}
	return target < 0 ? errno : 0;
}

static const char *forked(unsigned int nth)
{
	errno = delete_rule(nth);
	if (errno)
		stop("deleting a rule");
	if (target < 0)
		return "none";
	end(target);
	return "child";
}

/*
 * What a task's first call allocates is what the audit keeps of calls in: the
 * task is armed by another one, before it has made any.
 */
static void first_all(void)
{
	unsigned int before, nth, left = 0;
	volatile int *stage;
	char path[64];
	pid_t pid;

	stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stage == MAP_FAILED)
		stop("mmap");
	for (nth = 1; !left; nth++) {
		if (nth > NTH_MAX)
			stop("there is no end");
		before = lost();
		*stage = 0;
		pid = start();
		if (!pid) {
			while (!*stage)
				;
			syscall(SYS_getsid, 0, 0, nth);
			*stage = 2;
			for (;;)
				;
		}
		snprintf(path, sizeof(path), "/proc/%d/fail-nth", (int)pid);
		nth_file = open(path, O_RDWR | O_CLOEXEC);
		if (nth_file < 0)
			stop(path);
		arm(nth);
		*stage = 1;
		while (*stage != 2)
			sched_yield();
		left = disarm();
		close(nth_file);
		end(pid);
		say(step->name, nth, !left, 0, "-", before);
	}
}

struct outcome {
	int err;
	unsigned int left;
	bool ran;
};

/* The program that is executed; it has the files of the one before. */
static int executed(int report, int faults)
{
	struct outcome outcome = { .ran = true };

	nth_file = faults;
	outcome.left = disarm();
	return write(report, &outcome, sizeof(outcome)) != sizeof(outcome);
}

static _Noreturn void execute(int report, unsigned int nth)
{
	char name[] = SELF, mode[] = "executed", files[2][16];
	char *argv[] = { name, mode, files[0], files[1], NULL };
	struct outcome outcome = { 0 };

	own_faults();
	if (fcntl(nth_file, F_SETFD, 0))
		stop("fcntl");
	snprintf(files[0], sizeof(files[0]), "%d", report);
	snprintf(files[1], sizeof(files[1]), "%d", nth_file);
	arm(nth);
	execve(SELF, argv, NULL);
	outcome.err = errno;
	outcome.left = disarm();
	_exit(write(report, &outcome, sizeof(outcome)) != sizeof(outcome));
}

/* The state begins with the pid: that is in the record, too. */
static void exec_all(void)
{
	unsigned int before, nth;
	struct outcome outcome;
	char state[32];
	int report[2];
	bool killed;
	pid_t pid;

	for (nth = 1; nth <= NTH_MAX; nth++) {
		before = lost();
		if (pipe(report))
			stop("pipe");
		pid = start();
		if (!pid)
			execute(report[1], nth);
		reap(pid);
		close(report[1]);
		/* who cannot go back is killed without a word */
		killed = read(report[0], &outcome, sizeof(outcome)) !=
			 sizeof(outcome);
		close(report[0]);
		if (killed)
			outcome = (struct outcome){ 0 };
		snprintf(state, sizeof(state), "%d,%s", (int)pid,
			 killed ? "killed" : outcome.ran ? "ran" : "refused");
		say(step->name, nth, !outcome.left, outcome.err, state, before);
		if (outcome.left)
			return;
	}
	stop("there is no end");
}

/* How much an exit allocates nobody is left to say. */
static void exit_all(void)
{
	unsigned int before, nth;
	pid_t pid;

	for (nth = 1; nth <= EXITS; nth++) {
		before = lost();
		pid = start();
		if (!pid) {
			own_faults();
			arm(nth);
			syscall(SYS_exit_group, 0, EXIT_MARK, nth);
		}
		reap(pid);
		say(step->name, nth, nth < EXITS, 0, "-", before);
	}
}

/* -- daemons, each in a user namespace of its own ------------------------- */

static int become_daemon(unsigned int nth)
{
	(void)nth;
	return set_status(asker, AUDIT_STATUS_PID, getpid());
}

static const char *is_daemon(unsigned int nth)
{
	struct audit_status status = { 0 };
	int err = get_status(&status);

	(void)nth;
	/* Where there is no audit, nobody answers for one. */
	if (err && err != ECONNREFUSED)
		return audit_errno_name(err);
	return status.pid ? "daemon" : "none";
}

/* What was refused is done once more. */
static const char *became_daemon(unsigned int nth)
{
	static char state[64];
	const char *first = is_daemon(nth);
	int again;

	if (strcmp(first, "none"))
		return first;
	open_asker();
	again = become_daemon(nth);
	snprintf(state, sizeof(state), "none,%s,%s", audit_errno_name(again),
		 is_daemon(nth));
	return state;
}

static void be_daemon(void)
{
	open_asker();
	errno = become_daemon(0) ?:
		set_status(asker, AUDIT_STATUS_ENABLED, 1) ?:
		message(0);
	if (errno)
		stop("a daemon");
}

static int retire(unsigned int nth)
{
	(void)nth;
	return set_status(asker, AUDIT_STATUS_PID, 0);
}

static int close_daemon(unsigned int nth)
{
	(void)nth;
	return close(asker) ? errno : 0;
}

/* Another one than the daemon goes on. */
static void beside_daemon(void)
{
	pid_t pid;

	be_daemon();
	pid = start();
	if (pid)
		exit(result(pid));
	own_faults();
	asker = -1;
	open_asker();
}

static unsigned int try(unsigned int nth)
{
	unsigned int before, left;
	int err;

	step->prepare();
	before = lost();
	arm(nth);
	err = step->act(nth);
	left = disarm();
	say(step->name, nth, !left, err, step->look(nth), before);
	return left;
}

/* The same as the first task of a user, a PID and a network namespace. */
static unsigned int try_nested(unsigned int nth)
{
	pid_t pid = start(), first;

	if (pid)
		return result(pid) != AGAIN;
	if (unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET))
		stop("unshare");
	first = start();
	if (first)
		exit(result(first));
	own_faults();
	exit(try(nth) ? 0 : AGAIN);
}

#define STEP(label, before, does, state, ...) \
	{ .name = label, .prepare = before, .act = does, .look = state, \
	  __VA_ARGS__ }
#define ASK(label, type, state) \
	STEP(label, open_asker, request, state, .arg = type)
#define ADD(label, kind) \
	STEP("add-" label, before_add, add_rule, there, .arg = kind)
#define DELETE(label, kind) \
	STEP("delete-" label, before_delete, delete_rule, there, .arg = kind)
#define NESTED(label, before, does, state, ...) \
	STEP(label, before, does, state, .nested = true, __VA_ARGS__)

static const struct step steps[] = {
	STEP("limit", open_asker, limit, limit_set),
	ASK("get", AUDIT_GET, replied),
	ASK("features", AUDIT_GET_FEATURE, replied),
	ASK("signal-info", AUDIT_SIGNAL_INFO, replied),
	ASK("set-features", AUDIT_SET_FEATURE, nothing),
	ASK("trim", AUDIT_TRIM, nothing),
	ASK("list", AUDIT_LIST_RULES, listed),
	STEP("listen", open_asker, listen_in, listens),
	ADD("user", AUDIT_FILTER_USER),
	ADD("task", AUDIT_FILTER_TASK),
	ADD("exit", AUDIT_FILTER_EXIT),
	ADD("exclude", AUDIT_FILTER_EXCLUDE),
	ADD("filesystem", AUDIT_FILTER_FS),
	ADD("watch", AUDIT_WATCH),
	ADD("exe", AUDIT_EXE),
	DELETE("exit", AUDIT_FILTER_EXIT),
	DELETE("watch", AUDIT_WATCH),
	STEP("add-dir", before_add_dir, add_rule, dir_there, .arg = AUDIT_DIR),
	STEP("delete-dir", before_delete_dir, delete_rule, there,
	     .arg = AUDIT_DIR),
	STEP("below", before_delete_dir, look_below, there, .arg = AUDIT_DIR),
	STEP("link", before_delete_dir, link_out, linked, .arg = AUDIT_DIR),
	STEP("message", open_asker, message, nothing),
	STEP("call", none, call, nothing),
	STEP("kill", make_target, signal_target, nothing),
	STEP("open", none, open_path, nothing),
	STEP("exchange", make_files, exchange, exchanged),
	STEP("fork", before_fork, have_child, forked, .arg = AUDIT_FILTER_TASK),
	{ .name = "first", .all = first_all },
	{ .name = "exec", .all = exec_all },
	{ .name = "exit", .all = exit_all },
	NESTED("register", open_asker, become_daemon, became_daemon),
	NESTED("intrude", beside_daemon, become_daemon, is_daemon),
	NESTED("retire", be_daemon, retire, is_daemon),
	NESTED("close", be_daemon, close_daemon, is_daemon),
	NESTED("begin", open_asker, become_daemon, is_daemon, .once = true),
};

static void find_step(const char *name)
{
	for (step = steps; step < steps + sizeof(steps) / sizeof(*steps); step++)
		if (!strcmp(step->name, name))
			return;
	fprintf(stderr, "no such step: %s\n", name);
	exit(FAILED);
}

int main(int argc, char **argv)
{
	unsigned int nth;

	if (argc == 4 && !strcmp(argv[1], "executed"))
		return executed(atoi(argv[2]), atoi(argv[3]));
	if (argc != 3) {
		fputs("usage: fault STEP FOLDER\n", stderr);
		return FAILED;
	}
	find_step(argv[1]);
	folder = argv[2];
	if (step->all) {
		step->all();
		return 0;
	}
	own_faults();
	for (nth = step->once ? NEVER : 1;
	     !(step->nested ? try_nested(nth) : try(nth)); nth++)
		if (nth > NTH_MAX)
			stop("there is no end");
	return 0;
}
