//! Numbers of 16 bits: an `f32` without the last 16 bits of its mantissa.

/// A bfloat16 number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bf16(u16);

impl Bf16 {
    /// From its bits.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Its bits.
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// The nearest number, the even one of two equally near; subnormal numbers become zeros of their sign, as the processors'
    /// instructions have it (Intel SDM, VCVTNEPS2BF16), and a NaN stays one.
    #[inline(always)]
    pub fn from_f32(x: f32) -> Self {
        let bits = x.to_bits();
        let sign = bits & 0x8000_0000;
        let magnitude = bits ^ sign;
        // Half of the last place, less one where that is even: what rounds up then is carried over, up to infinity.
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        // A quiet NaN: one with its mantissa in the lower half only would become infinity.
        let nan = bits >> 16 | 0x40;
        let finite = if magnitude < 0x0080_0000 { sign >> 16 } else { rounded };
        Self(if magnitude > 0x7f80_0000 { nan } else { finite } as u16)
    }

    /// The same number.
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

/// So many bf16 numbers in the memory of `values`, which has room for them: two in the place of one `f32`.
pub fn halves(values: &[f32], len: usize) -> &[Bf16] {
    assert!(len.div_ceil(2) <= values.len(), "room for {len} bf16 numbers");
    // SAFETY: the memory is there, is aligned for the smaller type, and any bits are a number.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), len) }
}

/// As [`halves`], to be written.
pub fn halves_mut(values: &mut [f32], len: usize) -> &mut [Bf16] {
    assert!(len.div_ceil(2) <= values.len(), "room for {len} bf16 numbers");
    // SAFETY: as above; nobody else uses them while the slice is borrowed, and any bits are an f32, too.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Bf16> {
        (0..=u16::MAX).map(Bf16::from_bits)
    }

    #[test]
    fn every_number_but_subnormal_ones_comes_back() {
        for number in all() {
            let (x, back) = (number.to_f32(), Bf16::from_f32(number.to_f32()));
            match x.classify() {
                std::num::FpCategory::Nan => assert!(back.to_f32().is_nan(), "{number:?}"),
                std::num::FpCategory::Subnormal => assert_eq!(back.to_bits(), number.to_bits() & 0x8000, "{number:?}"),
                _ => assert_eq!(back, number),
            }
        }
    }

    #[test]
    fn the_nearest_number_is_taken_and_the_even_one_of_two() {
        for number in all().filter(|number| number.to_f32().is_normal() && number.to_f32() > 0.0) {
            let next = Bf16::from_bits(number.to_bits() + 1);
            // In f64, as the number after the largest one would be 2^128, where f32 has infinity.
            let (low, high) = (
                f64::from(number.to_f32()),
                if next.to_f32().is_finite() { f64::from(next.to_f32()) } else { 2f64.powi(128) },
            );
            let middle = f32::from_bits(u32::from(number.to_bits()) << 16 | 0x8000);
            assert_eq!(f64::from(middle), (low + high) / 2.0);
            let even = if number.to_bits() % 2 == 0 { number } else { next };
            assert_eq!(Bf16::from_f32(middle), even);
            assert_eq!(Bf16::from_f32(middle.next_down()), number);
            assert_eq!(Bf16::from_f32(middle.next_up()), next);
            assert_eq!(Bf16::from_f32(-middle).to_bits(), even.to_bits() | 0x8000);
        }
    }

    #[test]
    fn special_values() {
        let bits = |x: f32| Bf16::from_f32(x).to_bits();
        assert_eq!([bits(0.0), bits(-0.0)], [0, 0x8000]);
        assert_eq!([bits(f32::INFINITY), bits(f32::NEG_INFINITY), bits(f32::MAX)], [0x7f80, 0xff80, 0x7f80]);
        assert_eq!([bits(f32::MIN_POSITIVE), bits(f32::MIN_POSITIVE.next_down()), bits(-1e-45)], [0x0080, 0, 0x8000]);
        for nan in [0x7f80_0001, 0xff80_0001, 0x7fc0_0000, 0x7fff_ffff, 0xffff_ffff] {
            assert!(Bf16::from_f32(f32::from_bits(nan)).to_f32().is_nan(), "{nan:x}");
        }
    }

    #[test]
    fn two_numbers_take_the_place_of_one() {
        let mut values = [0.0f32; 2];
        halves_mut(&mut values, 3).iter_mut().zip([1.0, 2.0, 3.0]).for_each(|(to, x)| *to = Bf16::from_f32(x));
        let back: Vec<f32> = halves(&values, 3).iter().map(|x| x.to_f32()).collect();
        assert_eq!(back, [1.0, 2.0, 3.0]);
    }

    #[test]
    #[should_panic(expected = "room for 5 bf16 numbers")]
    fn there_must_be_room() {
        halves(&[0.0; 2], 5);
    }
}
