//! The recipe of README's five minutes, `examples/finetune.toml`, on a folder of photos and a file that has the names and
//! shapes of torchvision's `resnet18`.

use std::fs;
use std::path::Path;

use ktg_net::{Architecture, weights};
use ktg_train::RunDirectory;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

mod common;
use common::{bad, good, ktg, text};

/// Photos of two classes: one is bright at the top, one at the bottom.
fn photos(root: &Path) {
    for (part, count) in [("train", 12), ("test", 6)] {
        for (class, bright_above) in [("ash", true), ("oak", false)] {
            let folder = root.join(part).join(class);
            fs::create_dir_all(&folder).unwrap();
            for i in 0..count {
                let shade = |x: u32, y: u32| {
                    let bright = (y < 20) == bright_above;
                    let level = if bright { 150 + 8 * i } else { 20 + 3 * i };
                    image::Rgb([level as u8, (level as u32 + x) as u8, 60])
                };
                image::RgbImage::from_fn(48, 40, shade).save(folder.join(format!("{i}.png"))).unwrap();
            }
        }
    }
}

#[test]
fn the_recipe_starts_from_published_weights_and_learns_two_classes() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    photos(&here.join("photos"));
    let resnet = "resnet-18".parse::<Architecture>().unwrap().network(3, 1000);
    let published = resnet.initial(&mut ChaCha8Rng::seed_from_u64(3)).collect();
    fs::write(here.join("resnet18.pth"), weights::to_bytes(&published, None)).unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/finetune.toml"), here.join("finetune.toml"))
        .unwrap();

    // Smaller and shorter, so that it ends in seconds.
    let shorter = ["--set", "side=32", "--epochs", "3", "--batch-size", "8"];
    let output = ktg(here, &["train", "finetune.toml", "--out", "run"]).args(shorter).output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("100 of its 102 tensors are taken"), "{said}");
    assert!(
        said.contains("new: `fc`, the attention branch (but for `att_layer4`, which starts from `layer4`)"),
        "{said}"
    );
    assert!(said.contains("is the best"), "{said}");

    let result = RunDirectory::new(here.join("run")).result().unwrap().unwrap();
    assert_eq!((result.epochs, result.train_images), (3, 19));
    let judged = good(ktg(here, &["eval", "run", "--on", "test", "--classes"]));
    assert!(judged.contains("ash") && judged.contains("oak"), "{judged}");
    let csv = good(ktg(here, &["predict", "--run", "run", "photos/test", "--csv", "-"]));
    assert_eq!(csv.lines().count(), 1 + 12, "{csv}");
}

/// A file of weights of a small network, whose numbers depend on `seed`.
fn small_weights(seed: u64) -> Vec<u8> {
    let network = "resnet-cifar-8".parse::<Architecture>().unwrap().network(3, 7);
    weights::to_bytes(&network.initial(&mut ChaCha8Rng::seed_from_u64(seed)).collect(), None)
}

#[test]
fn searches_and_plans_start_from_the_experiments_weights() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    photos(&here.join("photos"));
    fs::write(here.join("w.safetensors"), small_weights(1)).unwrap();
    let experiment = "seed = 1\nside = 16\n[graph]\npreset = \"dml\"\nnodes = 2\narchitecture = \"resnet-cifar-8\"\n\
                      pretrained = \"w.safetensors\"\nfreeze = [\"conv1\", \"layer1\"]\n\
                      [data]\nsource = \"folder\"\nroot = \"photos\"\n[split]\nevaluate_on = \"search-split\"\n\
                      [train]\nepochs = 2\nbatch_size = 6\nlog_every = 0\nkeep = \"best\"\npatience = 2\n\
                      [search]\ngates = [\"through\"]\nlabel_gates = [\"through\"]\n";
    fs::write(here.join("e.toml"), experiment).unwrap();
    let plan = "experiment = \"e.toml\"\nnodes = [2]\nrepeats = 1\n[[method]]\nname = \"DML\"\npreset = \"dml\"\n\
                [[method]]\nname = \"Found\"\nstudy = \"s\"\n";
    fs::write(here.join("plan.toml"), plan).unwrap();
    good(ktg(here, &["search", "e.toml", "--study", "s", "--trials", "2"]));
    good(ktg(here, &["study", "best", "s", "-o", "best"]));
    let edges = good(ktg(here, &["analyse", "s", "e.toml", "--edges", "--seeds", "1"]));
    assert!(edges.contains("What each edge contributes"), "{edges}");
    // The found graph, trained on all images: its weights are beside the experiment, not beside the graph.
    good(ktg(here, &["train", "e.toml", "--graph", "best/s-1.toml", "--out", "found"]));
    let tables = good(ktg(here, &["compare", "plan.toml"]));
    for method in ["DML", "Found"] {
        let row = tables.lines().find(|line| line.starts_with(method)).unwrap_or_else(|| panic!("{tables}"));
        assert!(row.ends_with("1 of 1"), "{tables}");
    }

    let own = weights::from_bytes(&small_weights(1), "w").unwrap().arrays;
    let runs: Vec<_> = fs::read_dir(here.join("plan/runs")).unwrap().map(|run| run.unwrap().path()).collect();
    assert_eq!(runs.len(), 2);
    for run in runs.iter().chain([&here.join("found")]) {
        let newest = fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
        for node in ["node1.safetensors", "node2.safetensors"] {
            let trained = weights::read(&newest.join(node)).unwrap().arrays;
            assert!(trained["layer1.0.conv1.weight"] == own["layer1.0.conv1.weight"], "{} is frozen", run.display());
            assert!(trained["layer2.0.conv1.weight"] != own["layer2.0.conv1.weight"], "{} learns", run.display());
        }
    }
    // What is compared starts from the same.
    assert_eq!(good(ktg(here, &["compare", "plan.toml"])), tables);
    fs::write(here.join("w.safetensors"), small_weights(2)).unwrap();
    let message = bad(ktg(here, &["compare", "plan.toml"]));
    assert!(
        message.contains("the comparison was begun with the preset dml") && message.contains("starting as"),
        "{message}"
    );
}
