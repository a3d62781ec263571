/* SPDX-License-Identifier: MIT */
/* Start-up of the EFM32WG380: vectors, memory, floating point. In C, because PlatformIO does not run the
 * preprocessor over the vendor's assembler file. Interrupt numbers as in the device's CMSIS header. */
#include <stdint.h>
#include <string.h>

#define WEAK __attribute__((weak, alias("unexpected")))
#define CPACR (*(volatile uint32_t *)0xE000ED88u)

extern uint32_t __etext[], __data_start__[], __data_end__[], __bss_start__[], __bss_end__[], __StackTop[];

int main(void);
void __libc_init_array(void);
void Reset_Handler(void);

/* Nobody handles it: stay here until the watchdog starts the device anew. */
static void unexpected(void)
{
    for (;;) {
    }
}

WEAK void NMI_Handler(void);
WEAK void HardFault_Handler(void);
WEAK void MemManage_Handler(void);
WEAK void BusFault_Handler(void);
WEAK void UsageFault_Handler(void);
WEAK void SVC_Handler(void);
WEAK void DebugMon_Handler(void);
WEAK void PendSV_Handler(void);
WEAK void SysTick_Handler(void);
WEAK void DMA_IRQHandler(void);
WEAK void GPIO_EVEN_IRQHandler(void);
WEAK void TIMER0_IRQHandler(void);
WEAK void USART0_RX_IRQHandler(void);
WEAK void USART0_TX_IRQHandler(void);
WEAK void USB_IRQHandler(void);
WEAK void ACMP0_IRQHandler(void);
WEAK void ADC0_IRQHandler(void);
WEAK void DAC0_IRQHandler(void);
WEAK void I2C0_IRQHandler(void);
WEAK void I2C1_IRQHandler(void);
WEAK void GPIO_ODD_IRQHandler(void);
WEAK void TIMER1_IRQHandler(void);
WEAK void TIMER2_IRQHandler(void);
WEAK void TIMER3_IRQHandler(void);
WEAK void USART1_RX_IRQHandler(void);
WEAK void USART1_TX_IRQHandler(void);
WEAK void LESENSE_IRQHandler(void);
WEAK void USART2_RX_IRQHandler(void);
WEAK void USART2_TX_IRQHandler(void);
WEAK void UART0_RX_IRQHandler(void);
WEAK void UART0_TX_IRQHandler(void);
WEAK void UART1_RX_IRQHandler(void);
WEAK void UART1_TX_IRQHandler(void);
WEAK void LEUART0_IRQHandler(void);
WEAK void LEUART1_IRQHandler(void);
WEAK void LETIMER0_IRQHandler(void);
WEAK void PCNT0_IRQHandler(void);
WEAK void PCNT1_IRQHandler(void);
WEAK void PCNT2_IRQHandler(void);
WEAK void RTC_IRQHandler(void);
WEAK void BURTC_IRQHandler(void);
WEAK void CMU_IRQHandler(void);
WEAK void VCMP_IRQHandler(void);
WEAK void MSC_IRQHandler(void);
WEAK void AES_IRQHandler(void);
WEAK void EBI_IRQHandler(void);
WEAK void EMU_IRQHandler(void);
WEAK void FPUEH_IRQHandler(void);

void Reset_Handler(void)
{
    CPACR |= 0xFu << 20;
    __asm volatile("dsb\n\tisb");
    memcpy(__data_start__, __etext, (size_t)((uintptr_t)__data_end__ - (uintptr_t)__data_start__));
    memset(__bss_start__, 0, (size_t)((uintptr_t)__bss_end__ - (uintptr_t)__bss_start__));
    __libc_init_array();
    (void)main();
    unexpected();
}

typedef union {
    void (*handler)(void);
    void *address;
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[56] = {
    [0] = {.address = __StackTop},
    [1] = {.handler = Reset_Handler},
    [2] = {.handler = NMI_Handler},
    [3] = {.handler = HardFault_Handler},
    [4] = {.handler = MemManage_Handler},
    [5] = {.handler = BusFault_Handler},
    [6] = {.handler = UsageFault_Handler},
    [11] = {.handler = SVC_Handler},
    [12] = {.handler = DebugMon_Handler},
    [14] = {.handler = PendSV_Handler},
    [15] = {.handler = SysTick_Handler},
    [16] = {.handler = DMA_IRQHandler},
    [17] = {.handler = GPIO_EVEN_IRQHandler},
    [18] = {.handler = TIMER0_IRQHandler},
    [19] = {.handler = USART0_RX_IRQHandler},
    [20] = {.handler = USART0_TX_IRQHandler},
    [21] = {.handler = USB_IRQHandler},
    [22] = {.handler = ACMP0_IRQHandler},
    [23] = {.handler = ADC0_IRQHandler},
    [24] = {.handler = DAC0_IRQHandler},
    [25] = {.handler = I2C0_IRQHandler},
    [26] = {.handler = I2C1_IRQHandler},
    [27] = {.handler = GPIO_ODD_IRQHandler},
    [28] = {.handler = TIMER1_IRQHandler},
    [29] = {.handler = TIMER2_IRQHandler},
    [30] = {.handler = TIMER3_IRQHandler},
    [31] = {.handler = USART1_RX_IRQHandler},
    [32] = {.handler = USART1_TX_IRQHandler},
    [33] = {.handler = LESENSE_IRQHandler},
    [34] = {.handler = USART2_RX_IRQHandler},
    [35] = {.handler = USART2_TX_IRQHandler},
    [36] = {.handler = UART0_RX_IRQHandler},
    [37] = {.handler = UART0_TX_IRQHandler},
    [38] = {.handler = UART1_RX_IRQHandler},
    [39] = {.handler = UART1_TX_IRQHandler},
    [40] = {.handler = LEUART0_IRQHandler},
    [41] = {.handler = LEUART1_IRQHandler},
    [42] = {.handler = LETIMER0_IRQHandler},
    [43] = {.handler = PCNT0_IRQHandler},
    [44] = {.handler = PCNT1_IRQHandler},
    [45] = {.handler = PCNT2_IRQHandler},
    [46] = {.handler = RTC_IRQHandler},
    [47] = {.handler = BURTC_IRQHandler},
    [48] = {.handler = CMU_IRQHandler},
    [49] = {.handler = VCMP_IRQHandler},
    [51] = {.handler = MSC_IRQHandler},
    [52] = {.handler = AES_IRQHandler},
    [53] = {.handler = EBI_IRQHandler},
    [54] = {.handler = EMU_IRQHandler},
    [55] = {.handler = FPUEH_IRQHandler},
};

/* What __libc_init_array calls where crt0 is not linked. */
void _init(void);
void _init(void)
{
}
