/* entry.h: what surrounds each call from outside: the arithmetic mode, and the request that the
 * call should end (Ctrl-C).
 *
 * A long call polls for that request between blocks of its work (nnl_stopped). The thread that made
 * the call asks, every 50 ms, a function that the binding gives (nnl_watch): Python's handlers of
 * signals run there, in the main thread alone. The other threads of the call read one flag. A call
 * that ends early returns NNL_EINTR, and its outputs hold anything. What must not be half done, as
 * the update of weights, is done between nnl_hold and nnl_release, where nobody asks. */
#ifndef NNL_ENTRY_H
#define NNL_ENTRY_H

#include <stdbool.h>

#include "core/mode.h"

typedef struct nnl_entry nnl_entry;
typedef struct nnl_thread nnl_thread; /* what is known of a thread */

struct nnl_entry {
    nnl_mode mode;     /* the thread's, before the call */
    nnl_entry *outer;  /* the call that runs in this thread, where a handler calls again */
    nnl_thread *owner; /* the thread that made the call */
    int held;          /* of the outer call */
    double next;       /* when to ask again; 0 before the first look at the clock */
    _Atomic(bool) stopped;
};

/* Around the body of a function of the C interface; `call` lives on the caller's stack. The status
 * is that of the body, or NNL_EINTR when the call was told to end. */
void nnl_begin_entry(nnl_entry *call);
int nnl_end_entry(nnl_entry *call, int status);

/* The number rounded to float, in the mode of the thread: for arguments of a call that has
 * begun. */
float nnl_to_float(double number);

/* The call that this thread works for, or NULL; and for a worker, to take part in it: begin returns
 * what end puts back. Also sets the arithmetic mode. */
nnl_entry *nnl_this_entry(void);
typedef struct {
    nnl_entry *before;
    nnl_mode mode;
} nnl_part;
nnl_part nnl_begin_part(nnl_entry *call);
void nnl_end_part(nnl_part part);

/* True when the call is to end. For places some tens of microseconds apart and more. */
bool nnl_stopped(void);

/* A process made by fork() has one thread, its main thread. */
void nnl_set_main_thread(void);

/* From hold to release this thread's calls are not stopped. They nest. */
void nnl_hold(void);
void nnl_release(void);

#endif
