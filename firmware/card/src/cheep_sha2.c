/* SPDX-License-Identifier: MIT */
#include "cheep_sha2.h"

#include <string.h>

/* The first 64 bits behind the point of the cube roots of the first 80 primes; SHA-256 takes the upper half of the first
 * 64 of them. */
static const uint64_t round_constant[80] = {
    UINT64_C(0x428a2f98d728ae22), UINT64_C(0x7137449123ef65cd), UINT64_C(0xb5c0fbcfec4d3b2f), UINT64_C(0xe9b5dba58189dbbc),
    UINT64_C(0x3956c25bf348b538), UINT64_C(0x59f111f1b605d019), UINT64_C(0x923f82a4af194f9b), UINT64_C(0xab1c5ed5da6d8118),
    UINT64_C(0xd807aa98a3030242), UINT64_C(0x12835b0145706fbe), UINT64_C(0x243185be4ee4b28c), UINT64_C(0x550c7dc3d5ffb4e2),
    UINT64_C(0x72be5d74f27b896f), UINT64_C(0x80deb1fe3b1696b1), UINT64_C(0x9bdc06a725c71235), UINT64_C(0xc19bf174cf692694),
    UINT64_C(0xe49b69c19ef14ad2), UINT64_C(0xefbe4786384f25e3), UINT64_C(0x0fc19dc68b8cd5b5), UINT64_C(0x240ca1cc77ac9c65),
    UINT64_C(0x2de92c6f592b0275), UINT64_C(0x4a7484aa6ea6e483), UINT64_C(0x5cb0a9dcbd41fbd4), UINT64_C(0x76f988da831153b5),
    UINT64_C(0x983e5152ee66dfab), UINT64_C(0xa831c66d2db43210), UINT64_C(0xb00327c898fb213f), UINT64_C(0xbf597fc7beef0ee4),
    UINT64_C(0xc6e00bf33da88fc2), UINT64_C(0xd5a79147930aa725), UINT64_C(0x06ca6351e003826f), UINT64_C(0x142929670a0e6e70),
    UINT64_C(0x27b70a8546d22ffc), UINT64_C(0x2e1b21385c26c926), UINT64_C(0x4d2c6dfc5ac42aed), UINT64_C(0x53380d139d95b3df),
    UINT64_C(0x650a73548baf63de), UINT64_C(0x766a0abb3c77b2a8), UINT64_C(0x81c2c92e47edaee6), UINT64_C(0x92722c851482353b),
    UINT64_C(0xa2bfe8a14cf10364), UINT64_C(0xa81a664bbc423001), UINT64_C(0xc24b8b70d0f89791), UINT64_C(0xc76c51a30654be30),
    UINT64_C(0xd192e819d6ef5218), UINT64_C(0xd69906245565a910), UINT64_C(0xf40e35855771202a), UINT64_C(0x106aa07032bbd1b8),
    UINT64_C(0x19a4c116b8d2d0c8), UINT64_C(0x1e376c085141ab53), UINT64_C(0x2748774cdf8eeb99), UINT64_C(0x34b0bcb5e19b48a8),
    UINT64_C(0x391c0cb3c5c95a63), UINT64_C(0x4ed8aa4ae3418acb), UINT64_C(0x5b9cca4f7763e373), UINT64_C(0x682e6ff3d6b2b8a3),
    UINT64_C(0x748f82ee5defb2fc), UINT64_C(0x78a5636f43172f60), UINT64_C(0x84c87814a1f0ab72), UINT64_C(0x8cc702081a6439ec),
    UINT64_C(0x90befffa23631e28), UINT64_C(0xa4506cebde82bde9), UINT64_C(0xbef9a3f7b2c67915), UINT64_C(0xc67178f2e372532b),
    UINT64_C(0xca273eceea26619c), UINT64_C(0xd186b8c721c0c207), UINT64_C(0xeada7dd6cde0eb1e), UINT64_C(0xf57d4f7fee6ed178),
    UINT64_C(0x06f067aa72176fba), UINT64_C(0x0a637dc5a2c898a6), UINT64_C(0x113f9804bef90dae), UINT64_C(0x1b710b35131c471b),
    UINT64_C(0x28db77f523047d84), UINT64_C(0x32caab7b40c72493), UINT64_C(0x3c9ebe0a15c9bebc), UINT64_C(0x431d67c49c100d4c),
    UINT64_C(0x4cc5d4becb3e42b6), UINT64_C(0x597f299cfc657e2a), UINT64_C(0x5fcb6fab3ad6faec), UINT64_C(0x6c44198c4a475817),
};

