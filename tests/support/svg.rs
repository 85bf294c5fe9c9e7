//! Pictures: text, lines and boxes in one look.

use std::fmt::Write;

pub const INK: &str = "#1f2933";
pub const FAINT: &str = "#6b7785";
pub const RULE: &str = "#dfe3e8";
pub const AMBER: &str = "#e0912f";
pub const PALE_AMBER: &str = "#f7dfbd";
pub const BLUE: &str = "#2b6cb0";
pub const GREEN: &str = "#2f855a";
pub const VIOLET: &str = "#805ad5";
pub const RED: &str = "#c53030";

/// A picture that is being drawn; x goes right, y down.
pub struct Svg {
    pub text: String,
}

impl Svg {
    pub fn new(width: f64, height: f64) -> Self {
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" \
             font-family=\"DejaVu Sans, Verdana, sans-serif\" fill=\"{INK}\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#fcfcfa\"/>\n"
        );
        Self { text }
    }

    pub fn end(self) -> String {
        self.text + "</svg>\n"
    }

    #[allow(clippy::too_many_arguments, reason = "what SVG needs to set a line of text")]
    pub fn text(
        &mut self,
        x: f64,
        y: f64,
        size: f64,
        colour: &str,
        anchor: &str,
        bold: bool,
        text: &str,
    ) {
        let weight = if bold { "bold" } else { "normal" };
        let _ = writeln!(
            self.text,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" font-weight=\"{weight}\" \
             fill=\"{colour}\" \
             text-anchor=\"{anchor}\">{}</text>",
            text.replace('&', "&amp;").replace('<', "&lt;")
        );
    }

    pub fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, colour: &str, width: f64) {
        let _ = writeln!(
            self.text,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" \
             stroke-width=\"{width}\"/>"
        );
    }

    pub fn rectangle(
        &mut self,
        x: f64,
        y: f64,
        width: f64,
        height: f64,
        colour: &str,
        radius: f64,
    ) {
        let width = width.max(0.0);
        let _ = writeln!(
            self.text,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             rx=\"{radius}\" fill=\"{colour}\"/>"
        );
    }
}
