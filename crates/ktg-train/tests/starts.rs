//! What nodes start from: files of other networks, of other programs, and what of them is frozen.

use std::fs;
use std::path::{Path, PathBuf};

use ktg_engine::Computing;
use ktg_engine::loss::GraphLoss;
use ktg_graph::{Factor, Freeze};
use ktg_net::{Architecture, Array, StateDict, weights};
use ktg_train::{Error, Experiment, GraphSettings, Run, RunDirectory, Settings, Trainer};

mod common;

/// Two nodes on a few images of the built-in data, which has 10 classes and grey images.
fn settings() -> Settings {
    let mut settings = common::settings();
    settings.graph.preset = Some("dml".to_owned());
    settings
}

/// Numbers that no initial weights are, by name and place.
fn weights_of(architecture: &str, channels: usize, classes: usize) -> StateDict {
    let network = architecture.parse::<Architecture>().unwrap().network(channels, classes);
    let array = |name: &str, shape: Vec<usize>| {
        let start: usize = name.bytes().map(usize::from).sum();
        let value = |i: usize| ((start + 7 * i) % 101) as f32 / 2000.0 + 0.01;
        Array { data: (0..shape.iter().product()).map(value).collect(), shape }
    };
    let parameters = network.parameters().into_iter();
    parameters.map(|parameter| (parameter.name.clone(), array(&parameter.name, parameter.shape))).collect()
}

