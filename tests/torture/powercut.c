/*
 * What a disk would hold if the power went out: a preloaded library that keeps a shadow of one
 * directory which receives bytes only when an fsync or fdatasync that covers them has returned, and
 * names only when an fsync of the directory has.
 *
 *   POWERCUT_DIR     the directory to watch, absolute and without symbolic links
 *   POWERCUT_SHADOW  holds inodes/<number> (content) and names/... (hard links to it)
 *   POWERCUT_FULL    optional: while this file exists, writes below the directory get ENOSPC
 *
 * sync_file_range is left alone on purpose: it promises nothing, so it adds nothing.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct range { off_t from; size_t length; };
struct file { ino_t inode; off_t cut; struct range *ranges; size_t count, room; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *files;
static size_t file_count, file_room;

#define REAL(name, type, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

/* The system's own, for the shadow's files. */
static void raw_unlink(const char *path) { unlinkat(AT_FDCWD, path, 0); }
static void raw_rename(const char *from, const char *to) {
    renameat(AT_FDCWD, from, AT_FDCWD, to);
}
static void raw_cut(int fd, off_t length) {
    if (syscall(SYS_ftruncate, fd, length)) abort();
}
static void raw_write(int fd, const void *bytes, size_t length, off_t from) {
    if (syscall(SYS_pwrite64, fd, bytes, length, from) != (long)length) abort();
}

static const char *directory(void) { return getenv("POWERCUT_DIR"); }
static const char *shadow(void) { return getenv("POWERCUT_SHADOW"); }

/* The part of the path below the watched directory ("" for itself), or NULL. */
static const char *below(const char *path) {
    const char *dir = directory();
    size_t length = dir ? strlen(dir) : 0;
    if (!length || strncmp(path, dir, length)) return NULL;
    if (path[length] == '\0') return path + length;
    return path[length] == '/' ? path + length + 1 : NULL;
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return -1;
    path[length] = '\0';
    return 0;
}

static int watched(int fd, struct stat *found, char *path) {
    if (!shadow() || path_of(fd, path) || !below(path)) return 0;
    return fstat(fd, found) == 0;
}

static int disk_is_full(int fd) {
    const char *flag = getenv("POWERCUT_FULL");
    char path[PATH_MAX];
    return flag && access(flag, F_OK) == 0 && path_of(fd, path) == 0 && below(path);
}

static struct file *file_of(ino_t inode) {
    for (size_t i = 0; i < file_count; i++)
        if (files[i].inode == inode) return &files[i];
    if (file_count == file_room) {
        file_room = file_room ? file_room * 2 : 16;
        files = realloc(files, file_room * sizeof *files);
    }
    files[file_count] = (struct file){.inode = inode, .cut = -1};
    return &files[file_count++];
}

