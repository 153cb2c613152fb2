//! Times the study storage and the worker loop, for `bench/storage`; see `bench/README.md`.
//!
//! ```text
//! storage operations URL [--trials 200] [--params 15] [--reports 20] [--preload 0]
//! storage preload URL [--preload 6000] [--reports 20]
//! storage work URL [--trials 50] [--reports 20] [--sampler random] [--pruner asha]
//! ```
//!
//! Each prints one line of JSON. `preload` makes the study that `work` works on.

mod database;
mod operations;
mod study;
mod work;

use std::error::Error;
use std::process::ExitCode;
use std::str::FromStr;

use ktg_search::storage::StorageUrl;

/// What can go wrong is for the user to read.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The options of a command.
struct Options(Vec<String>);

impl Options {
    /// The value of an option, or its default.
    fn get<T: FromStr<Err: Error + 'static>>(&self, name: &str, default: T) -> Result<T> {
        match self.0.iter().position(|argument| argument == name) {
            None => Ok(default),
            Some(i) => {
                let text = self.0.get(i + 1).ok_or_else(|| format!("{name} needs a value"))?;
                text.parse().map_err(|e| format!("{name}: {e}").into())
            }
        }
    }
}

fn run(command: &str, url: &StorageUrl, options: &Options) -> Result<serde_json::Value> {
    let reports = options.get("--reports", 20)?;
    match command {
        "operations" => {
            let size = operations::Size { params: options.get("--params", 15)?, reports };
            operations::run(url, &size, options.get("--trials", 200)?, options.get("--preload", 0)?)
        }
        "preload" => study::preload(url, options.get("--preload", 6000)?, reports),
        "work" => {
            let settings = study::settings(
                options.get("--sampler", ktg_search::SamplerKind::Random)?,
                options.get("--pruner", ktg_search::PrunerKind::Asha)?,
            );
            work::run(url, &settings, options.get("--trials", 50)?, u32::try_from(reports)?)
        }
        _ => Err(format!("there is no command `{command}`; choose from operations, preload, work").into()),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [command, url, options @ ..] = &arguments[..] else {
        eprintln!("usage: storage operations|preload|work URL [options]");
        return ExitCode::from(2);
    };
    let url: Result<StorageUrl> = url.parse().map_err(Into::into);
    match url.and_then(|url| run(command, &url, &Options(options.to_vec()))) {
        Ok(result) => {
            println!("{result}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("storage: {error}");
            ExitCode::FAILURE
        }
    }
}
