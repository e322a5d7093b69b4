// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does one thing that concerns namespaces in audit again and again: its first
 * allocation in the kernel fails, then its second, and so on until nothing
 * fails any more. Prints a line for each time, as fault.h says.
 *
 *	fault STEP
 *
 * The names of the steps are in steps[], at the end. Each time is a task of its
 * own, whose pid begins the state: so the records of the births that it caused
 * can be found. What was refused is done once more, and errno and state of
 * that follow. The number of the time, the first being 1, is in the text of a
 * message, and in an argument of a call that means nothing to the kernel.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "fault.h"

#define EXITS		30
#define NEVER		1000000	/* more than anything allocates */
#define NS_UTS		121	/* AUDIT_NS_UTS */
#define NS_INFO		(1 << 2)	/* AUDIT_FEATURE_NS_INFO, as a mask */
#define NS_INFO_ALL	(1 << 3)
#define BOTH		(NS_INFO | NS_INFO_ALL)

static const struct kind {
	const char *name;
	int flag;
} kinds[] = {
	{ "cgroup", CLONE_NEWCGROUP },
	{ "ipc", CLONE_NEWIPC },
	{ "mnt", CLONE_NEWNS },
	{ "net", CLONE_NEWNET },
	{ "pid", CLONE_NEWPID },
	{ "time", CLONE_NEWTIME },
	{ "user", CLONE_NEWUSER },
	{ "uts", CLONE_NEWUTS },
};

#define KINDS		(sizeof(kinds) / sizeof(*kinds))

struct step {
	const char *name;
	void (*prepare)(unsigned int nth);
	int (*act)(unsigned int nth);		/* the errno */
	const char *(*look)(unsigned int nth);	/* the state */
	int flags;	/* the kinds that it is about */
	const char *undone;	/* the state in which it can be done again */
	unsigned int tail;	/* so many, the last: the others are not ours */
};

/* What the task of one time tells the one that counts. */
static struct outcome {
	int err;
	unsigned int left;
	char state[64];
} *outcome;

static const struct step *step;
static ino_t before[KINDS];	/* the namespaces where a time begins */
static int initial[KINDS], foreign[KINDS];
static int asker = -1;
static pid_t born;

static void none(unsigned int nth)
{
	(void)nth;
}

static const char *nothing(unsigned int nth)
{
	(void)nth;
	return "-";
}

/* -- namespaces ----------------------------------------------------------- */

static int open_ns(const char *task, unsigned int kind)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/ns/%s", task, kinds[kind].name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		stop(path);
	return fd;
}

static ino_t inode(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		stop("fstat");
	return st.st_ino;
}

static ino_t own_inode(unsigned int kind)
{
	int fd = open_ns("self", kind);
	ino_t ino = inode(fd);

	close(fd);
	return ino;
}

static void remember(void)
{
	unsigned int i;

	for (i = 0; i < KINDS; i++)
		if (step->flags & kinds[i].flag)
			before[i] = own_inode(i);
}

enum { HOME = 10, AWAY, HALF };

/* Is the calling task still where the time began, as to the step's kinds? */
static int compare(void)
{
	bool home = false, away = false;
	unsigned int i;

	for (i = 0; i < KINDS; i++) {
		if (!(step->flags & kinds[i].flag))
			continue;
		if (own_inode(i) == before[i])
			home = true;
		else
			away = true;
	}
	return home && away ? HALF : home ? HOME : AWAY;
}

static const char *place(int found)
{
	return found == HOME ? "home" : found == AWAY ? "away" : "half";
}

/* Where children are: they are the ones in a new PID or time namespace. */
static const char *where(unsigned int nth)
{
	pid_t pid = start();

	(void)nth;
	if (!pid)
		_exit(compare());
	return place(result(pid));
}

static int make(unsigned int nth)
{
	(void)nth;
	return unshare(step->flags) ? errno : 0;
}

static void made(unsigned int nth)
{
	errno = make(nth);
	if (errno)
		stop("unshare");
}

/* What is made then is made in a foreign namespace. */
static void made_before(unsigned int nth)
{
	made(nth);
	remember();
}

static int enter(const int *files)
{
	unsigned int i;

	for (i = 0; i < KINDS; i++)
		if (step->flags == kinds[i].flag)
			return setns(files[i], kinds[i].flag) ? errno : 0;
	return EINVAL;
}

static int enter_foreign(unsigned int nth)
{
	(void)nth;
	return enter(foreign);
}

static int leave(unsigned int nth)
{
	(void)nth;
	return enter(initial);
}

static int have_child(unsigned int nth)
{
	(void)nth;
	born = syscall(SYS_clone, SIGCHLD | step->flags, NULL, NULL, NULL,
		       NULL);
	if (!born)
		_exit(compare());
	return born < 0 ? errno : 0;
}

