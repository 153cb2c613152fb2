//! Tables say the same in every format, whatever their names are made of.

use ktg_figures::page::Page;
use ktg_figures::table::{Cell, Column, Table};
use proptest::prelude::*;
use resvg::usvg::roxmltree;

const HOSTILE: &str = "<b>&\" '|`*_$%#{}~^\\ [x](y)\nsecond, line 犬±";

/// A table with everything in it.
fn full() -> Table {
    let columns = [
        Column::left("Method"),
        Column::right("Nodes"),
        Column::right("average").under("Accuracy in %"),
        Column::right("ensemble").under("Accuracy in %"),
        Column::right("Time in s"),
    ];
    let mut table = Table::new("Made-up results", columns);
    let mean = |mean, sd, n| Cell::mean(mean, sd, n, 2);
    let first = [mean(68.0412, Some(0.3141), 5), mean(71.4061, Some(0.25), 5)];
    let [average, ensemble] = first;
    table.row([Cell::text("Independent"), Cell::number(3.0, 0), average, ensemble, Cell::number(1200.5, 1)]);
    let ensemble = mean(73.414, Some(12.2), 4).footnote("one run diverged");
    let [average, ensemble] = [mean(70.95, None, 1), ensemble].map(Cell::emphasized);
    table.row([Cell::text("Found"), Cell::number(3.0, 0), average, ensemble, Cell::missing("no clock")]);
    table.rule();
    let ensemble = Cell::missing("2 of 5 runs").footnote("one run diverged");
    table.row([Cell::text("DML"), Cell::number(4.0, 0), mean(-0.001, Some(0.0), 5), ensemble, Cell::number(7.25, 1)]);
    table.note("Test set.");
    table
}

/// A table of one row in which every text is `text`.
fn of_text(text: &str) -> Table {
    let mut table = Table::new(text, [Column::left(text).under(text), Column::right(text)]);
    table.row([Cell::text(text).emphasized().footnote(text), Cell::missing(text)]);
    table.note(text).emphasis(text);
    table
}

/// The table as a page shows it.
fn to_html(table: Table) -> String {
    let mut page = Page::new("");
    page.section("").push(table);
    let page = page.to_html();
    let (start, end) = (page.find("<figure").unwrap(), page.rfind("</figure>").unwrap());
    page[start..end].to_owned() + "</figure>"
}

