/* SPDX-License-Identifier: MIT */
/* Projections of the hyperdimensional head. Every table is a function of the seed through random_word. */
#include "cheep_hdc_project.h"

#include "cheep_hdc_kernels.h"
#include "cheep_hdc_lanes.h"

/* The lower 128 of 256 quantiles of a normal distribution of deviation 40: round(40 Phi^-1((i + 1/2) / 256)). */
static const int8_t normal_quantile[128] = {
    -115, -101, -93, -88, -84, -81, -78, -76, -73, -71, -70, -68, -66, -65, -63, -62, -61, -60, -58, -57, -56, -55,
    -54, -53, -52, -51, -50, -50, -49, -48, -47, -46, -46, -45, -44, -43, -43, -42, -41, -41, -40, -39, -39, -38,
    -38, -37, -36, -36, -35, -35, -34, -33, -33, -32, -32, -31, -31, -30, -30, -29, -29, -28, -28, -27, -27, -26,
    -26, -25, -25, -24, -24, -23, -23, -22, -22, -22, -21, -21, -20, -20, -19, -19, -18, -18, -18, -17, -17, -16,
    -16, -15, -15, -15, -14, -14, -13, -13, -13, -12, -12, -11, -11, -10, -10, -10, -9, -9, -8, -8, -8, -7, -7, -6,
    -6, -6, -5, -5, -5, -4, -4, -3, -3, -3, -2, -2, -1, -1, -1, 0};

/* Word i of the stream of a seed: a bijection of i (the finalizer lowbias32 of C. Wellons). */
static inline uint32_t mix(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x *= 0x846CA68Bu;
    x ^= x >> 16;
    return x;
}

static inline uint32_t random_word(uint32_t key, uint32_t i)
{
    return mix((i * 0x9E3779B9u) ^ key);
}

static inline uint32_t stream_key(const cheep_hdc_spec *spec)
{
    return mix(spec->seed + 0x9E3779B9u);
}

static uint32_t block_size(const cheep_hdc_spec *spec)
{
    uint32_t size = 32;
    while (size < spec->n_dims) {
        size *= 2u;
    }
    return size;
}

uint16_t cheep_hdc_padded_dims(const cheep_hdc_spec *spec)
{
    if (spec->projection == CHEEP_HDC_HADAMARD) {
        return (uint16_t)block_size(spec);
    }
    return (uint16_t)((spec->n_dims + 15u) & ~15u);
}

size_t cheep_hdc_scratch_bytes(const cheep_hdc_spec *spec)
{
    switch (spec->projection) {
    case CHEEP_HDC_BIPOLAR: return (size_t)((spec->n_dims + 7u) / 8u) * 512u;
    case CHEEP_HDC_HADAMARD: return (size_t)block_size(spec) * 2u;
    default: return (size_t)cheep_hdc_padded_dims(spec) * 4u;
    }
}

/* What becomes of four successive projections: EMIT_* is a constant in every loop, so that it costs no branch. */
enum { EMIT_INT8, EMIT_INT8_BY_16, EMIT_BIPOLAR, EMIT_BINARY };

typedef struct {
    uint32_t *query;
    uint32_t norm2;
    uint32_t shift;
} sink;

static ALWAYS_INLINE uint32_t put_lanes(uint32_t *pair, uint32_t norm2, uint32_t even, uint32_t odd)
{
    hdc_pair(even, odd, pair);
    return (uint32_t)hdc_mac2(even, even, hdc_mac2(odd, odd, (int32_t)norm2));
}

static ALWAYS_INLINE void emit_lanes(sink *to, uint32_t group, uint32_t even, uint32_t odd)
{
    to->norm2 = put_lanes(to->query + 2u * group, to->norm2, even, odd);
}

static inline int32_t sign_of(int32_t x)
{
    return (x >> 31) | 1;
}

