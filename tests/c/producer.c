// producer KEY SIZE END: makes a segment, fills it, and leaves in the way that END names, detaching
// only when END says so. What it wrote must outlive it; consumer.c, started separately, looks.
//
// Prints "SHMID PID" when the contents are complete. With END "wait" or "marked" it then stays until
// standard input ends.
#define _GNU_SOURCE
#include "exchange.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void *leave_later(void *main_thread)
{
    pthread_join(*(pthread_t *)main_thread, NULL);
    _exit(0);
}

static void leave(const char *end, int id, void *segment)
{
    static pthread_t main_thread;
    pthread_t thread;
    char *argv[] = {"true", NULL};

    if (strcmp(end, "return") == 0)
        return;
    if (strcmp(end, "detach") == 0) {
        if (shmdt(segment) != 0)
            fail("shmdt");
        return;
    }
    if (strcmp(end, "_exit") == 0)
        _exit(0);
    if (strcmp(end, "abort") == 0)
        abort();
    if (strcmp(end, "segv") == 0) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile int *)8 = 1;
    }
    if (strcmp(end, "kill") == 0)
        raise(SIGKILL);
    if (strcmp(end, "exec") == 0) {
        execvp("true", argv);
        fail("exec");
    }
    if (strcmp(end, "closed") == 0) {
        // Like a daemon: every descriptor goes while the segment is attached.
        if (close_range(0, ~0U, 0) != 0)
            _exit(9);
        _exit(shmdt(segment) == 0 ? 0 : 8);
    }
    if (strcmp(end, "thread") == 0) {
        // The first thread leaves, another one ends the process.
        main_thread = pthread_self();
        if (pthread_create(&thread, NULL, leave_later, &main_thread) != 0)
            fail("pthread_create");
        pthread_exit(NULL);
    }
    if (strcmp(end, "children") == 0) {
        // A child that inherits the segment and is killed, then one that is spawned and inherits nothing.
        pid_t child = fork();
        if (child == 0)
            raise(SIGKILL);
        if (child < 0 || waitpid(child, NULL, 0) != child)
            fail("fork");
        if (posix_spawnp(&child, "true", NULL, NULL, argv, environ) != 0 || waitpid(child, NULL, 0) != child)
            fail("posix_spawn");
        struct shmid_ds now;
        if (shmctl(id, IPC_STAT, &now) != 0)
            fail("IPC_STAT");
        _exit(now.shm_nattch == 1 ? 0 : 7);
    }
    if (strcmp(end, "marked") == 0 && shmctl(id, IPC_RMID, NULL) != 0)
        fail("IPC_RMID");
    if (strcmp(end, "wait") == 0 || strcmp(end, "marked") == 0) {
        char byte;
        puts("ready");
        fflush(stdout);
        while (read(0, &byte, 1) > 0)
            ;
        return;
    }
    fprintf(stderr, "producer: no such end: %s\n", end);
    exit(2);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: producer KEY SIZE END\n");
        return 2;
    }
    key_t key = (key_t)strtoul(argv[1], NULL, 0);
    size_t size = strtoul(argv[2], NULL, 0);
    int id = shmget(key, size, IPC_CREAT | IPC_EXCL | 0600);
    if (id < 0)
        fail("shmget");
    unsigned char *segment = shmat(id, NULL, 0);
    if (segment == (void *)-1)
        fail("shmat");
    for (size_t i = 0; i < size; i++) {
        if (segment[i] != 0) {
            fprintf(stderr, "producer: byte %zu of a new segment is %d\n", i, segment[i]);
            return 1;
        }
    }
    for (size_t i = 0; i < size; i++)
        segment[i] = expected_byte(key, i);
    printf("%d %d\n", id, (int)getpid());
    fflush(stdout);
    leave(argv[3], id, segment);
    return 0;
}
