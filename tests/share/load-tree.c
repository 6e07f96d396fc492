// SPDX-License-Identifier: Apache-2.0
/* The load's part about names and attributes; see load.c. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/share/load.h"

static long rename_at(const char *from, const char *to, unsigned int flags)
{
	return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

static long close_fd(long fd)
{
	return fd < 0 ? fd : close((int)fd);
}

static void create(void)
{
	char name[257];

	say_rc("create", close_fd(open("a", O_RDWR | O_CREAT | O_EXCL, 0640)));
	say_stat("created", "a");
	say_rc("create exclusively again", close_fd(open("a", O_RDWR | O_CREAT | O_EXCL, 0640)));
	say_rc("create what is there", close_fd(open("a", O_RDWR | O_CREAT, 0600)));
	say_stat("mode stays", "a");
	say_rc("open what is missing", open("none", O_RDONLY));
	say_rc("open below a file", open("a/b", O_RDONLY));
	say_rc("open a file as directory", open("a", O_RDONLY | O_DIRECTORY));
	say_rc("mkdir", mkdir("d", 0775));
	say_stat("made", "d");
	say_rc("mkdir again", mkdir("d", 0775));
	say_rc("mkdir in nothing", mkdir("none/d", 0775));
	say_rc("open a directory for writing", open("d", O_RDWR));
	memset(name, 'n', 256);
	name[255] = 0;
	say_rc("name of 255", close_fd(open(name, O_RDWR | O_CREAT, 0600)));
	say_rc("unlink it", unlink(name));
	name[255] = 'n';
	name[256] = 0;
	say_rc("name of 256", open(name, O_RDWR | O_CREAT, 0600));
	say_rc("odd name", close_fd(open(" \t\377*", O_RDWR | O_CREAT, 0600)));
	umask(077);
	say_rc("umask", mkdir("umask", 0777));
	umask(022);
	say_stat("umask made", "umask");
}

static void rename_all(void)
{
	put_file("r1", "one");
	put_file("r2", "two two");
	say_rc("rename", rename("r1", "d/r1"));
	say_rc("rename what is missing", rename("r1", "d/r3"));
	say_rc("rename over", rename("d/r1", "r2"));
	say_stat("renamed over", "r2");
	say_rc("rename noreplace", rename_at("r2", "a", RENAME_NOREPLACE));
	say_rc("rename exchange", rename_at("r2", "d", RENAME_EXCHANGE));
	say_stat("exchanged", "d");
	say_rc("exchange back", rename_at("d", "r2", RENAME_EXCHANGE));
	say_rc("rename directory into itself", rename("d", "d/d"));
	say_rc("mkdir full", mkdir("full", 0755));
	put_file("full/x", "x");
	say_rc("rename directory over full", rename("d", "full"));
	say_rc("rename directory over file", rename("d", "r2"));
	say_rc("rename file over directory", rename("r2", "d"));
	say_rc("rename whiteout", rename_at("r2", "r3", RENAME_WHITEOUT));
	say_stat("whiteout", "r2");
	say_rc("rename directory", rename("full", "d/full"));
	say_rc("found below", access("d/full/x", F_OK));
}

static void links(void)
{
	char target[5000];
	ssize_t n;

	say_rc("link", link("a", "d/hard"));
	say_stat("linked", "a");
	say_rc("link again", link("a", "d/hard"));
	say_rc("link a directory", link("d", "dd"));
	say_rc("symlink", symlink("../a", "d/soft"));
	say_stat("through it", "d/soft");
	say_rc("open through it", close_fd(open("d/soft", O_RDONLY)));
	say_rc("open nofollow", open("d/soft", O_RDONLY | O_NOFOLLOW));
	say_rc("symlink to nothing", symlink("/no/where", "dangling"));
	say_rc("open dangling", open("dangling", O_RDONLY));
	say_rc("loop", symlink("loop", "loop"));
	say_rc("open loop", open("loop", O_RDONLY));
	memset(target, 't', sizeof(target));
	target[4095] = 0;
	say_rc("long target", symlink(target, "long"));
	n = readlink("long", target, sizeof(target));
	say_rc("readlink", n);
	say_rc("readlink of a file", readlink("a", target, sizeof(target)));
	say_rc("unlink long", unlink("long"));
	say_rc("unlink a link", unlink("d/hard"));
	say_stat("one name left", "a");
}

static void remove_all(void)
{
	say_rc("unlink what is missing", unlink("none"));
	say_rc("unlink a directory", unlink("d"));
	say_rc("rmdir a file", rmdir("a"));
	say_rc("rmdir full", rmdir("d"));
	say_rc("rmdir", rmdir("umask"));
	say_rc("rmdir gone", rmdir("umask"));
}

static void kinds(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "sock" };
	int sock = socket(AF_UNIX, SOCK_STREAM, 0), fifo;
	char c = 0;

	say_rc("mkfifo", mkfifo("fifo", 0644));
	say_stat("fifo", "fifo");
	fifo = open("fifo", O_RDWR | O_NONBLOCK);
	say_rc("write fifo", write(fifo, "x", 1));
	say_rc("read fifo", read(fifo, &c, 1));
	close(fifo);
	say_rc("bind", bind(sock, (struct sockaddr *)&sa, sizeof(sa)));
	say_stat("socket", "sock");
	say_rc("listen", listen(sock, 1));
	close(sock);
	say_rc("mknod file", mknod("node", S_IFREG | 0600, 0));
	say_stat("node", "node");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void many(void)
{
	struct dirent **d;
	uint64_t h = 0;
	char name[40];
	int i, n, failed = 0;

	say_rc("mkdir many", mkdir("many", 0755));
	for (i = 0; i < 1000; i++) {
		int fd;

		snprintf(name, sizeof(name), "many/file-%d", i);
		fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
		failed += fd < 0;
		close(fd);
	}
	say("1000 files", "%d failed", failed);
	n = scandir("many", &d, NULL, by_name);
	for (i = 0; i < n; i++) {
		const char *c = d[i]->d_name;

		while (*c)
			h = h * 31 + (unsigned char)*c++;
		h = h * 31 + d[i]->d_type;
		free(d[i]);
	}
	free(d);
	say("readdir of many", "%d entries, sum %016llx", n, (unsigned long long)h);
	for (i = 0; i < 1000; i += 3) {
		snprintf(name, sizeof(name), "many/file-%d", i);
		failed += unlink(name) < 0;
	}
	n = scandir("many", &d, NULL, by_name);
	for (i = 0; i < n; i++)
		free(d[i]);
	free(d);
	say("a third removed", "%d entries, %d failed", n, failed);
}

/* Removing while reading: each entry is seen once. */
static void walk_and_remove(void)
{
	DIR *d = opendir("many");
	struct dirent *e;
	int n = 0, failed = 0;

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		failed += unlinkat(dirfd(d), e->d_name, 0) < 0;
	}
	say("removed while reading", "%d, %d failed", n, failed);
	rewinddir(d);
	for (n = 0; (e = readdir(d));)
		n++;
	say("entries afterwards", "%d", n);
	closedir(d);
	say_rc("rmdir many", rmdir("many"));
}

