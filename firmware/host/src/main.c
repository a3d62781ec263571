/* SPDX-License-Identifier: MIT */
/* The application as a program: audio from a WAV file or a pipe, lines to standard output.
 *
 *     cheep-host recording.wav
 *     arecord -f S16_LE -r 8000 -c 1 -t raw | cheep-host -
 *
 * A WAV must be 16-bit PCM, mono, at the model's rate; a pipe brings such samples without a header.
 * (`cheep simulate --board host` takes any audio and converts it.)
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cheep_generated.h"
#include "host_api.h"

static uint32_t u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static unsigned u16(const unsigned char *p)
{
    return (unsigned)p[0] | (unsigned)p[1] << 8;
}

/* Leaves the file at its first sample and sets its bytes; NULL, or what is wrong with it. */
static const char *open_wav(FILE *file, uint32_t *data_bytes)
{
    unsigned char head[16];
    bool format_seen = false;
    if (fread(head, 1, 12, file) != 12 || memcmp(head, "RIFF", 4) != 0 || memcmp(head + 8, "WAVE", 4) != 0) {
        return "not a WAV file (cheep test and cheep simulate read any audio)";
    }
    while (fread(head, 1, 8, file) == 8) {
        uint32_t size = u32(head + 4);
        if (memcmp(head, "data", 4) == 0) {
            *data_bytes = size;
            return format_seen ? NULL : "no format before the samples";
        }
        if (memcmp(head, "fmt ", 4) == 0 && size >= 16u) {
            if (fread(head, 1, 16, file) != 16) {
                return "cut off";
            }
            size -= 16u;
            if (u16(head) != 1u || u16(head + 2) != 1u || u16(head + 14) != 16u) {
                return "must be 16-bit PCM, mono (cheep simulate converts)";
            }
            if (u32(head + 4) != CHEEP_MEL_SAMPLE_RATE_HZ) {
                return "must have the model's sample rate (cheep simulate converts)";
            }
            format_seen = true;
        }
        if (fseek(file, (long)(size + (size & 1u)), SEEK_CUR) != 0) {
            return "cut off";
        }
    }
    return "holds no samples";
}

static void print_line(void *context, const char *line, size_t length)
{
    (void)context;
    fwrite(line, 1, length, stdout);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const cheep_host_output output = {.line = print_line, .scores = NULL, .context = NULL};
    uint32_t left = UINT32_MAX;
    int16_t pcm[1024];
    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE.wav|-\n", argv[0]);
        return 2;
    }
    bool is_pipe = strcmp(argv[1], "-") == 0;
    FILE *file = is_pipe ? stdin : fopen(argv[1], "rb");
    if (file == NULL) {
        fprintf(stderr, "%s: cannot be opened\n", argv[1]);
        return 2;
    }
    const char *problem = is_pipe ? NULL : open_wav(file, &left);
    if (problem != NULL) {
        fprintf(stderr, "%s: %s\n", argv[1], problem);
        return 2;
    }
    if (cheep_host_boot(4096, 0, &output) != CHEEP_OK) {
        return 1;
    }
    while (left > 1u) {
        unsigned char bytes[sizeof pcm];
        size_t want = is_pipe || left > sizeof bytes ? sizeof bytes : left;
        size_t got = fread(bytes, 1, want, file) / 2u;
        if (got == 0u) {
            break;
        }
        for (size_t i = 0; i < got; i++) {
            pcm[i] = (int16_t)u16(bytes + 2u * i);
        }
        cheep_host_run(pcm, got);
        left -= is_pipe ? 0u : (uint32_t)(2u * got);
    }
    cheep_host_finish();
    cheep_host_close();
    if (!is_pipe) {
        fclose(file);
    }
    return 0;
}
