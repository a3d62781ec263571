/* SPDX-License-Identifier: MIT */
/* RFC 8032, section 5.1. Numbers modulo p = 2^255 - 19 are eight words, least first, below 2^256 and not always below p:
 * 2^256 counts as 38. One formula adds points, also a point to itself: it is complete on this curve. */
#include "cheep_ed25519.h"

#include <string.h>

#include "cheep_sha2.h"

#define WORDS 8u

typedef uint32_t number[WORDS];

typedef struct {
    number x, y, z, t; /* x/z, y/z; t = x y / z */
} point;

static const number curve_d = {0x135978a3, 0x75eb4dca, 0x4141d8ab, 0x00700a4d,
                               0x7779e898, 0x8cc74079, 0x2b6ffe73, 0x52036cee};
static const number twice_d = {0x26b2f159, 0xebd69b94, 0x8283b156, 0x00e0149a,
                               0xeef3d130, 0x198e80f2, 0x56dffce7, 0x2406d9dc};
static const number root_of_minus_one = {0x4a0ea0b0, 0xc4ee1b27, 0xad2fe478, 0x2f431806,
                                         0x3dfbd7a7, 0x2b4d0099, 0x4fc1df0b, 0x2b832480};
static const number group_order = {0x5cf5d3ed, 0x5812631a, 0xa2f79cd6, 0x14def9de, 0, 0, 0, 0x10000000};
static const number modulus = {0xffffffed, 0xffffffff, 0xffffffff, 0xffffffff,
                               0xffffffff, 0xffffffff, 0xffffffff, 0x7fffffff};
static const number one = {1};
static const point base = {
    {0x8f25d51a, 0xc9562d60, 0x9525a7b2, 0x692cc760, 0xfdd6dc5c, 0xc0a4e231, 0xcd6e53fe, 0x216936d3},
    {0x66666658, 0x66666666, 0x66666666, 0x66666666, 0x66666666, 0x66666666, 0x66666666, 0x66666666},
    {1},
    {0xa5b7dda3, 0x6dde8ab3, 0x775152f5, 0x20f09f80, 0x64abe37d, 0x66ea4e8e, 0xd78b7665, 0x67875f0f},
};

/* What a sum has above 2^256 goes in below. */
static void fold(number r, uint64_t above)
{
    while (above != 0u) {
        uint64_t carry = above * 38u;
        for (unsigned i = 0; i < WORDS; i++) {
            carry += r[i];
            r[i] = (uint32_t)carry;
            carry >>= 32;
        }
        above = carry;
    }
}

static void add(number r, const number a, const number b)
{
    uint64_t carry = 0;
    for (unsigned i = 0; i < WORDS; i++) {
        carry += (uint64_t)a[i] + b[i];
        r[i] = (uint32_t)carry;
        carry >>= 32;
    }
    fold(r, carry);
}

static void subtract(number r, const number a, const number b)
{
    uint64_t borrow = 0;
    for (unsigned i = 0; i < WORDS; i++) {
        const uint64_t difference = (uint64_t)a[i] - b[i] - borrow;
        r[i] = (uint32_t)difference;
        borrow = difference >> 63;
    }
    while (borrow != 0u) { /* 2^256 too much */
        borrow = 38;
        for (unsigned i = 0; i < WORDS; i++) {
            const uint64_t difference = (uint64_t)r[i] - borrow;
            r[i] = (uint32_t)difference;
            borrow = difference >> 63;
        }
    }
}

static void multiply(number r, const number a, const number b)
{
    uint32_t product[2u * WORDS] = {0};
    for (unsigned i = 0; i < WORDS; i++) {
        uint64_t carry = 0;
        for (unsigned k = 0; k < WORDS; k++) {
            carry += (uint64_t)a[i] * b[k] + product[i + k];
            product[i + k] = (uint32_t)carry;
            carry >>= 32;
        }
        product[i + WORDS] = (uint32_t)carry;
    }
    uint64_t carry = 0;
    for (unsigned i = 0; i < WORDS; i++) {
        carry += (uint64_t)product[i + WORDS] * 38u + product[i];
        r[i] = (uint32_t)carry;
        carry >>= 32;
    }
    fold(r, carry);
}

/* a < b, as they stand. */
static bool below(const number a, const number b)
{
    for (unsigned i = WORDS; i > 0u; i--) {
        if (a[i - 1u] != b[i - 1u]) {
            return a[i - 1u] < b[i - 1u];
        }
    }
    return false;
}

/* a -= b, as they stand; a >= b. */
static void take_away(number a, const number b)
{
    uint64_t borrow = 0;
    for (unsigned i = 0; i < WORDS; i++) {
        const uint64_t difference = (uint64_t)a[i] - b[i] - borrow;
        a[i] = (uint32_t)difference;
        borrow = difference >> 63;
    }
}

/* The one form below p. */
static void freeze(number a)
{
    while (!below(a, modulus)) { /* at most twice: a < 2^256 < 3 p */
        take_away(a, modulus);
    }
}

static bool equal(const number a, const number b)
{
    number difference;
    subtract(difference, a, b);
    freeze(difference);
    for (unsigned i = 0; i < WORDS; i++) {
        if (difference[i] != 0u) {
            return false;
        }
    }
    return true;
}

/* a to the power whose 32 bytes are `highest`, thirty times 255, `lowest`. */
static void power(number r, const number a, unsigned highest, unsigned lowest)
{
    number x;
    memcpy(x, one, sizeof x);
    for (unsigned bit = 256; bit > 0u; bit--) {
        const unsigned at = bit - 1u;
        const unsigned byte = at >= 248u ? highest : at < 8u ? lowest : 255u;
        multiply(x, x, x);
        if ((byte >> (at % 8u) & 1u) != 0u) {
            multiply(x, x, a);
        }
    }
    memcpy(r, x, sizeof x);
}