/* Rows 4 group .. 4 group + 3. */
static ALWAYS_INLINE void emit(sink *to, unsigned mode, uint32_t group, int32_t a0, int32_t a1, int32_t a2, int32_t a3)
{
    if (mode == EMIT_INT8_BY_16) {
        emit_lanes(to, group, hdc_odd8x2(hdc_high_halves(a0, a2)), hdc_odd8x2(hdc_high_halves(a1, a3)));
    } else if (mode == EMIT_INT8) {
        emit_lanes(to, group, hdc_pack(hdc_odd8(a0 >> to->shift), hdc_odd8(a2 >> to->shift)),
                   hdc_pack(hdc_odd8(a1 >> to->shift), hdc_odd8(a3 >> to->shift)));
    } else if (mode == EMIT_BIPOLAR) {
        emit_lanes(to, group, hdc_pack(sign_of(a0), sign_of(a2)), hdc_pack(sign_of(a1), sign_of(a3)));
    } else {
        uint32_t at = (2u * group) % 16u;
        uint32_t negative = (((uint32_t)a0 >> 31) << at) | (((uint32_t)a1 >> 31) << (at + 16u)) |
                            (((uint32_t)a2 >> 31) << (at + 1u)) | (((uint32_t)a3 >> 31) << (at + 17u));
        uint32_t *word = to->query + group / 8u;
        *word = at == 0u ? ~negative : *word & ~negative;
    }
}

/* Rows 4 group .. 4 group + 3 of the table, from the seed. */
static void gaussian_table(const cheep_hdc_spec *spec, uint32_t key, uint32_t group, uint32_t quads, uint32_t *table)
{
    for (uint32_t r = 0; r < 4u; r++) {
        for (uint32_t k = 0; k < quads; k++) {
            uint32_t word = random_word(key, (4u * group + r) * quads + k);
            int32_t w[4];
            for (uint32_t j = 0; j < 4u; j++) {
                uint32_t i = (word >> (8u * j)) & 0xFFu;
                int32_t quantile = i < 128u ? normal_quantile[i] : -normal_quantile[255u - i];
                w[j] = 4u * k + j < spec->n_dims ? quantile : 0;
            }
            table[4u * k + r] = hdc_code(w[0], w[1], w[2], w[3]);
        }
    }
}

/* 64 columns and a table: the case that must be fast. */
static ALWAYS_INLINE void gaussian_loop64(const uint32_t *table, const uint32_t *pairs, uint32_t groups, sink *to,
                                          unsigned mode)
{
    int32_t a0;
    int32_t a1;
    int32_t a2;
    int32_t a3;
    if (mode == EMIT_INT8_BY_16) {
        uint32_t norm2 = 0;
        for (uint32_t *query = to->query, *end = query + 2u * groups; query != end; query += 2) {
            table = hdc_rows64(table, pairs, &a0, &a1, &a2, &a3);
            norm2 = put_lanes(query, norm2, hdc_odd8x2(hdc_high_halves(a0, a2)), hdc_odd8x2(hdc_high_halves(a1, a3)));
        }
        to->norm2 = norm2;
        return;
    }
    for (uint32_t group = 0; group < groups; group++) {
        table = hdc_rows64(table, pairs, &a0, &a1, &a2, &a3);
        emit(to, mode, group, a0, a1, a2, a3);
    }
}

static ALWAYS_INLINE void gaussian_loop(cheep_hdc *h, sink *out, unsigned mode)
{
    const cheep_hdc_spec *spec = h->spec;
    const uint32_t *pairs = h->pairs;
    uint32_t quads = cheep_hdc_padded_dims(spec) / 4u;
    uint32_t groups = spec->hyper / 4u;
    sink to = *out; /* in registers */
    int32_t sums[4];
    if (spec->matrix == NULL) {
        uint32_t key = stream_key(spec);
        uint32_t *made = (uint32_t *)(void *)h->scratch;
        for (uint32_t group = 0; group < groups; group++) {
            gaussian_table(spec, key, group, quads, made);
            hdc_rows(made, pairs, quads, sums);
            emit(&to, mode, group, sums[0], sums[1], sums[2], sums[3]);
        }
    } else if (quads == 16u) {
        gaussian_loop64(spec->matrix, pairs, groups, &to, mode);
    } else {
        const uint32_t *table = spec->matrix;
        for (uint32_t group = 0; group < groups; group++) {
            table = hdc_rows(table, pairs, quads, sums);
            emit(&to, mode, group, sums[0], sums[1], sums[2], sums[3]);
        }
    }
    out->norm2 = to.norm2;
}

