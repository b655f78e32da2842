/* The wall clock that Python code reads is ahead by the seconds in a shared file; all else, such as
   the waits of C++ code until a point of time, keeps the kernel's, as after a jump of the host's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead_s;
static struct { uintptr_t from, to; } python[2];
static int found;
static int (*real)(clockid_t, struct timespec *);

static int look(struct dl_phdr_info *object, size_t size, void *data) {
    if ((object->dlpi_name[0] && !strstr(object->dlpi_name, "libpython")) || found == 2) return 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X) || found == 2) continue;
        python[found].from = object->dlpi_addr + part->p_vaddr;
        python[found].to = python[found].from + part->p_memsz;
        found++;
    }
    return 0;
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CHAOS_CLOCK");
    char program[4096];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (!path || length < 0) return;
    program[length] = 0;
    const char *name = strrchr(program, '/');
    if (!name || strncmp(name, "/python", 7)) return;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    void *map = file < 0 ? MAP_FAILED : mmap(0, sizeof *ahead_s, PROT_READ, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    dl_iterate_phdr(look, 0);
    if (map != MAP_FAILED) ahead_s = map;
}

static int64_t ahead(clockid_t clock, const void *caller) {
    uintptr_t at = (uintptr_t)caller;
    if (!ahead_s || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return 0;
    for (int i = 0; i < found; i++)
        if (at >= python[i].from && at < python[i].to) return *ahead_s;
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = real(clock, at);
    if (!failed) at->tv_sec += ahead(clock, __builtin_return_address(0));
    return failed;
}
