//! Vectors of `f32`, one type a dispatch level, and the way into code that may use them.

/// Functions of a [`Simd`] that are one expression, for which `Simd`'s own contract is enough.
macro_rules! operations {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? = $expression:expr;)*) => {$(
        #[inline(always)]
        #[allow(unused_unsafe)]
        unsafe fn $name($($argument: $type),*) $(-> $result)? {
            // SAFETY: granted by the caller.
            unsafe { $expression }
        }
    )*};
}

/// Functions in plain safe Rust whose body is a piece of work ([`Plain`]): whoever runs it decides for which level's
/// instructions it is compiled.
macro_rules! plain {
    ($($(#[$doc:meta])* $visible:vis fn $name:ident($($argument:ident: $type:ty),*) $body:block)*) => {$(
        $(#[$doc])*
        $visible fn $name<'a>($($argument: $type),*) -> impl $crate::simd::Plain {
            struct Work<'a> {
                $($argument: $type),*
            }

            impl<'a> $crate::simd::Plain for Work<'a> {
                #[inline(always)]
                fn compute(self) {
                    let Work { $($argument),* } = self;
                    $body
                }
            }

            Work { $($argument),* }
        }
    )*};
}
pub(crate) use plain;

#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;
#[cfg(test)]
mod tests;
mod vector;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86_bf16;

pub(crate) use vector::{Plain, Simd, Task};

/// The instruction set that kernels use. Chosen at run time; see [`Kernels`](crate::Kernels).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Plain Rust, on every machine: what the compiler makes of arrays of four.
    Portable,
    /// 64-bit ARM: vectors of 4.
    Neon,
    /// x86-64 with AVX2 and FMA: vectors of 8.
    Avx2,
    /// x86-64 with AVX-512F: vectors of 16.
    Avx512,
}

impl Level {
    /// All levels; those of one processor slowest first.
    pub const ALL: [Level; 4] = [Level::Portable, Level::Neon, Level::Avx2, Level::Avx512];

    /// The levels this machine has, slowest first. Always contains [`Level::Portable`].
    pub fn available() -> Vec<Level> {
        Level::ALL.into_iter().filter(|level| level.is_available()).collect()
    }

    /// The fastest level this machine has.
    pub(crate) fn best() -> Level {
        Level::available().into_iter().max().unwrap_or(Level::Portable)
    }

    pub(crate) fn is_available(self) -> bool {
        match self {
            Level::Portable => true,
            #[cfg(target_arch = "aarch64")]
            Level::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            // The AVX-512 code also contains AVX2 and FMA instructions; no processor has the one without the others.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => is_x86_feature_detected!("avx512f") && Level::Avx2.is_available(),
            _ => false,
        }
    }

    /// The level of a name.
    pub fn from_name(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name() == name)
    }

    /// `portable`, `neon`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Neon => "neon",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }
}

/// Code in which a name stands for the `Simd` type of a level.
macro_rules! at_level {
    ($level:expr, $simd:ident => $code:expr) => {
        match $level {
            #[cfg(target_arch = "x86_64")]
            $crate::Level::Avx512 => {
                type $simd = $crate::simd::x86::Avx512;
                $code
            }
            #[cfg(target_arch = "x86_64")]
            $crate::Level::Avx2 => {
                type $simd = $crate::simd::x86::Avx2;
                $code
            }
            #[cfg(target_arch = "aarch64")]
            $crate::Level::Neon => {
                type $simd = $crate::simd::neon::Neon;
                $code
            }
            _ => {
                type $simd = $crate::simd::portable::Portable;
                $code
            }
        }
    };
}
pub(crate) use at_level;
