//! Commands as a user types them: output, exit status, sentences.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn ktg(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ktg")).current_dir(directory).args(arguments).output().unwrap()
}

fn good(directory: &Path, arguments: &[&str]) -> String {
    let output = ktg(directory, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The one sentence on standard error; exit status 1, no backtrace.
fn bad(directory: &Path, arguments: &[&str]) -> String {
    let output = ktg(directory, arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    assert!(text.starts_with("error: ") && text.trim_end().lines().count() == 1, "{text}");
    text
}

#[test]
fn help_teaches_and_usage_errors_exit_with_2() {
    let here = Path::new(".");
    assert!(good(here, &["--help"]).contains("knowledge transfer graph"));
    let help = good(here, &["train", "--help"]);
    assert!(help.contains("--resume") && help.contains("An experiment file"), "{help}");
    assert_eq!(ktg(here, &["train"]).status.code(), Some(2));
    assert_eq!(ktg(here, &["fly"]).status.code(), Some(2));
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(good(here, &["completions", shell]).contains("ktg"), "{shell}");
    }
}

#[test]
fn graphs_are_made_checked_shown_drawn_and_imported() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    good(here, &["graph", "preset", "dml", "--nodes", "3", "-o", "dml.toml"]);
    good(here, &["graph", "preset", "dml", "--nodes", "3", "-o", "dml.json"]);
    let check = good(here, &["graph", "check", "dml.toml", "dml.json"]);
    let hashes: Vec<&str> = check.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert!(hashes.len() == 2 && hashes[0] == hashes[1], "{check}");
    let shown = good(here, &["graph", "show", "dml.toml"]);
    assert!(shown.contains("3 -> 2") && shown.contains("probability closer") && shown.contains(hashes[0]), "{shown}");
    assert_eq!(
        good(here, &["graph", "show", "--json", "dml.toml"]).trim(),
        fs::read_to_string(here.join("dml.json")).unwrap().trim()
    );
    assert!(good(here, &["graph", "draw", "diverse:3"]).starts_with("<svg"));
    good(here, &["graph", "draw", "dml.toml", "-o", "dml.dot"]);
    assert!(fs::read_to_string(here.join("dml.dot")).unwrap().contains("digraph"));

    let gate = r#"{"name":"ThroughGate","args":{}}"#;
    let cut = r#"{"name":"CutoffGate","args":{}}"#;
    let independent = |gate: &str| format!(r#"{{"name":"IndependentLoss","args":{{"loss_weight":1,"gate":{gate}}}}}"#);
    let config = format!(
        r#"{{"models":[{{"name":"Ensemble"}},{{"name":"resnet18_abn","args":{{}},"load_weight":{{"path":null}}}}],
            "losses":[[{0},{0}],[{0},{1}]]}}"#,
        independent(cut),
        independent(gate)
    );
    fs::write(here.join("config.json"), config).unwrap();
    let imported = good(here, &["graph", "import", "config.json"]);
    assert!(imported.contains("abn-resnet-18") && imported.contains("\"label -> 1\" = \"through\""), "{imported}");
    assert!(!imported.contains("crop_sizes"), "{imported}");
}

#[test]
fn of_a_plain_resnet_in_a_file_of_the_authors_it_is_said_that_their_crops_are_others() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    let loss = |name: &str, gate: &str| {
        format!(r#"{{"name":"{name}","args":{{"gate":{{"name":"{gate}"}},"att_loss_positive":1}}}}"#)
    };
    let (label, attention) = (loss("IndependentLoss", "ThroughGate"), loss("AttLoss", "ThroughGate"));
    let config = format!(
        r#"{{"models":[{{"name":"resnet18_vanilla"}},{{"name":"resnet18"}}],"losses":[[{label},{attention}],[{attention},{label}]]}}"#
    );
    fs::write(here.join("config.json"), config).unwrap();
    let said = |arguments: &[&str]| {
        let output = ktg(here, arguments);
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap().matches("crop_sizes = [3, 5, 7]").count()
    };
    for command in ["show", "check", "import"] {
        assert_eq!(said(&["graph", command, "config.json"]), 1, "{command}");
    }
    // A file of ours says what it means.
    good(here, &["graph", "import", "config.json", "-o", "graph.toml"]);
    assert_eq!(said(&["graph", "check", "graph.toml"]), 0);
}

