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

/* Terms of a block in the inner dimension (KC) and rows of a block of A (MC, for float and double):
 * the block takes 432 or 576 KiB of the second cache with AVX-512, whose processors have 1 MiB or
 * more, and 192 or 256 KiB otherwise. NC columns of packed B stay in the last cache. */
#if defined(NNL_ISA_AVX512)
#define NNL_GEMM_KC 768
#define NNL_GEMM_MC_FLOAT 144
#define NNL_GEMM_MC_DOUBLE 96
#else
#define NNL_GEMM_KC 512
#define NNL_GEMM_MC_FLOAT 96
#define NNL_GEMM_MC_DOUBLE 66
#endif
#define NNL_GEMM_NC 3072

/* Bytes of a row of terms where only one block of rows reads each panel of B: the panel comes from
 * afar then, and a short one stays in the second cache with the next, which is being fetched. */
#define NNL_GEMM_SHORT_BYTES 2048

/* Matrices up to this size are read in place, A's transpose up to four times as much: twice the
 * second cache. */
#define NNL_GEMM_UNPACKED_BYTES (2 << 20)

/* Costs in multiply-adds of a vector: transposing a square of registers, by its rows; a tile, besides
 * its multiply-adds; and a product by itself. A product is turned when that saves 3 %, and columns
 * beyond the last whole vector are split off when that saves 5 %. */
#define NNL_GEMM_SQUARE_WORK 7
#define NNL_GEMM_TILE_WORK 70
#define NNL_GEMM_SPLIT_WORK 150
#define NNL_GEMM_TURN_GAIN 0.97
#define NNL_GEMM_SPLIT_GAIN 0.95

/* Packed blocks up to this size live on the stack. */
#define NNL_GEMM_STACK_BYTES 16384

/* Threads pay when each gets at least this many multiply-adds (about 8 us at 50 per ns). */
#define NNL_GEMM_GRAIN 400000

#endif
