//! Studies as the authors' published code makes them, read as studies of ours. Here they are made without Optuna;
//! `crates/ktg/tests/foreign.rs` has Optuna make them.

mod common;

use std::collections::BTreeMap;

use common::{Place, assert_sentence, on_each_storage, unique};
use ktg_graph::{Design, Document, Gate, Graph, Node, Transfer};
use ktg_search::attributes::{GRAPH, REASON, SPACE};
use ktg_search::storage::{Inserted, NewTrial, State, StorageUrl, Study, Trial};
use ktg_search::{AuthorsStudy, Imported, JudgedPart, Space, StudyMetadata};
use serde_json::json;

const LOSSES: [&str; 6] = ["KLLoss_P", "KLLoss_N", "AttLoss_P", "AttLoss_N", "KL_Att_P_P", "KL_Att_N_N"];
const GATES: [&str; 4] = ["ThroughGate", "CutoffGate", "CorrectGate", "LinearGate"];

/// The parameters of a study: what each chooses from.
type Parameters = BTreeMap<String, Vec<String>>;

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// An ensemble of two ABN-ResNet-20, as the search script of the thesis' paper has it.
fn of_ensemble() -> Parameters {
    let mut parameters = Parameters::new();
    for model in 0..3 {
        let networks = if model == 0 { "Ensemble" } else { "ResNet20_ABN" };
        parameters.insert(format!("model_{model}_name"), texts(&[networks]));
        for source in 0..3 {
            let of_ensemble = model == 0 || source == 0;
            let losses = match () {
                () if model == source => &["IndepLoss"][..],
                () if of_ensemble => &["KLLoss_P"],
                () => &LOSSES,
            };
            let gates = if of_ensemble { &["CutoffGate"][..] } else { &GATES };
            parameters.insert(format!("{model:02}_{source:02}_loss"), texts(losses));
            parameters.insert(format!("{model:02}_{source:02}_gate"), texts(gates));
        }
    }
    parameters
}

/// Two networks of which the first is judged, as DCL has it.
fn of_dcl() -> Parameters {
    let mut parameters = Parameters::new();
    for model in 0..2 {
        let networks = if model == 0 { &["ResNet32"][..] } else { &["ResNet32", "ResNet110"] };
        parameters.insert(format!("model_{model}_name"), texts(networks));
        for source in 0..2 {
            let loss = if model == source { "IndepLoss" } else { "KLLoss" };
            parameters.insert(format!("{model:02}_{source:02}_loss"), texts(&[loss]));
            parameters.insert(format!("{model:02}_{source:02}_gate"), texts(&GATES));
        }
    }
    parameters
}

/// A study of another program, of errors.
struct Theirs<'a> {
    place: &'a Place,
    name: String,
    study: Study,
    parameters: Parameters,
}

impl<'a> Theirs<'a> {
    fn new(place: &'a Place, parameters: Parameters) -> Self {
        let name = unique("theirs");
        Self { place, study: place.study(&name), name, parameters }
    }

    /// Adds a running trial with these choices; where nothing is chosen, the first.
    fn add(&mut self, chosen: &[(&str, &str)]) -> i64 {
        let index = |name: &str, choices: &[String]| {
            let choice = chosen.iter().find(|(parameter, _)| *parameter == name);
            choice.map_or(0, |(_, choice)| choices.iter().position(|known| known == choice).expect("is a choice"))
        };
        let parameters = &self.parameters;
        let parameters = parameters.iter().map(|(name, choices)| (&**name, &**choices, index(name, choices))).collect();
        let new = NewTrial { parameters, graph: unique("none") };
        match self.study.insert(&new, &unique("work"), 1000).unwrap() {
            Inserted::Trial(claimed) => claimed.id,
            other => panic!("{other:?}"),
        }
    }

    fn add_complete(&mut self, chosen: &[(&str, &str)], error: f64) -> i64 {
        let id = self.add(chosen);
        assert!(self.study.finish(id, State::Complete, Some(error), &[]).unwrap());
        id
    }

