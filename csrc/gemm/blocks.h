/* blocks.h: the block sizes of the matrix product, as data. README.md tells how they were chosen.
 *
 * MR x (NV vectors) outputs are held in registers; KC inner terms of a block of MC rows of A stay
 * in the second cache, a panel of KC x NR of B in the first, KC x NC of B in the last. */
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
#define NNL_GEMM_WIDE 8

/* Fewest rows of a tile that ends in a half register (with fewer its chains do not cover their
 * latency), and the work of a half. */
#define NNL_GEMM_HALF_ROWS 4
#define NNL_GEMM_HALF_WORK 0.5

/* Terms of a block in the inner dimension (KC). Rows of a block of A (MC) take this share of the
 * second cache, for float and for double: with 1 MiB 144 and 96 rows in the AVX-512 build, 96 and 66
 * in the others. NC columns of packed B stay in the last cache. */
#if defined(NNL_ISA_AVX512)
#define NNL_GEMM_KC 768
#define NNL_GEMM_KC_LONG 1152
#define NNL_GEMM_MC_FLOAT_SHARE 0.43
#define NNL_GEMM_MC_DOUBLE_SHARE 0.57
#else
#define NNL_GEMM_KC 512
#define NNL_GEMM_KC_LONG 1024
#define NNL_GEMM_MC_FLOAT_SHARE 0.19
#define NNL_GEMM_MC_DOUBLE_SHARE 0.26
#endif
#define NNL_GEMM_NC 3072

/* Panels of B packed at a time where each is read once: enough to fetch ahead, and little memory. */
#define NNL_GEMM_PANELS_ONCE 4

/* Bytes of a row of terms where only one block of rows reads each panel of B: the panel comes from
 * afar then, and a short one stays in the second cache with the next, which is being fetched. */
#define NNL_GEMM_SHORT_BYTES 2048

/* Matrices up to so many times the second cache are read in place, A's transpose up to four times as
 * much. */
#define NNL_GEMM_IN_PLACE_SHARE 2

/* Rows of B a multiple of this apart share eight groups of sets in a cache of 1 MiB and 8 ways; a product
 * of at most so many rows is then turned (README.md). */
#define NNL_GEMM_MEETING_BYTES 16384
#define NNL_GEMM_MEETING_ROWS 128

/* Costs in multiply-adds of a vector: transposing a square of registers, by its rows; a tile, besides
 * its multiply-adds; and a product by itself. A product is turned when that saves 3 %, and columns
 * beyond the last whole vector are split off when that saves 5 %. */
#define NNL_GEMM_SQUARE_WORK 7
#define NNL_GEMM_TILE_WORK 70
#define NNL_GEMM_SPLIT_WORK 150
#define NNL_GEMM_TURN_GAIN 0.97
#define NNL_GEMM_SPLIT_GAIN 0.95

/* Packed blocks up to this size live on the stack, which in some threads is 64 KiB for all frames. */
#define NNL_GEMM_STACK_BYTES 12288

/* Threads join for shares of 2.7 us, in multiply-adds of a vector at 3.7 GHz, one a cycle with AVX-512
 * and two otherwise: for less, the lines that another core wrote travel longer than they are worked
 * on. A parallel region itself costs 0.3 us; it is opened when it saves a tenth. */
#if defined(NNL_ISA_AVX512)
#define NNL_GEMM_SHARE_WORK 10000
#define NNL_GEMM_REGION_WORK 1000
#else
#define NNL_GEMM_SHARE_WORK 20000
#define NNL_GEMM_REGION_WORK 2000
#endif
#define NNL_GEMM_REGION_GAIN 0.9

/* Products of less work, 20 us of one thread, take the rules here; for others ways are tried
 * (core/autotune.h). Both orientations are where neither is more than so many times the other's work. */
#if defined(NNL_ISA_AVX512)
#define NNL_GEMM_TUNE_WORK 74000
#else
#define NNL_GEMM_TUNE_WORK 148000
#endif
#define NNL_GEMM_TRY_WORK 1.1

/* Bytes of A and B that a thread reads from the second cache in the time of a multiply-add. */
#define NNL_GEMM_BYTES_PER_WORK 32

/* Multiply-adds between two looks whether the call is to end: a millisecond at most in vectors, 20 in the
 * portable build. Rows of a thin product between two looks: even. */
#define NNL_GEMM_LOOK_WORK (1 << 22)
#define NNL_GEMM_LOOK_ROWS 4096

/* Products of at most so many terms go by thin.inc, in rows of so many registers. */
#define NNL_GEMM_THIN_TERMS 10
#define NNL_GEMM_THIN_NV 4

#endif
