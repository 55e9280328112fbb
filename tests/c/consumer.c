// consumer KEY SIZE [ID]: attaches what producer.c left under KEY (by ID when given: a segment marked
// for destruction has no key any more), read-only, and compares every byte.
//
// Prints "SHMID nattch N cpid PID lpid PID mode MODE" as IPC_STAT has them before the attach, and the
// same with "attached" in front while it is attached; its own pid is printed as -1.
#include "exchange.h"

#include <unistd.h>

static void print_state(const char *when, int id)
{
    struct shmid_ds now;
    if (shmctl(id, IPC_STAT, &now) != 0)
        fail("IPC_STAT");
    printf("%s%d nattch %lu cpid %d lpid %d mode %o\n", when, id, (unsigned long)now.shm_nattch,
           (int)now.shm_cpid, now.shm_lpid == getpid() ? -1 : (int)now.shm_lpid, now.shm_perm.mode);
}

int main(int argc, char **argv)
{
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: consumer KEY SIZE [ID]\n");
        return 2;
    }
    key_t key = (key_t)strtoul(argv[1], NULL, 0);
    size_t size = strtoul(argv[2], NULL, 0);
    int id = argc == 4 ? atoi(argv[3]) : shmget(key, size, 0400);
    if (id < 0)
        fail("shmget");
    print_state("", id);
    unsigned char *segment = shmat(id, NULL, SHM_RDONLY);
    if (segment == (void *)-1)
        fail("shmat");
    print_state("attached ", id);
    for (size_t i = 0; i < size; i++) {
        if (segment[i] != expected_byte(key, i)) {
            fprintf(stderr, "consumer: byte %zu is %d, not %d\n", i, segment[i], expected_byte(key, i));
            return 1;
        }
    }
    // The last page is whole, and empty behind the segment's end.
    for (size_t i = size; i % 4096 != 0; i++) {
        if (segment[i] != 0) {
            fprintf(stderr, "consumer: byte %zu behind the end is %d\n", i, segment[i]);
            return 1;
        }
    }
    if (shmdt(segment) != 0)
        fail("shmdt");
    return 0;
}