static const char *where_born(unsigned int nth)
{
	(void)nth;
	return born < 0 ? "none" : place(result(born));
}

/* A task in foreign namespaces, until this one ends. */
static void make_foreign(void)
{
	unsigned int i;
	int ready[2];
	char name[16];
	pid_t pid;

	if (pipe(ready))
		stop("pipe");
	pid = start_bound();
	if (!pid) {
		for (i = 0; i < KINDS; i++)
			if (unshare(step->flags & kinds[i].flag))
				stop("unshare");
		pid = child();
		if (write(ready[1], &pid, sizeof(pid)) != sizeof(pid))
			stop("write");
		for (;;)
			pause();
	}
	if (read(ready[0], &pid, sizeof(pid)) != sizeof(pid))
		stop("read");
	snprintf(name, sizeof(name), "%d", (int)pid);
	for (i = 0; i < KINDS; i++)
		foreign[i] = open_ns(name, i);
}

/* -- what audit is asked -------------------------------------------------- */

static void open_asker(void)
{
	asker = renew(asker);
}

static int set_features(unsigned int features)
{
	struct audit_features asked = {
		.vers = AUDIT_FEATURE_VERSION,
		.mask = BOTH,
		.features = features,
	};

	return ask(asker, AUDIT_SET_FEATURE, &asked, sizeof(asked));
}

static unsigned int features(void)
{
	struct audit_features got;

	errno = get_reply(AUDIT_GET_FEATURE, &got, sizeof(got));
	if (errno)
		stop("AUDIT_GET_FEATURE");
	return got.features & BOTH;
}

/* Both change each time: from none to both, or back. */
static unsigned int new_features(unsigned int nth)
{
	return nth % 2 ? BOTH : 0;
}

static void before_switch(unsigned int nth)
{
	open_asker();
	errno = set_features(new_features(nth + 1));
	if (errno)
		stop("AUDIT_SET_FEATURE");
}

static int switch_features(unsigned int nth)
{
	return set_features(new_features(nth));
}

static const char *switched(unsigned int nth)
{
	unsigned int now = features();

	open_asker();
	return now == new_features(nth) ? "set" :
	       now == new_features(nth + 1) ? "unset" : "half";
}

/* It is about nobody. */
static const struct audit_rule_data rule = {
	.flags = AUDIT_FILTER_EXIT,
	.action = AUDIT_NEVER,
	.field_count = 1,
	.mask[AUDIT_WORD(SYS_getpid)] = AUDIT_BIT(SYS_getpid),
	.fields = { NS_UTS },
	.fieldflags = { AUDIT_EQUAL },
	.values = { 1 },
};

static int ask_rule(int type)
{
	return ask(asker, type, &rule, sizeof(rule));
}

static void before_add(unsigned int nth)
{
	(void)nth;
	open_asker();
}

static int add_rule(unsigned int nth)
{
	(void)nth;
	return ask_rule(AUDIT_ADD_RULE);
}

static void before_delete(unsigned int nth)
{
	open_asker();
	errno = add_rule(nth);
	if (errno)
		stop("adding a rule");
}

static int delete_rule(unsigned int nth)
{
	(void)nth;
	return ask_rule(AUDIT_DEL_RULE);
}

/* There is one or none, and none afterwards. */
static const char *there(unsigned int nth)
{
	(void)nth;
	/* An answer that could not be sent is no answer to this. */
	open_asker();
	return take_rule(asker, &rule, sizeof(rule));
}

/* -- what is told of a task in a foreign namespace ------------------------- */

static void before_message(unsigned int nth)
{
	made(nth);
	open_asker();
}

static int message(unsigned int nth)
{
	return say_number(asker, nth);
}

/* The third argument is nothing to the kernel, but it is in the record. */
static int call(unsigned int nth)
{
	return syscall(SYS_getpriority, 0, 0, nth) < 0 ? errno : 0;
}

/* How much an exit allocates nobody is left to say. */
static int leave_for_good(unsigned int nth)
{
	outcome->left = nth == EXITS;
	arm(nth);
	syscall(SYS_exit_group, 0);
	return 0;
}

/* -- one time -------------------------------------------------------------- */

static void time_of(unsigned int nth)
{
	size_t len = sizeof(outcome->state), used;
	char *state = outcome->state;
	int again;

	own_faults();
	used = snprintf(state, len, "%d,-", (int)getpid()) - 1;
	remember();
	step->prepare(nth);
	arm(nth);
	outcome->err = step->act(nth);
	outcome->left = disarm();
	used += snprintf(state + used, len - used, "%s", step->look(nth));
	if (step->undone && !strcmp(strchr(state, ',') + 1, step->undone)) {
		again = step->act(nth);
		snprintf(state + used, len - used, ",%s,%s",
			 audit_errno_name(again), step->look(nth));
	}
}

