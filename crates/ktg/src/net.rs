//! `ktg net`

use anyhow::Result;
use ktg_base::text::grouped;
use ktg_net::table::{Row, rows};
use ktg_net::{Architecture, Build, Family, Network};
use serde_json::json;

use crate::args::NetCommand;
use crate::output::{aligned, print, print_json};

pub fn run(command: &NetCommand) -> Result<()> {
    match command {
        NetCommand::List { json } => list(*json),
        NetCommand::Show { name, side, classes, channels, json } => {
            let architecture: Architecture = name.parse()?;
            let side = side.map_or(architecture.side(), usize::from);
            let build = Build { side: Some(side), ..Build::plain(usize::from(*channels), *classes as usize) };
            let network = architecture.build(build);
            show(name, &network, side, *json)
        }
    }
}

fn list(as_json: bool) -> Result<()> {
    if as_json {
        let family =
            |f: &Family| json!({ "name": f.pattern(), "variants": f.variants, "sides": f.sides, "help": f.help });
        return print_json(&Family::ALL.iter().map(family).collect::<Vec<_>>());
    }
    let row = |f: &Family| [f.pattern(), f.variants.to_owned(), f.sides.to_owned(), f.help.to_owned()];
    print(&aligned(&[0, 1, 2, 3], ["network", "variants", "made for", ""], Family::ALL.iter().map(row)))
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
    let head = ["layer", "operation", "result", "parameters", "multiply-adds"];
    let cells = |row: &Row| {
        let numbers = [row.parameters as u64, row.multiply_adds].map(or_dash);
        [row.name.clone(), row.operation.clone(), row.shape.to_string()].into_iter().chain(numbers)
    };
    let map = network.map_side(side);
    print(&format!(
        "{}\n\n{name}: images of {} x {side} x {side}, {} classes, attention maps of {map} x {map}; {} parameters, {} multiply-adds an image",
        aligned(&[0, 1, 2], head, rows.iter().map(cells)),
        network.channels,
        network.classes,
        grouped(parameters as u64),
        grouped(multiply_adds),
    ))
}