static void note_write(int fd, off_t from, size_t length) {
    struct stat found;
    char path[PATH_MAX];
    int saved = errno;
    if (watched(fd, &found, path) && S_ISREG(found.st_mode)) {
        pthread_mutex_lock(&lock);
        struct file *file = file_of(found.st_ino);
        if (file->count == file->room) {
            file->room = file->room ? file->room * 2 : 64;
            file->ranges = realloc(file->ranges, file->room * sizeof *file->ranges);
        }
        file->ranges[file->count++] = (struct range){from, length};
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
}

static void inode_path(char *path, ino_t inode) {
    snprintf(path, PATH_MAX, "%s/inodes/%lu", shadow(), (unsigned long)inode);
}

/* Forgets a file that has no name any more: its number may be given to another. */
static void forget(ino_t inode) {
    char path[PATH_MAX];
    pthread_mutex_lock(&lock);
    struct file *file = file_of(inode);
    file->count = 0;
    file->cut = -1;
    inode_path(path, inode);
    raw_unlink(path);
    pthread_mutex_unlock(&lock);
}

/* Everything the names of one directory lead to, as of now. */
static void shadow_names(const char *path, const char *relative) {
    char from[PATH_MAX * 2], to[PATH_MAX * 2], content[PATH_MAX];
    struct dirent *entry;
    struct stat found;
    DIR *list = opendir(path);
    if (!list) return;
    while ((entry = readdir(list))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(from, sizeof from, "%s/%s", path, entry->d_name);
        snprintf(to, sizeof to, "%s/names/%s/%s", shadow(), relative, entry->d_name);
        if (lstat(from, &found)) continue;
        if (S_ISDIR(found.st_mode)) { mkdir(to, 0700); continue; }
        inode_path(content, found.st_ino);
        int made = open(content, O_CREAT | O_WRONLY, 0600);
        if (made >= 0) close(made);
        struct stat held, meant;
        if (!stat(content, &meant) && !lstat(to, &held) && held.st_ino == meant.st_ino) continue;
        char draft[PATH_MAX];
        snprintf(draft, sizeof draft, "%s/draft", shadow());
        raw_unlink(draft);
        if (!link(content, draft)) raw_rename(draft, to);
    }
    closedir(list);
    snprintf(to, sizeof to, "%s/names/%s", shadow(), relative);
    list = opendir(to);
    if (!list) return;
    while ((entry = readdir(list))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(from, sizeof from, "%s/%s", path, entry->d_name);
        snprintf(to, sizeof to, "%s/names/%s/%s", shadow(), relative, entry->d_name);
        if (lstat(from, &found)) raw_unlink(to);
    }
    closedir(list);
}

static int sync_and_shadow(int fd, int (*sync)(int)) {
    struct stat found;
    char path[PATH_MAX], content[PATH_MAX];
    if (!watched(fd, &found, path)) return sync(fd);
    pthread_mutex_lock(&lock);
    if (S_ISDIR(found.st_mode)) {
        int result = sync(fd);
        if (!result) shadow_names(path, below(path));
        pthread_mutex_unlock(&lock);
        return result;
    }
    /* What is in the file before the sync begins is what the sync covers. */
    struct file *file = file_of(found.st_ino);
    size_t count = file->count;
    char **held = calloc(count + 1, sizeof *held);
    ssize_t *lengths = calloc(count + 1, sizeof *lengths);
    snprintf(content, sizeof content, "/proc/self/fd/%d", fd);
    int source = open(content, O_RDONLY);
    for (size_t i = 0; i < count; i++) {
        held[i] = malloc(file->ranges[i].length);
        lengths[i] = pread(source, held[i], file->ranges[i].length, file->ranges[i].from);
    }
    close(source);
    off_t cut = file->cut;
    int result = sync(fd);
    if (!result) {
        inode_path(content, found.st_ino);
        int target = open(content, O_CREAT | O_RDWR, 0600);
        if (cut >= 0) raw_cut(target, cut);
        raw_cut(target, found.st_size);
        for (size_t i = 0; i < count; i++)
            if (lengths[i] > 0)
                raw_write(target, held[i], (size_t)lengths[i], file->ranges[i].from);
        close(target);
        memmove(file->ranges, file->ranges + count, (file->count - count) * sizeof *file->ranges);
        file->count -= count;
        file->cut = -1;
    }
    for (size_t i = 0; i < count; i++) free(held[i]);
    free(held);
    free(lengths);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int fd) { REAL("fsync", int, int); return sync_and_shadow(fd, real); }
int fdatasync(int fd) { REAL("fdatasync", int, int); return sync_and_shadow(fd, real); }

static ssize_t full(void) { errno = ENOSPC; return -1; }

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t from) {
    REAL("pwrite64", ssize_t, int, const void *, size_t, off_t);
    if (disk_is_full(fd)) return full();
    ssize_t written = real(fd, bytes, length, from);
    if (written > 0) note_write(fd, from, (size_t)written);
    return written;
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t from) {
    return pwrite64(fd, bytes, length, from);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t from) {
    REAL("pwritev64", ssize_t, int, const struct iovec *, int, off_t);
    if (disk_is_full(fd)) return full();
    ssize_t written = real(fd, parts, count, from);
    if (written > 0) note_write(fd, from, (size_t)written);
    return written;
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t from) {
    return pwritev64(fd, parts, count, from);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL("write", ssize_t, int, const void *, size_t);
    if (disk_is_full(fd)) return full();
    ssize_t written = real(fd, bytes, length);
    if (written > 0) {
        int saved = errno;
        off_t after = lseek(fd, 0, SEEK_CUR);
        errno = saved;
        if (after >= written) note_write(fd, after - written, (size_t)written);
    }
    return written;
}

int ftruncate64(int fd, off_t length) {
    REAL("ftruncate64", int, int, off_t);
    struct stat found;
    char path[PATH_MAX];
    int result = real(fd, length);
    if (!result && watched(fd, &found, path)) {
        pthread_mutex_lock(&lock);
        struct file *file = file_of(found.st_ino);
        if (file->cut < 0 || length < file->cut) file->cut = length;
        pthread_mutex_unlock(&lock);
    }
    return result;
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int unlink(const char *path) {
    REAL("unlink", int, const char *);
    struct stat found;
    int last = shadow() && below(path) && !lstat(path, &found) && found.st_nlink == 1;
    int result = real(path);
    if (!result && last) forget(found.st_ino);
    return result;
}

int rename(const char *from, const char *to) {
    REAL("rename", int, const char *, const char *);
    struct stat found, moved;
    int last = shadow() && below(to) && !lstat(to, &found) && found.st_nlink == 1
               && !lstat(from, &moved) && moved.st_ino != found.st_ino;
    int result = real(from, to);
    if (!result && last) forget(found.st_ino);
    return result;
}