#define STEP(label, before, does, state, ...) \
	{ .name = label, .prepare = before, .act = does, .look = state, \
	  __VA_ARGS__ }
#define MOVE(label, before, does, kind, where_not, ...) \
	STEP(label, before, does, where, .flags = kind, \
	     .undone = where_not, __VA_ARGS__)
#define UNSHARE(label, kind, ...) \
	MOVE("unshare-" label, none, make, kind, "home", __VA_ARGS__)
#define SETNS(label, kind) \
	MOVE("setns-" label, none, enter_foreign, kind, "home")
#define LEAVE(label, kind) MOVE("leave-" label, made, leave, kind, "away")
#define SEVERAL	(CLONE_NEWCGROUP | CLONE_NEWPID | CLONE_NEWUTS)

static const struct step steps[] = {
	UNSHARE("cgroup", CLONE_NEWCGROUP),
	UNSHARE("ipc", CLONE_NEWIPC, .tail = 20),
	UNSHARE("mnt", CLONE_NEWNS, .tail = 20),
	UNSHARE("net", CLONE_NEWNET, .tail = 20),
	UNSHARE("pid", CLONE_NEWPID),
	UNSHARE("time", CLONE_NEWTIME),
	UNSHARE("user", CLONE_NEWUSER),
	UNSHARE("uts", CLONE_NEWUTS),
	UNSHARE("several", SEVERAL | CLONE_NEWTIME | CLONE_NEWUSER),
	STEP("clone", none, have_child, where_born, .flags = SEVERAL,
	     .undone = "none", .tail = 60),
	MOVE("within", made_before, make, CLONE_NEWUTS, "home"),
	SETNS("cgroup", CLONE_NEWCGROUP),
	SETNS("ipc", CLONE_NEWIPC),
	SETNS("mnt", CLONE_NEWNS),
	SETNS("net", CLONE_NEWNET),
	SETNS("pid", CLONE_NEWPID),
	SETNS("time", CLONE_NEWTIME),
	SETNS("user", CLONE_NEWUSER),
	SETNS("uts", CLONE_NEWUTS),
	STEP("features", before_switch, switch_features, switched,
	     .undone = "unset"),
	STEP("add-rule", before_add, add_rule, there),
	STEP("delete-rule", before_delete, delete_rule, there),
	STEP("message", before_message, message, nothing,
	     .flags = CLONE_NEWUTS),
	STEP("call", made, call, nothing,
	     .flags = CLONE_NEWUTS),
	LEAVE("cgroup", CLONE_NEWCGROUP),
	LEAVE("ipc", CLONE_NEWIPC),
	LEAVE("mnt", CLONE_NEWNS),
	LEAVE("net", CLONE_NEWNET),
	LEAVE("pid", CLONE_NEWPID),
	LEAVE("time", CLONE_NEWTIME),
	LEAVE("uts", CLONE_NEWUTS),
	STEP("exit", made, leave_for_good, nothing,
	     .flags = SEVERAL | CLONE_NEWTIME),
};

static void find_step(const char *name)
{
	for (step = steps; step < steps + sizeof(steps) / sizeof(*steps); step++)
		if (!strcmp(step->name, name))
			return;
	fprintf(stderr, "no such step: %s\n", name);
	exit(FAILED);
}

/* In a task of its own; how many allocations later it would have failed. */
static unsigned int try(unsigned int nth)
{
	pid_t pid;

	memset(outcome, 0, sizeof(*outcome));
	pid = start();
	if (!pid) {
		time_of(nth);
		exit(0);
	}
	result(pid);
	return outcome->left;
}

int main(int argc, char **argv)
{
	unsigned int nth = 1, lost_before, left, i;

	if (argc != 2) {
		fputs("usage: fault STEP\n", stderr);
		return FAILED;
	}
	find_step(argv[1]);
	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (outcome == MAP_FAILED)
		stop("mmap");
	for (i = 0; i < KINDS; i++)
		initial[i] = open_ns("self", i);
	if (step->act == enter_foreign)
		make_foreign();
	if (step->tail)
		nth = NEVER - try(NEVER) - step->tail;
	do {
		lost_before = lost();
		left = try(nth);
		say(step->name, nth, !left, outcome->err, outcome->state,
		    lost_before);
		if (nth++ > NTH_MAX)
			stop("there is no end");
	} while (!left);
	if (step->act == switch_features) {
		open_asker();
		set_features(NS_INFO);
	}
	return 0;
}
