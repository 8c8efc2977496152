//! The plot of one rehearsal: traffic, checks, gates and what happened, over time.

use std::fmt::Write;

use lockkeeper_simulator::rehearse::{BeatKind, Point, Rehearsal};

use super::axis::Axis;
use crate::simulate::{
    escape,
    text::{clock, span},
};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 925.0;
const TOP: f64 = 24.0;
const HEIGHT: f64 = 140.0;
const LANE: f64 = 22.0;
/// More measurements of a check than can be told apart are thinned out.
const POINTS_MAX: usize = 300;

struct Canvas {
    axis: Axis,
    svg: String,
}

/// The plot.
pub fn svg(rehearsal: &Rehearsal) -> String {
    let (plot, end) = (&rehearsal.plot, rehearsal.end.ended_after);
    let points = plot.checks.iter().flat_map(|(_, points)| points).map(|point| point.after);
    let times = rehearsal.timeline.iter().map(|beat| beat.after).chain(points);
    let mut canvas = Canvas { axis: Axis::new(times, end), svg: String::new() };
    let lanes = plot.checks.len() + plot.gates.len();
    let bottom = TOP + HEIGHT + 14.0 + LANE * lanes as f64;
    // Writing to a string cannot fail.
    let _ = writeln!(
        canvas.svg,
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"Traffic of version {} over time, with checks and gates\">",
        bottom + 26.0,
        escape(&rehearsal.version)
    );
    canvas.frame(bottom);
    canvas.weights(&plot.weights, end);
    let mut y = TOP + HEIGHT + 14.0;
    for (gate, spans) in &plot.gates {
        canvas.gate(y, gate, spans);
        y += LANE;
    }
    for (check, points) in &plot.checks {
        canvas.check(y, check, points, end);
        y += LANE;
    }
    canvas.beats(rehearsal, bottom);
    canvas.svg.push_str("</svg>\n");
    canvas.svg
}

impl Canvas {
    fn x(&self, time: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * self.axis.place(time)
    }

    fn frame(&mut self, bottom: f64) {
        for percent in [0, 25, 50, 75, 100] {
            let y = height(f64::from(percent));
            let _ = writeln!(
                self.svg,
                "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"var(--line)\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>",
                LEFT - 8.0,
                y + 4.0
            );
        }
        let _ = writeln!(self.svg, "<text class=\"label\" x=\"8\" y=\"{}\">new version's traffic</text>", TOP - 8.0);
        for time in self.axis.ticks(6) {
            let x = self.x(time);
            let _ = writeln!(
                self.svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\" stroke=\"var(--line)\" stroke-dasharray=\"2 4\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                clock(time)
            );
        }
        for (from, until) in self.axis.cuts().to_vec() {
            let (x, width) = (self.x(from), self.x(until) - self.x(from));
            let _ = writeln!(
                self.svg,
                "<rect x=\"{x:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{HEIGHT}\" fill=\"var(--line)\" opacity=\"0.5\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">⋯ {}</text>",
                x + width / 2.0,
                TOP + HEIGHT / 2.0,
                span(until - from)
            );
        }
    }

    fn weights(&mut self, weights: &[(f64, f64)], end: f64) {
        let (mut path, mut last) = (format!("M{LEFT} {:.1}", height(0.0)), 0.0);
        for (time, percent) in weights.iter().filter(|(time, _)| *time <= end) {
            let x = self.x(*time);
            let _ = write!(path, " L{x:.1} {:.1} L{x:.1} {:.1}", height(last), height(*percent));
            last = *percent;
        }
        let _ = write!(path, " L{RIGHT} {:.1}", height(last));
        let _ = writeln!(
            self.svg,
            "<path d=\"{path} L{RIGHT} {zero:.1} Z\" fill=\"var(--weight)\" opacity=\"0.2\"/>\
             <path d=\"{path}\" fill=\"none\" stroke=\"var(--weight)\" stroke-width=\"2\"/>",
            zero = height(0.0)
        );
    }

    fn label(&mut self, y: f64, text: &str) {
        let shown: String =
            if text.chars().count() > 27 { text.chars().take(26).chain(['…']).collect() } else { text.into() };
        let _ = writeln!(
            self.svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}<title>{}</title></text>",
            LEFT - 8.0,
            y + LANE / 2.0 + 4.0,
            escape(&shown),
            escape(text)
        );
    }

    fn gate(&mut self, y: f64, gate: &str, spans: &[(f64, f64)]) {
        self.label(y, &format!("gate {gate}"));
        for (from, until) in spans {
            let (x, width) = (self.x(*from), (self.x(*until) - self.x(*from)).max(2.0));
            let _ = writeln!(
                self.svg,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{}\" rx=\"2\" fill=\"var(--wait)\"><title>closed from {} \
                 until {}</title></rect>",
                y + 5.0,
                LANE - 10.0,
                clock(*from),
                clock(*until)
            );
        }
    }

    /// Successes are small discs, failures squares, measurements without data rings: told apart without colour.
    fn check(&mut self, y: f64, check: &str, points: &[Point], end: f64) {
        self.label(y, check);
        let middle = y + LANE / 2.0;
        let seen: Vec<&Point> = points.iter().filter(|point| point.after <= end).collect();
        let every = seen.len().div_ceil(POINTS_MAX).max(1);
        for (index, point) in seen.into_iter().enumerate() {
            let failed = point.value.is_some() && !point.success;
            if !failed && index % every != 0 {
                continue;
            }
            let x = self.x(point.after);
            let shape = match point.value {
                None => format!(
                    "<circle cx=\"{x:.1}\" cy=\"{middle:.1}\" r=\"2.5\" fill=\"none\" stroke=\"var(--nothing)\">"
                ),
                Some(_) if point.success => {
                    format!("<circle cx=\"{x:.1}\" cy=\"{middle:.1}\" r=\"2.5\" fill=\"var(--good)\">")
                }
                Some(_) => format!(
                    "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\" fill=\"var(--bad)\">",
                    x - 4.0,
                    middle - 4.0
                ),
            };
            let value = point.value.map_or_else(|| "no data".to_owned(), |value| format!("{value:.6}"));
            let close = if failed { "rect" } else { "circle" };
            let _ = writeln!(self.svg, "{shape}<title>{}: {value}</title></{close}>", clock(point.after));
        }
    }

    /// People, troubles and going back, as lines.
    fn beats(&mut self, rehearsal: &Rehearsal, bottom: f64) {
        for beat in &rehearsal.timeline {
            let colour = match beat.kind {
                BeatKind::Back | BeatKind::Trouble => "var(--bad)",
                BeatKind::Person => "var(--wait)",
                BeatKind::Asked
                | BeatKind::Phase
                | BeatKind::Step
                | BeatKind::Traffic
                | BeatKind::Gate
                | BeatKind::Check
                | BeatKind::End => continue,
            };
            let x = self.x(beat.after);
            let _ = writeln!(
                self.svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\" stroke=\"{colour}\" stroke-width=\"1.5\"><title>{} {}</title></line>",
                clock(beat.after),
                escape(&beat.text)
            );
        }
    }
}

/// Where a part of the traffic is drawn.
fn height(percent: f64) -> f64 {
    TOP + HEIGHT * (1.0 - percent / 100.0)
}
