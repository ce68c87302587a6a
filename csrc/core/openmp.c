/* openmp.c: regions on OpenMP's threads, as many as there are pieces or as OpenMP gives; see
 * openmp.h. Compiled with -fopenmp into nnlite._openmp alone. */
#define _POSIX_C_SOURCE 200809L
#include "core/openmp.h"

#if defined(_OPENMP)
#include <omp.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

/* How the caller waits: it spins as long as pieces usually differ in time, then sleeps for a
 * sixteenth of what it has waited so far, with a look after each sleep whether the call is to end.
 * OpenMP's own barrier, where it would wait otherwise, never looks. */
#define SPINS 4096
#define WAITED_SHARE 16
#define LEAST_NANOSECONDS 50000
#define MOST_NANOSECONDS 25000000

static void wait_for_others(atomic_int *unfinished, bool (*stopped)(void)) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(unfinished) == 0) return;
        nnl_relax();
    }
    long waited = 0, pause = LEAST_NANOSECONDS;
    while (atomic_load(unfinished) > 0) {
        struct timespec sleep = {0, pause};
        nanosleep(&sleep, NULL);
        stopped();
        waited += pause;
        pause = waited / WAITED_SHARE;
        if (pause < LEAST_NANOSECONDS) pause = LEAST_NANOSECONDS;
        if (pause > MOST_NANOSECONDS) pause = MOST_NANOSECONDS;
    }
}

/* OpenMP starts threads where a team is larger than the caller's last one. They inherit its mask of
 * signals, and signals belong to the program's own threads. */
static _Thread_local int last_pieces;

static void run(int pieces, nnl_piece *piece, void *context, bool (*stopped)(void)) {
    const bool starts_threads = pieces > last_pieces;
    last_pieces = pieces;
    sigset_t all, before;
    if (starts_threads) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
    }
    atomic_int unfinished = pieces;
#pragma omp parallel num_threads(pieces)
    {
        const int me = omp_get_thread_num(), team = omp_get_num_threads();
        if (me == 0 && starts_threads) pthread_sigmask(SIG_SETMASK, &before, NULL);
        for (int i = me; i < pieces; i += team) {
            piece(context, i);
            atomic_fetch_sub(&unfinished, 1);
        }
        if (me == 0) wait_for_others(&unfinished, stopped);
    }
}

uintptr_t nnl_openmp_start(void) {
    omp_get_max_threads();
    return (uintptr_t)run;
}
#else
typedef int nnl_no_openmp; /* a C file must declare something */
#endif
