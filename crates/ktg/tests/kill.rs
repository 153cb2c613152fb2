//! Really killed processes: a run that was killed or interrupted again and again ends bit for bit like one that was not.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const STEPS: &str = "step-000000060";

/// `ktg train`: 60 steps of two small networks, with a checkpoint every 60 milliseconds.
fn train(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ktg"));
    command.args(["--threads", "2", "train"]).args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

const SETTINGS: [&str; 22] = [
    "--preset",
    "diverse",
    "--nodes",
    "2",
    "--architecture",
    "abn-resnet-cifar-8",
    "--side",
    "8",
    "--seed",
    "3",
    "--batch-size",
    "5",
    "--epochs",
    "6",
    "--log-every",
    "1",
    "--set",
    "split.train_share=0.02",
    "--set",
    "split.evaluate_on=search-split",
    "--set",
    "train.checkpoint_minutes=0.001",
];

fn start(directory: &Path) -> Command {
    let mut command = train(&SETTINGS);
    command.arg("--out").arg(directory);
    command
}

fn resume(directory: &Path) -> Command {
    let mut command = train(&["--resume"]);
    command.arg(directory);
    command
}

/// Metrics and the final checkpoint.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![("metrics.jsonl".to_owned(), fs::read(directory.join("metrics.jsonl")).unwrap())];
    for entry in fs::read_dir(directory.join("checkpoints").join(STEPS)).unwrap() {
        let entry = entry.unwrap();
        files.push((entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    }
    files.sort();
    files
}

fn assert_same(ours: &Path, theirs: &Path) {
    let (ours, theirs) = (contents(ours), contents(theirs));
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!(ours == theirs, "{} differs from the uninterrupted run's", ours.0);
    }
}

/// Name of the newest checkpoint.
fn newest_checkpoint(directory: &Path) -> Option<String> {
    let names = fs::read_dir(directory.join("checkpoints")).ok()?;
    let names = names.filter_map(|e| e.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with("step-")).max()
}

/// Waits until `reached` or the process ends; says whether it ended.
fn wait_until(child: &mut Child, reached: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if reached() {
            return false;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "no progress in two minutes");
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

#[test]
fn killed_and_interrupted_runs_end_bit_for_bit_like_uninterrupted_ones() {
    let temporary = tempfile::tempdir().unwrap();
    let through = temporary.path().join("through");
    let output = start(&through).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // So many kills, over as many runs as it takes.
    let wanted: u64 = std::env::var("KTG_KILLS").map_or(5, |kills| kills.parse().unwrap());
    let (mut kills, mut runs) = (0, 0);
    while kills < wanted {
        let killed = temporary.path().join("killed");
        kills += kill_until_it_ends(&killed, kills);
        assert_same(&killed, &through);
        fs::remove_dir_all(&killed).unwrap();
        runs += 1;
        assert!(runs < wanted, "killed only {kills} times in {runs} runs");
    }
    println!("{kills} kills in {runs} runs, which all ended bit for bit like the one that was not killed");

    // Ctrl-C and SIGTERM: a checkpoint, exit status 130, a sentence that says how to go on.
    for signal in ["INT", "TERM"] {
        let stopped = temporary.path().join(signal);
        let mut child = start(&stopped).spawn().unwrap();
        wait_until(&mut child, || newest_checkpoint(&stopped).is_some());
        send(signal, &child);
        assert_stopped(child.wait_with_output().unwrap());
        let output = resume(&stopped).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_same(&stopped, &through);
    }
}

/// kill -9 again and again: some time after the process has written a checkpoint of its own, wherever it happens to be (in a
/// step, in a checkpoint, judging). Returns how often.
fn kill_until_it_ends(directory: &Path, kills_before: u64) -> u64 {
    let mut kills = 0;
    loop {
        let command = if directory.join("settings.toml").exists() { resume(directory) } else { start(directory) };
        let before = newest_checkpoint(directory);
        let mut child = { command }.spawn().unwrap();
        if wait_until(&mut child, || newest_checkpoint(directory) > before) {
            break;
        }
        std::thread::sleep(Duration::from_millis(7 * (kills_before + kills) % 100));
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        assert!(kills < 200, "the run never ends");
    }
    assert!(resume(directory).output().unwrap().status.success());
    kills
}

fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Stopped in good order: exit status 130, and a sentence that says how to go on.
#[track_caller]
fn assert_stopped(output: Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.contains("stopped after step") && text.contains("go on with `ktg train --resume"), "{text}");
}

/// A run that ends by itself after hours, with no checkpoint but at the end of an epoch.
fn start_long(directory: &Path) -> Command {
    let mut command = train(&SETTINGS);
    command.args(["--set", "train.epochs=100000", "--set", "train.checkpoint_minutes=100"]).arg("--out").arg(directory);
    command
}

/// Starts it, and waits until it trains.
fn started_long(directory: &Path, mut command: Command) -> Child {
    let mut child = command.spawn().unwrap();
    assert!(!wait_until(&mut child, || directory.join("metrics.jsonl").exists()), "it ended");
    child
}

/// Whether all processes that are started here ignore the end of the terminal, as when the tests run under `nohup`.
#[cfg(unix)]
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[test]
#[cfg(unix)]
fn every_signal_that_asks_for_an_end_leaves_a_checkpoint() {
    let temporary = tempfile::tempdir().unwrap();
    for signal in ["HUP", "USR1", "USR2", "TERM"] {
        if signal == "HUP" && is_hangup_ignored() {
            continue;
        }
        let directory = temporary.path().join(signal);
        let child = started_long(&directory, start_long(&directory));
        // As GNU `timeout` and Slurm do: once to the process, once to its group.
        send(signal, &child);
        send(signal, &child);
        std::thread::sleep(Duration::from_millis(60));
        // It may have stopped by now.
        let _ = Command::new("kill").args(["-s", signal, &child.id().to_string()]).stderr(Stdio::null()).status();
        assert_stopped(child.wait_with_output().unwrap());
        assert!(newest_checkpoint(&directory).is_some(), "{signal}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn who_ignores_the_end_of_the_terminal_goes_on() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("run");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let long = start_long(&directory);
    command.arg(long.get_program()).args(long.get_args());
    let mut child = started_long(&directory, command);
    send("HUP", &child);
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "it ended");
    send("TERM", &child);
    assert_stopped(child.wait_with_output().unwrap());
}

#[test]
#[cfg(unix)]
fn a_later_signal_ends_the_process_at_once() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("run");
    // A step of this takes many seconds, and only then it could stop.
    let mut command = Command::new(env!("CARGO_BIN_EXE_ktg"));
    command.args(["--threads", "1", "--kernels", "reference", "train", "--preset", "dml", "--nodes", "2"]);
    command
        .args(["--architecture", "abn-resnet-cifar-20", "--side", "32", "--batch-size", "64", "--out"])
        .arg(&directory);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(!wait_until(&mut child, || directory.join("metrics.jsonl").exists()), "it ended");
    send("TERM", &child);
    std::thread::sleep(Duration::from_millis(1500));
    send("TERM", &child);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(child.try_wait().unwrap().is_none(), "signals of one request ended it");
    send("TERM", &child);
    let sent = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(sent.elapsed() < Duration::from_secs(1), "it took {:?}", sent.elapsed());
    assert_eq!(output.status.code(), Some(130));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("stopped after step"));
}

#[test]
#[cfg(target_os = "linux")]
fn timeout_stops_a_run_after_a_checkpoint() {
    // So many times; it goes wrong by chance.
    let times: u32 = std::env::var("KTG_TIMEOUTS").map_or(4, |times| times.parse().unwrap());
    let temporary = tempfile::tempdir().unwrap();
    for i in 0..times {
        let directory = temporary.path().join(i.to_string());
        let long = start_long(&directory);
        let mut command = Command::new("timeout");
        let limit = format!("{:.2}", 1.0 + 0.07 * f64::from(i % 10));
        command.args(["--preserve-status", &limit]).arg(long.get_program()).args(long.get_args());
        let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
        assert_stopped(output);
        assert!(newest_checkpoint(&directory).is_some(), "attempt {i}");
        fs::remove_dir_all(&directory).unwrap();
    }
}

#[test]
fn two_processes_never_work_on_one_run() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("run");
    let mut child = start(&directory).spawn().unwrap();
    wait_until(&mut child, || newest_checkpoint(&directory).is_some());
    let second = resume(&directory).output().unwrap();
    let text = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{text}");
    assert!(text.contains("another process is working on this run"), "{text}");
    child.kill().unwrap();
    child.wait().unwrap();
}