    fn read(&self) -> Result<AuthorsStudy, String> {
        let key = self.place.key(&self.name);
        self.place.sql(&format!("UPDATE study_directions SET direction = 'MINIMIZE' WHERE study_id = {key}"));
        AuthorsStudy::read(&self.place.url, Some(&self.name)).map_err(|e| e.to_string())
    }

    /// Why it cannot be read.
    fn refused(&self) -> String {
        let message = self.read().map(drop).unwrap_err();
        assert_sentence(&message);
        let start = format!("study \"{}\": no trial of it in {} can be translated: ", self.name, self.place.url);
        let end = "; docs/search.md says what can be; give another study with --study-there";
        let reason = message.strip_prefix(&start).and_then(|rest| rest.strip_suffix(end));
        reason.unwrap_or_else(|| panic!("{message}")).to_owned()
    }

    /// The study that it becomes.
    fn import(&self) -> (StudyMetadata, Vec<Trial>) {
        let name = unique("ours");
        self.read().unwrap().write(&self.place.url, &name).unwrap();
        let mut study = self.place.study(&name);
        (StudyMetadata::read(&mut study).unwrap(), study.trials().unwrap())
    }
}

fn graph_of(space: &Space, trial: &Trial) -> Graph {
    let genes = space.genes(&trial.parameters).unwrap().into_iter().map(Option::unwrap).collect::<Vec<_>>();
    space.graph(&genes)
}

on_each_storage!(errors_become_accuracies_and_parameters_get_our_names);
fn errors_become_accuracies_and_parameters_get_our_names(place: &Place) {
    let mut theirs = Theirs::new(place, of_ensemble());
    let best = theirs.add(&[
        ("01_01_gate", "LinearGate"),
        ("02_02_gate", "CutoffGate"),
        ("02_01_loss", "KL_Att_N_N"),
        ("02_01_gate", "CorrectGate"),
        ("01_02_gate", "CutoffGate"),
    ]);
    for (step, error) in [(1, 62.5), (2, 40.25), (3, 31.0)] {
        assert!(theirs.study.report(best, step, error).unwrap());
    }
    theirs.study.complete_rung(best, 0, 62.5).unwrap();
    theirs.study.complete_rung(best, 1, 40.25).unwrap();
    assert!(theirs.study.finish(best, State::Complete, Some(31.0), &[("seed".to_owned(), json!(77))]).unwrap());
    let pruned = theirs.add(&[]);
    assert!(theirs.study.report(pruned, 1, 80.0).unwrap());
    theirs.study.complete_rung(pruned, 0, 80.0).unwrap();
    assert!(theirs.study.finish(pruned, State::Pruned, Some(80.0), &[]).unwrap());

    let (metadata, trials) = theirs.import();
    let imported = Imported { study: theirs.name.clone(), storage: place.url.place(), judged: JudgedPart::Ensemble };
    assert_eq!(metadata.imported, Some(imported));
    let space = metadata.space.unwrap();
    let names: Vec<&str> = space.parameters().iter().map(|parameter| &*parameter.name).collect();
    let expected = ["label->1 gate", "label->2 gate", "2->1 design", "2->1 gate", "1->2 design", "1->2 gate"];
    assert_eq!(names, expected);
    assert_eq!(space.parameters()[0].choices, ["through", "cutoff", "correct", "linear"]);
    let designs = Design::THESIS.map(|design| design.to_string());
    assert_eq!(space.parameters()[2].choices, designs);

    let mut expected = Graph::new(vec![Node::new("abn-resnet-cifar-20"); 2]);
    expected.set_label_gate(0, Gate::Linear);
    expected.set_transfer(0, 1, Some(Transfer::new(Design::BOTH_APART, Gate::Correct)));
    assert_eq!(graph_of(&space, &trials[0]), expected);
    assert_eq!(trials[0].attributes[GRAPH], json!(expected.hash().to_string()));
    assert_eq!(trials[0].attributes["seed"], json!(77));
    let there = theirs.study.trials().unwrap();
    for (ours, theirs) in trials.iter().zip(&there) {
        assert_eq!((ours.number, ours.state), (theirs.number, theirs.state));
        assert_eq!((&ours.started, &ours.completed), (&theirs.started, &theirs.completed));
    }
    assert_eq!((trials[0].value, trials[1].value), (Some(69.0), Some(20.0)));
    assert_eq!(trials[0].reports, BTreeMap::from([(1, 37.5), (2, 59.75), (3, 69.0)]));
    assert_eq!([0, 1, 2].map(|rung| trials[0].rung_value(rung)), [Some(37.5), Some(59.75), None]);
    assert_eq!(trials[1].rung_value(0), Some(20.0));
}