/* The same of the square roots of the first 8 primes. */
static const uint64_t start_state[8] = {
    UINT64_C(0x6a09e667f3bcc908), UINT64_C(0xbb67ae8584caa73b), UINT64_C(0x3c6ef372fe94f82b), UINT64_C(0xa54ff53a5f1d36f1),
    UINT64_C(0x510e527fade682d1), UINT64_C(0x9b05688c2b3e6c1f), UINT64_C(0x1f83d9abfb41bd6b), UINT64_C(0x5be0cd19137e2179),
};

static uint32_t rotate32(uint32_t x, unsigned n)
{
    return (x >> n) | (x << (32u - n));
}

static uint64_t rotate64(uint64_t x, unsigned n)
{
    return (x >> n) | (x << (64u - n));
}

static void block256(uint32_t state[8], const uint8_t *data)
{
    uint32_t w[16];
    uint32_t v[8];
    for (unsigned i = 0; i < 16u; i++) {
        w[i] = (uint32_t)data[4u * i] << 24 | (uint32_t)data[4u * i + 1u] << 16 | (uint32_t)data[4u * i + 2u] << 8 |
               data[4u * i + 3u];
    }
    memcpy(v, state, sizeof v);
    for (unsigned i = 0; i < 64u; i++) {
        uint32_t next = w[i % 16u];
        if (i >= 16u) {
            const uint32_t a = w[(i + 1u) % 16u];
            const uint32_t b = w[(i + 14u) % 16u];
            next += (rotate32(a, 7) ^ rotate32(a, 18) ^ (a >> 3)) + w[(i + 9u) % 16u] +
                    (rotate32(b, 17) ^ rotate32(b, 19) ^ (b >> 10));
            w[i % 16u] = next;
        }
        const uint32_t one = v[7] + (rotate32(v[4], 6) ^ rotate32(v[4], 11) ^ rotate32(v[4], 25)) +
                             ((v[4] & v[5]) ^ (~v[4] & v[6])) + (uint32_t)(round_constant[i] >> 32) + next;
        const uint32_t two = (rotate32(v[0], 2) ^ rotate32(v[0], 13) ^ rotate32(v[0], 22)) +
                             ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7u * sizeof v[0]);
        v[4] += one;
        v[0] = one + two;
    }
    for (unsigned i = 0; i < 8u; i++) {
        state[i] += v[i];
    }
}

static void block512(uint64_t state[8], const uint8_t *data)
{
    uint64_t w[16];
    uint64_t v[8];
    for (unsigned i = 0; i < 16u; i++) {
        w[i] = 0;
        for (unsigned k = 0; k < 8u; k++) {
            w[i] = w[i] << 8 | data[8u * i + k];
        }
    }
    memcpy(v, state, sizeof v);
    for (unsigned i = 0; i < 80u; i++) {
        uint64_t next = w[i % 16u];
        if (i >= 16u) {
            const uint64_t a = w[(i + 1u) % 16u];
            const uint64_t b = w[(i + 14u) % 16u];
            next += (rotate64(a, 1) ^ rotate64(a, 8) ^ (a >> 7)) + w[(i + 9u) % 16u] +
                    (rotate64(b, 19) ^ rotate64(b, 61) ^ (b >> 6));
            w[i % 16u] = next;
        }
        const uint64_t one = v[7] + (rotate64(v[4], 14) ^ rotate64(v[4], 18) ^ rotate64(v[4], 41)) +
                             ((v[4] & v[5]) ^ (~v[4] & v[6])) + round_constant[i] + next;
        const uint64_t two = (rotate64(v[0], 28) ^ rotate64(v[0], 34) ^ rotate64(v[0], 39)) +
                             ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7u * sizeof v[0]);
        v[4] += one;
        v[0] = one + two;
    }
    for (unsigned i = 0; i < 8u; i++) {
        state[i] += v[i];
    }
}

