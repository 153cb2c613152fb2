//! What a dispatch level offers, and the work that is written once for all of them.

use crate::number::Bf16;

/// A piece of work written once for all levels.
pub(crate) trait Task {
    type Output;
    /// Must be `#[inline(always)]`, as must be everything in it that uses `S`: only code that ends up inside
    /// [`Simd::vectorize`] is compiled for the level's instructions.
    ///
    /// # Safety
    ///
    /// The processor has the level's instructions, and the pointers in `self` may be used as the task says.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// A piece of work in plain safe Rust, which the compiler turns into a level's vectors by itself.
pub(crate) trait Plain {
    /// Must be `#[inline(always)]`, as [`Task::run`].
    fn compute(self);
}

impl<P: Plain> Task for P {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        self.compute();
    }
}

/// Vectors of `LANES` values. All functions are unsafe: the processor must have the level's instructions (which holds
/// within [`Self::vectorize`]), and pointers must be valid for `LANES` (or the given number of) values. No alignment
/// is needed.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    type V: Copy;
    const LANES: usize;
    /// Rows of the GEMM register tile, whose columns are two vectors: as many as the registers hold.
    const ROWS: usize;

    /// Runs a task in a function that is compiled for this level's instructions.
    unsafe fn vectorize<T: Task>(task: T) -> T::Output;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    /// `a * b + c`
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `max(x, 0)`, and NaN where x is NaN.
    unsafe fn relu(x: Self::V) -> Self::V;
    /// `v` where not `y <= 0`, else 0: the gradient of [`Self::relu`] by its result. NaN lets pass.
    unsafe fn where_passed(y: Self::V, v: Self::V) -> Self::V;
    /// a where `a > b`, else b: b too where either is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// `x` where `a < b`, else `y`, as where a or b is NaN.
    unsafe fn where_less(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// 2^n of whole numbers from -126 to 127, and 0 of -127.
    unsafe fn power_of_two(n: Self::V) -> Self::V;
    /// Transposes `LANES` vectors as a square matrix.
    unsafe fn transpose(rows: &mut [Self::V]);
    unsafe fn sum(v: Self::V) -> f32;

    /// Asks for the cache line of a value that will be read soon. Any address will do.
    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}

    #[inline(always)]
    unsafe fn zero() -> Self::V {
        // SAFETY: needs only the level's instructions, as the caller grants.
        unsafe { Self::splat(0.0) }
    }

    /// bf16 numbers, as values.
    #[inline(always)]
    unsafe fn load_bf16(from: *const Bf16) -> Self::V {
        let mut buffer = [0.0f32; 16];
        // SAFETY: the caller grants LANES numbers at `from`; LANES <= 16.
        unsafe {
            buffer[..Self::LANES].iter_mut().enumerate().for_each(|(i, value)| *value = (*from.add(i)).to_f32());
            Self::load(buffer.as_ptr())
        }
    }

    /// Stores values as [`Bf16::from_f32`] rounds them.
    #[inline(always)]
    unsafe fn store_bf16(to: *mut Bf16, v: Self::V) {
        let mut buffer = [0.0f32; 16];
        // SAFETY: the caller grants LANES numbers at `to`; LANES <= 16.
        unsafe {
            Self::store(buffer.as_mut_ptr(), v);
            buffer[..Self::LANES].iter().enumerate().for_each(|(i, value)| *to.add(i) = Bf16::from_f32(*value));
        }
    }

    /// The first `n <= LANES` bf16 numbers, then zeros. (Mostly all, for which levels have an instruction.)
    #[inline(always)]
    unsafe fn load_first_bf16(from: *const Bf16, n: usize) -> Self::V {
        if n == Self::LANES {
            // SAFETY: the caller grants them all.
            return unsafe { Self::load_bf16(from) };
        }
        let mut buffer = [Bf16::default(); 16];
        // SAFETY: the caller grants n numbers at `from`; n <= LANES <= 16.
        unsafe {
            std::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), n);
            Self::load_bf16(buffer.as_ptr())
        }
    }

    /// Stores the first `n <= LANES` values only, as bf16 numbers.
    #[inline(always)]
    unsafe fn store_first_bf16(to: *mut Bf16, v: Self::V, n: usize) {
        if n == Self::LANES {
            // SAFETY: the caller grants room for all.
            return unsafe { Self::store_bf16(to, v) };
        }
        let mut buffer = [Bf16::default(); 16];
        // SAFETY: the caller grants n numbers at `to`; n <= LANES <= 16.
        unsafe {
            Self::store_bf16(buffer.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(buffer.as_ptr(), to, n);
        }
    }

    /// The first `n` values, then zeros; a whole vector, if there are as many or more.
    #[inline(always)]
    unsafe fn load_up_to(from: *const f32, n: usize) -> Self::V {
        // SAFETY: the caller grants n values.
        unsafe { if n >= Self::LANES { Self::load(from) } else { Self::load_first(from, n) } }
    }

    /// Stores the first `n` values only, or all.
    #[inline(always)]
    unsafe fn store_up_to(to: *mut f32, v: Self::V, n: usize) {
        // SAFETY: the caller grants room for n values.
        unsafe { if n >= Self::LANES { Self::store(to, v) } else { Self::store_first(to, v, n) } }
    }

    /// The first `n <= LANES` values, then zeros.
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self::V {
        let mut buffer = [0.0f32; 16];
        // SAFETY: the caller grants n values at `from`; n <= LANES <= 16.
        unsafe {
            std::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), n);
            Self::load(buffer.as_ptr())
        }
    }

    /// Stores the first `n <= LANES` values only.
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, v: Self::V, n: usize) {
        let mut buffer = [0.0f32; 16];
        // SAFETY: the caller grants n values at `to`; n <= LANES <= 16.
        unsafe {
            Self::store(buffer.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(buffer.as_ptr(), to, n);
        }
    }
}
