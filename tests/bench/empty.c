/*
 * empty.c - a library with nothing in it: what the loader takes to preload any library at all.
 */
void shmshim_bench_empty(void);
void shmshim_bench_empty(void) {}
