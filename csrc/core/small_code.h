/* small_code.h: included first by files whose time is not in loops that -O3 unrolls and versions:
 * they make small functions, and the library stays small. Loops are still made of vectors. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O2", "tree-vectorize")
#endif
