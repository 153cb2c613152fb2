//! By which of the processor's instructions tiles are multiplied.

use crate::Kernels;

/// Who multiplies tiles.
pub(super) enum Instructions {
    #[cfg(target_arch = "x86_64")]
    Amx(super::amx::Amx),
    #[cfg(target_arch = "x86_64")]
    Dot(super::dot::Dot),
    /// f32 vectors of the level.
    Plain,
}

/// Code in which two names stand for the `Simd` type of a level and for who multiplies tiles there.
macro_rules! with_tiles {
    ($kernels:expr, $simd:ident, $tiles:ident => $code:expr) => {
        match $kernels.instructions() {
            #[cfg(target_arch = "x86_64")]
            $crate::bf16::instructions::Instructions::Amx($tiles) => {
                // Not all code names it.
                #[allow(dead_code)]
                type $simd = crate::simd::x86_bf16::Avx512Bf16;
                $code
            }
            #[cfg(target_arch = "x86_64")]
            $crate::bf16::instructions::Instructions::Dot($tiles) => {
                // Not all code names it.
                #[allow(dead_code)]
                type $simd = crate::simd::x86_bf16::Avx512Bf16;
                $code
            }
            $crate::bf16::instructions::Instructions::Plain => $crate::simd::at_level!($kernels.level(), $simd => {
                let $tiles = $crate::bf16::tiles::Plain::<$simd>(std::marker::PhantomData);
                $code
            }),
        }
    };
}
pub(super) use with_tiles;

impl Kernels {
    /// The best that the processor has and the level may use.
    pub(super) fn instructions(&self) -> Instructions {
        #[cfg(target_arch = "x86_64")]
        if self.level() == crate::Level::Avx512 {
            // All processors with AMX round to bf16 in one instruction; a virtual machine may hide either.
            match (super::amx::Amx::new(), super::dot::Dot::new()) {
                (Some(amx), Some(_)) => return Instructions::Amx(amx),
                (None, Some(dot)) => return Instructions::Dot(dot),
                (_, None) => {}
            }
        }
        Instructions::Plain
    }

    /// By which of the processor's instructions convolutions in bf16 are computed, `None`: by f32 vectors. Each rounds otherwise.
    pub fn bf16_instructions(&self) -> Option<&'static str> {
        match self.instructions() {
            #[cfg(target_arch = "x86_64")]
            Instructions::Amx(_) => Some("AMX"),
            #[cfg(target_arch = "x86_64")]
            Instructions::Dot(_) => Some("AVX-512-BF16"),
            Instructions::Plain => None,
        }
    }
}