/**
 * load_names() - what takes names
 */
void load_names(void)
{
	create();
	rename_all();
	links();
	remove_all();
	kinds();
	many();
	walk_and_remove();
}

static void xattrs(void)
{
	char value[200] = "", list[300];
	ssize_t n;

	put_file("x", "x");
	say_rc("setxattr", setxattr("x", "user.colour", "blue", 4, 0));
	say_rc("setxattr create", setxattr("x", "user.colour", "red", 3, XATTR_CREATE));
	say_rc("setxattr replace", setxattr("x", "user.none", "red", 3, XATTR_REPLACE));
	say_rc("getxattr length", getxattr("x", "user.colour", NULL, 0));
	say_rc("getxattr", getxattr("x", "user.colour", value, sizeof(value)));
	say("its value", "%s", value);
	say_rc("getxattr short", getxattr("x", "user.colour", value, 2));
	say_rc("getxattr none", getxattr("x", "user.none", value, sizeof(value)));
	say_rc("setxattr empty", setxattr("x", "user.empty", "", 0, 0));
	say_rc("getxattr empty", getxattr("x", "user.empty", value, sizeof(value)));
	n = listxattr("x", list, sizeof(list));
	say("listxattr", "%zd%s", n,
	    memmem(list, n > 0 ? (size_t)n : 0, "user.colour", 12) ? " with it" : "");
	say_rc("setxattr of a link", lsetxattr("dangling", "user.x", "1", 1, 0));
	say_rc("setxattr of a directory", setxattr("d", "user.x", "1", 1, 0));
	say_rc("removexattr", removexattr("x", "user.colour"));
	say_rc("removexattr again", removexattr("x", "user.colour"));
	memset(value, 'v', sizeof(value));
	say_rc("setxattr 200", setxattr("x", "user.long", value, sizeof(value), 0));
	say_rc("getxattr 200", getxattr("x", "user.long", value, sizeof(value)));
}