static void add_points(point *r, const point *p, const point *q)
{
    number a, b, c, d, e, f;
    subtract(a, p->y, p->x);
    subtract(e, q->y, q->x);
    multiply(a, a, e);
    add(b, p->y, p->x);
    add(e, q->y, q->x);
    multiply(b, b, e);
    multiply(c, p->t, q->t);
    multiply(c, c, twice_d);
    multiply(d, p->z, q->z);
    add(d, d, d);
    subtract(e, b, a);
    subtract(f, d, c);
    add(d, d, c);
    add(b, b, a);
    multiply(r->x, e, f);
    multiply(r->y, d, b);
    multiply(r->z, f, d);
    multiply(r->t, e, b);
}

static void load(number r, const uint8_t *bytes)
{
    for (unsigned i = 0; i < WORDS; i++) {
        r[i] = (uint32_t)bytes[4u * i] | (uint32_t)bytes[4u * i + 1u] << 8 | (uint32_t)bytes[4u * i + 2u] << 16 |
               (uint32_t)bytes[4u * i + 3u] << 24;
    }
}

/* -A of the key's A; false: no point, or not in its canonical form. */
static bool load_negative(point *r, const uint8_t *key)
{
    number u, v, x, check;
    load(r->y, key);
    const uint32_t sign = r->y[7] >> 31;
    r->y[7] &= 0x7fffffffu;
    if (!below(r->y, modulus)) {
        return false;
    }
    multiply(u, r->y, r->y);
    multiply(v, u, curve_d);
    subtract(u, u, one);
    add(v, v, one);
    multiply(x, v, v); /* x = u v^3 (u v^7)^((p - 5) / 8) */
    multiply(x, x, v);
    multiply(check, x, x);
    multiply(check, check, v);
    multiply(check, check, u);
    power(check, check, 0x0f, 0xfd);
    multiply(x, x, u);
    multiply(x, x, check);
    multiply(check, x, x);
    multiply(check, check, v);
    if (!equal(check, u)) {
        multiply(x, x, root_of_minus_one);
        multiply(check, x, x);
        multiply(check, check, v);
        if (!equal(check, u)) {
            return false;
        }
    }
    freeze(x);
    static const number zero = {0};
    if (equal(x, zero) && sign != 0u) {
        return false;
    }
    if ((x[0] & 1u) == sign) { /* the negative one is wanted */
        subtract(x, zero, x);
    }
    memcpy(r->x, x, sizeof x);
    memcpy(r->z, one, sizeof one);
    multiply(r->t, r->x, r->y);
    return true;
}

static void store(uint8_t out[32], const point *p)
{
    number x, y, inverse;
    power(inverse, p->z, 0x7f, 0xeb);
    multiply(x, p->x, inverse);
    multiply(y, p->y, inverse);
    freeze(x);
    freeze(y);
    y[7] |= x[0] << 31;
    for (unsigned i = 0; i < 32u; i++) {
        out[i] = (uint8_t)(y[i / 4u] >> (8u * (i % 4u)));
    }
}

/* The digest, 64 bytes, least first, modulo the order of the group. */
static void reduce(number r, const uint8_t digest[CHEEP_SHA512_BYTES])
{
    memset(r, 0, sizeof(number));
    for (unsigned bit = 8u * CHEEP_SHA512_BYTES; bit > 0u; bit--) {
        uint32_t in = digest[(bit - 1u) / 8u] >> ((bit - 1u) % 8u) & 1u;
        for (unsigned i = 0; i < WORDS; i++) {
            const uint32_t out = r[i] >> 31;
            r[i] = r[i] << 1 | in;
            in = out;
        }
        if (!below(r, group_order)) {
            take_away(r, group_order);
        }
    }
}

static void hash(number k, const uint8_t *signature, const uint8_t *key, const void *message, size_t n)
{
    cheep_sha512 sha;
    uint8_t digest[CHEEP_SHA512_BYTES];
    cheep_sha512_init(&sha);
    cheep_sha512_add(&sha, signature, 32);
    cheep_sha512_add(&sha, key, CHEEP_ED25519_KEY_BYTES);
    cheep_sha512_add(&sha, message, n);
    cheep_sha512_end(&sha, digest);
    reduce(k, digest);
}

bool cheep_ed25519_verify(const uint8_t key[CHEEP_ED25519_KEY_BYTES], const void *message, size_t n,
                          const uint8_t signature[CHEEP_ED25519_SIGNATURE_BYTES])
{
    point minus_a, both;
    number s, k;
    uint8_t encoded[32];
    load(s, signature + 32);
    if (!below(s, group_order) || !load_negative(&minus_a, key)) {
        return false;
    }
    hash(k, signature, key, message, n);
    add_points(&both, &base, &minus_a);
    point sum = {{0}, {1}, {1}, {0}};
    for (unsigned bit = 253; bit > 0u; bit--) { /* s B + k (-A), a bit of both at a time */
        const unsigned at = bit - 1u;
        const bool of_s = (s[at / 32u] >> (at % 32u) & 1u) != 0u;
        const bool of_k = (k[at / 32u] >> (at % 32u) & 1u) != 0u;
        add_points(&sum, &sum, &sum);
        if (of_s || of_k) {
            add_points(&sum, &sum, of_s && of_k ? &both : of_s ? &base : &minus_a);
        }
    }
    store(encoded, &sum);
    return memcmp(encoded, signature, sizeof encoded) == 0;
}
