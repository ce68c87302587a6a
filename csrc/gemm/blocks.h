/* blocks.h: the block sizes of the matrix product, as data. README.md tells how they were chosen.
 *
 * MR x (NV vectors) outputs are held in registers; a block of MC x KC of A stays in L2, a panel of
 * KC x NR of B in L1, KC x NC of B in the last-level cache (LLC). */
#ifndef NNL_GEMM_BLOCKS_H
#define NNL_GEMM_BLOCKS_H

#include "vec/vec.h"

/* Register tile. 32 vector registers hold 12 x 2 accumulators, two vectors of B and a broadcast of
 * A; 16 registers hold 6 x 2. NEON has 32 registers of 4 floats. */
#if defined(NNL_ISA_AVX512)
#define NNL_GEMM_MR 12
#define NNL_GEMM_NV 2
#elif defined(NNL_ISA_AVX2)
#define NNL_GEMM_MR 6
#define NNL_GEMM_NV 2
#elif defined(NNL_ISA_NEON)
#define NNL_GEMM_MR 8
#define NNL_GEMM_NV 2
#else
#define NNL_GEMM_MR 4
#define NNL_GEMM_NV 2
#endif

/* Calls EACH(rows) for every height of a tile. */
#define NNL_GEMM_ROWS_4(EACH) EACH(1) EACH(2) EACH(3) EACH(4)
#define NNL_GEMM_ROWS_6(EACH) NNL_GEMM_ROWS_4(EACH) EACH(5) EACH(6)
#define NNL_GEMM_ROWS_8(EACH) NNL_GEMM_ROWS_6(EACH) EACH(7) EACH(8)
#define NNL_GEMM_ROWS_12(EACH) NNL_GEMM_ROWS_8(EACH) EACH(9) EACH(10) EACH(11) EACH(12)
#if NNL_GEMM_MR == 12
#define NNL_GEMM_ROWS NNL_GEMM_ROWS_12
#elif NNL_GEMM_MR == 8
#define NNL_GEMM_ROWS NNL_GEMM_ROWS_8
#elif NNL_GEMM_MR == 6
#define NNL_GEMM_ROWS NNL_GEMM_ROWS_6
#else
#define NNL_GEMM_ROWS NNL_GEMM_ROWS_4
#endif

/* Most vectors of any tile: one row takes this many. */
#define NNL_GEMM_NV_MAX 8

/* Fewest rows of a tile that ends in a half register (with fewer its chains do not cover their
 * latency), and the work of a half in vector FMAs. */
#define NNL_GEMM_HALF_ROWS 4
#define NNL_GEMM_HALF_WORK 0.5

/* Inner dimension of a block (KC). The rows of a block of A (MC) take this fraction of L2, for
 * float and for double: with 1 MiB 144 and 96 rows in the AVX-512 build, 96 and 66 in the others.
 * NC columns of packed B stay in the LLC. */
#if defined(NNL_ISA_AVX512)
#define NNL_GEMM_KC 768
#define NNL_GEMM_KC_LONG 1152
#define NNL_GEMM_MC_L2_F32 0.43
#define NNL_GEMM_MC_L2_F64 0.57
#else
#define NNL_GEMM_KC 512
#define NNL_GEMM_KC_LONG 1024
#define NNL_GEMM_MC_L2_F32 0.19
#define NNL_GEMM_MC_L2_F64 0.26
#endif
#define NNL_GEMM_NC 3072

/* Panels of B packed at a time where each is read once: enough to prefetch, and little memory. */
#define NNL_GEMM_PANELS_ONCE 4

/* KC in bytes where only one block of rows reads each panel of B: the panel comes from beyond L2
 * then, and a short one stays in L2 with the next, which is being prefetched. */
#define NNL_GEMM_KC_SHORT_BYTES 2048

/* Matrices up to so many times L2 are read in place, a transposed A up to four times as much. */
#define NNL_GEMM_UNPACKED_L2 2

/* Rows of B a multiple of this apart alias in eight groups of sets of an 8-way cache of 1 MiB; a
 * product of at most so many rows is then transposed (README.md). */
#define NNL_GEMM_ALIAS_BYTES 16384
#define NNL_GEMM_ALIAS_ROWS 128

/* Costs in vector FMAs: transposing a square of registers, for each of its rows; a tile, besides
 * its FMAs; and a product by itself. A product is transposed when that saves 3 %, and columns
 * beyond the last whole vector are split off when that saves 5 %. */
#define NNL_GEMM_SQUARE_WORK 7
#define NNL_GEMM_TILE_WORK 70
#define NNL_GEMM_SPLIT_WORK 150
#define NNL_GEMM_TRANSPOSE_GAIN 0.97
#define NNL_GEMM_SPLIT_GAIN 0.95

/* Packed blocks up to this size live on the stack, which in some threads is 64 KiB for all
 * frames. */
#define NNL_GEMM_STACK_BYTES 12288

/* Fewest vector FMAs for each thread, 2.7 us at 3.7 GHz, one a cycle with AVX-512 and two
 * otherwise: for less, the cache-line transfers between cores take longer than the work. A parallel
 * region itself costs 0.3 us; it is opened when it saves a tenth. */
#if defined(NNL_ISA_AVX512)
#define NNL_GEMM_THREAD_WORK 10000
#define NNL_GEMM_REGION_WORK 1000
#else
#define NNL_GEMM_THREAD_WORK 20000
#define NNL_GEMM_REGION_WORK 2000
#endif
#define NNL_GEMM_REGION_GAIN 0.9

/* Products of fewer vector FMAs, 20 us of one thread, take the rules here; others are autotuned
 * (core/autotune.h). Transposing is tried where neither has more than so many times the other's
 * work. */
#if defined(NNL_ISA_AVX512)
#define NNL_GEMM_TUNE_WORK 74000
#else
#define NNL_GEMM_TUNE_WORK 148000
#endif
#define NNL_GEMM_TRY_WORK 1.1

/* Bytes of A and B that a thread reads from L2 in the time of a vector FMA. */
#define NNL_GEMM_BYTES_PER_FMA 32

/* FMAs of elements between two polls whether the call is to end: a millisecond at most in vectors,
 * 20 in the portable build. Rows between two polls where k is small: even. */
#define NNL_GEMM_POLL_FMAS (1 << 22)
#define NNL_GEMM_POLL_ROWS 4096

/* Products up to this k go by small_k.inc, in rows of so many registers. */
#define NNL_GEMM_SMALL_K 10
#define NNL_GEMM_SMALL_K_NV 4

#endif
