//! `ktg net`.

use clap::Subcommand;

#[derive(Subcommand, Debug)]
pub enum NetCommand {
    /// List the families of networks, and how their names are made
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the layers of a network: shapes of their results, parameters, multiply-adds
    Show {
        /// A network, such as abn-resnet-18
        name: String,
        /// Side of the images in pixels [default: the one the family is made for]
        #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u16).range(1..=4096))]
        side: Option<u16>,
        /// Number of classes
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        classes: u32,
        /// Channels of the images
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1024))]
        channels: u16,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}