static void project_gaussian(cheep_hdc *h, sink *to)
{
    uint32_t quads = cheep_hdc_padded_dims(h->spec) / 4u;
    for (uint32_t k = 0; k < quads; k++) {
        uint32_t *pair = h->pairs + 2u * k;
        uint32_t even = hdc_pack(hdc_low(pair[0]), hdc_low(pair[1]));
        hdc_pair(even, hdc_pack(hdc_high(pair[0]), hdc_high(pair[1])), pair);
    }
    to->shift += 8u; /* the sums are 256 x the products */
    if (h->spec->form == CHEEP_HDC_BINARY) {
        gaussian_loop(h, to, EMIT_BINARY);
    } else if (h->spec->form == CHEEP_HDC_BIPOLAR_FORM) {
        gaussian_loop(h, to, EMIT_BIPOLAR);
    } else if (to->shift == 16u) {
        gaussian_loop(h, to, EMIT_INT8_BY_16);
    } else {
        gaussian_loop(h, to, EMIT_INT8);
    }
}

static inline int32_t embedding_value(const cheep_hdc *h, uint32_t i)
{
    return i % 2u == 0u ? hdc_low(h->pairs[i / 2u]) : hdc_high(h->pairs[i / 2u]);
}

/* Signed sums of 8 values for each byte of signs: lut[byte] = sum of (bit j ? e_j : -e_j). */
static void sign_sums(const cheep_hdc *h, uint32_t bytes)
{
    const cheep_hdc_spec *spec = h->spec;
    for (uint32_t b = 0; b < bytes; b++) {
        int16_t *lut = h->scratch + 256u * b;
        int32_t all = 0;
        for (uint32_t j = 0; j < 8u; j++) {
            all += 8u * b + j < spec->n_dims ? embedding_value(h, 8u * b + j) : 0;
        }
        lut[0] = (int16_t)-all;
        for (uint32_t j = 0; j < 8u; j++) {
            int32_t twice = 8u * b + j < spec->n_dims ? 2 * embedding_value(h, 8u * b + j) : 0;
            uint32_t n = 1u << j;
            for (uint32_t m = 0; m < n; m++) {
                lut[m + n] = (int16_t)(lut[m] + twice);
            }
        }
    }
}

/* Row `row` of the bipolar projection. */
static inline int32_t bipolar_row(const cheep_hdc *h, uint32_t key, uint32_t row, uint32_t bytes)
{
    uint32_t words = (bytes + 3u) / 4u;
    uint32_t at = row * words;
    const uint32_t *matrix = h->spec->matrix;
    const int16_t *lut = h->scratch;
    int32_t sum = 0;
    for (; bytes >= 4u; bytes -= 4u, lut += 1024, at++) {
        uint32_t signs = matrix != NULL ? matrix[at] : random_word(key, at);
        sum += lut[signs & 0xFFu] + lut[256u + ((signs >> 8) & 0xFFu)] + lut[512u + ((signs >> 16) & 0xFFu)] +
               lut[768u + (signs >> 24)];
    }
    if (bytes > 0u) {
        uint32_t signs = matrix != NULL ? matrix[at] : random_word(key, at);
        for (; bytes > 0u; bytes--, lut += 256, signs >>= 8) {
            sum += lut[signs & 0xFFu];
        }
    }
    return sum;
}