fn read_csv(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[test]
fn terminals_see_aligned_columns() {
    let expected = "\
Made-up results

                                 Accuracy in %
                    ───────────────────────────────────────
Method       Nodes       average               ensemble              Time in s
──────────────────────────────────────────────────────────────────────────────
Independent      3  68.04 ± 0.31          71.41 ±  0.25                 1200.5
Found            3  70.95*                73.41 ± 12.20*[a]  missing: no clock
──────────────────────────────────────────────────────────────────────────────
DML              4   0.00 ± 0.00   missing: 2 of 5 runs[a]                 7.2
──────────────────────────────────────────────────────────────────────────────
* best in its column
[a] one run diverged
Test set.
";
    let text = full().to_text();
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn wide_characters_take_two_places() {
    let mut table = Table::new("", [Column::left("名"), Column::right("x")]);
    table.row([Cell::text("犬犬犬"), Cell::number(1.0, 0)]).rule().row([Cell::text("dog"), Cell::number(10.0, 0)]);
    let line = "─".repeat(10);
    assert_eq!(table.to_text(), format!("名       x\n{line}\n犬犬犬   1\n{line}\ndog     10\n{line}\n"));
}

#[test]
fn github_sees_one_table() {
    let expected = "\
**Made-up results**

| Method | Nodes | Accuracy in %: average | Accuracy in %: ensemble | Time in s |
| :--- | ---: | ---: | ---: | ---: |
| Independent | 3 | 68.04 ± 0.31 | 71.41 ± 0.25 | 1200.5 |
| Found | 3 | **70.95** | **73.41 ± 12.20** <sup>a</sup> | *missing: no clock* |
| DML | 4 | 0.00 ± 0.00 | *missing: 2 of 5 runs* <sup>a</sup> | 7.2 |

Bold: best in its column.

<sup>a</sup> one run diverged

Test set.
";
    assert_eq!(full().to_markdown(), expected);
}

#[test]
fn pipes_and_other_signs_are_text_in_markdown() {
    let text = of_text("a|b <i> `c` _d_ \\| [x](y) & $z$\n~").to_markdown();
    let shown = r"a\|b \<i\> \`c\` \_d\_ \\\| \[x\](y) \& \$z\$ \~";
    assert!(text.contains(&format!("| **{shown}** <sup>a</sup> | *missing: {shown}* |\n")), "{text}");
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let unescaped = line.replace("\\\\", "").replace("\\|", "");
        assert_eq!(unescaped.matches('|').count(), 3, "{line}");
    }
}

#[test]
fn data_frames_get_numbers_in_columns_of_their_own() {
    let expected = [
        "Method,Nodes,Accuracy in %: average mean,Accuracy in %: average sd,Accuracy in %: average n,\
         Accuracy in %: ensemble mean,Accuracy in %: ensemble sd,Accuracy in %: ensemble n,\
         Accuracy in %: ensemble remark,Time in s,Time in s remark",
        "Independent,3,68.0412,0.3141,5,71.4061,0.25,5,,1200.5,",
        "Found,3,70.95,NA,1,73.414,12.2,4,one run diverged,NA,missing: no clock",
        "DML,4,-0.001,0,5,NA,NA,NA,missing: 2 of 5 runs; one run diverged,7.25,",
    ];
    assert_eq!(full().to_csv(), expected.join("\n") + "\n");
}

#[test]
fn csv_is_quoted() {
    let names = ["a,b", "say \"x\"", "two\nlines", "\r", " space", "", "犬"];
    let mut table = Table::new("", [Column::left("the, \"name\""), Column::right("x")]);
    for name in names {
        table.row([Cell::text(name), Cell::number(0.5, 1)]);
    }
    let records = read_csv(&table.to_csv());
    assert_eq!(records[0], ["the, \"name\"", "x"]);
    for (record, name) in records[1..].iter().zip(names) {
        assert_eq!(record, &[name, "0.5"]);
    }
    let mut table = Table::new("", [Column::left("alone")]);
    table.row([Cell::text("")]).row([Cell::text("b")]);
    assert_eq!(read_csv(&table.to_csv()), [["alone"], [""], ["b"]]);
}

#[test]
fn latex_is_escaped() {
    let text = of_text("50 % & 3$ #1 a_b {x} ~ ^ \\ <|> \"q\" [x]* a--b ± ''").to_latex();
    let shown = "50 \\% \\& 3\\$ \\#1 a\\_b \\{x\\} \\textasciitilde{} \\textasciicircum{} \\textbackslash{} \
                 \\textless{}\\textbar{}\\textgreater{} \"q\" {[}x{]}{*} a-{}-b $\\pm$ '{}'";
    let row = format!("    \\textbf{{{shown}}}\\textsuperscript{{a}} & \\emph{{missing: {shown}}} \\\\\n");
    assert!(text.contains(&row), "{text}");
    assert!(text.contains(&format!("\\caption{{{shown}}}")), "{text}");
}

#[test]
fn papers_get_booktabs() {
    let text = full().to_latex();
    for line in [
        "\\begin{tabular}{lrrrr}",
        " &  & \\multicolumn{2}{c}{Accuracy in \\%} &  \\\\",
        "\\cmidrule(lr){3-4}",
        "Independent & $3$ & $68.04 \\pm 0.31$ & $71.41 \\pm 0.25$ & $1200.5$ \\\\",
        "$\\mathbf{70.95}\\phantom{{}\\pm 0.00}$ & $\\mathbf{73.41} \\pm 12.20$\\rlap{\\textsuperscript{a}} & \
         \\emph{missing: no clock} \\\\",
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
}

#[test]
fn pages_get_a_table_that_screen_readers_understand() {
    let html = to_html(full());
    let document = roxmltree::Document::parse(&html).unwrap();
    let all = |name: &'static str| document.descendants().filter(move |node| node.has_tag_name(name));
    let scopes = |scope: &str| all("th").filter(|th| th.attribute("scope") == Some(scope)).count();
    assert_eq!((scopes("col"), scopes("colgroup"), scopes("row")), (5, 1, 3));
    assert_eq!(all("tbody").count(), 2);
    let text = |node: roxmltree::Node| -> String {
        node.descendants().filter(|node| node.is_text()).filter_map(|node| node.text()).collect()
    };
    let rows: Vec<Vec<String>> = all("tr").map(|tr| tr.children().map(text).collect()).collect();
    assert_eq!(rows[3], ["Found", "3", "70.95", "73.41 ± 12.20a", "missing: no clock"]);
    assert_eq!(all("strong").map(text).collect::<Vec<_>>(), ["70.95", "73.41"]);
}

#[test]
fn what_is_missing_is_said_everywhere() {
    let table = full();
    for text in [table.to_text(), table.to_markdown(), table.to_csv(), table.to_latex(), to_html(table)] {
        assert!(text.contains("missing: 2 of 5 runs") && text.contains("missing: no clock"), "{text}");
    }
}

#[test]
fn html_is_escaped() {
    let html = to_html(of_text(HOSTILE));
    let document = roxmltree::Document::parse(&html).unwrap();
    assert_eq!(document.descendants().filter(|node| node.has_tag_name("b")).count(), 1, "the label");
    let shown = HOSTILE.replace('\n', " ");
    let cell = document.descendants().find(|node| node.has_tag_name("td")).unwrap();
    assert_eq!(cell.text(), Some(format!("missing: {shown}").as_str()));
}

#[test]
fn empty_tables_are_tables() {
    for table in [Table::new("", []), Table::new("Title", [Column::left("")])] {
        for text in [table.to_text(), table.to_markdown(), table.to_csv(), table.to_latex()] {
            assert!(!text.is_empty());
        }
        roxmltree::Document::parse(&to_html(table)).unwrap();
    }
    let mut table = Table::new("", [Column::left("a")]);
    table.rule().rule();
    roxmltree::Document::parse(&to_html(table)).unwrap();
}

proptest! {
    /// Whatever the names are, the structure of the file is that of the table.
    #[test]
    fn any_text_stays_text(text in any::<String>()) {
        let table = of_text(&text);
        let records = read_csv(&table.to_csv());
        prop_assert_eq!(records.len(), 2);
        prop_assert_eq!(&records[1][1], &text);
        prop_assert_eq!(records[1].len(), records[0].len());
        // Heading, alignment, row, each on its line.
        let markdown = table.to_markdown();
        prop_assert_eq!(markdown.lines().filter(|line| line.starts_with("| ")).count(), 3);
        prop_assert_eq!(table.to_text().find('\x1b'), None);
        let latex = table.to_latex().replace("\\{", "").replace("\\}", "");
        prop_assert_eq!(latex.matches('{').count(), latex.matches('}').count());
        prop_assert_eq!(latex.find('\x1b'), None);
        prop_assert!(roxmltree::Document::parse(&to_html(table)).is_ok());
    }
}
