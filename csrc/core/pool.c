/* pool.c: threads that wait for the pieces of a region.
 *
 * A region is published in one word, the ticket: its number, the next piece that nobody has taken,
 * and how many there are. Whoever moves the ticket to the next piece, worker or caller, runs that
 * piece. So a caller never waits for a thread that has not begun: where other programs keep the
 * cores busy, it does the work itself. (An OpenMP team must all arrive before a region ends, and a
 * thread that does not run then costs a time slice of the system, 4 ms at a time.) Between regions
 * workers spin for a while, for in training the next region is a microsecond away, then sleep.
 *
 * One region runs at a time: a second caller, or a region within a region, runs its pieces
 * alone. */
#define _GNU_SOURCE /* sched_getcpu; besides POSIX */
#include "core/pool.h"

#if defined(NNL_THREADS_POOL)
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "core/base.h"
#include "core/entry.h"
#include "core/small_code.h"

/* How long a worker spins for work before it sleeps: over what a program does between two batches,
 * for waking a thread takes some 50 us, and more where it has to change its core. And how long a
 * caller spins for the end of others' work. */
#define WORKER_SECONDS 2e-3
#define CALLER_SECONDS 1e-4
#define LOOK_NANOSECONDS 25000000 /* between two looks whether the call is to end */
#define LOOKS 64                  /* between two looks at the clock */

/* A worker's stack: kernels need less than 64 KiB of it, and thread-local data of the process lie
 * there too. The default of 8 MiB each would count where address space is limited. */
#define WORKER_STACK (256 << 10)

/* Fields of the ticket, from the low end: pieces (11 bits), next piece (11 bits), region (42). */
#define NEXT_SHIFT 11
#define REGION_SHIFT 22
#define FIELD ((UINT64_C(1) << NEXT_SHIFT) - 1)
#define ONE_PIECE (UINT64_C(1) << NEXT_SHIFT)
#define ONE_REGION (UINT64_C(1) << REGION_SHIFT)

/* What threads write often has a cache line (and its neighbour, fetched with it) of its own. */
static _Alignas(128) atomic_uint_fast64_t ticket;
static _Alignas(128) atomic_int unfinished; /* pieces of this region */
static _Alignas(128) atomic_int busy;       /* a region is running */
static atomic_int sleepers;                 /* workers that must be woken */
static atomic_int caller_sleeps;
static nnl_piece *run_piece; /* of this region; written while no worker reads it */
static void *run_context;
static int workers;         /* started so far; written by the owner of `busy` */
static atomic_bool crowded; /* more threads than cores: spinning would take another's time */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_came = PTHREAD_COND_INITIALIZER;
static pthread_cond_t work_ended = PTHREAD_COND_INITIALIZER;

static bool has_piece(uint64_t seen) { return ((seen >> NEXT_SHIFT) & FIELD) < (seen & FIELD); }

static void finish_piece(void) {
    if (atomic_fetch_sub(&unfinished, 1) == 1 && atomic_load(&caller_sleeps)) {
        pthread_mutex_lock(&lock);
        pthread_cond_signal(&work_ended);
        pthread_mutex_unlock(&lock);
    }
}

/* Takes the next piece of the region and runs it; false when there is none. */
static bool take_piece(void) {
    uint64_t seen = atomic_load(&ticket);
    while (has_piece(seen)) {
        if (atomic_compare_exchange_weak(&ticket, &seen, seen + ONE_PIECE)) {
            run_piece(run_context, (int64_t)((seen >> NEXT_SHIFT) & FIELD));
            finish_piece();
            return true;
        }
    }
    return false;
}

static bool work_is_there(void) {
    return has_piece(atomic_load_explicit(&ticket, memory_order_relaxed));
}
static bool work_is_done(void) { return atomic_load(&unfinished) == 0; }

/* Looks until `happened`, for so many seconds; true when it did. */
static bool look_out(bool (*happened)(void), double seconds) {
    if (atomic_load_explicit(&crowded, memory_order_relaxed)) return happened();
    double end = nnl_seconds() + seconds;
    do {
        for (int i = 0; i < LOOKS; i++) {
            if (happened()) return true;
            nnl_relax();
        }
    } while (nnl_seconds() < end);
    return false;
}