on_each_storage!(accuracies_stay_accuracies);
fn accuracies_stay_accuracies(place: &Place) {
    let mut theirs = Theirs::new(place, of_ensemble());
    let id = theirs.add_complete(&[], 69.0);
    let study = AuthorsStudy::read(&place.url, Some(&theirs.name)).unwrap();
    assert_eq!((study.trials[0].id, study.trials[0].value), (id, Some(69.0)));
}

on_each_storage!(without_an_ensemble_the_first_network_is_judged);
fn without_an_ensemble_the_first_network_is_judged(place: &Place) {
    let mut theirs = Theirs::new(place, of_dcl());
    theirs.add_complete(
        &[("model_1_name", "ResNet110"), ("00_01_gate", "LinearGate"), ("01_00_gate", "CutoffGate")],
        28.0,
    );
    let (metadata, trials) = theirs.import();
    assert_eq!(metadata.imported.map(|imported| imported.judged), Some(JudgedPart::FirstNode));
    let space = metadata.space.unwrap();
    let names: Vec<&str> = space.parameters().iter().map(|parameter| &*parameter.name).collect();
    assert_eq!(names, ["label->1 gate", "label->2 gate", "2->1 gate", "1->2 gate", "node 2 architecture"]);
    let text = r#"
        [nodes]
        1 = "resnet-cifar-32"
        2 = "resnet-cifar-110"
        [edges]
        "label -> 1" = "through"
        "label -> 2" = "through"
        "2 -> 1" = "probability closer, linear"
    "#;
    assert_eq!(graph_of(&space, &trials[0]), Document::parse_toml(text, "").unwrap().graph);
}

on_each_storage!(mixed_designs_and_newer_gates_are_read);
fn mixed_designs_and_newer_gates_are_read(place: &Place) {
    let mut parameters = of_ensemble();
    parameters.insert("02_01_loss".to_owned(), texts(&["KL_Att_P_N", "KL_Att_N_P"]));
    parameters.insert("02_01_gate".to_owned(), texts(&["PositiveLinearGate", "NegativeLinearGate"]));
    let mut theirs = Theirs::new(place, parameters);
    theirs.add_complete(&[("02_01_loss", "KL_Att_N_P"), ("02_01_gate", "NegativeLinearGate")], 28.0);
    let (metadata, trials) = theirs.import();
    let transfer = graph_of(&metadata.space.unwrap(), &trials[0]).transfer(0, 1).unwrap();
    assert_eq!(transfer.to_string(), "probability apart + attention closer, falling");
}

on_each_storage!(what_is_not_over_fails_with_a_reason);
fn what_is_not_over_fails_with_a_reason(place: &Place) {
    let mut theirs = Theirs::new(place, of_ensemble());
    let running = theirs.add(&[]);
    assert!(theirs.study.report(running, 1, 80.0).unwrap());
    let key = place.key(&theirs.name);
    place.sql(&format!("INSERT INTO trials (number, study_id, state) VALUES (1, {key}, 'WAITING')"));
    let id = theirs.add(&[]);
    // As if it failed before it had chosen everything.
    place.sql(&format!("DELETE FROM trial_params WHERE trial_id = {id} AND param_name <> '01_01_gate'"));
    assert!(theirs.study.finish(id, State::Fail, None, &[]).unwrap());
    let (metadata, trials) = theirs.import();
    assert!(trials.iter().all(|trial| trial.state == State::Fail && trial.started.is_some()));
    assert!(trials.iter().all(|trial| trial.completed >= trial.started));
    let reasons: Vec<_> =
        trials.iter().map(|trial| trial.attributes.get(REASON).and_then(|reason| reason.as_str())).collect();
    let reason = |was: &str| format!("it was {was} when the study was imported");
    assert_eq!(reasons, [Some(&*reason("running")), Some(&*reason("waiting")), None]);
    assert_eq!(trials[0].reports, BTreeMap::from([(1, 20.0)]));
    assert_eq!(trials[2].parameters, BTreeMap::from([("label->1 gate".to_owned(), json!("through"))]));
    assert!(metadata.space.is_some());
    // Nobody is at work on it, and nothing waits.
    let name = unique("ours");
    theirs.read().unwrap().write(&place.url, &name).unwrap();
    let mut study = place.study(&name);
    assert_eq!((study.busy().unwrap(), study.claim_waiting("w").unwrap()), (0, None));
}

