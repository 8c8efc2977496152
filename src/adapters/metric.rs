//! Where numbers come from.

pub mod prometheus;

#[cfg(test)]
mod conformance;

use std::{future::Future, pin::Pin};

pub use self::prometheus::Prometheus;
use crate::error::Error;

/// What a source is still working on.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A system that answers queries with a number.
pub trait MetricSource: Send + Sync {
    /// What `query` is now. A query that yields several series is an error: which of them counts is not for us to guess.
    fn measure<'a>(&'a self, query: &'a str) -> Pending<'a, Measurement>;

    /// Whether the source can be reached and answers queries at all.
    fn probe(&self) -> Pending<'_, ()>;
}

/// An answer to a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// The number, or that there is none.
    pub sample: Sample,
    /// How many warnings came with it: it may be computed from a part of the data. Their text stays with the source.
    pub warnings: usize,
}

/// One number, or none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sample {
    /// A finite number.
    Value(f64),
    /// Nothing that may be compared with a limit.
    NoData {
        /// What came instead.
        reason: NoData,
    },
}

/// Why there is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoData {
    /// No series matched.
    Empty,
    /// Not a number, mostly 0 divided by 0: there was no traffic.
    NotANumber,
    /// Infinite, mostly a number divided by 0.
    Infinite,
}

impl Sample {
    pub(crate) const EMPTY: Self = Self::NoData { reason: NoData::Empty };
}

impl From<f64> for Sample {
    fn from(value: f64) -> Self {
        if value.is_nan() {
            Self::NoData { reason: NoData::NotANumber }
        } else if value.is_infinite() {
            Self::NoData { reason: NoData::Infinite }
        } else {
            Self::Value(value)
        }
    }
}

impl NoData {
    /// One word for conditions and metric labels; stays the same from version to version.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::NotANumber => "NotANumber",
            Self::Infinite => "Infinite",
        }
    }
}
