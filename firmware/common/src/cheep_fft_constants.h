/* SPDX-License-Identifier: MIT */
/* Constants of the transform, for the instances of cheep_fft_kernel.h. */
#ifndef CHEEP_FFT_CONSTANTS_H
#define CHEEP_FFT_CONSTANTS_H

#define CHEEP_EACH16(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)

#define LEAF_FLOATS 30u
#define ODD_FLOATS 14u

#define SQRT_HALF 0.707106781f
#define COS_PI_8 0.923879533f
#define SIN_PI_8 0.382683432f

#endif
