/* parallel.c: threads, and nothing else; the only file that knows OpenMP. */
#include "parallel.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base.h"

#ifdef _OPENMP
#include <omp.h>
#include <stdatomic.h>
#include <time.h>
#endif

#if defined(_OPENMP) && (defined(__unix__) || defined(__APPLE__))
#include <pthread.h>

/* Set in a child made by fork() after this library was loaded: the OpenMP team did not survive the
 * fork, and GNU OpenMP waits for it for ever. Such a child computes serially, to the same bits.
 * Written once, before the child can start threads. */
static volatile int forked_child = 0;

static void mark_forked_child(void) { forked_child = 1; }

__attribute__((constructor)) static void guard_fork(void) {
    pthread_atfork(NULL, NULL, mark_forked_child);
}

#else
enum { forked_child = 0 };
#endif

NNL_API int nnl_build_openmp(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

#ifdef _OPENMP
/* A region ends when its last thread does. Where other programs keep the cores busy, that thread may
 * not even run for a time slice of the system, 4 ms at a time, and a small region becomes hundreds of
 * times slower than one thread. So a region that took long beyond what its own share of the work
 * explains is a stall, and after two in a row the next regions run on the calling thread alone: FEWEST of them,
 * twice as many after each further stall, fewer again while regions do not stall. Only time depends
 * on this, never a bit. */
#define STALL_SECONDS 3e-4
enum { FEWEST = 32, MOST = 1 << 10 };

static atomic_int alone;    /* regions still to run on one thread */
static atomic_int stalls;   /* in a row */
static atomic_int patience; /* how many the last stall cost */

/* Only with NNLITE_ALWAYS_THREADS=0 in the environment: on a quiet machine, too, a woken thread can
 * look like a stall (mnist steps then took 3.0 ms for 1.7). */
static bool always = false;

__attribute__((constructor)) static void read_environment(void) {
    const char *text = getenv("NNLITE_ALWAYS_THREADS");
    always = !(text && text[0] == '0');
}

static bool runs_alone(void) {
    int left = atomic_load_explicit(&alone, memory_order_relaxed);
    if (left <= 0 || always) return false;
    atomic_store_explicit(&alone, left - 1, memory_order_relaxed);
    return true;
}

static double seconds_now(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* whole: seconds of a region; share: those of the calling thread's work in it. */
static void learn_from(double whole, double share) {
    int cost = atomic_load_explicit(&patience, memory_order_relaxed);
    if (whole > 2 * share + STALL_SECONDS) {
        /* One alone may be a sleeping thread that had to be woken. */
        if (atomic_fetch_add_explicit(&stalls, 1, memory_order_relaxed) == 0) return;
        atomic_store_explicit(&stalls, 0, memory_order_relaxed);
        cost = (int)nnl_min(nnl_max(2 * cost, FEWEST), MOST);
        atomic_store_explicit(&alone, cost, memory_order_relaxed);
    } else {
        atomic_store_explicit(&stalls, 0, memory_order_relaxed);
        if (cost == 0) return;
        cost -= cost / 16 + 1;
    }
    atomic_store_explicit(&patience, cost, memory_order_relaxed);
}
#else
static bool runs_alone(void) { return false; }
#endif

void nnl_parallel_for(int64_t count, int64_t grain, int threads, nnl_task *task, void *context) {
    if (count <= 0) return;
    int64_t chunks = nnl_ceil_div(count, nnl_max(grain, 1));
    int64_t team = nnl_min(chunks, threads);
    if (team <= 1 || forked_child || runs_alone()) {
        task(context, 0, count);
        return;
    }
#ifdef _OPENMP
    double start = seconds_now(), share = 0;
#pragma omp parallel num_threads((int)team)
    {
        /* The runtime may give fewer threads than asked for: cut by what it gave. */
        int64_t t = omp_get_thread_num(), given = omp_get_num_threads();
        int64_t begin = chunks * t / given * grain, end = chunks * (t + 1) / given * grain;
        double begun = t == 0 ? seconds_now() : 0;
        if (begin < end) task(context, begin, nnl_min(end, count));
        if (t == 0) share = seconds_now() - begun;
    }
    learn_from(seconds_now() - start, share);
#else
    task(context, 0, count);
#endif
}

void nnl_parallel_each(int64_t count, int threads, nnl_task *task, void *context) {
    int64_t team = nnl_min(count, threads);
    if (team <= 1 || forked_child) {
        if (count > 0) task(context, 0, count);
        return;
    }
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)team)
#endif
    for (int64_t i = 0; i < count; i++) task(context, i, i + 1);
}
