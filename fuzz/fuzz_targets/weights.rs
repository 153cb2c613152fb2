//! Weights files: safetensors, and what `torch.save` writes. What is read is not larger than the file allows.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = ktg_net::weights::from_bytes(bytes, "weights") {
        let numbers: usize = file.arrays.values().map(|array| array.data.len()).sum();
        assert!(numbers <= 8 * bytes.len());
    }
});
