//! The bytes as they are, and with length and checksums made right, behind which mutations would not get otherwise.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ktg_data::fuzzing::parse("pack", bytes);
    if bytes.len() >= 64 {
        ktg_data::fuzzing::parse("pack", &mended(bytes));
    }
});

/// See the layout in `ktg-data/src/pack_file.rs`.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[..8].copy_from_slice(b"ktg-pack");
    bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
    let length = bytes.len() as u64;
    bytes[16..24].copy_from_slice(&length.to_le_bytes());
    let index = u64::from_le_bytes(bytes[24..32].try_into().expect("eight bytes"));
    let tail = crc32fast::hash(&bytes[index.clamp(64, length) as usize..]);
    bytes[12..16].copy_from_slice(&tail.to_le_bytes());
    let head = crc32fast::hash(&bytes[..40]);
    bytes[40..44].copy_from_slice(&head.to_le_bytes());
    bytes
}
