/* SPDX-License-Identifier: MIT */
/* The power spectrum, written once for two kinds of REAL: float, and on hosts a vector of floats that holds
 * one frame per lane. Included by cheep_fft.c with REAL and FFT(name) defined; no include guard.
 *
 * A frame of N samples is split by the residue of the bin k modulo R = N / 16 into blocks of 16 values:
 *   residue 0     16 real values A;  X[R j] = sum A[n] W16^(n j)
 *   residue R/2   16 real values B;  X[R/2 (2 j + 1)] = sum B[n] W32^(n (2 j + 1))
 *   residue k     16 complex values z, k = 1..R/2-1;  X[k + R j] = sum z[n] WN^(n k) W16^(n j)
 * (W_L = exp(-2 pi i / L); the residues above R/2 are the conjugates of those below). For N >= 256 the first
 * four splits are one pass of 16-point transforms over columns; every other split is a pass of butterflies with
 * one constant rotation per block. All of it in place. Then each block is transformed in registers, and only
 * powers are stored.
 */

/* Real 16-point transform of v. o[0] = X0, o[1] = X8, o[2 k] + i o[2 k + 1] = Xk, k = 1..7. 58 additions, 12 products. */
static inline CHEEP_INLINE void FFT(real16)(const REAL *v, REAL *o)
{
    const REAL e0 = v[0] + v[8], d0 = v[0] - v[8], e4 = v[4] + v[12], d4 = v[4] - v[12];
    const REAL e2 = v[2] + v[10], d2 = v[2] - v[10], e6 = v[6] + v[14], d6 = v[6] - v[14];
    const REAL e1 = v[1] + v[9], d1 = v[1] - v[9], e5 = v[5] + v[13], d5 = v[5] - v[13];
    const REAL e3 = v[3] + v[11], d3 = v[3] - v[11], e7 = v[7] + v[15], d7 = v[7] - v[15];

    /* k = 0, 4, 8 and 2, 6: the 8-point transform of e */
    const REAL f0 = e0 + e4, g0 = e0 - e4, f1 = e1 + e5, g1 = e1 - e5;
    const REAL f2 = e2 + e6, g2 = e2 - e6, f3 = e3 + e7, g3 = e3 - e7;
    const REAL h0 = f0 + f2, h1 = f1 + f3;
    o[0] = h0 + h1;
    o[1] = h0 - h1;
    o[8] = f0 - f2;
    o[9] = f3 - f1;
    const REAL u = (g1 - g3) * SQRT_HALF, w = (g1 + g3) * -SQRT_HALF;
    o[4] = g0 + u;
    o[5] = w - g2;
    o[12] = g0 - u;
    o[13] = w + g2;

    /* odd k: the 4-point transform of (d[n] - i d[n + 4]) W16^n; n1, n3: imaginary parts */
    const REAL c1 = d1 * COS_PI_8 - d5 * SIN_PI_8, n1 = d1 * -SIN_PI_8 - d5 * COS_PI_8;
    const REAL c2 = (d2 - d6) * SQRT_HALF, s2 = (d2 + d6) * SQRT_HALF;
    const REAL c3 = d3 * SIN_PI_8 - d7 * COS_PI_8, n3 = d3 * -COS_PI_8 - d7 * SIN_PI_8;
    const REAL ac = d0 + c2, as = d4 + s2, bc = d0 - c2, bs = d4 - s2;
    const REAL pc = c1 + c3, pn = n1 + n3, qc = c3 - c1, qn = n3 - n1;
    o[2] = ac + pc;
    o[3] = pn - as;
    o[14] = ac - pc;
    o[15] = pn + as;
    o[10] = bc - qn;
    o[11] = qc - bs;
    o[6] = bc + qn;
    o[7] = qc + bs;
}

/* Columns n = 0..m-1 of 16 values, m apart, in place: plane p of the result starts at x + p m. */
static inline CHEEP_INLINE void FFT(columns)(REAL *x, uint32_t m)
{
    for (uint32_t n = 0; n < m; n++) {
        REAL v[16], o[16];
#define TAKE(i) v[i] = x[n + (i) * m];
#define GIVE(i) x[n + (i) * m] = o[i];
        CHEEP_EACH16(TAKE)
        FFT(real16)(v, o);
        CHEEP_EACH16(GIVE)
#undef TAKE
#undef GIVE
    }
}

#define POWER(re, im) ((re) * (re) + (im) * (im))

