//! Random numbers.

use ktg_base::random::{below, keyed};

#[test]
fn integers_below_a_bound_are_uniform() {
    let mut generator = keyed([5, 1, 0, 0]);
    let mut counts = [0u32; 7];
    (0..70_000).for_each(|_| counts[below(&mut generator, 7) as usize] += 1);
    // Five standard deviations of a count.
    assert!(counts.iter().all(|&n| (f64::from(n) - 10_000.0).abs() < 5.0 * 93.0), "{counts:?}");
    assert_eq!((below(&mut generator, 0), below(&mut generator, 1)), (0, 0));
    // The largest bounds reject half of the draws; the result stays in range.
    assert!((0..100).all(|_| below(&mut generator, (1 << 63) + 1) <= 1 << 63));
}
