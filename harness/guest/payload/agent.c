// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first process of a guest: it mounts the root, and then runs commands and
 * moves files for the harness over a virtio-serial port of its own.
 *
 * A frame is three little-endian u32 (kind, id, length) and length bytes.
 *
 *   to the guest                          from the guest
 *   R  run: "cwd\0argc\0argv...\0env...\0"  H  hello, once
 *   I  standard input; empty = its end    O  standard output    E  its errors
 *   K  u32 signal, to the job's group     X  u32: exit status, 256 + signal,
 *   P  put: u32 mode, "path\0", content      or 65536 + errno when it could
 *   G  get: "path"                           not be started, put or got
 *   F  fork: u64 seconds, u32 nano-       D  content of a file
 *      seconds, random bytes              B  bye, the last one
 *   Q  quit: power off
 *
 * F is the first frame that a guest gets which was saved and goes on as one of
 * many: it takes the wall clock and the entropy of its own, and says H again.
 *
 * The kernel lets one opener at a time have the port, so no other program of
 * the guest can speak on it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/random.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORT_NAME	"nsaudit"
#define JOBS		64
#define FRAME_MAX	(64u << 20)
#define START_FAILED	65536u

struct header {
	uint32_t kind;
	uint32_t id;
	uint32_t length;
};

struct job {
	uint32_t id;
	pid_t pid;		/* 0: the slot is free */
	int in, out, err;	/* our ends of its pipes, -1: closed */
	char *pending;		/* input it has not read yet */
	size_t pending_len;
	int pending_eof;
};

static struct job jobs[JOBS];
static int port = -1;

static void say(const char *what)
{
	dprintf(STDERR_FILENO, "nsaudit-agent: %s: %s\n", what,
		strerror(errno));
}

static void power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	/* A machine that cannot be switched off can still be reset. */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static void die(const char *what)
{
	say(what);
	power_off();
}

/* The port does not block for reading; for writing we wait for the host. */
static void write_all(const void *from, size_t len)
{
	struct pollfd p = { .fd = port, .events = POLLOUT };
	const char *at = from;
	ssize_t n;

	while (len) {
		n = write(port, at, len);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			power_off();
		if (n < 0) {
			poll(&p, 1, -1);
			continue;
		}
		at += n;
		len -= n;
	}
}

static void send_frame(uint32_t kind, uint32_t id, const void *from,
		       uint32_t len)
{
	struct header h = { .kind = kind, .id = id, .length = len };

	write_all(&h, sizeof(h));
	write_all(from, len);
}

static void send_status(uint32_t id, uint32_t status)
{
	send_frame('X', id, &status, sizeof(status));
}

/* ---- jobs -------------------------------------------------------------- */

static struct job *find_job(uint32_t id)
{
	for (int i = 0; i < JOBS; i++)
		if (jobs[i].pid && jobs[i].id == id)
			return &jobs[i];
	return NULL;
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void forget_input(struct job *job)
{
	free(job->pending);
	job->pending = NULL;
	job->pending_len = 0;
	close_end(&job->in);
}

/* Sends what a pipe holds; closes our end when the other one is gone. */
static int forward(struct job *job, int *fd, uint32_t kind)
{
	static char chunk[65536];
	ssize_t n;

	if (*fd < 0)
		return 0;
	n = read(*fd, chunk, sizeof(chunk));
	if (n > 0) {
		send_frame(kind, job->id, chunk, n);
		return 1;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		close_end(fd);
	return 0;
}

static void feed(struct job *job)
{
	ssize_t n = 0;

	if (job->pending_len)
		n = write(job->in, job->pending, job->pending_len);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		forget_input(job);
		return;
	}
	memmove(job->pending, job->pending + n, job->pending_len - n);
	job->pending_len -= n;
	if (!job->pending_len && job->pending_eof)
		forget_input(job);
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (int i = 0; i < JOBS; i++) {
			struct job *job = &jobs[i];

			if (job->pid != pid)
				continue;
			/* A daemon may hold the pipes: take what is there. */
			while (forward(job, &job->out, 'O'))
				;
			while (forward(job, &job->err, 'E'))
				;
			close_end(&job->out);
			close_end(&job->err);
			forget_input(job);
			send_status(job->id, WIFSIGNALED(status) ?
					     256 + WTERMSIG(status) :
					     WEXITSTATUS(status));
			job->pid = 0;
		}
	}
}

static void become(char *cwd, char **argv, char **envp, int in, int out,
		   int err, int report)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0 ||
	    chdir(cwd))
		goto fail;
	execvpe(argv[0], argv, envp);
fail:
	if (write(report, &errno, sizeof(errno)) < 0)
		_exit(126);
	_exit(127);
}

