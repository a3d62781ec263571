#!/bin/sh
# SPDX-License-Identifier: MIT
# Fuzz front end, quantizer, columns and detector under ASan and UBSan: scripts/fuzz_core.sh [SECONDS]
# Needs clang with its compiler-rt (Debian: clang). A crashing input is left in build/fuzz_core.
set -eu
cd "$(dirname "$0")/.."
seconds="${1:-600}"
mkdir -p build/fuzz_core/corpus
sources="cheep_frontend.c cheep_fft.c cheep_columns.c cheep_detector.c cheep_scores.c"
clang -std=c11 -g -O1 -ffp-contract=off -Wall -Wextra -Wconversion -Werror \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
    -Ifirmware/common/include tests/c/fuzz_core.c \
    $(for name in $sources; do echo "firmware/common/src/$name"; done) -lm -o build/fuzz_core/fuzz_core
cd build/fuzz_core
exec ./fuzz_core -max_total_time="$seconds" -max_len=8192 -print_final_stats=1 -timeout=20 corpus
