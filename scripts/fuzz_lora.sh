#!/bin/sh
# SPDX-License-Identifier: MIT
# Fuzz the payloads for LoRa (encoder, decoder, CMAC) under ASan and UBSan: scripts/fuzz_lora.sh [SECONDS]
# Needs clang with its compiler-rt (Debian: clang). A crashing input is left in build/fuzz_lora.
set -eu
cd "$(dirname "$0")/.."
seconds="${1:-600}"
mkdir -p build/fuzz_lora/corpus
clang -std=c11 -g -O1 -Wall -Wextra -Wconversion -Werror \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
    -Ifirmware/common/include tests/c/fuzz_lora.c firmware/common/src/cheep_lora.c firmware/common/src/cheep_cmac.c \
    -o build/fuzz_lora/fuzz_lora
cd build/fuzz_lora
exec ./fuzz_lora -max_total_time="$seconds" -max_len=64 -print_final_stats=1 corpus
