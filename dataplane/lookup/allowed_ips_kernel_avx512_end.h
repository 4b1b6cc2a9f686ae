// Switches off what allowed_ips_kernel_avx512_begin.h switched on.
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