static int start_job(uint32_t id, char *text, uint32_t len)
{
	int in[2], out[2], err[2], report[2], failure = 0;
	char **words = NULL, *cwd = text, *end = text + len;
	size_t argc, count = 0;
	struct job *job = NULL;
	pid_t pid;

	for (int i = 0; i < JOBS && !job; i++)
		if (!jobs[i].pid)
			job = &jobs[i];
	if (!job)
		return EAGAIN;
	if (!len || text[len - 1])
		return EPROTO;
	text += strlen(text) + 1;
	if (text == end)
		return EPROTO;
	argc = strtoul(text, NULL, 10);
	words = calloc(len + 2, sizeof(*words));
	if (!words)
		return ENOMEM;
	/* argv and env lie one behind the other, with a NULL after each. */
	for (text += strlen(text) + 1; text < end; text += strlen(text) + 1) {
		if (count == argc)
			words[count++] = NULL;
		words[count++] = text;
	}
	if (!argc || count < argc) {
		free(words);
		return EPROTO;
	}
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) ||
	    pipe2(err, O_CLOEXEC) || pipe2(report, O_CLOEXEC))
		die("pipe");
	/* The job looks its program up in the PATH that it was given. */
	for (size_t i = argc + 1; i < count; i++)
		if (!strncmp(words[i], "PATH=", 5))
			setenv("PATH", words[i] + 5, 1);
	pid = fork();
	if (pid == 0)
		become(cwd, words, words + argc + 1, in[0], out[1], err[1],
		       report[1]);
	free(words);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	close(report[1]);
	if (pid < 0)
		failure = errno;
	else if (read(report[0], &failure, sizeof(failure)) <= 0)
		failure = 0;
	close(report[0]);
	if (failure) {
		close(in[1]);
		close(out[0]);
		close(err[0]);
		return failure;
	}
	*job = (struct job){ .id = id, .pid = pid, .in = in[1], .out = out[0],
			     .err = err[0] };
	fcntl(job->in, F_SETFL, O_NONBLOCK);
	fcntl(job->out, F_SETFL, O_NONBLOCK);
	fcntl(job->err, F_SETFL, O_NONBLOCK);
	return 0;
}

static void take_input(uint32_t id, const char *from, uint32_t len)
{
	struct job *job = find_job(id);
	char *grown;

	if (!job || job->in < 0)
		return;
	if (!len) {
		job->pending_eof = 1;
	} else {
		grown = realloc(job->pending, job->pending_len + len);
		if (!grown)
			die("realloc");
		memcpy(grown + job->pending_len, from, len);
		job->pending = grown;
		job->pending_len += len;
	}
	feed(job);
}

/* ---- files ------------------------------------------------------------- */

static int put_file(const char *from, uint32_t len)
{
	const char *path = from + sizeof(uint32_t), *data;
	uint32_t mode;
	ssize_t n;
	int fd;

	if (len < sizeof(mode) + 2 ||
	    !memchr(path, 0, len - sizeof(mode)))
		return EPROTO;
	memcpy(&mode, from, sizeof(mode));
	data = path + strlen(path) + 1;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	for (len -= data - from; len; len -= n, data += n) {
		n = write(fd, data, len);
		if (n < 0) {
			close(fd);
			return errno;
		}
	}
	if (fchmod(fd, mode) || close(fd))
		return errno;
	return 0;
}

static int get_file(uint32_t id, const char *path)
{
	static char chunk[65536];
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno;
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		send_frame('D', id, chunk, n);
	close(fd);
	return n < 0 ? errno : 0;
}

/* ---- forks ------------------------------------------------------------- */

static void say_hello(void)
{
	static const char hello[] = "nsaudit-agent 2";

	send_frame('H', 0, hello, sizeof(hello) - 1);
}

/*
 * Gives the kernel random bytes and has it take a new key of them at once;
 * until then all forks of one saved guest would draw the same numbers.
 */
static int reseed(const char *from, uint32_t len)
{
	struct {
		struct rand_pool_info info;
		char bytes[64];
	} pool = { .info = { .entropy_count = 8 * len, .buf_size = len } };
	int failure = 0;
	int fd;

	if (len < 32 || len > sizeof(pool.bytes))
		return EPROTO;
	memcpy(pool.bytes, from, len);
	fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (ioctl(fd, RNDADDENTROPY, &pool) || ioctl(fd, RNDRESEEDCRNG))
		failure = errno;
	close(fd);
	return failure;
}