static ALWAYS_INLINE void bipolar_loop(cheep_hdc *h, sink *out, unsigned mode)
{
    sink to = *out;
    uint32_t bytes = (h->spec->n_dims + 7u) / 8u;
    uint32_t key = stream_key(h->spec);
    for (uint32_t group = 0; group < h->spec->hyper / 4u; group++) {
        int32_t sums[4];
        for (uint32_t r = 0; r < 4u; r++) {
            sums[r] = bipolar_row(h, key, 4u * group + r, bytes);
        }
        emit(&to, mode, group, sums[0], sums[1], sums[2], sums[3]);
    }
    out->norm2 = to.norm2;
}

static void project_bipolar(cheep_hdc *h, sink *to)
{
    sign_sums(h, (h->spec->n_dims + 7u) / 8u);
    if (h->spec->form == CHEEP_HDC_BINARY) {
        bipolar_loop(h, to, EMIT_BINARY);
    } else if (h->spec->form == CHEEP_HDC_BIPOLAR_FORM) {
        bipolar_loop(h, to, EMIT_BIPOLAR);
    } else {
        bipolar_loop(h, to, EMIT_INT8);
    }
}

/* Two stages of a Walsh-Hadamard transform on four words. */
#define BUTTERFLIES(a, b, c, d)          \
    do {                                 \
        uint32_t sum_ac = hdc_add2(a, c);  \
        uint32_t sum_bd = hdc_add2(b, d);  \
        uint32_t diff_ac = hdc_sub2(a, c); \
        uint32_t diff_bd = hdc_sub2(b, d); \
        (a) = hdc_add2(sum_ac, sum_bd);    \
        (b) = hdc_sub2(sum_ac, sum_bd);    \
        (c) = hdc_add2(diff_ac, diff_bd);  \
        (d) = hdc_sub2(diff_ac, diff_bd);  \
    } while (0)

/* Word i of the embedding with the signs of its two values: bits 2 i % 32 and 2 i % 32 + 1, 0 for minus. */
static inline uint32_t signed_word(const uint32_t *embedding, const uint32_t *signs, uint32_t i)
{
    static const uint32_t negate[4] = {0xFFFFFFFFu, 0xFFFF0000u, 0x0000FFFFu, 0u};
    uint32_t mask = negate[(signs[i / 16u] >> (2u * (i % 16u))) & 3u];
    return hdc_sub2(embedding[i] ^ mask, mask);
}

/* First two stages, from the embedding and its signs to x. */
static void first_stages(const uint32_t *embedding, const uint32_t *signs, uint32_t *x, uint32_t n)
{
    uint32_t quarter = n / 4u;
    for (uint32_t i = 0; i < quarter; i++) {
        uint32_t a = signed_word(embedding, signs, i);
        uint32_t b = signed_word(embedding, signs, i + quarter);
        uint32_t c = signed_word(embedding, signs, i + 2u * quarter);
        uint32_t d = signed_word(embedding, signs, i + 3u * quarter);
        BUTTERFLIES(a, b, c, d);
        x[i] = a;
        x[i + quarter] = b;
        x[i + 2u * quarter] = c;
        x[i + 3u * quarter] = d;
    }
}

/* The stages between the first two and the last three (which join neighbours of 8 values). */
static void middle_stages(uint32_t *x, uint32_t n)
{
    uint32_t stride = n / 8u;
    for (; stride >= 8u; stride /= 4u) {
        uint32_t half = stride / 2u;
        for (uint32_t base = 0; base < n; base += 2u * stride) {
            for (uint32_t *at = x + base, *end = at + half; at != end; at++) {
                BUTTERFLIES(at[0], at[half], at[stride], at[stride + half]);
            }
        }
    }
    if (stride == 4u) {
        for (uint32_t *at = x, *end = x + n; at != end; at += 8) {
            for (unsigned i = 0; i < 4u; i++) {
                uint32_t a = at[i];
                uint32_t b = at[i + 4u];
                at[i] = hdc_add2(a, b);
                at[i + 4u] = hdc_sub2(a, b);
            }
        }
    }
}

