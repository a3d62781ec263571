# SPDX-License-Identifier: MIT
# The linker must choose the libraries for the hardware floating point that build_flags asks the compiler for;
# src/startup.c takes the place of the compiler's start-up files.
Import("env")  # noqa: F821 (given by PlatformIO)

env.Append(LINKFLAGS=["-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-nostartfiles"])  # noqa: F821