#[test]
fn mistakes_are_one_sentence_with_file_and_line() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    let graph = |text: &str| fs::write(here.join("g.toml"), text).unwrap();
    graph("[nodes]\n1 = \"vgg-16\"\n[edges]\n\"label -> 1\" = \"through\"\n");
    assert!(bad(here, &["graph", "check", "g.toml"]).contains("g.toml:2: there is no network `vgg-16`"));
    graph("[nodes]\n1 = \"resnet-18\"\n[edges]\n\"label -> 1\" = \"throu\"\n");
    let text = bad(here, &["graph", "check", "g.toml"]);
    assert!(text.contains("g.toml:4: ") && text.contains("through"), "{text}");
    fs::write(here.join("e.toml"), "[train]\nepoch = 3\n").unwrap();
    let text = bad(here, &["train", "e.toml", "--out", "run"]);
    assert!(text.contains("e.toml:2: ") && text.contains("epoch"), "{text}");
    assert!(bad(here, &["train", "missing.toml", "--out", "run"]).contains("missing.toml"));
    assert!(bad(here, &["train", "--out", "run", "--set", "train.epochs"]).contains("KEY=VALUE"));
    assert!(bad(here, &["train", "--out", "run", "--set", "data.source=folder"]).contains("root"));
    // The source may be named after its options.
    let text = bad(here, &["train", "--out", "run", "--set", "data.root=nowhere", "--set", "data.source=folder"]);
    assert!(text.contains("nowhere") && text.contains("No such file"), "{text}");
    let text = bad(here, &["data", "info", "--set", "data.label_column=2", "--source", "folder"]);
    assert!(text.contains("cannot set `data.label_column` to `2`") && text.contains("\"folder\""), "{text}");
    let text = bad(here, &["data", "info", "--root", "photos"]);
    assert!(text.contains("\"fashion-mnist\" lies in no folder"), "{text}");
    assert!(bad(here, &["train", "--resume", "nowhere"]).contains("there is no run in it"));
    assert!(bad(here, &["eval", "nowhere"]).contains("there is no run in it"));
    assert!(bad(here, &["graph", "draw", "dml:3", "-o", "x.jpg"]).contains(".svg, .png or .dot"));
    good(here, &["graph", "draw", "dml:3", "-o", "x.png"]);
    assert!(std::fs::read(here.join("x.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(!here.join("run").exists() && !here.join("nowhere").exists());
}

#[test]
fn a_run_is_trained_judged_and_asked() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    let mut arguments = vec!["train", "--preset", "dml", "--architecture", "abn-resnet-cifar-8", "--side", "8"];
    arguments.extend(["--epochs", "1", "--batch-size", "10", "--set", "split.train_share=0.02"]);
    arguments.extend(["--set", "split.evaluate_on=search-split", "--record-steps", "2", "--log-every", "1"]);
    for run in ["a", "b"] {
        let mut arguments = arguments.clone();
        arguments.extend(["--out", run, "--json", "--seed", if run == "a" { "1" } else { "2" }]);
        let line = good(here, &arguments);
        let result: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
        assert_eq!(result["measures"]["images"], 50);
    }
    assert!(here.join("a/initial/node2.safetensors").is_file() && here.join("a/batches.safetensors").is_file());
    let line = good(here, &["eval", "--json", "a", "b"]);
    let value: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
    let methods = value["methods"].as_array().unwrap();
    assert_eq!((methods.len(), &methods[0]["nodes"], &methods[0]["runs"]), (1, &2.into(), &2.into()));
    assert!(methods[0]["ensemble"]["mean"].is_number() && methods[0]["node_average"]["std"].is_number());
    assert!(good(here, &["eval", "a"]).contains("node average [%]"));
    assert!(value["classes"].is_null(), "only where it is asked for");
    check_classes(here);

    // Any PNG will do.
    let picture = here.join("photo.png");
    ktg_report::overlay(&[0.5; 64], 8, &[0.0, 1.0, 0.0, 0.0], 2).save(&picture).unwrap();
    let text = good(here, &["predict", "--run", "a", "photo.png", "--overlays", "seen", "--top", "2"]);
    assert!(text.contains("ensemble") && text.contains("node 2"), "{text}");
    assert!(here.join("seen/photo-node1.png").is_file() && here.join("seen/photo-node2.png").is_file());
    let line = good(here, &["predict", "--run", "a", "photo.png", "--json"]);
    let value: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
    assert_eq!(value["nodes"].as_array().unwrap().len(), 2);
    assert!(bad(here, &["predict", "--run", "a", "none.png"]).contains("none.png"));

    // A bad image is named, and the others are classified; equal names do not overwrite each other.
    fs::create_dir(here.join("other")).unwrap();
    fs::write(here.join("empty.jpg"), "").unwrap();
    for copy in ["photo-2.png", "other/photo.png"] {
        fs::copy(&picture, here.join(copy)).unwrap();
    }
    let images = ["photo.png", "empty.jpg", "photo-2.png", "other/photo.png"];
    let arguments = [&["predict", "--run", "a", "--overlays", "all", "--json"][..], &images].concat();
    let output = ktg(here, &arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("empty.jpg") && said.contains("1 of 4 images"), "{said}");
    let lines: Vec<serde_json::Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["image"].as_str().unwrap()).collect::<Vec<_>>(), images);
    assert!(lines[1]["error"].as_str().unwrap().contains("empty"), "{}", lines[1]);
    assert_eq!(fs::read_dir(here.join("all")).unwrap().count(), 3 * 2);
    check_csv(here);
}