static void refresh(const char *body, uint32_t len)
{
	struct timeval now;
	uint64_t seconds;
	uint32_t nano;

	errno = EPROTO;
	if (len < sizeof(seconds) + sizeof(nano))
		die("fork");
	memcpy(&seconds, body, sizeof(seconds));
	memcpy(&nano, body + sizeof(seconds), sizeof(nano));
	body += sizeof(seconds) + sizeof(nano);
	len -= sizeof(seconds) + sizeof(nano);
	now = (struct timeval){ .tv_sec = seconds, .tv_usec = nano / 1000 };
	if (settimeofday(&now, NULL))
		die("clock");
	errno = reseed(body, len);
	if (errno)
		die("entropy");
	say_hello();
}

/* ---- frames ------------------------------------------------------------ */

static void obey(const struct header *h, char *body)
{
	struct job *job;
	uint32_t number;
	int failure;

	switch (h->kind) {
	case 'R':
		failure = start_job(h->id, body, h->length);
		if (failure)
			send_status(h->id, START_FAILED + failure);
		break;
	case 'I':
		take_input(h->id, body, h->length);
		break;
	case 'K':
		job = find_job(h->id);
		memcpy(&number, body, sizeof(number));
		if (job && h->length == sizeof(number))
			kill(-job->pid, number);
		break;
	case 'P':
		failure = put_file(body, h->length);
		send_status(h->id, failure ? START_FAILED + failure : 0);
		break;
	case 'G':
		failure = get_file(h->id, body);
		send_status(h->id, failure ? START_FAILED + failure : 0);
		break;
	case 'F':
		refresh(body, h->length);
		break;
	case 'Q':
		send_frame('B', h->id, NULL, 0);
		power_off();
		break;
	default:
		errno = EPROTO;
		die("frame");
	}
}

/* Reads what the port has and obeys every whole frame of it. */
static void listen_to_host(void)
{
	static char *buffer;
	static size_t have, room;
	struct header h;
	size_t at = 0;
	ssize_t n;

	if (have == room) {
		room = room ? 2 * room : 65536;
		buffer = realloc(buffer, room + 1);
		if (!buffer)
			die("realloc");
	}
	n = read(port, buffer + have, room - have);
	if (n == 0)
		power_off();
	if (n < 0)
		return;
	have += n;
	while (have - at >= sizeof(h)) {
		char *body = buffer + at + sizeof(h), kept;

		memcpy(&h, buffer + at, sizeof(h));
		if (h.length > FRAME_MAX) {
			errno = EMSGSIZE;
			die("frame");
		}
		if (have - at - sizeof(h) < h.length)
			break;
		/* A path may come without its NUL: lend it one. */
		kept = body[h.length];
		body[h.length] = 0;
		obey(&h, body);
		body[h.length] = kept;
		at += sizeof(h) + h.length;
	}
	memmove(buffer, buffer + at, have - at);
	have -= at;
}

/* ---- the machine ------------------------------------------------------- */

static void mount_on(const char *from, const char *to, const char *type,
		     unsigned long flags, const char *options)
{
	mkdir(to, 0755);
	if (mount(from, to, type, flags, options))
		die(to);
}

static int find_port(void)
{
	char path[PATH_MAX], name[64];
	struct dirent *entry;
	DIR *ports = opendir("/sys/class/virtio-ports");
	int fd = -1;

	while (ports && fd < 0 && (entry = readdir(ports))) {
		FILE *file;

		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name",
			 entry->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fscanf(file, "%63s", name) == 1 && !strcmp(name, PORT_NAME)) {
			snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
			fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		}
		fclose(file);
	}
	if (ports)
		closedir(ports);
	return fd;
}

static void bring_up(const char *name, const char *address)
{
	struct sockaddr_in *in;
	struct ifreq req = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	in = (struct sockaddr_in *)&req.ifr_addr;
	in->sin_family = AF_INET;
	if (address && inet_pton(AF_INET, address, &in->sin_addr) == 1 &&
	    !ioctl(fd, SIOCSIFADDR, &req)) {
		inet_pton(AF_INET, "255.255.255.0", &in->sin_addr);
		ioctl(fd, SIOCSIFNETMASK, &req);
	}
	if (!ioctl(fd, SIOCGIFFLAGS, &req)) {
		req.ifr_flags |= IFF_UP;
		ioctl(fd, SIOCSIFFLAGS, &req);
	}
	close(fd);
}

/* The name that the harness gave a disk (its serial number), or "". */
static void name_of_disk(const char *disk, char *name, size_t size)
{
	char path[PATH_MAX];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "/sys/block/%s/serial", disk);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, name, size - 1);
		close(fd);
	}
	name[n > 0 ? n : 0] = 0;
	name[strcspn(name, "\n")] = 0;
}

/*
 * Mounts the disks, each below the folder with its name; which letter one has
 * depends on the machine. Returns whether one was called "root".
 */
