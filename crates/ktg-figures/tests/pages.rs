//! Pages are whole, well-formed and their own, whatever stands in them.

use std::collections::HashSet;

use ktg_figures::page::{Block, CONTENT_POLICY, Figure, Page};
use ktg_figures::table::{Cell, Column, Table};
use resvg::usvg::roxmltree::{Document, Node};

const HOSTILE: &str = "<script>alert(1)</script> & \"q\" 'a' </style> <b>";

fn svg(title: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\" width=\"40\" height=\"30\"><title>{title}</title>\
         <defs><clipPath id=\"a\"><path d=\"M0 0H9V9Z\"/></clipPath></defs>\
         <path clip-path=\"url(#a)\" d=\"M0 0H40V30Z\" fill=\"#1d232b\"/></svg>"
    )
}

fn table(text: &str) -> Table {
    let mut table = Table::new(text, [Column::left(text), Column::right("x").under(text)]);
    table.row([Cell::text(text).footnote(text), Cell::missing(text)]).note(text);
    table
}

/// A page with every kind of block, in which every text is `text`.
fn page(text: &str) -> Page {
    let mut page = Page::new(text);
    page.subtitle = text.to_owned();
    page.footer = text.to_owned();
    let figure = || Figure::new(svg("title"), text);
    let inner = [Block::text(text), figure().into(), table(text).into(), Block::details(text, [Block::code("", text)])];
    page.section(text)
        .push(Block::text(text))
        .push(figure().wide())
        .push(Block::Figures(vec![figure(), figure()]))
        .push(table(text))
        .push(Block::code(text, text))
        .push(Block::settings([(text, text)]))
        .push(Block::note(text))
        .push(Block::warning(text))
        .push(Block::details(text, inner));
    page.section(text);
    page.section("figure 1");
    page.section("table 1\" onclick=\"x");
    page
}

/// The page as XML: HTML's empty elements need no end.
fn xml(html: &str) -> String {
    let mut rest = html.strip_prefix("<!DOCTYPE html>").expect("a page begins with its type");
    let mut xml = String::new();
    while let Some(at) = ["<meta ", "<link "].iter().filter_map(|tag| rest.find(tag)).min() {
        let end = at + rest[at..].find('>').expect("a tag ends");
        xml += &format!("{}/>", &rest[..end]);
        rest = &rest[end + 1..];
    }
    xml + rest
}

fn all<'a>(document: &'a Document, name: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    document.descendants().filter(move |node| node.is_element() && node.tag_name().name() == name)
}

#[test]
fn any_text_makes_a_whole_page() {
    for text in ["plain", HOSTILE, "", "\0\u{1b}\u{202e}\u{ffff}", "a `b` c `", "--> ]]> &amp;", "犬\n\n犬"] {
        let xml = xml(&page(text).to_html());
        let document = Document::parse(&xml).unwrap_or_else(|error| panic!("{text}: {error}\n{xml}"));
        assert_eq!(all(&document, "script").count(), 0);
        assert_eq!(all(&document, "style").count(), 1);
        assert_eq!(all(&document, "svg").count(), 4);
        assert_eq!(all(&document, "table").count(), 2);
        let attributes = document.descendants().flat_map(|node| node.attributes().map(|a| a.name().to_owned()));
        assert_eq!(attributes.filter(|name| name.starts_with("on")).count(), 0);
    }
}

#[test]
fn text_is_shown_as_it_is() {
    let xml = xml(&page(HOSTILE).to_html());
    let document = Document::parse(&xml).unwrap();
    for name in ["h1", "title", "dt", "dd", "summary"] {
        assert_eq!(all(&document, name).next().and_then(|node| node.text()), Some(HOSTILE), "{name}");
    }
    assert!(all(&document, "code").any(|code| code.text() == Some(HOSTILE)));
}

#[test]
fn ids_are_given_once_and_links_lead_somewhere() {
    let xml = xml(&page("figure 2").to_html());
    let document = Document::parse(&xml).unwrap();
    let ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
    let distinct: HashSet<&str> = ids.iter().copied().collect();
    assert_eq!(distinct.len(), ids.len(), "{ids:?}");
    for id in ["figure-1", "figure-2", "figure-2-2", "table-1-onclick-x"] {
        assert!(distinct.contains(id), "no {id} in {ids:?}");
    }
    let links: Vec<&str> = all(&document, "a").filter_map(|a| a.attribute("href")?.strip_prefix('#')).collect();
    assert_eq!(links.len(), 4);
    assert!(links.iter().all(|id| distinct.contains(id)), "{links:?}");
    // The clip paths of the figures have the same id in their files, but not on the page.
    let clips: Vec<&str> = document.descendants().filter_map(|node| node.attribute("clip-path")).collect();
    let distinct_clips: HashSet<&str> = clips.iter().copied().collect();
    assert_eq!(distinct_clips.len(), 4, "{clips:?}");
    for clip in distinct_clips {
        let id = clip.trim_start_matches("url(#").trim_end_matches(')');
        assert!(distinct.contains(id), "no {id} in {ids:?}");
    }
}

#[test]
fn nothing_is_loaded_from_anywhere() {
    let html = page("plain").to_html();
    let elsewhere = html.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "");
    for sign in ["http", "url(\"", "url('", "@import", "src=", "<script", "//www"] {
        assert!(!elsewhere.contains(sign), "{sign}");
    }
    let xml = xml(&html);
    let document = Document::parse(&xml).unwrap();
    for node in document.descendants().filter(|node| node.has_attribute("href")) {
        let href = node.attribute("href").unwrap();
        assert!(href.starts_with('#') || href.starts_with("data:"), "{href}");
    }
    let policy = all(&document, "meta").find(|meta| meta.attribute("http-equiv") == Some("Content-Security-Policy"));
    assert_eq!(policy.and_then(|meta| meta.attribute("content")), Some(CONTENT_POLICY));
    assert!(CONTENT_POLICY.starts_with("default-src 'none'; img-src data:; style-src 'unsafe-inline'"));
}

#[test]
fn figures_are_named_colored_and_can_be_saved() {
    let mut page = Page::new("t");
    let original = svg("Accuracy &amp; time");
    page.section("s").push(Figure::new(&original, "a `caption`")).push(Figure::new("<svg", "broken & shown"));
    let xml = xml(&page.to_html());
    let document = Document::parse(&xml).unwrap();
    let figure = all(&document, "figure").next().unwrap();
    let svg = figure.descendants().find(|node| node.tag_name().name() == "svg").unwrap();
    assert_eq!(svg.attribute("aria-label"), Some("Accuracy & time"));
    assert_eq!((svg.attribute("role"), svg.attribute("viewBox")), (Some("img"), Some("0 0 40 30")));
    assert!(svg.descendants().any(|node| node.attribute("fill") == Some("var(--c-1d232b)")));
    let link = figure.descendants().find(|node| node.has_attribute("download")).unwrap();
    assert_eq!(link.attribute("download"), Some("figure-1-accuracy-time.svg"));
    let (_, data) = link.attribute("href").unwrap().split_once("base64,").unwrap();
    use base64::Engine;
    let saved = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
    assert_eq!(String::from_utf8(saved).unwrap(), original);
    // A picture that cannot be read is said to be so, and the page is whole all the same.
    let broken = all(&document, "figure").nth(1).unwrap();
    let words: String = broken.descendants().filter(|node| node.is_text()).filter_map(|node| node.text()).collect();
    assert!(words.contains("This figure cannot be shown") && words.contains("broken & shown"), "{words}");
}
