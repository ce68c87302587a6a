/* parallel.c: threads, and nothing else; the only file that knows OpenMP. */
#include "parallel.h"

#include "base.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#if defined(_OPENMP) && (defined(__unix__) || defined(__APPLE__))
#include <pthread.h>

/* Set in a child made by fork() after this library was loaded: the OpenMP team did not survive the
 * fork, and GNU OpenMP waits for it for ever. Such a child computes serially, to the same bits.
 * The only mutable state of the library; written once, before the child can start threads. */
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

void nnl_parallel_for(int64_t count, int64_t grain, int threads, nnl_task *task, void *context) {
    if (count <= 0) return;
    int64_t chunks = nnl_ceil_div(count, nnl_max(grain, 1));
    int64_t team = nnl_min(chunks, threads);
    if (team <= 1 || forked_child) {
        task(context, 0, count);
        return;
    }
#ifdef _OPENMP
#pragma omp parallel num_threads((int)team)
    {
        /* The runtime may give fewer threads than asked for: cut by what it gave. */
        int64_t t = omp_get_thread_num(), given = omp_get_num_threads();
        int64_t begin = chunks * t / given * grain, end = chunks * (t + 1) / given * grain;
        if (begin < end) task(context, begin, nnl_min(end, count));
    }
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
