/*
 * Preloaded into a program, has some of its reads and writes transfer fewer bytes than they were asked to, as the system may at any time.
 *
 * SHORT_PREAD, SHORT_PWRITE and SHORT_WRITE say of how many calls in a hundred. It allocates nothing and takes no lock: an allocator, too, calls
 * what it stands in for.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned next_random(void) {
    static atomic_uint state;
    unsigned random = atomic_fetch_add(&state, 2654435769u);
    random = (random ^ (random >> 16)) * 73244475u;
    random = (random ^ (random >> 16)) * 73244475u;
    return random ^ (random >> 16);
}

static size_t shortened(const char *variable, size_t count) {
    const char *percent = getenv(variable);
    unsigned random = next_random();
    if (percent == NULL || count < 2 || random % 100 >= (unsigned)atoi(percent)) {
        return count;
    }
    return 1 + (random / 100) % (count - 1);
}

ssize_t write(int file, const void *bytes, size_t count) {
    return syscall(SYS_write, file, bytes, shortened("SHORT_WRITE", count));
}

ssize_t pread64(int file, void *bytes, size_t count, off64_t offset) {
    return syscall(SYS_pread64, file, bytes, shortened("SHORT_PREAD", count), offset);
}

ssize_t pread(int file, void *bytes, size_t count, off_t offset) {
    return pread64(file, bytes, count, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    return syscall(SYS_pwrite64, file, bytes, shortened("SHORT_PWRITE", count), offset);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    return pwrite64(file, bytes, count, offset);
}
