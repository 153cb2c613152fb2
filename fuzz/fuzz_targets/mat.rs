#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ktg_data::fuzzing::parse("mat", bytes);
});