/// Adds a parameter `1_is_pretrained` to a trial.
fn add_is_pretrained(place: &Place, trial: i64, chosen: u8) {
    let choices = r#"{"name": "CategoricalDistribution", "attributes": {"choices": [0, 1]}}"#;
    place.sql(&format!(
        "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) \
         VALUES ({trial}, '1_is_pretrained', {chosen}, '{choices}')"
    ));
}

fn reasons(trials: &[Trial]) -> Vec<Option<&str>> {
    trials.iter().map(|trial| trial.attributes.get(REASON)?.as_str()).collect()
}

on_each_storage!(what_is_offered_and_does_not_exist_here_only_fails_the_trials_that_chose_it);
fn what_is_offered_and_does_not_exist_here_only_fails_the_trials_that_chose_it(place: &Place) {
    // As the published script of DCL offers them, and a newer one.
    let mut parameters = of_dcl();
    let networks = ["ResNet32", "ResNet110", "WRN28_2", "DeiT_Tiny_p16_32"];
    parameters.insert("model_1_name".to_owned(), texts(&networks));
    let mut theirs = Theirs::new(place, parameters);
    let good = theirs.add_complete(&[("model_1_name", "ResNet110")], 28.0);
    let wide = theirs.add_complete(&[("model_1_name", "WRN28_2")], 25.0);
    let pretrained = theirs.add_complete(&[], 24.0);
    for (trial, chosen) in [(good, 0), (wide, 0), (pretrained, 1)] {
        add_is_pretrained(place, trial, chosen);
    }
    theirs.add_complete(&[("model_1_name", "WRN28_2")], 23.0);

    let (metadata, trials) = theirs.import();
    let space = metadata.space.unwrap();
    let architectures = space.parameters().iter().find(|parameter| parameter.name == "node 2 architecture").unwrap();
    assert_eq!(architectures.choices, ["resnet-cifar-32", "resnet-cifar-110"]);
    assert_eq!(graph_of(&space, &trials[0]).nodes()[1].architecture, "resnet-cifar-110");
    let wide = "`model_1_name` is \"WRN28_2\", which does not exist here";
    let pretrained = "`1_is_pretrained` is 1; weights that only their code knows are not supported";
    assert_eq!(reasons(&trials), [None, Some(wide), Some(pretrained), Some(wide)]);
    assert_eq!(trials.iter().map(|trial| trial.value).collect::<Vec<_>>(), [Some(72.0), None, None, None]);
    let failed = trials.iter().filter(|trial| trial.state == State::Fail && trial.parameters.is_empty()).count();
    assert_eq!((failed, trials[0].state), (3, State::Complete));
    let failures = BTreeMap::from([(wide.to_owned(), 2), (pretrained.to_owned(), 1)]);
    assert_eq!(theirs.read().unwrap().failures, failures);
}

on_each_storage!(two_names_of_one_thing_are_one_choice);
fn two_names_of_one_thing_are_one_choice(place: &Place) {
    let mut parameters = of_ensemble();
    parameters.insert("02_01_gate".to_owned(), texts(&["LinearGate", "PositiveLinearGate", "ThroughGate"]));
    let mut theirs = Theirs::new(place, parameters);
    theirs.add_complete(&[("02_01_gate", "PositiveLinearGate")], 28.0);
    let (metadata, trials) = theirs.import();
    let space = metadata.space.unwrap();
    let gate = space.parameters().iter().find(|parameter| parameter.name == "1->2 gate").unwrap();
    assert_eq!(gate.choices, ["linear", "through"]);
    assert_eq!(graph_of(&space, &trials[0]).transfer(0, 1).unwrap().gate, Gate::Linear);
}

