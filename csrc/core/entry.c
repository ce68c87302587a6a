/* entry.c: the calls that threads are in, and whether these are to end; see entry.h. */
#include "core/entry.h"

#include <math.h>
#include <stdatomic.h>
#include <stddef.h>

#include "core/base.h"
#include "core/small_code.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
static uint64_t thread_number(void) { return (uint64_t)(uintptr_t)pthread_self(); }
#else
static uint64_t thread_number(void) { return 0; }
#endif

/* Seconds between two questions, of which an answer may take a twentieth: where another thread
 * keeps Python's lock it is waited for. */
#define ASK_SECONDS 0.05
#define ANSWER_SHARE 20.0
#define MOST_SECONDS 0.1

static int (*ask)(void);     /* written when the binding is loaded */
static uint64_t main_thread; /* the only one that asks */
static _Atomic(bool) called; /* once at least, by any thread */

/* One object, whose address is looked up once in a function. */
struct nnl_thread {
    nnl_entry *call; /* the one that it works for */
    int held;
};
static _Thread_local nnl_thread this_thread;

NNL_API void nnl_watch(int (*asked)(void), uint64_t thread) {
    ask = asked;
    main_thread = thread;
}

void nnl_set_main_thread(void) { main_thread = thread_number(); }

NNL_API int nnl_was_called(void) { return atomic_load(&called); }

void nnl_begin_entry(nnl_entry *call) {
    if (!atomic_load_explicit(&called, memory_order_relaxed)) atomic_store(&called, true);
    nnl_thread *me = &this_thread;
    call->mode = nnl_enter_mode();
    call->outer = me->call;
    call->owner = me;
    call->held = me->held;
    call->next = 0;
    atomic_init(&call->stopped, false);
    me->call = call;
    me->held = 0;
}

int nnl_end_entry(nnl_entry *call, int status) {
    call->owner->call = call->outer;
    call->owner->held = call->held;
    nnl_leave_mode(call->mode);
    return atomic_load_explicit(&call->stopped, memory_order_relaxed) ? NNL_EINTR : status;
}

float nnl_to_float(double number) { return (float)number; }

nnl_entry *nnl_this_entry(void) { return this_thread.call; }

nnl_part nnl_begin_part(nnl_entry *call) {
    nnl_thread *me = &this_thread;
    nnl_part part = {me->call, nnl_enter_mode()};
    me->call = call;
    return part;
}

void nnl_end_part(nnl_part part) {
    this_thread.call = part.before;
    nnl_leave_mode(part.mode);
}

void nnl_hold(void) { this_thread.held++; }
void nnl_release(void) { this_thread.held--; }

/* Asks, where it is time to; true when the call is to end. */
static bool asked_to_stop(nnl_entry *call) {
    double now = nnl_seconds();
    if (call->next == 0) {
        call->next = ask && thread_number() == main_thread ? now + ASK_SECONDS : (double)INFINITY;
        return false;
    }
    if (now < call->next) return false;
    bool stop = ask() != 0;
    double after = nnl_seconds(), pause = ANSWER_SHARE * (after - now);
    call->next = after + (pause < ASK_SECONDS    ? ASK_SECONDS
                          : pause < MOST_SECONDS ? pause
                                                 : MOST_SECONDS);
    if (stop) atomic_store(&call->stopped, true);
    return stop;
}

bool nnl_stopped(void) {
    const nnl_thread *me = &this_thread;
    nnl_entry *call = me->call;
    if (!call || me->held) return false;
    if (atomic_load_explicit(&call->stopped, memory_order_relaxed)) return true;
    return call->owner == me && asked_to_stop(call);
}

NNL_API uint64_t nnl_enter_standard_mode(void) { return (uint64_t)nnl_enter_mode(); }
NNL_API void nnl_restore_mode(uint64_t mode) { nnl_leave_mode((nnl_mode)mode); }
