//! Plots of a run, as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::at_once::AtOnce;
use crate::report::Report;
use crate::scenario::Measured;

const SIZE: (u32, u32) = (960, 540);
const FONT: &str = "sans-serif";

/// A curve with its name.
struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Every plot for which there are rows.
///
/// # Errors
/// If a file cannot be written.
pub fn all(report: &Report, directory: &Path) -> Result<()> {
    let rows = || report.rows.iter().map(|row| (&row.name, &row.measured));
    let at_once: Vec<(&String, &AtOnce)> = rows()
        .filter_map(|(name, measured)| match measured {
            Measured::AtOnce(row) => Some((name, row)),
            Measured::Binary(_)
            | Measured::Decide { .. }
            | Measured::AtRest(_)
            | Measured::Verdict(_)
            | Measured::Killed { .. } => None,
        })
        .collect();
    let done = at_once.iter().flat_map(|(name, row)| {
        [curve(format!("{name}, plain"), steps(&row.plain_done)), curve((*name).clone(), steps(&row.done))]
    });
    draw(&directory.join("done.svg"), "Applications at the new version", "done", done.collect())?;
    for (name, row) in &at_once {
        let weight = |what: &str, of: fn(&crate::at_once::WeightsAt) -> u8| {
            curve(what.to_owned(), stairs(row.weights.iter().map(|at| (at.seconds, f64::from(of(at))))))
        };
        let curves = vec![
            weight("greatest", |at| at.greatest),
            weight("middle", |at| at.middle),
            weight("least", |at| at.least),
        ];
        let title = format!("{name}: confirmed weight");
        draw(&directory.join(format!("weights-{name}.svg")), &title, "%", curves)?;
    }
    let memory = rows().filter_map(|(name, measured)| {
        let samples = match measured {
            Measured::AtOnce(row) => &row.memory,
            Measured::AtRest(row) => &row.memory,
            Measured::Binary(_) | Measured::Decide { .. } | Measured::Verdict(_) | Measured::Killed { .. } => {
                return None;
            }
        };
        Some(curve(name.clone(), samples.iter().map(|sample| (sample.seconds, sample.rss_mib)).collect()))
    });
    draw(&directory.join("memory.svg"), "Memory of the operator", "MiB", memory.collect())
}

fn curve(name: String, points: Vec<(f64, f64)>) -> Curve {
    Curve { name, points }
}

/// How many there are by then.
fn steps(times: &[f64]) -> Vec<(f64, f64)> {
    stairs(std::iter::once((0.0, 0.0)).chain(times.iter().zip(1_u32..).map(|(at, count)| (*at, f64::from(count)))))
}

/// A value stays until the next one.
fn stairs(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut all: Vec<(f64, f64)> = Vec::new();
    for (at, value) in points {
        all.extend(all.last().map(|(_, before)| (at, *before)));
        all.push((at, value));
    }
    all
}

fn draw(path: &Path, title: &str, unit: &str, curves: Vec<Curve>) -> Result<()> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let right = points().map(|point| point.0).fold(0.0, f64::max);
    let top = points().map(|point| point.1).fold(0.0, f64::max);
    if right == 0.0 {
        return Ok(());
    }
    let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw {}: {error}", path.display());
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(|error| failed(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 22))
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..right * 1.02, 0.0..top * 1.05)
        .map_err(|error| failed(&error))?;
    chart.configure_mesh().x_desc("seconds").y_desc(unit).draw().map_err(|error| failed(&error))?;
    for (index, Curve { name, points }) in curves.into_iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let series = LineSeries::new(points, color.stroke_width(2));
        let drawn = chart.draw_series(series).map_err(|error| failed(&error))?;
        drawn.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    let mut labels = chart.configure_series_labels();
    labels.background_style(WHITE.mix(0.8)).border_style(BLACK).draw().map_err(|error| failed(&error))?;
    area.present().map_err(|error| failed(&error))
}
