//! Products of tiles by AMX. The compiler has no stable functions for its registers: the loops are in assembly.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::tiles::{Product, Tiles};

/// A processor with AMX for bf16, in a process that may use it; made where that is so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amx(());

impl Amx {
    /// `None` where the processor lacks tiles or hides them, and where the system refuses their registers.
    pub fn new() -> Option<Self> {
        static IS_THERE: OnceLock<bool> = OnceLock::new();
        IS_THERE.get_or_init(|| Processor::read().has_tiles() && is_permitted()).then_some(Self(()))
    }
}

/// What CPUID says, as far as it is of interest here.
#[derive(Clone, Copy, Default)]
struct Processor {
    /// EDX of leaf 7.
    features: u32,
    /// Highest palette, EAX of leaf 1DH. Some virtual machines show the features, but no palette.
    palettes: u32,
}

impl Processor {
    fn read() -> Self {
        let leaves = __cpuid(0).eax;
        let features = if leaves >= 7 { __cpuid_count(7, 0).edx } else { 0 };
        let palettes = if leaves >= 0x1d { __cpuid_count(0x1d, 0).eax } else { 0 };
        Self { features, palettes }
    }

    fn has_tiles(self) -> bool {
        const AMX_BF16: u32 = 1 << 22;
        const AMX_TILE: u32 = 1 << 24;
        self.features & (AMX_BF16 | AMX_TILE) == AMX_BF16 | AMX_TILE && self.palettes >= 1
    }
}

/// Linux gives a process the registers on request: all its threads, those of later, too. Any error means that it does not.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XFEATURE_XTILEDATA: i64 = 18;
    let result: i64;
    // SAFETY: a system call that reads and writes none of our memory; it changes the registers named here.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack)
        );
    }
    result == 0
}

/// How others are asked is not known here.
#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// What LDTILECFG reads.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Eight tiles of 16 rows of 64 bytes.
static CONFIGURATION: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// The tile registers of a thread, configured; it stays on that thread.
pub(crate) struct Registers(PhantomData<*const ()>);

impl Drop for Registers {
    fn drop(&mut self) {
        // SAFETY: there are registers to be released. (Else the system would save 8 KiB at every change of threads.)
        unsafe { asm!("tilerelease", options(nostack, nomem)) }
    }
}