/* y = z * (c - i s) */
#define ROTATE(yr, yi, zr, zi, c, s) \
    const REAL yr = (zr) * (c) + (zi) * (s); \
    const REAL yi = (zi) * (c) - (zr) * (s)

/* 4-point transform of a, b, c, d (in that order) */
#define BUTTERFLY4(y, a, b, c, d) \
    const REAL y##sr = a##r + c##r, y##si = a##i + c##i, y##dr = a##r - c##r, y##di = a##i - c##i; \
    const REAL y##tr = b##r + d##r, y##ti = b##i + d##i, y##ur = b##r - d##r, y##ui = b##i - d##i; \
    const REAL y##0r = y##sr + y##tr, y##0i = y##si + y##ti, y##2r = y##sr - y##tr, y##2i = y##si - y##ti; \
    const REAL y##1r = y##dr + y##ui, y##1i = y##di - y##ur, y##3r = y##dr - y##ui, y##3i = y##di + y##ur

/* A block of residue k gives power[k + r j], folded at N / 2. up = power + k, down = power - k.
 * FIRST(z) and TURNED(z, i) declare four values n = i, i + 4, i + 8, i + 12 (i = 0 for FIRST), z##p0r, z##p0i, ...,
 * turned by their twiddles. The order is kept so that few values leave the registers. */
#define COMPLEX16 \
    FIRST(ta); \
    BUTTERFLY4(a, tap0, tap1, tap2, tap3); \
    CHEEP_ORDER; \
    TURNED(tb, 1); \
    BUTTERFLY4(b, tbp0, tbp1, tbp2, tbp3); \
    CHEEP_ORDER; \
    TURNED(tc, 2); \
    BUTTERFLY4(c, tcp0, tcp1, tcp2, tcp3); \
    CHEEP_ORDER; \
    TURNED(td, 3); \
    BUTTERFLY4(d, tdp0, tdp1, tdp2, tdp3); \
    CHEEP_ORDER; \
    { \
        BUTTERFLY4(x, a0, b0, c0, d0); \
        up[0] = POWER(x0r, x0i); \
        up[4 * r] = POWER(x1r, x1i); \
        down[8 * r] = POWER(x2r, x2i); \
        down[4 * r] = POWER(x3r, x3i); \
    } \
    CHEEP_ORDER; \
    { \
        ROTATE(e1r, e1i, b1r, b1i, COS_PI_8, SIN_PI_8); \
        const REAL e2r = (c1r + c1i) * SQRT_HALF, e2i = (c1i - c1r) * SQRT_HALF; \
        ROTATE(e3r, e3i, d1r, d1i, SIN_PI_8, COS_PI_8); \
        BUTTERFLY4(x, a1, e1, e2, e3); \
        up[r] = POWER(x0r, x0i); \
        up[5 * r] = POWER(x1r, x1i); \
        down[7 * r] = POWER(x2r, x2i); \
        down[3 * r] = POWER(x3r, x3i); \
    } \
    CHEEP_ORDER; \
    { \
        const REAL e1r = (b2r + b2i) * SQRT_HALF, e1i = (b2i - b2r) * SQRT_HALF; \
        const REAL e2r = c2i, e2i = -c2r; \
        const REAL e3r = (d2i - d2r) * SQRT_HALF, e3i = (d2r + d2i) * -SQRT_HALF; \
        BUTTERFLY4(x, a2, e1, e2, e3); \
        up[2 * r] = POWER(x0r, x0i); \
        up[6 * r] = POWER(x1r, x1i); \
        down[6 * r] = POWER(x2r, x2i); \
        down[2 * r] = POWER(x3r, x3i); \
    } \
    CHEEP_ORDER; \
    { \
        ROTATE(e1r, e1i, b3r, b3i, SIN_PI_8, COS_PI_8); \
        const REAL e2r = (c3i - c3r) * SQRT_HALF, e2i = (c3r + c3i) * -SQRT_HALF; \
        ROTATE(e3r, e3i, d3r, d3i, -COS_PI_8, -SIN_PI_8); \
        BUTTERFLY4(x, a3, e1, e2, e3); \
        up[3 * r] = POWER(x0r, x0i); \
        up[7 * r] = POWER(x1r, x1i); \
        down[5 * r] = POWER(x2r, x2i); \
        down[r] = POWER(x3r, x3i); \
    }

