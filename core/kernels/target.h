// Function attributes that compile one function for an x86-64 level inside a file built for the baseline, inlining all it
// calls, so that shared loops vectorise for each instruction set.
#pragma once

#if defined(__x86_64__)
#define RL_TARGET_V3 __attribute__((target("arch=x86-64-v3"), flatten))
#define RL_TARGET_V4 __attribute__((target("arch=x86-64-v4"), flatten))
#else
#define RL_TARGET_V3 __attribute__((flatten))
#define RL_TARGET_V4 __attribute__((flatten))
#endif
#define RL_TARGET_V2 __attribute__((flatten))
#define RL_INLINE inline __attribute__((always_inline))

// Iterations touch one index each: an output may be an input, element for element.
#if defined(__clang__)
#define RL_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define RL_INDEPENDENT _Pragma("GCC ivdep")
#endif

// Before a loop over a fixed number of lanes: the vectoriser shall see a loop. GCC would unroll it first, and not find the
// vectors in what is left.
#if defined(__clang__)
#define RL_LANES _Pragma("clang loop vectorize(enable)")
#else
#define RL_LANES _Pragma("GCC unroll 1")
#endif