on_each_storage!(a_study_without_choices_is_one_graph);
fn a_study_without_choices_is_one_graph(place: &Place) {
    let mut parameters = of_dcl();
    for choices in parameters.values_mut() {
        choices.truncate(1);
    }
    let mut theirs = Theirs::new(place, parameters);
    theirs.add_complete(&[], 28.0);
    let (metadata, trials) = theirs.import();
    let graph = graph_of(&metadata.space.unwrap(), &trials[0]);
    assert_eq!((graph.len(), graph.active_transfers().count(), trials[0].value), (2, 2, Some(72.0)));
}

on_each_storage!(a_study_of_which_no_trial_can_be_translated_is_refused);
fn a_study_of_which_no_trial_can_be_translated_is_refused(place: &Place) {
    let refused = |parameters: Parameters| {
        let mut theirs = Theirs::new(place, parameters);
        theirs.add_complete(&[], 28.0);
        theirs.add(&[]);
        theirs.refused()
    };
    let with = |name: &str, choices: &[&str]| {
        let mut parameters = of_ensemble();
        parameters.insert(name.to_owned(), texts(choices));
        refused(parameters)
    };
    let network = with("model_1_name", &["WRN28_2"]);
    assert_eq!(network, "trial 0: `model_1_name` is \"WRN28_2\", which does not exist here");
    let gate = with("02_01_gate", &["GammaGate", "ThroughGate"]);
    assert_eq!(gate, "trial 0: `02_01_gate` is \"GammaGate\", which does not exist here");
    let loss = with("02_01_loss", &["CELoss"]);
    assert_eq!(loss, "trial 0: `02_01_loss` is \"CELoss\", which does not exist here");
    let label = with("01_01_loss", &["KLLoss_P"]);
    assert_eq!(label, "trial 0: `01_01_loss` is \"KLLoss_P\"; the loss of a label must be \"IndepLoss\"");
    let ensemble = with("01_00_gate", &["ThroughGate", "CutoffGate"]);
    assert_eq!(ensemble, "trial 0: `01_00_gate` is \"ThroughGate\"; an edge of the ensemble node must be cut here");
    // As newer code of their group names it.
    let form = "is not in the form of the authors' published studies, such as `02_01_gate`";
    for name in ["lr", "0_1_gate", "1_model"] {
        assert_eq!(with(name, &["a"]), format!("trial 0: the parameter `{name}` {form}"));
    }
    let no_model = with("03_01_gate", &GATES);
    assert_eq!(no_model, "trial 0: there is a parameter `03_01_gate` but no `model_3_name`");
    let mut parameters = of_ensemble();
    parameters.remove("02_01_gate");
    assert_eq!(refused(parameters), "trial 0: there is no parameter `02_01_gate`");
    let nothing = Theirs::new(place, Parameters::new());
    assert_eq!(nothing.refused(), "none says which networks it has");
    let mut bad_value = Theirs::new(place, of_ensemble());
    bad_value.add_complete(&[], 130.0);
    assert_eq!(bad_value.refused(), "trial 0: the value is 130, which is no percentage from 0 to 100");
}

