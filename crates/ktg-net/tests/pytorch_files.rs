//! What `torch.save` writes, of every kind that `fixtures/make_weights_files.py` makes.

use std::collections::BTreeSet;

use ktg_net::{StateDict, WeightsError, WeightsFile, weights};

#[path = "../../../fixtures/support.rs"]
mod support;

fn read(name: &str) -> Result<WeightsFile, WeightsError> {
    let path = support::path(&format!("weights/{name}.pth"));
    weights::from_bytes(&std::fs::read(path).unwrap(), &format!("{name}.pth"))
}

/// What PyTorch has in a file, by the names in it.
fn expected(name: &str) -> StateDict {
    let all = support::tensors("weights/expected.safetensors");
    let own = |(key, array): (String, _)| Some((key.strip_prefix(&format!("{name}/"))?.to_owned(), array));
    all.into_iter().filter_map(own).collect()
}

/// The names of all files that begin so.
fn names(is_meant: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let entries = std::fs::read_dir(support::path("weights")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(".pth").map(str::to_owned)).filter(|name| is_meant(name)).collect()
}

#[test]
fn all_kinds_of_files_are_read_as_pytorch_reads_them() {
    let names = names(|name| !name.starts_with("refused"));
    assert!(names.len() >= 18, "{names:?}");
    for name in names {
        let (file, expected) = (read(&name).unwrap(), expected(&name));
        assert!(!expected.is_empty(), "{name}");
        assert_eq!(file.arrays.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{name}");
        for (key, array) in &expected {
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
            let found = &file.arrays[key];
            assert_eq!((&found.shape, bits(&found.data)), (&array.shape, bits(&array.data)), "{name}: {key}");
        }
    }
}

#[test]
fn it_is_said_where_weights_were_and_what_was_changed() {
    let changes = |name: &str| read(name).unwrap().changes;
    assert!(changes("plain").is_empty() && changes("ordered").is_empty() && changes("key_is_no_place").is_empty());
    for key in ["state_dict", "model", "model_state_dict"] {
        assert_eq!(changes(&format!("under_{key}")), [format!("the weights under `{key}` are taken")]);
    }
    assert_eq!(
        changes("under_state_dict_ema"),
        ["the weights under `state_dict_ema` are taken", "`module.` is stripped from all names"]
    );
    assert_eq!(changes("numbers"), ["numbers are converted from BF16 and F16 and F64 to F32"]);
}

#[test]
fn other_files_are_refused_by_name_with_a_way_out() {
    const SAVE: &str = "safetensors.torch.save_file(model.state_dict(), \"weights.safetensors\")";
    const STATE: &str = "torch.save(model.state_dict(), \"weights.pth\"), not the whole model";
    let cases: &[(&str, &[&str])] = &[
        ("refused_old_big_endian", &["`big-endian numbers`", SAVE]),
        ("refused_tar", &["a tar archive", SAVE]),
        ("refused_torchscript", &["it is TorchScript", "torch.jit.load", SAVE]),
        ("refused_whole_network", &["`torch.nn.modules.container.Sequential`", "a whole pickled network", STATE]),
        ("refused_network_inside", &["`torch.nn.modules.container.Sequential`", STATE]),
        ("refused_namespace", &["`argparse.Namespace`", SAVE]),
        ("refused_numpy", &[".scalar`", SAVE]),
        ("refused_code", &[".eval`", SAVE]),
        ("refused_list", &["does not hold a dictionary of tensors", SAVE]),
        ("refused_nothing", &["there are no tensors in it: at its top is `epoch`, `loss`", "`state_dict_ema`"]),
        ("refused_expanded", &["a tensor of shape [1000, 2] is larger than its storage `0`, which has 2 numbers"]),
        ("refused_kind", &["tensor `a` is C64, which is not read"]),
        ("refused_big_endian", &["its byte order is `big`", SAVE]),
        ("refused_compressed", &["is compressed (method 8)"]),
        ("refused_no_storage", &["storage `1` is missing"]),
        ("refused_short_storage", &["storage `1` has 19 bytes, too few for 5 numbers of 4"]),
        ("refused_other_zip", &["it is a zip archive, but not one of torch.save", SAVE]),
    ];
    let refused: BTreeSet<String> = cases.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(refused, names(|name| name.starts_with("refused")));
    for (name, parts) in cases {
        let message = read(name).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{name}.pth: ")), "{message}");
        for part in *parts {
            assert!(message.contains(part), "{name}: {message}");
        }
    }
}

#[test]
fn the_kind_of_a_file_is_told_by_its_bytes() {
    let bytes = |name: &str| std::fs::read(support::path(name)).unwrap();
    assert_eq!(weights::extension(&bytes("weights/plain.pth")), "pth");
    assert_eq!(weights::extension(&bytes("weights/old_format.pth")), "pth");
    assert_eq!(weights::extension(&bytes("weights/expected.safetensors")), "safetensors");
    for short in [&b""[..], b"P", b"PK\x03\x04", b"\x80\x02", &[0x80, 2, 0, 0, 0, 0, 0, 0, 0]] {
        weights::from_bytes(short, "short").unwrap_err();
    }
}

/// A file cut off anywhere, or with any byte changed, gives an answer or a sentence.
#[test]
fn damage_is_named() {
    for name in ["plain", "under_model", "zip64", "untyped", "old_format"] {
        let path = support::path(&format!("weights/{name}.pth"));
        let whole = std::fs::read(path).unwrap();
        for length in 0..whole.len() {
            weights::from_bytes(&whole[..length], "cut").unwrap_err();
        }
        for at in 0..whole.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                if let Ok(file) = weights::from_bytes(&bytes, "changed") {
                    let numbers: usize = file.arrays.values().map(|array| array.data.len()).sum();
                    assert!(numbers <= 8 * bytes.len());
                }
            }
        }
    }
}