/// What `predict FOLDER --csv` writes of good and bad images.
fn check_csv(here: &Path) {
    fs::create_dir_all(here.join("new/deeper")).unwrap();
    fs::copy(here.join("photo.png"), here.join("new/b.png")).unwrap();
    ktg_report::overlay(&[0.1; 64], 8, &[1.0, 0.0, 0.5, 0.0], 2).save(here.join("new/deeper/a.png")).unwrap();
    fs::write(here.join("new/a.jpg"), "").unwrap();
    fs::write(here.join("new/notes.txt"), "").unwrap();
    let output = ktg(here, &["predict", "--run", "a", "new", "--csv", "answers.csv", "--top", "2"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("1 of 3 images"), "{said}");
    let text = fs::read_to_string(here.join("answers.csv")).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let nodes = ["node_1_class", "node_1_probability", "node_2_class", "node_2_probability", "error"];
    assert_eq!(rows[0], [&["path", "class", "probability", "class_2", "probability_2"][..], &nodes].concat());
    assert_eq!(
        rows.iter().skip(1).map(|row| row[0]).collect::<Vec<_>>(),
        ["new/a.jpg", "new/b.png", "new/deeper/a.png"]
    );
    assert!(rows[1][1..9].iter().all(|cell| cell.is_empty()) && rows[1][9].contains("empty"), "{:?}", rows[1]);
    // An image has the same answers, to the bit, alone and beside others.
    let alone = |image: &str| -> Vec<String> {
        let line = good(here, &["predict", "--run", "a", image, "--json", "--top", "2"]);
        let value: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
        let firsts = value["nodes"].as_array().unwrap().iter().map(|node| &node[0]);
        let guesses = value["ensemble"].as_array().unwrap().iter().chain(firsts);
        let cells = guesses.flat_map(|g| [g["class"].as_str().unwrap().to_owned(), g["probability"].to_string()]);
        cells.chain([String::new()]).collect()
    };
    assert_eq!(rows[2][1..], alone("new/b.png")[..]);
    assert_eq!(rows[3][1..], alone("new/deeper/a.png")[..]);
    assert_ne!(rows[2][1..], rows[3][1..], "different images have different answers");
    // A file is whole or not there, and nothing else is left.
    let beside =
        fs::read_dir(here).unwrap().filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("csv"));
    assert_eq!(beside.count(), 1);

    let streamed = good(here, &["predict", "--run", "a", "new/deeper", "new/b.png", "--csv", "-", "--top", "99"]);
    let lines: Vec<&str> = streamed.lines().collect();
    assert_eq!(lines[0].split(',').count(), 1 + 2 * (10 + 2) + 1, "no more classes than there are: {streamed}");
    assert!(lines.len() == 3 && lines[1].starts_with("new/deeper/a.png,") && lines[2].starts_with("new/b.png,"));
    fs::create_dir(here.join("nothing")).unwrap();
    assert!(
        bad(here, &["predict", "--run", "a", "nothing"])
            .contains("nothing: no file in it or in its folders ends in .jpg")
    );
}