static int mount_disks(void)
{
	char name[32], path[128], device[300];
	DIR *disks = opendir("/sys/block");
	struct dirent *entry;
	int found = 0;

	while (disks && (entry = readdir(disks))) {
		if (strncmp(entry->d_name, "vd", 2))
			continue;
		name_of_disk(entry->d_name, name, sizeof(name));
		if (!*name)
			continue;
		snprintf(device, sizeof(device), "/dev/%s", entry->d_name);
		snprintf(path, sizeof(path), "/disks/%s", name);
		mount_on(device, path, "erofs", MS_RDONLY, NULL);
		found |= !strcmp(name, "root");
	}
	if (disks)
		closedir(disks);
	return found;
}

/*
 * The disk called root is below and a tmpfs above; the others are layers and
 * are seen as they are, in /run/layers.
 */
static void enter_root(void)
{
	mount_on("tmpfs", "/rw", "tmpfs", 0, "mode=0755");
	mkdir("/rw/upper", 0755);
	mkdir("/rw/work", 0755);
	mount_on("overlay", "/root", "overlay", 0,
		 "lowerdir=/disks/root,upperdir=/rw/upper,workdir=/rw/work");
	mount_on("tmpfs", "/root/run", "tmpfs", MS_NOSUID | MS_NODEV,
		 "mode=0755");
	mount_on("tmpfs", "/root/tmp", "tmpfs", MS_NOSUID | MS_NODEV,
		 "mode=1777");
	mount_on("/nsaudit", "/root/run/nsaudit", NULL, MS_BIND, NULL);
	mount_on("/disks", "/root/run/layers", NULL, MS_BIND | MS_REC, NULL);
	mkdir("/root/run/lock", 01777);
	mount_on("/dev", "/root/dev", NULL, MS_MOVE, NULL);
	mount_on("/proc", "/root/proc", NULL, MS_MOVE, NULL);
	mount_on("/sys", "/root/sys", NULL, MS_MOVE, NULL);
	if (chdir("/root") || mount(".", "/", NULL, MS_MOVE, NULL) ||
	    chroot(".") || chdir("/"))
		die("chroot");
	mount_on("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		 "gid=5,mode=620,ptmxmode=666");
	mount_on("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV,
		 "mode=1777");
	mount_on("cgroup2", "/sys/fs/cgroup", "cgroup2",
		 MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	if (symlink("/proc/self/fd", "/dev/fd") ||
	    symlink("/proc/self/fd/0", "/dev/stdin") ||
	    symlink("/proc/self/fd/1", "/dev/stdout") ||
	    symlink("/proc/self/fd/2", "/dev/stderr"))
		say("/dev/fd");
}

static void set_up(void)
{
	umask(0);
	mount_on("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, NULL);
	mount_on("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		 NULL);
	mount_on("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		 NULL);
	port = find_port();
	if (port < 0)
		die("no port named " PORT_NAME);
	mkdir("/disks", 0755);
	if (mount_disks())
		enter_root();
	umask(022);
	if (sethostname("guest", 5))
		say("hostname");
	bring_up("lo", NULL);
	bring_up("eth0", "10.0.2.15");
}

int main(void)
{
	struct signalfd_siginfo info;
	struct pollfd fds[2 + 3 * JOBS];
	sigset_t child;
	int signals, n;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		die("signalfd");
	set_up();
	say_hello();
	for (;;) {
		n = 0;
		fds[n++] = (struct pollfd){ .fd = port, .events = POLLIN };
		fds[n++] = (struct pollfd){ .fd = signals, .events = POLLIN };
		for (int i = 0; i < JOBS; i++) {
			struct job *job = &jobs[i];
			int waiting = job->pid && job->pending_len;

			fds[n++] = (struct pollfd){
				.fd = job->pid ? job->out : -1,
				.events = POLLIN };
			fds[n++] = (struct pollfd){
				.fd = job->pid ? job->err : -1,
				.events = POLLIN };
			fds[n++] = (struct pollfd){
				.fd = waiting ? job->in : -1,
				.events = POLLOUT };
		}
		if (poll(fds, n, -1) < 0)
			continue;
		for (int i = 0; i < JOBS; i++) {
			if (!jobs[i].pid)
				continue;
			if (fds[2 + 3 * i].revents)
				forward(&jobs[i], &jobs[i].out, 'O');
			if (fds[3 + 3 * i].revents)
				forward(&jobs[i], &jobs[i].err, 'E');
			if (fds[4 + 3 * i].revents && jobs[i].in >= 0)
				feed(&jobs[i]);
		}
		if (fds[1].revents) {
			while (read(signals, &info, sizeof(info)) > 0)
				;
			reap();
		}
		if (fds[0].revents & POLLHUP)
			power_off();
		if (fds[0].revents & POLLIN)
			listen_to_host();
	}
}