/// A file of `torch.save`: a dictionary of tensors in a zip archive.
fn torch_save(dict: &StateDict) -> Vec<u8> {
    let text = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let number = |number: usize| [b"J", &(number as i32).to_le_bytes()[..]].concat();
    let tuple = |items: Vec<Vec<u8>>| [b"(".to_vec(), items.concat(), b"t".to_vec()].concat();
    let mut pickle = b"\x80\x02}(".to_vec();
    let mut files = Vec::new();
    for (i, (name, array)) in dict.iter().enumerate() {
        let strides = (1..=array.shape.len()).map(|from| number(array.shape[from..].iter().product()));
        let key = text(&i.to_string());
        let storage = [text("storage"), b"ctorch\nFloatStorage\n".to_vec(), key, text("cpu"), number(array.data.len())];
        let storage = [tuple(storage.to_vec()), b"Q".to_vec()].concat();
        let shape = tuple(array.shape.iter().map(|size| number(*size)).collect());
        let hooks = b"ccollections\nOrderedDict\n)R".to_vec();
        let arguments = tuple(vec![storage, number(0), shape, tuple(strides.collect()), b"\x89".to_vec(), hooks]);
        pickle.extend([text(name), b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec(), arguments, b"R".to_vec()].concat());
        files.push((
            format!("w/data/{i}"),
            array.data.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>(),
        ));
    }
    pickle.extend(b"u.");
    files.push(("w/data.pkl".to_owned(), pickle));

    let (mut body, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in &files {
        let [size, place] = [content.len(), body.len()].map(|number| (number as u32).to_le_bytes());
        let common =
            [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &size, &size, &(name.len() as u32).to_le_bytes()]
                .concat();
        directory.extend([b"PK\x01\x02\x14\x00", &common[..], &[0; 10], &place, name.as_bytes()].concat());
        body.extend([b"PK\x03\x04", &common[..], name.as_bytes(), content].concat());
    }
    let count = (files.len() as u16).to_le_bytes();
    let [length, place] = [directory.len(), body.len()].map(|number| (number as u32).to_le_bytes());
    [body, directory, [b"PK\x05\x06\0\0\0\0", &count[..], &count, &length, &place, &[0, 0]].concat()].concat()
}

fn open(settings: Settings) -> Result<Experiment, Error> {
    Experiment::open(settings, Path::new("."))
}

fn trainer(experiment: &Experiment) -> Trainer {
    let (settings, networks) = (&experiment.settings, experiment.networks.clone());
    let image = [settings.side, settings.side];
    let loss = GraphLoss::new(&experiment.graph, &settings.loss, &[]);
    Trainer::new(&experiment.graph, networks, image, &experiment.starts, settings.seed, loss, Computing::default())
        .unwrap()
}

fn write(folder: &Path, name: &str, dict: &StateDict) -> PathBuf {
    let path = folder.join(name);
    let bytes = if name.ends_with("pth") { torch_save(dict) } else { weights::to_bytes(dict, None) };
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn what_fits_is_loaded_and_the_rest_is_as_without_a_file() {
    let temporary = tempfile::tempdir().unwrap();
    let file = weights_of("resnet-cifar-8", 3, 7);
    let path = write(temporary.path(), "w.pth", &file);
    let mut with_file = settings();
    with_file.graph.pretrained = Some(path.clone());
    let experiment = open(with_file).unwrap();
    assert_eq!(
        experiment.warnings,
        [format!(
            "{}: for abn-resnet-cifar-8, 45 of its 47 tensors are taken; `conv1` is summed over its 3 channels; new: `fc`, the \
             attention branch (but for `att_layer3`, which starts from `layer3`); not used: `fc`",
            path.display()
        )]
    );

    let (ours, fresh) = (trainer(&experiment), trainer(&open(settings()).unwrap()));
    for m in 0..2 {
        let (ours, fresh) = (ours.state(m).unwrap().0, fresh.state(m).unwrap().0);
        let start = &experiment.starts[m];
        assert_eq!(start.path.as_deref(), Some(path.as_path()));
        assert!(start.loaded.contains("conv1.weight") && start.loaded.contains("att_layer3.0.bn1.running_var"));
        for (name, array) in &ours {
            let of_file = file.get(name).or_else(|| file.get(name.strip_prefix("att_")?));
            match of_file.filter(|_| start.loaded.contains(name)) {
                _ if name == "conv1.weight" => assert_ne!(array, &fresh[name]),
                Some(expected) => assert_eq!(array, expected, "{name}"),
                None => assert_eq!(array, &fresh[name], "{name}"),
            }
        }
        assert!(!start.loaded.contains("fc.weight") && !start.loaded.contains("bn_att.weight"));
    }
}

#[test]
fn a_whole_file_is_loaded_without_a_word() {
    let temporary = tempfile::tempdir().unwrap();
    let file = weights_of("abn-resnet-cifar-8", 1, 10);
    for name in ["w.pth", "w.safetensors"] {
        let mut settings = settings();
        settings.graph.pretrained = Some(write(temporary.path(), name, &file));
        settings.graph.strict = true;
        let experiment = open(settings).unwrap();
        assert!(experiment.warnings.is_empty(), "{:?}", experiment.warnings);
        assert_eq!(trainer(&experiment).state(1).unwrap().0, file);
        assert_eq!(experiment.starts[1].loaded.len(), file.len());
    }
}

#[test]
fn a_run_keeps_its_file_whatever_kind_it_is() {
    let temporary = tempfile::tempdir().unwrap();
    let path = write(temporary.path(), "weights", &StateDict::new());
    fs::write(&path, torch_save(&weights_of("resnet-cifar-8", 1, 10))).unwrap();
    let mut settings = settings();
    settings.graph.pretrained = Some(path.clone());
    settings.graph.freeze = Some(Freeze::Backbone);
    settings.graph.learning_rate_factor = Factor::new(0.5);
    let graph = open(settings.clone()).unwrap().graph;
    let name = graph.nodes()[0].pretrained.clone().unwrap();
    assert!(name.starts_with("pretrained/") && name.ends_with(".pth"), "{name}");

    let directory = RunDirectory::new(temporary.path().join("run"));
    let mut run = Run::start(open(settings.clone()).unwrap(), &directory).unwrap();
    run.next_epoch().unwrap();
    drop(run);
    assert_eq!(fs::read(directory.path().join(&name)).unwrap(), fs::read(&path).unwrap());
    assert_eq!(directory.graph().unwrap().graph, graph);
    // The original may go, and the run goes on.
    fs::remove_file(path).unwrap();
    let mut run = Run::resume(&directory).unwrap();
    while run.next_epoch().unwrap().is_some() {}
}

#[test]
fn strict_nodes_take_their_own_tensors_only() {
    let temporary = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.graph.pretrained = Some(write(temporary.path(), "w.safetensors", &weights_of("abn-resnet-cifar-8", 1, 7)));
    settings.graph.strict = true;
    let message = open(settings).err().unwrap().to_string();
    assert!(message.contains("`att_conv.weight` is [7, 64, 1, 1], the network has [10, 64, 1, 1]"), "{message}");
}

#[test]
fn a_node_knows_what_it_freezes() {
    let temporary = tempfile::tempdir().unwrap();
    let path = write(temporary.path(), "w.safetensors", &weights_of("resnet-cifar-8", 1, 7));
    let frozen = |freeze: Freeze| {
        let mut settings = settings();
        settings.graph.pretrained = Some(path.clone());
        settings.graph.freeze = Some(freeze);
        let experiment = open(settings)?;
        let network = &experiment.networks[0];
        let names: Vec<String> =
            experiment.starts[0].frozen.iter().map(|layer| network.layers[*layer].name.clone()).collect();
        Ok::<_, Error>((names, experiment.warnings))
    };
    let stages = |names: &[&str]| Freeze::stages(names.iter().map(|name| (*name).to_owned())).unwrap();
    let (names, warnings) = frozen(stages(&["conv1", "bn1", "layer1"])).unwrap();
    assert_eq!(names, ["conv1", "bn1", "layer1.0.conv1", "layer1.0.bn1", "layer1.0.conv2", "layer1.0.bn2"]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let (names, warnings) = frozen(Freeze::Backbone).unwrap();
    assert!(names.contains(&"layer3.0.downsample.1".to_owned()), "{names:?}");
    assert!(names.iter().all(|name| name != "fc" && !name.contains("att")), "{names:?}");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let (_, warnings) = frozen(stages(&["bn_att", "att_layer3", "att_conv"])).unwrap();
    assert!(warnings.contains(&"node 1 freezes what starts at random: bn_att, att_conv".to_owned()), "{warnings:?}");

    let message = frozen(stages(&["layr1"])).unwrap_err().to_string();
    assert_eq!(
        message,
        "graph, node 1: there is no stage `layr1` to freeze in abn-resnet-cifar-8; write \"backbone\", or some of conv1, bn1, \
         layer1, layer2, att_layer3, bn_att, att_conv, bn_att2, att_conv2, att_conv3, bn_att3, layer3, fc"
    );
    let branch = ["att_layer3", "bn_att", "att_conv", "bn_att2", "att_conv2", "att_conv3", "bn_att3"];
    let message = frozen(stages(&[&branch[..], &["backbone", "fc"]].concat())).unwrap_err().to_string();
    assert!(message.contains("it freezes the whole network; write \"frozen = true\""), "{message}");
}

#[test]
fn settings_of_weights_are_of_presets_and_left_out_while_they_are_not_there() {
    let text = settings().to_toml().unwrap();
    for key in ["pretrained", "strict", "freeze", "learning_rate_factor"] {
        assert!(!text.contains(key), "{text}");
    }
    let read = |graph: &str| Settings::parse(&format!("[graph]\n{graph}\n"), "e.toml");
    let settings =
        read("pretrained = \"w.pth\"\nstrict = true\nfreeze = [\"bn1\", \"conv1\"]\nlearning_rate_factor = 0.1")
            .unwrap();
    assert_eq!(Settings::parse(&settings.to_toml().unwrap(), "x").unwrap(), settings);
    assert_eq!(read("freeze = \"backbone\"").unwrap().graph.freeze, Some(Freeze::Backbone));
    let message = |graph: &str| read(graph).unwrap_err().to_string();
    assert_eq!(message("learning_rate_factor = -0.5"), "e.toml:2: -0.5 is not a number from 0 up");
    assert!(
        message("freeze = 3")
            .starts_with("e.toml:2: invalid type: integer `3`, expected \"backbone\" or a list of stages")
    );
    assert!(message("freeze = []").starts_with("e.toml:2: freeze must be \"backbone\" or a list of stages"));

    // Without a file of weights they make no sense.
    let mut alone = self::settings();
    alone.graph.strict = true;
    assert!(open(alone).err().unwrap().to_string().starts_with("\"strict\" of node 1 is about a weights file"));
}

#[test]
fn nodes_of_a_graph_file_without_weights_of_their_own_get_the_experiments() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    let graphs = here.join("graphs");
    fs::create_dir(&graphs).unwrap();
    write(here, "all.safetensors", &weights_of("resnet-cifar-8", 1, 7));
    // Of the same name beside the graph, which comes first; and one that is beside the experiment alone.
    write(&graphs, "own.safetensors", &weights_of("resnet-cifar-8", 1, 10));
    write(here, "own.safetensors", &weights_of("resnet-cifar-8", 1, 5));
    write(here, "other.safetensors", &weights_of("resnet-cifar-8", 1, 10));
    let text = "[nodes]\n1 = \"resnet-cifar-8\"\n\
                2 = { architecture = \"resnet-cifar-8\", pretrained = \"own.safetensors\" }\n\
                3 = { architecture = \"resnet-cifar-8\", pretrained = \"other.safetensors\", learning_rate_factor = 0.5 }\n\
                [edges]\n\"label -> 1\" = \"through\"\n\"label -> 2\" = \"through\"\n\"label -> 3\" = \"through\"\n";
    fs::write(graphs.join("g.toml"), text).unwrap();
    let mut settings = settings();
    settings.graph = GraphSettings {
        file: Some("graphs/g.toml".into()),
        pretrained: Some("all.safetensors".into()),
        freeze: Some(Freeze::Backbone),
        learning_rate_factor: Factor::new(0.1),
        ..GraphSettings::default()
    };
    let starts = Experiment::open(settings, here).unwrap().starts;
    let expected = [("all.safetensors", Some(0.1)), ("graphs/own.safetensors", None), ("other.safetensors", Some(0.5))];
    for (start, (path, factor)) in starts.iter().zip(expected) {
        assert_eq!(start.path, Some(here.join(path)));
        assert_eq!(start.learning_rate_factor, factor.and_then(Factor::new));
    }
    assert!(!starts[0].frozen.is_empty() && starts[1].frozen.is_empty());
}

#[test]
fn a_frozen_teacher_keeps_its_own_weights() {
    let temporary = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.graph.preset = Some("kd".to_owned());
    let teacher = write(temporary.path(), "teacher.safetensors", &weights_of("abn-resnet-cifar-8", 1, 10));
    settings.graph.teacher = Some(teacher.clone());
    settings.graph.pretrained = Some(write(temporary.path(), "w.safetensors", &weights_of("resnet-cifar-8", 1, 7)));
    settings.graph.learning_rate_factor = Factor::new(0.1);
    let experiment = open(settings).unwrap();
    assert_eq!(experiment.starts[0].path, Some(teacher));
    assert_eq!(experiment.starts[0].learning_rate_factor, None);
    assert_eq!(experiment.starts[1].learning_rate_factor, Factor::new(0.1));
}