/* Last three stages of 8 values in 4 words. */
static ALWAYS_INLINE void last_stages(const uint32_t *x, uint32_t *out)
{
    uint32_t a = x[0];
    uint32_t b = x[1];
    uint32_t c = x[2];
    uint32_t d = x[3];
    BUTTERFLIES(a, b, c, d);
    out[0] = hdc_cross(a);
    out[1] = hdc_cross(b);
    out[2] = hdc_cross(c);
    out[3] = hdc_cross(d);
}

/* 32 values in 16 words -> the word of their signs. */
static uint32_t sign_bits(const uint32_t *x)
{
    uint32_t negative = 0;
    for (unsigned i = 0; i < 4u; i++) {
        uint32_t v[4];
        last_stages(x + 4u * i, v);
        negative >>= 4;
        negative |= (v[0] & 0x80008000u) >> 3;
        negative |= (v[1] & 0x80008000u) >> 2;
        negative |= (v[2] & 0x80008000u) >> 1;
        negative |= v[3] & 0x80008000u;
    }
    return ~negative;
}

static ALWAYS_INLINE void emit_block(sink *out, unsigned mode, uint32_t row, const uint32_t *x, uint32_t words)
{
    sink to = *out;
    for (uint32_t i = 0, group = row / 4u; i < words; i += 4u, group += 2u) {
        uint32_t v[4];
        last_stages(x + i, v);
        emit(&to, mode, group, hdc_low(v[0]), hdc_high(v[0]), hdc_low(v[1]), hdc_high(v[1]));
        emit(&to, mode, group + 1u, hdc_low(v[2]), hdc_high(v[2]), hdc_low(v[3]), hdc_high(v[3]));
    }
    out->norm2 = to.norm2;
}

static void project_hadamard(cheep_hdc *h, sink *to)
{
    const cheep_hdc_spec *spec = h->spec;
    uint32_t words = block_size(spec) / 2u;
    uint32_t sign_words = words / 16u;
    uint32_t key = stream_key(spec);
    uint32_t *x = (uint32_t *)(void *)h->scratch;
    uint32_t made[CHEEP_HDC_MAX_DIMS / 32];
    const uint32_t *signs = spec->matrix != NULL ? spec->matrix : made;
    for (uint32_t row = 0, at = 0; row < spec->hyper; row += 2u * words, at += sign_words) {
        if (spec->matrix == NULL) {
            for (uint32_t i = 0; i < sign_words; i++) {
                made[i] = random_word(key, at + i);
            }
        }
        first_stages(h->pairs, signs, x, words);
        middle_stages(x, words);
        if (spec->form == CHEEP_HDC_BINARY) {
            for (uint32_t i = 0; i < words; i += 16u) {
                to->query[(row + 2u * i) / 32u] = sign_bits(x + i);
            }
        } else if (spec->form == CHEEP_HDC_BIPOLAR_FORM) {
            emit_block(to, EMIT_BIPOLAR, row, x, words);
        } else {
            emit_block(to, EMIT_INT8, row, x, words);
        }
        signs += spec->matrix != NULL ? sign_words : 0u;
    }
}

void cheep_hdc_project(cheep_hdc *h)
{
    const cheep_hdc_spec *spec = h->spec;
    sink to = {h->query, 0, spec->shift};
    switch (spec->projection) {
    case CHEEP_HDC_BIPOLAR: project_bipolar(h, &to); break;
    case CHEEP_HDC_HADAMARD: project_hadamard(h, &to); break;
    default: project_gaussian(h, &to); break;
    }
    h->query_norm2 = spec->form == CHEEP_HDC_BINARY ? spec->hyper : to.norm2;
}