void cheep_sha256_init(cheep_sha256 *s)
{
    for (unsigned i = 0; i < 8u; i++) {
        s->state[i] = (uint32_t)(start_state[i] >> 32);
    }
    s->bytes = 0;
}

void cheep_sha512_init(cheep_sha512 *s)
{
    memcpy(s->state, start_state, sizeof s->state);
    s->bytes = 0;
}

/* Fill the block up to `block_bytes`; returns what was taken of n. *full: the block is to be worked on. */
static size_t fill(uint8_t *block, uint64_t *bytes, size_t block_bytes, const uint8_t *data, size_t n, int *full)
{
    const size_t at = (size_t)(*bytes % block_bytes);
    const size_t room = block_bytes - at;
    const size_t taken = n < room ? n : room;
    memcpy(block + at, data, taken);
    *bytes += taken;
    *full = taken == room;
    return taken;
}

void cheep_sha256_add(cheep_sha256 *s, const void *data, size_t n)
{
    const uint8_t *from = data;
    while (n > 0u) {
        int full = 0;
        const size_t taken = fill(s->block, &s->bytes, sizeof s->block, from, n, &full);
        from += taken;
        n -= taken;
        if (full) {
            block256(s->state, s->block);
        }
    }
}

void cheep_sha512_add(cheep_sha512 *s, const void *data, size_t n)
{
    const uint8_t *from = data;
    while (n > 0u) {
        int full = 0;
        const size_t taken = fill(s->block, &s->bytes, sizeof s->block, from, n, &full);
        from += taken;
        n -= taken;
        if (full) {
            block512(s->state, s->block);
        }
    }
}

void cheep_sha256_end(cheep_sha256 *s, uint8_t digest[CHEEP_SHA256_BYTES])
{
    static const uint8_t end[1] = {0x80};
    static const uint8_t zero[1] = {0};
    const uint64_t bits = s->bytes * 8u;
    uint8_t length[8];
    cheep_sha256_add(s, end, 1);
    while (s->bytes % 64u != 56u) {
        cheep_sha256_add(s, zero, 1);
    }
    for (unsigned i = 0; i < 8u; i++) {
        length[i] = (uint8_t)(bits >> (56u - 8u * i));
    }
    cheep_sha256_add(s, length, 8);
    for (unsigned i = 0; i < CHEEP_SHA256_BYTES; i++) {
        digest[i] = (uint8_t)(s->state[i / 4u] >> (24u - 8u * (i % 4u)));
    }
}

void cheep_sha512_end(cheep_sha512 *s, uint8_t digest[CHEEP_SHA512_BYTES])
{
    static const uint8_t end[1] = {0x80};
    static const uint8_t zero[1] = {0};
    const uint64_t bits = s->bytes * 8u;
    uint8_t length[16] = {0};
    cheep_sha512_add(s, end, 1);
    while (s->bytes % 128u != 112u) {
        cheep_sha512_add(s, zero, 1);
    }
    for (unsigned i = 0; i < 8u; i++) {
        length[8u + i] = (uint8_t)(bits >> (56u - 8u * i));
    }
    cheep_sha512_add(s, length, sizeof length);
    for (unsigned i = 0; i < CHEEP_SHA512_BYTES; i++) {
        digest[i] = (uint8_t)(s->state[i / 8u] >> (56u - 8u * (i % 8u)));
    }
}