/* A block in two planes of 16. */
static inline CHEEP_INLINE void FFT(complex16)(const REAL *re, const REAL *im, const float *w, REAL *up, REAL *down,
                                                uint32_t r)
{
#define FIRST(z) \
    const REAL z##p0r = re[0], z##p0i = im[0]; \
    ROTATE(z##p1r, z##p1i, re[4], im[4], w[0], w[1]); \
    ROTATE(z##p2r, z##p2i, re[8], im[8], w[2], w[3]); \
    ROTATE(z##p3r, z##p3i, re[12], im[12], w[4], w[5])
#define TURNED(z, i) \
    ROTATE(z##p0r, z##p0i, re[i], im[i], w[8 * (i) - 2], w[8 * (i) - 1]); \
    ROTATE(z##p1r, z##p1i, re[(i) + 4], im[(i) + 4], w[8 * (i)], w[8 * (i) + 1]); \
    ROTATE(z##p2r, z##p2i, re[(i) + 8], im[(i) + 8], w[8 * (i) + 2], w[8 * (i) + 3]); \
    ROTATE(z##p3r, z##p3i, re[(i) + 12], im[(i) + 12], w[8 * (i) + 4], w[8 * (i) + 5])
    COMPLEX16
#undef FIRST
#undef TURNED
}

#ifdef CHEEP_TURN2
/* A block in the order in which it is read: complex values n = 0, 4, 8, 12, 1, 5, ... 15. */
static inline CHEEP_INLINE void FFT(packed16)(const REAL *z, const float *w, REAL *up, REAL *down, uint32_t r)
{
#define FIRST(y) \
    const REAL y##p0r = z[0], y##p0i = z[1]; \
    ROTATE(y##p1r, y##p1i, z[2], z[3], w[0], w[1]); \
    z += 4, w += 2; \
    CHEEP_TURN2_NOW(y##p2r, y##p2i, y##p3r, y##p3i, z, w)
#define TURNED(y, i) \
    CHEEP_TURN2(y##p0r, y##p0i, y##p1r, y##p1i, z, w); \
    CHEEP_TURN2_NOW(y##p2r, y##p2i, y##p3r, y##p3i, z, w)
    COMPLEX16
#undef FIRST
#undef TURNED
}
#endif

/* Block B: (B[n] + i B[n + 8]) conj(W32^n), whose output j is the conjugate of X[r (4 j - 1)], r = R / 2.
 * The table holds the sines negated. */
static inline CHEEP_INLINE void FFT(odd16)(const REAL *re, const REAL *im, const float *w, REAL *power, uint32_t r)
{
#define TURNED(z, n) ROTATE(z##r, z##i, re[n], im[n], w[2 * (n) - 2], w[2 * (n) - 1])
    const REAL z0r = re[0], z0i = im[0];
    TURNED(z2, 2);
    TURNED(z4, 4);
    TURNED(z6, 6);
    BUTTERFLY4(a, z0, z2, z4, z6);
    TURNED(z1, 1);
    TURNED(z3, 3);
    TURNED(z5, 5);
    TURNED(z7, 7);
#undef TURNED
    BUTTERFLY4(b, z1, z3, z5, z7);
    const REAL e1r = (b1r + b1i) * SQRT_HALF, e1i = (b1i - b1r) * SQRT_HALF;
    const REAL e3r = (b3i - b3r) * SQRT_HALF, e3i = (b3r + b3i) * -SQRT_HALF;
    power[r] = POWER(a0r + b0r, a0i + b0i);
    power[15 * r] = POWER(a0r - b0r, a0i - b0i);
    power[3 * r] = POWER(a1r + e1r, a1i + e1i);
    power[13 * r] = POWER(a1r - e1r, a1i - e1i);
    power[7 * r] = POWER(a2r + b2i, a2i - b2r);
    power[9 * r] = POWER(a2r - b2i, a2i + b2r);
    power[11 * r] = POWER(a3r + e3r, a3i + e3i);
    power[5 * r] = POWER(a3r - e3r, a3i - e3i);
}

/* Block A: power[r j], j = 0..8. */
static inline CHEEP_INLINE void FFT(even16)(const REAL *a, REAL *power, uint32_t r)
{
    REAL o[16];

    FFT(real16)(a, o);
    power[0] = o[0] * o[0];
    power[8 * r] = o[1] * o[1];
    power[r] = POWER(o[2], o[3]);
    power[2 * r] = POWER(o[4], o[5]);
    power[3 * r] = POWER(o[6], o[7]);
    power[4 * r] = POWER(o[8], o[9]);
    power[5 * r] = POWER(o[10], o[11]);
    power[6 * r] = POWER(o[12], o[13]);
    power[7 * r] = POWER(o[14], o[15]);
}

#ifndef CHEEP_FFT_256_ONLY

/* Real block of 2 h values, residue 0: sums to the first half (residue 0), differences to the second. Where a later
 * split makes complex values B[n] - i B[n + h / 2] of the differences, their upper half is stored negated. */
static void FFT(split_real)(REAL *x, uint32_t h)
{
    const uint32_t kept = h > 16u ? h / 2u : h;

    for (uint32_t n = 0; n < h; n++) {
        const REAL sum = x[n] + x[n + h];
        const REAL difference = n < kept ? x[n] - x[n + h] : x[n + h] - x[n];
        x[n] = sum;
        x[n + h] = difference;
    }
}

/* Complex block of 2 h values, residue k modulo m: residue k in the first half, and the conjugate of residue k + m,
 * which is residue m - k modulo 2 m, in the second. c - i s = exp(-i pi k / m). */
static void FFT(split_complex)(REAL *re, REAL *im, uint32_t h, float c, float s)
{
    for (uint32_t n = 0; n < h; n++) {
        ROTATE(zr, zi, re[n + h], im[n + h], c, s);
        const REAL ar = re[n], ai = im[n];
        re[n] = ar + zr;
        im[n] = ai + zi;
        re[n + h] = ar - zr;
        im[n + h] = zi - ai;
    }
}

/* Split a complex block of length values, residue k modulo m, down to blocks of 16, and transform those. */
static void FFT(complex_block)(REAL *re, REAL *im, uint32_t length, uint32_t k, const float *twiddle, REAL *power,
                               uint32_t r)
{
    const float *rotation = twiddle + LEAF_FLOATS * (r / 2u - 1u) + ODD_FLOATS;
    uint32_t residue[CHEEP_MAX_FFT / 64];
    uint32_t blocks = 1;

    residue[0] = k;
    for (uint32_t h = length / 2u; h >= 16u; h /= 2u) {
        const uint32_t m = 8u * r / h; /* N / (2 h) */
        for (uint32_t b = blocks; b-- > 0;) {
            const float *turn = rotation + 2u * (residue[b] * (r / (2u * m)));
            FFT(split_complex)(re + 2u * h * b, im + 2u * h * b, h, turn[0], turn[1]);
            residue[2u * b + 1u] = m - residue[b];
            residue[2u * b] = residue[b];
        }
        blocks *= 2u;
    }
    for (uint32_t b = 0; b < blocks; b++) {
        const float *w = twiddle + LEAF_FLOATS * (residue[b] - 1u);
        FFT(complex16)(re + 16u * b, im + 16u * b, w, power + residue[b], power - residue[b], r);
    }
}

/* power[n / 2 + 1] from n windowed samples in x, which are overwritten; any size. */
static void FFT(any)(REAL *x, uint32_t n, const float *twiddle, REAL *power)
{
    const uint32_t r = n / 16u;
    uint32_t length = n; /* of the real block with residue 0 */

    if (n >= 256u) {
        const uint32_t m = n / 16u;
        FFT(columns)(x, m);
        for (uint32_t k = 1; k < 8u; k++) {
            FFT(complex_block)(x + 2u * k * m, x + (2u * k + 1u) * m, m, k, twiddle, power, r);
        }
        length = m;
        if (m > 16u) {
            for (uint32_t i = m + m / 2u; i < 2u * m; i++) {
                x[i] = -x[i];
            }
            FFT(complex_block)(x + m, x + m + m / 2u, m / 2u, 8u, twiddle, power, r);
        }
    }
    while (length > 16u) {
        length /= 2u;
        FFT(split_real)(x, length);
        if (length > 16u) {
            FFT(complex_block)(x + length, x + length + length / 2u, length / 2u, n / (2u * length), twiddle, power,
                               r);
        }
    }
    FFT(even16)(x, power, r);
    FFT(odd16)(x + 16, x + 24, twiddle + LEAF_FLOATS * (r / 2u - 1u), power, r / 2u);
}

#endif

#undef POWER
#undef ROTATE
#undef BUTTERFLY4
#undef COMPLEX16
