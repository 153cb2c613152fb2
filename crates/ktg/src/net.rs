//! `ktg net`

use std::process::ExitCode;

use anyhow::Result;
use ktg_net::table::{Row, rows};
use ktg_net::{Architecture, Family, Network};
use serde_json::json;

use crate::args::NetCommand;
use crate::output::{aligned, print, print_json};

pub fn run(command: &NetCommand) -> Result<ExitCode> {
    match command {
        NetCommand::List { json } => list(*json)?,
        NetCommand::Show { name, side, classes, channels, json } => {
            let architecture: Architecture = name.parse()?;
            let side = side.map_or(architecture.family().side, usize::from);
            let network = architecture.network(usize::from(*channels), *classes as usize);
            show(name, &network, side, *json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(as_json: bool) -> Result<()> {
    if as_json {
        let family = |f: &Family| json!({ "name": f.name, "depths": f.depths, "side": f.side, "help": f.help });
        return print_json(&Family::ALL.iter().map(family).collect::<Vec<_>>());
    }
    let row = |f: &Family| {
        vec![format!("{}-DEPTH", f.name), f.depths.to_owned(), format!("{} px", f.side), f.help.to_owned()]
    };
    let head = ["network", "depths", "made for", ""].map(str::to_owned).to_vec();
    let table: Vec<Vec<String>> = [head].into_iter().chain(Family::ALL.iter().map(row)).collect();
    print(&aligned(&table, &[0, 1, 3]))
}

fn show(name: &str, network: &Network, side: usize, as_json: bool) -> Result<()> {
    let rows = rows(network, [side, side])?;
    let parameters: usize = rows.iter().map(|row| row.parameters).sum();
    let multiply_adds: u64 = rows.iter().map(|row| row.multiply_adds).sum();
    if as_json {
        let layer = |row: &Row| {
            json!({
                "name": row.name,
                "operation": row.operation,
                "shape": [row.shape.channels, row.shape.height, row.shape.width],
                "parameters": row.parameters,
                "multiply_adds": row.multiply_adds,
            })
        };
        return print_json(&json!({
            "network": name,
            "side": side,
            "channels": network.channels,
            "classes": network.classes,
            "map_side": network.map_side(side),
            "parameters": parameters,
            "multiply_adds": multiply_adds,
            "layers": rows.iter().map(layer).collect::<Vec<_>>(),
        }));
    }
    let or_dash = |number: u64| if number == 0 { "-".to_owned() } else { grouped(number) };
    let mut table = vec![["layer", "operation", "result", "parameters", "multiply-adds"].map(str::to_owned).to_vec()];
    for row in &rows {
        table.push(vec![
            row.name.clone(),
            row.operation.clone(),
            row.shape.to_string(),
            or_dash(row.parameters as u64),
            or_dash(row.multiply_adds),
        ]);
    }
    let map = network.map_side(side);
    print(&format!(
        "{}\n\n{name}: images of {} x {side} x {side}, {} classes, attention maps of {map} x {map}; {} parameters, {} multiply-adds an image",
        aligned(&table, &[0, 1, 2]),
        network.channels,
        network.classes,
        grouped(parameters as u64),
        grouped(multiply_adds),
    ))
}

/// A number with commas between groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 11_689_512].map(super::grouped), ["0", "999", "1,000", "11,689,512"]);
    }
}
