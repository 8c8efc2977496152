//! What operators meet that take the place of one that has died.

use std::time::Duration;

use crate::api::{Fault, Link, Rumour};

/// The weather of a run, as far as it is the same for every operator.
#[derive(Default)]
pub(super) struct Climate {
    /// Whether it lasts beyond the operators with which it began.
    lasts: bool,
    pub lag: Duration,
    pub rumour: Rumour,
    pub unanswered: u8,
    faults: Option<Box<dyn FnMut() -> Box<dyn Fault>>>,
}

impl Climate {
    /// From now on it is that of later operators, too, with these faults.
    pub fn last(&mut self, faults: Option<impl FnMut() -> Box<dyn Fault> + 'static>) {
        self.lasts = true;
        self.faults = faults.map(|faults| Box::new(faults) as _);
    }

    /// What becomes of the requests of the next operator.
    pub fn fault(&mut self) -> Option<Box<dyn Fault>> {
        self.faults.as_mut().map(|faults| faults())
    }

    /// Brings it over the network of an operator that starts.
    pub fn over(&self, link: &Link) {
        if self.lasts {
            link.set_lag(self.lag);
            link.set_rumour(self.rumour);
            link.set_unanswered(self.unanswered);
        }
    }
}
