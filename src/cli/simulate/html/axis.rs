//! An axis of time on which long waits without any event are cut short.

/// A wait is cut if it takes more than this part of the whole time.
const LONG: f64 = 0.25;
/// What is left of it, as a part of all the rest.
const LEFT: f64 = 0.08;

/// From seconds to a place between 0 and 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Times with their places, in order; in between it is even.
    marks: Vec<(f64, f64)>,
    /// Waits that are cut: from and until.
    cuts: Vec<(f64, f64)>,
}

impl Axis {
    /// An axis from 0 to `end` on which these are the times when something happens.
    pub fn new(times: impl IntoIterator<Item = f64>, end: f64) -> Self {
        let end = end.max(1.0);
        let mut times: Vec<f64> = times.into_iter().filter(|time| *time > 0.0 && *time < end).collect();
        times.extend([0.0, end]);
        times.sort_by(f64::total_cmp);
        times.dedup();
        let long = |pair: &[f64]| pair[1] - pair[0] > LONG * end;
        let rest: f64 = times.windows(2).filter(|pair| !long(pair)).map(|pair| pair[1] - pair[0]).sum();
        let cuts: Vec<(f64, f64)> = times.windows(2).filter(|pair| long(pair)).map(|pair| (pair[0], pair[1])).collect();
        // Nothing to compare with: then nothing is cut.
        let cut = rest > 0.0 && rest < (1.0 - LONG) * end;
        let width = |pair: &[f64]| if cut && long(pair) { LEFT * rest } else { pair[1] - pair[0] };
        let mut place = 0.0;
        let mut marks = vec![(0.0, 0.0)];
        for pair in times.windows(2) {
            place += width(pair);
            marks.push((pair[1], place));
        }
        marks.iter_mut().for_each(|(_, at)| *at /= place);
        Self { marks, cuts: if cut { cuts } else { Vec::new() } }
    }

    /// The place of a time.
    pub fn place(&self, time: f64) -> f64 {
        let next = self.marks.partition_point(|(mark, _)| *mark < time);
        match (next.checked_sub(1).and_then(|last| self.marks.get(last)), self.marks.get(next)) {
            (Some((from, start)), Some((until, end))) => start + (end - start) * (time - from) / (until - from),
            (None, _) => 0.0,
            (Some(_), None) => 1.0,
        }
    }

    /// Waits that are cut.
    pub fn cuts(&self) -> &[(f64, f64)] {
        &self.cuts
    }

    /// About so many times for labels: even ones, apart from what is cut.
    pub fn ticks(&self, count: u32) -> Vec<f64> {
        let times = (0..=count).map(|index| f64::from(index) / f64::from(count));
        times
            .map(|place| self.time(place))
            .filter(|time| !self.cuts.iter().any(|(from, until)| time > from && time < until))
            .collect()
    }

    fn time(&self, place: f64) -> f64 {
        let next = self.marks.partition_point(|(_, at)| *at < place);
        match (next.checked_sub(1).and_then(|last| self.marks.get(last)), self.marks.get(next)) {
            (Some((from, start)), Some((until, end))) if end > start => {
                from + (until - from) * (place - start) / (end - start)
            }
            (Some((from, _)), _) => *from,
            (None, _) => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_long_waits_it_is_even() {
        let axis = Axis::new([20.0, 40.0, 60.0, 80.0], 100.0);
        assert!(axis.cuts().is_empty());
        assert_eq!((axis.place(0.0), axis.place(50.0), axis.place(100.0)), (0.0, 0.5, 1.0));
        assert_eq!(axis.ticks(2), [0.0, 50.0, 100.0]);
    }

    #[test]
    fn a_long_wait_is_cut_and_the_rest_gets_the_room() {
        let axis = Axis::new([10.0, 90_000.0, 90_050.0], 90_100.0);
        assert_eq!(axis.cuts(), [(10.0, 90_000.0)]);
        assert!(axis.place(90_000.0) < 0.2, "{axis:?}");
        assert!(axis.ticks(10).iter().all(|tick| *tick <= 10.0 || *tick >= 90_000.0));
    }
}
