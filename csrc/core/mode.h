/* mode.h: the arithmetic mode in which every kernel computes: IEEE 754's default, which rounds to
 * nearest, keeps subnormal numbers and traps nothing. A thread may be in another one, as PyTorch's
 * set_flush_denormal leaves it; the mode is read with each call and written only where it
 * differs. */
#ifndef NNL_MODE_H
#define NNL_MODE_H

#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)
/* MXCSR: the bits that control (FTZ, rounding, masks of traps, DAZ), and their default. The others
 * tell what has happened and are left alone. */
typedef uint32_t nnl_mode;
#define NNL_MODE_CONTROL 0xFFC0u
#define NNL_MODE_DEFAULT 0x1F80u

static inline int nnl_is_default_mode(nnl_mode mode) {
    return (mode & NNL_MODE_CONTROL) == NNL_MODE_DEFAULT;
}
static inline nnl_mode nnl_read_mode(void) { return __builtin_ia32_stmxcsr(); }
static inline void nnl_write_mode(nnl_mode mode) { __builtin_ia32_ldmxcsr(mode); }
static inline nnl_mode nnl_default_mode(nnl_mode mode) {
    return (mode & ~NNL_MODE_CONTROL) | NNL_MODE_DEFAULT;
}

#elif defined(__aarch64__) && defined(__GNUC__)
/* FPCR: all of it controls, and the default is 0. */
typedef uint64_t nnl_mode;

static inline int nnl_is_default_mode(nnl_mode mode) { return mode == 0; }
static inline nnl_mode nnl_read_mode(void) {
    nnl_mode mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static inline void nnl_write_mode(nnl_mode mode) {
    __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory");
}
static inline nnl_mode nnl_default_mode(nnl_mode mode) { return (void)mode, 0; }

#else
#include <fenv.h>
/* What C offers everywhere: the direction of rounding alone. */
typedef int nnl_mode;

static inline int nnl_is_default_mode(nnl_mode mode) { return mode == FE_TONEAREST; }
static inline nnl_mode nnl_read_mode(void) { return fegetround(); }
static inline void nnl_write_mode(nnl_mode mode) { fesetround(mode); }
static inline nnl_mode nnl_default_mode(nnl_mode mode) { return (void)mode, FE_TONEAREST; }
#endif

/* Enters the default mode; returns the one before, for nnl_leave_mode. */
static inline nnl_mode nnl_enter_mode(void) {
    nnl_mode before = nnl_read_mode();
    if (!nnl_is_default_mode(before)) nnl_write_mode(nnl_default_mode(before));
    return before;
}
static inline void nnl_leave_mode(nnl_mode before) {
    if (!nnl_is_default_mode(before)) nnl_write_mode(before);
}

#endif
