# The core, and where code and memory lie; no SoftDevice, no bootloader (a Feather's or XIAO's UF2 one wants FLASH=0x26000).
CPU = -mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard
FLASH ?= 0x0
FLASH_BYTES ?= 0x100000
RAM = 0x20000000
RAM_BYTES = 0x40000