on_each_storage!(an_odd_trial_fails_with_its_reason_and_the_others_are_read);
fn an_odd_trial_fails_with_its_reason_and_the_others_are_read(place: &Place) {
    let odd = |statement: &str| {
        let mut theirs = Theirs::new(place, of_ensemble());
        theirs.add_complete(&[], 28.0);
        let id = theirs.add(&[]);
        assert!(theirs.study.report(id, 1, 60.0).unwrap() && theirs.study.report(id, 2, 50.0).unwrap());
        theirs.study.complete_rung(id, 0, 60.0).unwrap();
        assert!(theirs.study.finish(id, State::Complete, Some(30.0), &[]).unwrap());
        place.sql(&statement.replace("ID", &id.to_string()));
        let (_, mut trials) = theirs.import();
        assert_eq!((trials[0].state, trials[0].value, reasons(&trials)[0]), (State::Complete, Some(72.0), None));
        let failures = theirs.read().unwrap().failures;
        assert_eq!((trials[1].state, trials[1].value), (State::Fail, None));
        let odd = trials.remove(1);
        let reason = reasons(std::slice::from_ref(&odd))[0].unwrap().to_owned();
        assert_eq!(failures, BTreeMap::from([(reason.clone(), 1)]));
        (reason, odd)
    };
    let all = BTreeMap::from([(1, 40.0), (2, 50.0)]);
    let (reason, trial) = odd("UPDATE trial_values SET value = 130 WHERE trial_id = ID");
    assert_eq!(reason, "the value is 130, which is no percentage from 0 to 100");
    assert_eq!((trial.reports, trial.system.len()), (all.clone(), 1));
    let (reason, trial) =
        odd("UPDATE trial_intermediate_values SET intermediate_value = NULL, intermediate_value_type = 'NAN' \
         WHERE trial_id = ID AND step = 2");
    assert_eq!(reason, "step 2 is NaN, which is no percentage from 0 to 100");
    assert_eq!(trial.reports, BTreeMap::from([(1, 40.0)]));
    let (reason, trial) = odd("UPDATE trial_system_attributes SET value_json = '-1' WHERE trial_id = ID");
    assert_eq!(reason, "completed_rung_0 is -1, which is no percentage from 0 to 100");
    assert_eq!((trial.reports, trial.system.len()), (all, 0));
    let (reason, _) = odd("DELETE FROM trial_params WHERE trial_id = ID AND param_name = '02_01_gate'");
    assert_eq!(reason, "there is no parameter `02_01_gate`");
    let number = r#"{"name": "FloatDistribution", "attributes": {"low": 0, "high": 1}}"#;
    let (reason, _) = odd(&format!(
        "UPDATE trial_params SET distribution_json = '{number}' WHERE trial_id = ID AND param_name = '02_01_gate'"
    ));
    assert!(reason.starts_with("`02_01_gate` is 0") && reason.ends_with(", which does not exist here"), "{reason}");
}

on_each_storage!(a_name_that_is_taken_is_refused_and_a_study_is_written_whole_or_not_at_all);
fn a_name_that_is_taken_is_refused_and_a_study_is_written_whole_or_not_at_all(place: &Place) {
    let mut theirs = Theirs::new(place, of_ensemble());
    theirs.add_complete(&[], 28.0);
    theirs.add_complete(&[], 30.0);
    let mut study = theirs.read().unwrap();
    let taken = unique("taken");
    drop(place.study(&taken));
    let message = study.write(&place.url, &taken).unwrap_err().to_string();
    assert_eq!(message, format!("study {taken:?}: there is a study of this name already; give another name"));
    assert_eq!(place.study(&taken).attribute(SPACE).unwrap(), None);
    // The last trial cannot be written.
    study.trials[1].started = Some("yesterday".to_owned());
    let name = unique("half");
    let message = study.write(&place.url, &name).unwrap_err().to_string();
    assert!(message.contains("the time \"yesterday\""), "{message}");
    assert!(place.storage().studies().unwrap().iter().all(|study| study.name != name));
    study.trials[1].started = None;
    study.write(&place.url, &name).unwrap();
}

#[test]
fn the_only_study_needs_no_name() {
    let place = Place::sqlite();
    let message = |place: &Place| AuthorsStudy::read(&place.url, None).map(drop).unwrap_err().to_string();
    drop(place.storage());
    assert_eq!(message(&place), format!("there are no studies in {}; give another storage with --from", place.url));
    let mut theirs = Theirs::new(&place, of_ensemble());
    theirs.add_complete(&[], 28.0);
    assert_eq!(AuthorsStudy::read(&place.url, None).unwrap().imported.study, theirs.name);
    drop(place.study("another"));
    assert!(message(&place).ends_with(&format!("say it with --study-there: another, {}", theirs.name)));
}

#[test]
fn no_file_is_made_for_a_study_without_a_name() {
    let place = Place::sqlite();
    let mut theirs = Theirs::new(&place, of_ensemble());
    theirs.add_complete(&[], 28.0);
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("new.db");
    let message = theirs.read().unwrap().write(&StorageUrl::file(&path), "").unwrap_err().to_string();
    assert!(message.contains("1 to 512 characters"), "{message}");
    assert!(!path.exists());
}