/* ACL of version 2: owner rwx, user 1000 rw, group and mask rwx, others nothing. */
static const unsigned char acl[] = {
	2, 0,	 0,   0,   1,	0,   7,	 0, 255, 255, 255, 255, 2,   0,	  6,
	0, 0xe8, 3,   0,   0,	4,   0,	 7, 0,	 255, 255, 255, 255, 16,  0,
	7, 0,	 255, 255, 255, 255, 32, 0, 0,	 0,   255, 255, 255, 255,
};

static void acls(void)
{
	unsigned char back[100];
	ssize_t n;

	say_rc("mkdir acl", mkdir("acl", 0755));
	say_rc("set default acl", setxattr("acl", "system.posix_acl_default", acl, sizeof(acl), 0));
	n = getxattr("acl", "system.posix_acl_default", back, sizeof(back));
	say("get default acl", "%zd %s", n,
	    n == sizeof(acl) && !memcmp(back, acl, sizeof(acl)) ? "same" : "differs");
	umask(077);
	say_rc("create under it", close_fd(open("acl/file", O_RDWR | O_CREAT, 0666)));
	say_rc("mkdir under it", mkdir("acl/dir", 0777));
	umask(022);
	say_stat("acl file", "acl/file");
	say_stat("acl dir", "acl/dir");
	say_rc("its acl", getxattr("acl/file", "system.posix_acl_access", back, sizeof(back)));
	say_rc("inherited", getxattr("acl/dir", "system.posix_acl_default", back, sizeof(back)));
	say_rc("chmod with acl", chmod("acl/file", 0604));
	say_stat("after chmod", "acl/file");
	say_rc("remove acl", removexattr("acl", "system.posix_acl_default"));
	say_rc("none left", getxattr("acl", "system.posix_acl_default", back, sizeof(back)));
}

static void times(void)
{
	struct timespec t[2] = { { 1000000000, 123456789 }, { 981173106, 999999999 } };
	struct stat st = { 0 };

	say_rc("utimens", utimensat(AT_FDCWD, "x", t, 0));
	stat("x", &st);
	say("times", "%lld.%09ld", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	t[0].tv_nsec = UTIME_OMIT;
	t[1].tv_sec = -5;
	t[1].tv_nsec = 5;
	say_rc("utimens before 1970", utimensat(AT_FDCWD, "x", t, 0));
	stat("x", &st);
	say("times before", "%lld.%09ld %lld", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
	    (long long)st.st_atim.tv_sec);
	t[1] = (struct timespec){ 500000000, 1 };
	say_rc("utimens of a link", utimensat(AT_FDCWD, "dangling", t, AT_SYMLINK_NOFOLLOW));
	lstat("dangling", &st);
	say("times of the link", "%lld", (long long)st.st_mtim.tv_sec);
}

/**
 * load_attributes() - modes, owners, times, extended attributes
 */
void load_attributes(void)
{
	struct statfs f = { 0 };

	say_rc("chmod", chmod("a", 06711));
	say_stat("chmodded", "a");
	say_rc("chown", chown("a", 1234, 4321));
	say_stat("chowned", "a");
	say_rc("chown to nobody", chown("a", (uid_t)-1, (gid_t)-1));
	say_rc("lchown", lchown("dangling", 5, 6));
	say_stat("link chowned", "dangling");
	say_rc("chown a directory", chown("d", 7, 8));
	say_stat("directory chowned", "d");
	say_rc("chmod a directory", chmod("d", 03777));
	say_stat("directory chmodded", "d");
	xattrs();
	acls();
	times();
	statfs(".", &f);
	say("statfs", "names of %ld, %s", (long)f.f_namelen, f.f_blocks ? "blocks" : "no blocks");
}
