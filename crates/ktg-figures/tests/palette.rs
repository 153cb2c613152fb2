//! Colours: told apart, legible, and replaced without a rest.

use std::collections::HashSet;

use ktg_figures::palette::*;

/// Linear red, green and blue.
fn linear(color: &str) -> [f64; 3] {
    [1, 3, 5].map(|at| {
        let value = f64::from(u8::from_str_radix(&color[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    })
}

fn contrast(a: &str, b: &str) -> f64 {
    let luminance = |color| linear(color).iter().zip([0.2126, 0.7152, 0.0722]).map(|(part, w)| part * w).sum::<f64>();
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

fn times(matrix: [[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
    matrix.map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum())
}

/// Normal sight, and full lack of one kind of cone after Machado, Oliveira and Fernandes (2009).
const SIGHTS: [[[f64; 3]; 3]; 4] = [
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
];

/// In the space OKLab of Ottosson (2020), in hundredths.
fn seen(color: &str, sight: [[f64; 3]; 3]) -> [f64; 3] {
    let rgb = times(sight, linear(color)).map(|part| part.clamp(0.0, 1.0));
    let cones = times(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ],
        rgb,
    );
    let lab = times(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ],
        cones.map(f64::cbrt),
    );
    lab.map(|part| 100.0 * part)
}

/// The least distance of two colors in anyone's eyes.
fn least_distance(colors: &[&str]) -> f64 {
    let mut least = f64::INFINITY;
    for sight in SIGHTS {
        for (i, a) in colors.iter().enumerate() {
            for b in &colors[i + 1..] {
                let (a, b) = (seen(a, sight), seen(b, sight));
                least = least.min(a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt());
            }
        }
    }
    least
}

fn dark(light: &str) -> &'static str {
    PALETTE.iter().find(|(known, _)| *known == light).unwrap().1
}

#[test]
fn each_color_is_written_once() {
    let mut known = HashSet::new();
    for (light, dark) in PALETTE {
        for color in [light, dark] {
            let digits = color.strip_prefix('#').unwrap();
            assert!(digits.len() == 6 && digits.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')), "{color}");
        }
        assert!(known.insert(light), "{light} twice");
    }
    for (_, dark) in PALETTE {
        assert!(!known.contains(dark), "{dark} would be replaced again");
    }
}

#[test]
fn series_differ_for_everyone() {
    let light: Vec<&str> = [ENSEMBLE].into_iter().chain(SERIES).collect();
    let dark: Vec<&str> = light.iter().map(|color| dark(color)).collect();
    assert!(least_distance(&light) >= 6.0, "{}", least_distance(&light));
    assert!(least_distance(&dark) >= 4.0, "{}", least_distance(&dark));
    // Up to five nodes, as in the thesis.
    assert!(least_distance(&light[..6]) >= 7.5, "{}", least_distance(&light[..6]));
    assert!(least_distance(&dark[..6]) >= 5.5, "{}", least_distance(&dark[..6]));
}

#[test]
fn gates_differ_for_everyone() {
    let light = [THROUGH, LINEAR, CORRECT, FALLING];
    let dark = light.map(dark);
    assert!(least_distance(&light) >= 9.5, "{}", least_distance(&light));
    assert!(least_distance(&dark) >= 7.5, "{}", least_distance(&dark));
}

#[test]
fn everything_is_legible() {
    let least = [
        (INK, 12.0),
        (SOFT_INK, 5.5),
        (ENSEMBLE, 4.5),
        (COMPLETE, 4.5),
        (RUNNING, 2.8),
        (FAILED, 4.5),
        (GOOD, 4.5),
        (BAD, 4.5),
        (UNCLEAR, 3.0),
        (PRUNED, 2.4),
    ];
    for (color, least) in least.into_iter().chain(SERIES.map(|color| (color, 3.0))) {
        assert!(contrast(color, PAPER) >= least, "{color}: {}", contrast(color, PAPER));
        let (color, paper) = (dark(color), dark(PAPER));
        assert!(contrast(color, paper) >= least, "{color} dark: {}", contrast(color, paper));
    }
    for share in 0..=8 {
        let (fill, ink) = heat(f64::from(share) / 8.0);
        assert!(contrast(fill, ink) >= 4.5, "{fill}, {ink}: {}", contrast(fill, ink));
        assert!(contrast(dark(fill), dark(ink)) >= 4.5, "{fill}, {ink} dark: {}", contrast(dark(fill), dark(ink)));
    }
    let edges = [THROUGH, LINEAR, CORRECT, FALLING].map(|text| (text, PAPER));
    let nodes = [(INK, NODE), (INK, ENSEMBLE_NODE), (INK, PANEL), (SOFT_INK, NODE)];
    for (text, ground) in edges.into_iter().chain(nodes) {
        assert!(contrast(text, ground) >= 4.5, "{text} on {ground}: {}", contrast(text, ground));
        let (text, ground) = (dark(text), dark(ground));
        assert!(contrast(text, ground) >= 4.5, "{text} on {ground} dark: {}", contrast(text, ground));
    }
}

#[test]
fn the_scale_is_even_and_takes_anything() {
    assert_eq!([0.0, 0.5, 1.0, -7.0, 3.0, f64::NAN].map(|share| heat(share).0), [0, 4, 8, 0, 8, 0].map(|i| HEAT[i]));
    for pair in HEAT.windows(2) {
        assert!(contrast(pair[0], PAPER) < contrast(pair[1], PAPER));
        assert!(contrast(dark(pair[0]), dark(PAPER)) < contrast(dark(pair[1]), dark(PAPER)));
    }
}

#[test]
fn no_color_of_the_palette_is_left() {
    let graph = ktg_graph::presets::dml(3, "resnet18");
    let matrix = ktg_figures::chart::Matrix {
        title: String::new(),
        names: vec!["1".into(), "2".into()],
        values: vec![vec![None, Some(1.0)], vec![Some(0.0), None]],
        range: (0.0, 1.0),
        decimals: 1,
        measure: "#1d232b".into(),
        ..Default::default()
    };
    for svg in [ktg_figures::draw::svg(&graph), ktg_figures::chart::matrix(&matrix)] {
        let themed = themed(&svg, "a-");
        assert!(themed.contains("fill=\"var(--c-"));
        for (light, _) in PALETTE {
            assert!(!themed.contains(&format!("\"{light}\"")), "{light}");
        }
        let root = themed.split('>').next().unwrap();
        assert!(root.starts_with("<svg") && !root.contains(" width=") && !root.contains(" height="), "{root}");
        assert!(root.contains(" viewBox=\"") && root.contains("max-width:"), "{root}");
        // Every variable is declared.
        for used in themed.split("var(").skip(1) {
            let name = used.split(')').next().unwrap();
            assert_eq!(css().matches(&format!("{name}:")).count(), 3, "{name}");
        }
    }
}

#[test]
fn only_attributes_change() {
    let svg = "<?xml version=\"1.0\"?>\n<!-- #1d232b > --><svg xmlns=\"http://www.w3.org/2000/svg\" width=\"80\" \
               height='40' viewBox=\"0 0 80 40\"><title id=\"t\">#1d232b</title><g id='x' fill='#1D232B' \
               stroke=\"#123456\" clip-path=\"url(#c)\"/><use href=\"#x\"/><a href=\"https://x.org/#1d232b\"/>\
               <text aria-labelledby=\"t x\" data-x=\"a > b\">1 &lt; 2</text><svg width=\"3\"/></svg>";
    let expected = "<!-- #1d232b > --><svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 80 40\" \
                    style=\"width:100%;max-width:80px;height:auto\"><title id=\"p-t\">#1d232b</title>\
                    <g id='p-x' fill='var(--c-1d232b)' stroke=\"#123456\" clip-path=\"url(#p-c)\"/>\
                    <use href=\"#p-x\"/><a href=\"https://x.org/#1d232b\"/>\
                    <text aria-labelledby=\"p-t p-x\" data-x=\"a > b\">1 &lt; 2</text><svg width=\"3\"/></svg>";
    assert_eq!(themed(svg, "p-"), expected);
}

#[test]
fn broken_markup_does_no_harm() {
    for text in
        ["", "<", "<svg width=\"", "<svg", "plain", "<svg width=\"x\" height=\"1\">", "<!-- ", "<a ='#'>", "ä<ö=\"#é\""]
    {
        let _ = themed(text, "p-");
    }
    assert!(!themed("<svg width=\"inf\" height=\"1\"></svg>", "").contains("max-width"));
}

#[test]
fn print_is_light() {
    let css = css();
    let (before, print) = css.split_once("@media print").unwrap();
    assert!(before.contains("@media (prefers-color-scheme:dark)"));
    assert!(print.contains(&format!("--c-{}:{INK};", &INK[1..])));
    assert_eq!(css.matches('{').count(), css.matches('}').count());
}