/// What `eval --classes` says of the runs a and b, in words and as JSON.
fn check_classes(here: &Path) {
    let line = good(here, &["eval", "--classes", "--json", "a", "b"]);
    let value: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
    let runs = value["classes"].as_array().unwrap();
    assert_eq!(runs.iter().map(|run| run["run"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
    let first = &runs[0];
    let matrix: Vec<Vec<u64>> = serde_json::from_value(first["matrix"].clone()).unwrap();
    assert_eq!((matrix.len(), matrix.iter().flatten().sum::<u64>()), (10, 50));
    // The diagonal is what the ensemble knows.
    let right: u64 = (0..10).map(|class| matrix[class][class]).sum();
    let judged = value["methods"][0]["measures"][0]["ensemble"]["top1"].as_f64().unwrap();
    assert!((100.0 * right as f64 / 50.0 - judged).abs() < 1e-9, "{right} of 50, {judged} %");
    let classes = first["classes"].as_array().unwrap();
    let known: Vec<f64> = classes.iter().map(|class| class["ensemble"].as_f64().unwrap()).collect();
    assert!(known.len() == 10 && known.is_sorted(), "the worst first: {known:?}");
    let pair = &first["pairs"][0];
    let sentence = format!("{} of {} {}", pair["count"], pair["images"], pair["class"]);
    let text = good(here, &["eval", "--classes", "a"]);
    assert!(text.contains(&sentence) && text.contains("most often taken for"), "{sentence}: {text}");
}

/// Losses of the first steps, of all nodes, as the run's metrics have them.
fn first_losses(run: &Path) -> Vec<f64> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let steps = lines.filter(|line| line["kind"] == "step").take(2);
    steps
        .flat_map(|step| step["nodes"].as_array().unwrap().clone())
        .map(|node| node["loss"].as_f64().unwrap())
        .collect()
}

#[test]
fn kernels_can_be_chosen_and_agree_with_the_reference() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    let mut losses = Vec::new();
    for kernels in ["reference", "portable", "auto"] {
        let mut arguments = vec!["--kernels", kernels, "train", "--preset", "diverse", "--side", "12", "--epochs", "1"];
        arguments.extend(["--architecture", "abn-resnet-cifar-8", "--batch-size", "20", "--log-every", "1"]);
        arguments.extend(["--set", "split.train_share=0.02", "--set", "split.evaluate_on=search-split"]);
        arguments.extend(["--out", kernels, "--seed", "1"]);
        good(here, &arguments);
        losses.push(first_losses(&here.join(kernels)));
        let message = String::from_utf8(ktg(here, &["--kernels", "avx1024", "eval", kernels]).stderr).unwrap();
        assert!(message.contains("reference, portable, neon, avx2 or avx512"), "{message}");
    }
    let (reference, ours) = losses.split_first().unwrap();
    assert!(reference.len() >= 4);
    for ours in ours {
        for (a, b) in ours.iter().zip(reference) {
            assert!((a - b).abs() <= 1e-3 * b.abs(), "{ours:?} is not {reference:?}");
        }
    }
    assert!(losses[0] != losses[1], "the reference is the kernels");
}