/// The loop over the steps of a product. `a` is the address of a step's first tile A, `s` the 64 bytes from row to row.
///
/// Eight `nop` behind each instruction cost nothing where a thread has its core for itself; where another one shares it, tile
/// instructions that follow each other closely are much slower (measured by others, ../shared/prototype: 1.6 times).
macro_rules! multiply {
    ($product:expr, b: [$($b:ident = $n:literal),*], load: [$($load:literal),*], zero: [$($zero:literal),*],
        step: [$($step:literal),*], store: [$($store:literal),*]) => {
        asm!(
            "test {accumulate}, {accumulate}",
            "jz 3f",
            $($load,)*
            "jmp 4f",
            "3:",
            $($zero,)*
            "4:",
            "cmp {step}, {end}",
            "je 5f",
            ".p2align 5",
            "2:",
            "mov {a:e}, dword ptr [{step}]",
            "lea {a}, [{base} + 2*{a}]",
            $($step, ".rept 8", "nop", ".endr",)*
            $(concat!("add {", stringify!($b), "}, {b_step}"),)*
            "add {step}, 4",
            "cmp {step}, {end}",
            "jne 2b",
            "5:",
            $($store,)*
            a = out(reg) _,
            base = in(reg) $product.a,
            step = inout(reg) $product.steps.as_ptr() => _,
            end = in(reg) $product.steps.as_ptr_range().end,
            $($b = inout(reg) $product.b[$n] => _,)*
            b_step = in(reg) 2 * $product.b_step,
            c = in(reg) $product.c,
            accumulate = in(reg) u64::from($product.accumulate),
            s = in(reg) 64usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

impl Tiles for Amx {
    type Held = Registers;

    fn hold(self) -> Registers {
        // SAFETY: the processor has the instruction and the system permits it (`new`); it reads 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATION, options(nostack, readonly)) };
        Registers(PhantomData)
    }

    unsafe fn multiply<const M: usize, const N: usize>(self, product: &Product<M, N>) {
        // SAFETY: this thread holds the registers, and nothing else in the process uses them on it; the caller grants all tiles,
        // which lie M, N and so many steps after one another as the loads below have it.
        unsafe {
            match (M, N) {
                (2, 2) => multiply!(product, b: [b0 = 0, b1 = 1],
                    load: ["tileloadd tmm0, [{c} + {s}*1]", "tileloadd tmm1, [{c} + {s}*1 + 1024]",
                        "tileloadd tmm2, [{c} + {s}*1 + 2048]", "tileloadd tmm3, [{c} + {s}*1 + 3072]"],
                    zero: ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"],
                    step: ["tileloadd tmm4, [{a} + {s}*1]", "tileloadd tmm6, [{b0} + {s}*1]",
                        "tileloadd tmm7, [{b1} + {s}*1]", "tdpbf16ps tmm0, tmm4, tmm6",
                        "tdpbf16ps tmm1, tmm4, tmm7", "tileloadd tmm5, [{a} + {s}*1 + 1024]",
                        "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7"],
                    store: ["tilestored [{c} + {s}*1], tmm0", "tilestored [{c} + {s}*1 + 1024], tmm1",
                        "tilestored [{c} + {s}*1 + 2048], tmm2", "tilestored [{c} + {s}*1 + 3072], tmm3"]),
                (4, 1) => multiply!(product, b: [b0 = 0],
                    load: ["tileloadd tmm0, [{c} + {s}*1]", "tileloadd tmm1, [{c} + {s}*1 + 1024]",
                        "tileloadd tmm2, [{c} + {s}*1 + 2048]", "tileloadd tmm3, [{c} + {s}*1 + 3072]"],
                    zero: ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"],
                    step: ["tileloadd tmm4, [{b0} + {s}*1]", "tileloadd tmm5, [{a} + {s}*1]",
                        "tdpbf16ps tmm0, tmm5, tmm4", "tileloadd tmm6, [{a} + {s}*1 + 1024]",
                        "tdpbf16ps tmm1, tmm6, tmm4", "tileloadd tmm7, [{a} + {s}*1 + 2048]",
                        "tdpbf16ps tmm2, tmm7, tmm4", "tileloadd tmm5, [{a} + {s}*1 + 3072]",
                        "tdpbf16ps tmm3, tmm5, tmm4"],
                    store: ["tilestored [{c} + {s}*1], tmm0", "tilestored [{c} + {s}*1 + 1024], tmm1",
                        "tilestored [{c} + {s}*1 + 2048], tmm2", "tilestored [{c} + {s}*1 + 3072], tmm3"]),
                (2, 3) => multiply!(product, b: [b0 = 0, b1 = 1, b2 = 2],
                    load: ["tileloadd tmm0, [{c} + {s}*1]", "tileloadd tmm1, [{c} + {s}*1 + 1024]",
                        "tileloadd tmm2, [{c} + {s}*1 + 2048]", "tileloadd tmm3, [{c} + {s}*1 + 3072]",
                        "tileloadd tmm4, [{c} + {s}*1 + 4096]", "tileloadd tmm5, [{c} + {s}*1 + 5120]"],
                    zero: ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", "tilezero tmm4",
                        "tilezero tmm5"],
                    step: ["tileloadd tmm6, [{a} + {s}*1]", "tileloadd tmm7, [{b0} + {s}*1]",
                        "tdpbf16ps tmm0, tmm6, tmm7", "tileloadd tmm6, [{a} + {s}*1 + 1024]",
                        "tdpbf16ps tmm3, tmm6, tmm7", "tileloadd tmm7, [{b1} + {s}*1]",
                        "tdpbf16ps tmm4, tmm6, tmm7", "tileloadd tmm6, [{a} + {s}*1]",
                        "tdpbf16ps tmm1, tmm6, tmm7", "tileloadd tmm7, [{b2} + {s}*1]",
                        "tdpbf16ps tmm2, tmm6, tmm7", "tileloadd tmm6, [{a} + {s}*1 + 1024]",
                        "tdpbf16ps tmm5, tmm6, tmm7"],
                    store: ["tilestored [{c} + {s}*1], tmm0", "tilestored [{c} + {s}*1 + 1024], tmm1",
                        "tilestored [{c} + {s}*1 + 2048], tmm2", "tilestored [{c} + {s}*1 + 3072], tmm3",
                        "tilestored [{c} + {s}*1 + 4096], tmm4", "tilestored [{c} + {s}*1 + 5120], tmm5"]),
                (1, 3) => multiply!(product, b: [b0 = 0, b1 = 1, b2 = 2],
                    load: ["tileloadd tmm0, [{c} + {s}*1]", "tileloadd tmm1, [{c} + {s}*1 + 1024]",
                        "tileloadd tmm2, [{c} + {s}*1 + 2048]"],
                    zero: ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2"],
                    step: ["tileloadd tmm4, [{a} + {s}*1]", "tileloadd tmm5, [{b0} + {s}*1]",
                        "tdpbf16ps tmm0, tmm4, tmm5", "tileloadd tmm6, [{b1} + {s}*1]",
                        "tdpbf16ps tmm1, tmm4, tmm6", "tileloadd tmm7, [{b2} + {s}*1]",
                        "tdpbf16ps tmm2, tmm4, tmm7"],
                    store: ["tilestored [{c} + {s}*1], tmm0", "tilestored [{c} + {s}*1 + 1024], tmm1",
                        "tilestored [{c} + {s}*1 + 2048], tmm2"]),
                _ => unreachable!("there are no products of {M} x {N} tiles"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_need_both_features_and_a_palette() {
        let [bf16, tile] = [1 << 22, 1 << 24];
        let has = |features, palettes| Processor { features, palettes }.has_tiles();
        assert!(has(bf16 | tile | 1, 1));
        // Without one of the features, and in virtual machines that show them but no palette.
        assert!(!has(tile, 1) && !has(bf16, 1) && !has(bf16 | tile, 0) && !has(0, 0));
    }

    /// Where the processor has tiles and the system keeps them back, this says so, too; `.ci/amx` reads it.
    #[test]
    fn whether_this_machine_has_tiles_is_said() {
        let (has, may) = (Processor::read().has_tiles(), Amx::new().is_some());
        println!("tiles: the processor has them: {has}, we may use them: {may}");
        assert!(has || !may);
    }
}
