//! `ktg report`: one file about everything.

use std::path::Path;

use anyhow::Result;
use ktg_base::{create_dir_all, slug, write_atomically};
use ktg_figures::page::{Block, Page};
use ktg_figures::table::Table;
use ktg_report::report::{Options, Subject, page};

use crate::args::ReportArgs;
use crate::export;
use crate::output::{note, print};

pub fn run(args: &ReportArgs) -> Result<()> {
    let storage = args.storage.url()?;
    let subjects = args.subjects.iter().map(|word| Subject::of(word, &storage)).collect::<Result<Vec<_>, _>>()?;
    let options = Options {
        images: args.images,
        chosen: args.chosen.clone(),
        evaluate: !args.no_judging,
        top: args.top,
        progress: &|text| note(text),
    };
    let page = page(&subjects, args.title.as_deref(), &options)?;
    write(&page, &args.out)?;
    print(&format!("report   {}", args.out.display()))?;
    if let Some(directory) = &args.figures {
        let count = write_figures(&page, directory)?;
        print(&format!("figures  {} ({count} files)", directory.display()))?;
    }
    Ok(())
}

/// Writes a report.
pub fn write(page: &Page, path: &Path) -> Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dir_all(parent)?;
    }
    Ok(write_atomically(path, page.to_html().as_bytes())?)
}

/// Writes all figures and tables of a report as files; returns how many.
fn write_figures(page: &Page, directory: &Path) -> Result<usize> {
    create_dir_all(directory)?;
    let mut written = 0;
    for (s, section) in page.sections.iter().enumerate() {
        let (mut svgs, mut tables) = (Vec::new(), Vec::new());
        collect(&section.blocks, &mut svgs, &mut tables);
        let stem =
            |kind: &str, i: usize| directory.join(format!("{:02}-{}-{kind}{}", s + 1, slug(&section.heading), i + 1));
        for (i, svg) in svgs.into_iter().enumerate() {
            written += export::figure(&stem("figure", i), svg)?;
        }
        for (i, table) in tables.into_iter().enumerate() {
            written += export::table(&stem("table", i), table)?;
        }
    }
    Ok(written)
}

fn collect<'a>(blocks: &'a [Block], svgs: &mut Vec<&'a str>, tables: &mut Vec<&'a Table>) {
    for block in blocks {
        match block {
            Block::Figure(figure) => svgs.push(&figure.svg),
            Block::Figures(figures) => svgs.extend(figures.iter().map(|figure| &*figure.svg)),
            Block::Table(table) => tables.push(table),
            Block::Details { blocks, .. } => collect(blocks, svgs, tables),
            _ => {}
        }
    }
}
