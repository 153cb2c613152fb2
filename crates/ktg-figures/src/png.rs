//! Figures as pictures of pixels.

use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{FontResolver, FontSelectionFn, Options, Tree, fontdb};
use ttf_parser::Face;

use crate::Error;

/// A subset of DejaVu Sans, see `fonts/subset.sh`.
pub(crate) static REGULAR: &[u8] = include_bytes!("../fonts/DejaVuSans.subset.ttf");
/// Of DejaVu Sans Bold.
pub(crate) static BOLD: &[u8] = include_bytes!("../fonts/DejaVuSans-Bold.subset.ttf");

/// No side of a picture is longer, in pixels: more is a mistake and fills the memory.
const LONGEST: f32 = 16_384.0;

/// The SVG as a PNG on white, `scale` pixels for each of its units.
///
/// Latin, Greek and Cyrillic letters come from a font in this program, whatever family the SVG asks for. The fonts of the
/// system are read only for other scripts.
pub fn png(svg: &str, scale: f32) -> Result<Vec<u8>, Error> {
    let tree = Tree::from_str(svg, &options(svg)?).map_err(failed)?;
    let size = tree.size();
    let (width, height) = ((size.width() * scale).ceil(), (size.height() * scale).ceil());
    if !(1.0..=LONGEST).contains(&width) || !(1.0..=LONGEST).contains(&height) {
        return Err(failed(format!("{width} x {height} pixels are none or too many")));
    }
    let mut pixels = Pixmap::new(width as u32, height as u32).ok_or_else(|| failed("not enough memory"))?;
    pixels.fill(Color::WHITE);
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().map_err(failed)
}

/// How `usvg` must read the SVG to find the fonts described at [`png`].
pub fn options(svg: &str) -> Result<Options<'static>, Error> {
    let mut fonts = fontdb::Database::new();
    let faces =
        [REGULAR, BOLD].map(|face| fonts.load_font_source(fontdb::Source::Binary(Arc::new(face))).first().copied());
    let [Some(regular), Some(bold)] = faces else {
        return Err(failed("the program's own font is damaged"));
    };
    if !own_font_suffices(svg) {
        fonts.load_system_fonts();
    }
    let select_font: FontSelectionFn = Box::new(move |font, _| Some(if font.weight() >= 600 { bold } else { regular }));
    let font_resolver = FontResolver { select_font, ..FontResolver::default() };
    Ok(Options { fontdb: Arc::new(fonts), font_resolver, ..Options::default() })
}

fn failed(reason: impl ToString) -> Error {
    Error::Pixels(reason.to_string())
}

/// The own regular or bold font, parsed once.
pub(crate) fn own_face(bold: bool) -> Option<&'static Face<'static>> {
    static FACES: [OnceLock<Option<Face<'static>>>; 2] = [OnceLock::new(), OnceLock::new()];
    let data = if bold { BOLD } else { REGULAR };
    FACES[usize::from(bold)].get_or_init(|| Face::parse(data, 0).ok()).as_ref()
}

/// Markup is plain Latin, so that it does not matter here.
fn own_font_suffices(svg: &str) -> bool {
    let known = |c: char| c.is_ascii() || own_face(false).is_some_and(|face| face.glyph_index(c).is_some());
    // Numeric references may name any character.
    svg.chars().all(known) && !svg.contains("&#")
}