/* A system that packs threads wakes a worker on the caller's own core and leaves it there for up to
 * 20 ms, in which they run by turns. The worker then forbids itself that core for a moment, which
 * moves it at once. */
#if defined(__linux__)
static atomic_int caller_core;

static void note_core(void) { atomic_store(&caller_core, sched_getcpu()); }

static void leave_core(void) {
    cpu_set_t allowed, others;
    int core = sched_getcpu();
    if (core < 0 || core != atomic_load(&caller_core) || atomic_load(&crowded)) return;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    others = allowed;
    CPU_CLR((size_t)core, &others);
    if (sched_setaffinity(0, sizeof others, &others) == 0) {
        sched_setaffinity(0, sizeof allowed, &allowed);
    }
}
#else
static void note_core(void) {}
static void leave_core(void) {}
#endif

static void *work(void *unused) {
    (void)unused;
    nnl_enter_mode();
    for (;;) {
        while (take_piece()) continue;
        if (look_out(work_is_there, WORKER_SECONDS)) continue;
        pthread_mutex_lock(&lock);
        atomic_fetch_add(&sleepers, 1);
        while (!has_piece(atomic_load(&ticket))) pthread_cond_wait(&work_came, &lock);
        atomic_fetch_sub(&sleepers, 1);
        pthread_mutex_unlock(&lock);
        leave_core();
    }
    return NULL;
}

/* One more worker; false where the system gives none. */
static bool start_worker(void) {
    pthread_t thread;
    pthread_attr_t small;
    if (pthread_attr_init(&small) != 0) return false;
    int failed = pthread_attr_setstacksize(&small, WORKER_STACK);
    if (!failed) failed = pthread_create(&thread, &small, work, NULL);
    pthread_attr_destroy(&small);
    /* EINVAL: the process has so much thread-local data that they need a larger stack. */
    if (failed == EINVAL) failed = pthread_create(&thread, NULL, work, NULL);
    if (!failed) pthread_detach(thread);
    return !failed;
}

/* Starts workers until there are `wanted`, or as many as the system gives: pieces run without. */
static void start_workers(int wanted) {
    if (workers >= wanted) return;
    sigset_t all, before; /* signals belong to the program's own threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (workers < wanted && start_worker()) workers++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    atomic_store(&crowded, workers >= sysconf(_SC_NPROCESSORS_ONLN));
}

static void wake_workers(int wanted) {
    int asleep = atomic_load(&sleepers);
    if (asleep == 0) return;
    note_core();
    pthread_mutex_lock(&lock);
    for (int i = 0; i < wanted && i < asleep; i++) pthread_cond_signal(&work_came);
    pthread_mutex_unlock(&lock);
}

/* While others still work, the caller looks now and then whether the call is to end. */
static void wait_for_others(void) {
    if (work_is_done() || look_out(work_is_done, CALLER_SECONDS)) return;
    pthread_mutex_lock(&lock);
    atomic_store(&caller_sleeps, 1);
    while (!work_is_done()) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_NANOSECONDS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (pthread_cond_timedwait(&work_ended, &lock, &until) == 0) continue;
        pthread_mutex_unlock(&lock);
        nnl_stopped();
        pthread_mutex_lock(&lock);
    }
    atomic_store(&caller_sleeps, 0);
    pthread_mutex_unlock(&lock);
}

void nnl_pool_run(int pieces, nnl_piece *piece, void *context) {
    if (atomic_exchange(&busy, 1)) {
        for (int i = 0; i < pieces; i++) piece(context, i);
        return;
    }
    start_workers(pieces - 1);
    run_piece = piece;
    run_context = context;
    atomic_store(&unfinished, pieces);
    uint64_t region = (atomic_load(&ticket) >> REGION_SHIFT) + 1;
    atomic_store(&ticket, region << REGION_SHIFT | ONE_PIECE | (uint64_t)pieces); /* 0 is mine */
    wake_workers(pieces - 1);
    piece(context, 0);
    finish_piece();
    while (take_piece()) continue;
    wait_for_others();
    atomic_store(&busy, 0);
}
#else
typedef int nnl_no_pool; /* a C file must declare something */
#endif
