//! Figures as pixels.

use ktg_figures::chart::{Curve, Curves, Picture, PictureRow, Pictures, Role, curves, pictures};
use ktg_figures::png::png;
use resvg::tiny_skia::Pixmap;

fn figure() -> String {
    let points = vec![(1.0, 10.0), (2.0, 60.0)];
    let lines = vec![Curve { name: "Ensemble".into(), points, role: Role::Ensemble, dashed: false }];
    curves(&Curves { title: "Größe ≥ 3, ±1 → −2".into(), lines, ..Curves::default() })
}

#[test]
fn has_the_size_and_is_not_blank() {
    let svg = figure();
    for scale in [0.5f32, 1.0, 2.0] {
        let pixels = Pixmap::decode_png(&png(&svg, scale).unwrap()).unwrap();
        assert_eq!(pixels.width(), (600.0 * scale) as u32);
        let red = pixels.pixels().iter().filter(|p| p.red() > 150 && p.green() < 80).count();
        assert!(red > 50, "{red} at {scale}");
        let gray = pixels.pixels().iter().filter(|p| p.red() < 120 && p.green() < 120).count();
        assert!(gray > 60, "{gray} at {scale}");
        assert!(pixels.pixels().iter().all(|p| p.alpha() == 255));
    }
    assert_eq!(png(&svg, 1.0).unwrap(), png(&svg, 1.0).unwrap());
}

#[test]
fn pictures_within_a_figure_are_there() {
    let mut square = Pixmap::new(8, 8).unwrap();
    square.fill(resvg::tiny_skia::Color::from_rgba8(20, 200, 40, 255));
    let picture = Picture { png: square.encode_png().unwrap(), caption: "apple".to_owned(), right: true };
    let rows = vec![PictureRow { name: "apple".to_owned(), cells: vec![Some(picture)] }];
    let svg = pictures(&Pictures { title: "Maps".to_owned(), columns: vec!["input".to_owned()], rows }).unwrap();
    let pixels = Pixmap::decode_png(&png(&svg, 1.0).unwrap()).unwrap();
    let green = pixels.pixels().iter().filter(|p| p.green() > 180 && p.red() < 60 && p.blue() < 80).count();
    assert!(green > 1000, "{green} pixels of the picture");
}

#[test]
fn texts_need_no_font_of_the_system() {
    // Any family gives the same letters, and bold ones differ.
    let text = |family: &str, weight: &str| {
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"99\" height=\"30\"><text x=\"2\" y=\"20\" \
             font-family=\"{family}\" font-weight=\"{weight}\">Gate ± α</text></svg>"
        );
        png(&svg, 1.0).unwrap()
    };
    assert_eq!(text("DejaVu Sans", "normal"), text("Helvetica, Arial", "normal"));
    assert_ne!(text("Arial", "normal"), text("Arial", "bold"));
    let empty = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"99\" height=\"30\"/>";
    assert_ne!(text("Arial", "normal"), png(empty, 1.0).unwrap());
}

#[test]
fn every_symbol_of_the_charts_has_a_glyph() {
    let fonts = ["DejaVuSans.subset.ttf", "DejaVuSans-Bold.subset.ttf"];
    for font in fonts {
        let path = format!("{}/fonts/{font}", env!("CARGO_MANIFEST_DIR"));
        let data = std::fs::read(path).unwrap();
        assert!(data.len() < 100_000, "{font}");
        let face = ttf_parser::Face::parse(&data, 0).unwrap();
        for c in (' '..='~').chain("äßøŁčşαΩ±×−–—…‘’“”•→←↑↓↔≤≥≈≠✓✗★°²µ\u{a0}".chars())
        {
            assert!(face.glyph_index(c).is_some(), "{c} in {font}");
        }
    }
}

#[test]
fn other_scripts_do_no_harm() {
    let svg =
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"99\" height=\"30\"><text y=\"20\">知識 👍</text></svg>";
    assert!(png(svg, 1.0).is_ok());
}

#[test]
fn refuses_what_is_no_picture() {
    for scale in [0.0, -1.0, 1e9, f32::NAN, f32::INFINITY] {
        assert!(png(&figure(), scale).is_err(), "{scale}");
    }
    for text in ["", "<svg", "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"0\" height=\"1\"/>"] {
        let error = png(text, 1.0).unwrap_err().to_string();
        assert!(error.starts_with("cannot turn the figure into a picture of pixels: "), "{error}");
    }
}
