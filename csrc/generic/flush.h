/* flush.h: v_flush for one number. Included by a layer's file in each type pass. */

/* x, or 0 with the sign of x where |x| < least. */
static inline real T_(flushed)(real x, real least) {
#if REAL_IS_FLOAT
    return __builtin_fabsf(x) < least ? __builtin_copysignf(0, x) : x;
#else
    return __builtin_fabs(x) < least ? __builtin_copysign(0, x) : x;
#endif
}
