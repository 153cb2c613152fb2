//! `ktg devices`

use std::process::ExitCode;

use ktg_nn::device::{Api, Is, Listed, list};
use ktg_nn::kernels::Hardware;
use serde::Serialize;

use crate::error::CliError;
use crate::output::{aligned, print, print_json};

#[derive(Serialize)]
struct Row {
    device: String,
    hardware: String,
    /// Bytes it may be asked to hold, where the driver says so.
    memory: Option<u64>,
    /// A processor that plays a GPU.
    software: bool,
    /// It can be chosen.
    works: bool,
}

fn row(listed: Listed) -> Row {
    let (hardware, memory, software, works) = match listed.is {
        Is::Gpu(Hardware { name, memory, is_software }) => (name, memory, is_software, true),
        Is::Broken(error) => (error.to_string(), None, false, false),
        Is::Cpu => {
            let (kernels, threads) = (ktg_nn::kernels::chosen(), rayon::current_num_threads());
            (format!("this processor: {threads} threads, {kernels} kernels"), None, false, true)
        }
    };
    Row { device: listed.choice.to_string(), hardware, memory, software, works }
}

/// Prints what [`list`] finds.
pub fn run(json: bool) -> Result<ExitCode, CliError> {
    let rows: Vec<Row> = list().into_iter().map(row).collect();
    if json {
        print_json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = vec![["device", "memory", "hardware"].map(str::to_owned).to_vec()];
    for row in rows {
        let memory = row.memory.map_or("-".to_owned(), |bytes| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)));
        let note = if row.software { " (a processor that plays a GPU: slow)" } else { "" };
        table.push(vec![row.device, memory, row.hardware + note]);
    }
    print(&aligned(&table, &[0, 2]))?;
    let missing: Vec<&str> = Api::ALL.into_iter().filter(|api| !api.is_built()).map(Api::name).collect();
    if !missing.is_empty() {
        let features = missing.join(", ");
        print(&format!("\nNot in this build: {features}. Build with `cargo build --release --features NAME`."))?;
    }
    Ok(ExitCode::SUCCESS)
}
