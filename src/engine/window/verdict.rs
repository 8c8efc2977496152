//! From what each window says to what they say together, and to the sentence for people.

use std::cmp::Reverse;

use jiff::Timestamp;
use lockkeeper_api::deployment_window::WindowAction;

use super::{Calendar, State, WindowName, WindowReason, WindowVerdict, WindowView};

/// Instants at which windows change that are looked at to find when the verdict changes.
const CHANGES_MAX: usize = 32;
/// Windows that a sentence names; of more it gives the number.
const NAMED_MAX: usize = 5;

/// The windows of one namespace that are about the release and the exposure in question.
pub(super) struct Layer<'a>(pub Vec<Asked<'a>>);

/// A window at an instant, with what is wrong with it.
pub(super) struct Asked<'a> {
    pub window: &'a WindowView,
    course: Course<'a>,
    faults: Vec<String>,
}

/// A window's way through time.
#[derive(Clone, Copy)]
struct Course<'a> {
    action: WindowAction,
    /// None if the window cannot be read.
    read: Option<(&'a Calendar, State)>,
}

/// What one window says at an instant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    /// An active Freeze, or one that cannot be read.
    Closes,
    /// An active Allow window: opens its layer as far as other Allow windows are concerned.
    Opens,
    /// An Allow window that is not active or cannot be read: closes its layer unless another one opens it.
    Waits,
    /// A Freeze that is not active.
    Nothing,
}

/// Something that closes, with its sentence.
struct Closing<'a> {
    reason: WindowReason,
    message: String,
    windows: Vec<&'a Asked<'a>>,
}

/// What the layers say together.
pub(super) fn of(layers: &[Layer<'_>; 2]) -> WindowVerdict {
    let mut closings: Vec<Closing<'_>> = layers.iter().flat_map(Layer::closings).collect();
    // Stable, so that the platform's come first among equals.
    closings.sort_by_key(|closing| Reverse(closing.reason));
    let next_change = next_change(layers);
    let Some(first) = closings.first() else {
        let opening: Vec<&Asked<'_>> = layers.iter().flat_map(|layer| layer.saying(Says::Opens)).collect();
        let message = match opening.is_empty() {
            true => "open: no window closes".into(),
            false => format!("open: allowed by {}", list(opening.iter().map(|asked| asked.until_end()), ", ")),
        };
        let windows = opening.into_iter().map(Asked::name).collect();
        return WindowVerdict { open: true, reason: WindowReason::Open, message, windows, next_change };
    };
    WindowVerdict {
        open: false,
        reason: first.reason,
        message: list(closings.iter().map(|closing| closing.message.clone()), "; "),
        windows: closings.iter().flat_map(|closing| &closing.windows).map(|asked| asked.name()).collect(),
        next_change,
    }
}

/// Steps from change to change of any window until the layers together say something else.
fn next_change(layers: &[Layer<'_>; 2]) -> Option<Timestamp> {
    let mut courses = layers.each_ref().map(|layer| layer.0.iter().map(|asked| asked.course).collect::<Vec<_>>());
    let all_open = |courses: &[Vec<Course<'_>>; 2]| courses.iter().all(|layer| open(layer));
    let open_now = all_open(&courses);
    let mut at = None;
    for _ in 0..CHANGES_MAX {
        let next = courses.iter().flatten().filter_map(Course::holds_until).min_by_key(|(until, _)| *until);
        let (next, in_sight) = next?;
        at = Some(next);
        // What follows an end out of sight would be reckoned anew at each step.
        if !in_sight {
            break;
        }
        courses.iter_mut().flatten().for_each(|course| course.advance(next));
        if all_open(&courses) != open_now {
            break;
        }
    }
    at
}

/// Whether the windows of one layer let exposure grow.
fn open(layer: &[Course<'_>]) -> bool {
    let says = |says: Says| layer.iter().any(|course| course.says() == says);
    !says(Says::Closes) && (says(Says::Opens) || !says(Says::Waits))
}

impl<'a> Course<'a> {
    fn says(&self) -> Says {
        match (self.action, self.read.map(|(_, state)| state.active)) {
            (WindowAction::Freeze, Some(true) | None) => Says::Closes,
            (WindowAction::Freeze, Some(false)) => Says::Nothing,
            (WindowAction::Allow, Some(true)) => Says::Opens,
            (WindowAction::Allow, Some(false) | None) => Says::Waits,
        }
    }

    /// Until when the window says the same for certain, and whether it changes then.
    fn holds_until(&self) -> Option<(Timestamp, bool)> {
        let (_, state) = self.read?;
        Some((state.holds_until?, state.in_sight()))
    }

    fn advance(&mut self, to: Timestamp) {
        if let Some((calendar, state)) = &mut self.read
            && state.holds_until.is_some_and(|until| until <= to)
        {
            *state = calendar.at(to);
        }
    }
}

impl<'a> Layer<'a> {
    fn saying(&self, says: Says) -> impl Iterator<Item = &Asked<'a>> {
        self.0.iter().filter(move |asked| asked.course.says() == says)
    }

    fn closings(&self) -> Vec<Closing<'_>> {
        let mut closings: Vec<Closing<'_>> = self.saying(Says::Closes).map(Asked::frozen).collect();
        if self.saying(Says::Opens).next().is_none() {
            let (sound, faulty): (Vec<_>, Vec<_>) =
                self.saying(Says::Waits).partition(|asked| asked.course.read.is_some());
            closings.extend(faulty.into_iter().filter_map(Asked::fault));
            closings.extend((!sound.is_empty()).then(|| waiting(sound)));
        }
        closings
    }
}

/// That none of these Allow windows is open, and which ones open next.
fn waiting<'a>(windows: Vec<&'a Asked<'a>>) -> Closing<'a> {
    let mut next: Vec<(Timestamp, String)> = windows
        .iter()
        .filter_map(|asked| {
            let (calendar, state) = asked.course.read?;
            let start = state.next_start?;
            Some((start, format!("{} opens at {}", asked.title(), local(start, calendar))))
        })
        .collect();
    next.sort();
    let message = match next.is_empty() {
        true => {
            format!(
                "closed for good, as no allow window opens again: {}",
                list(windows.iter().map(|asked| asked.title()), ", ")
            )
        }
        false => format!("closed until allow window {}", list(next.into_iter().map(|(_, opens)| opens), " or ")),
    };
    Closing { reason: WindowReason::OutsideWindow, message, windows }
}

impl<'a> Asked<'a> {
    pub(super) fn new(window: &'a WindowView, operator_namespace: &str, now: Timestamp) -> Self {
        let action = window.0.observed.spec.action;
        let (read, faults) = match window.calendar(operator_namespace) {
            Ok(calendar) => (Some((calendar, window.state(calendar, now))), Vec::new()),
            Err(faults) => (None, faults),
        };
        Self { window, course: Course { action, read }, faults }
    }

    fn name(&self) -> WindowName {
        let observed = &self.window.0.observed;
        WindowName {
            namespace: observed.namespace.clone(),
            name: observed.name.clone(),
            reason: observed.spec.reason.clone(),
        }
    }

    /// The window for people: namespace, name and the reason that its author gave.
    fn title(&self) -> String {
        let (namespace, name) = (self.window.namespace(), self.window.name());
        match &self.window.0.observed.spec.reason {
            Some(reason) => format!("{namespace}/{name} ({reason})"),
            None => format!("{namespace}/{name}"),
        }
    }

    /// The active window and its end.
    fn until_end(&self) -> String {
        let end = self.course.read.and_then(|(calendar, state)| Some(local(state.next_end?, calendar)));
        match end {
            Some(end) => format!("{} until {end}", self.title()),
            None => format!("{} with no end in sight", self.title()),
        }
    }

    fn frozen(&'a self) -> Closing<'a> {
        self.fault().unwrap_or_else(|| Closing {
            reason: WindowReason::Frozen,
            message: format!("closed by freeze {}", self.until_end()),
            windows: vec![self],
        })
    }

    fn fault(&'a self) -> Option<Closing<'a>> {
        let first = self.faults.first()?;
        let action = match self.course.action {
            WindowAction::Allow => "allow window",
            WindowAction::Freeze => "freeze",
        };
        let more = match self.faults.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more in its status)"),
        };
        let message = format!("closed as {action} {} is invalid: {first}{more}", self.title());
        Some(Closing { reason: WindowReason::InvalidWindow, message, windows: vec![self] })
    }
}

/// The first few, and how many more there are.
fn list(items: impl Iterator<Item = String>, separator: &str) -> String {
    let mut items: Vec<String> = items.collect();
    let more = items.len().saturating_sub(NAMED_MAX);
    items.truncate(NAMED_MAX);
    let named = items.join(separator);
    if more > 0 { format!("{named} and {more} more") } else { named }
}

/// Local time with its zone, to the minute unless seconds matter.
fn local(at: Timestamp, calendar: &Calendar) -> String {
    let zone = calendar.zone();
    let local = zone.to_datetime(at);
    let time = local.strftime(if local.second() == 0 { "%Y-%m-%dT%H:%M" } else { "%Y-%m-%dT%H:%M:%S" });
    format!("{time} {}", zone.iana_name().unwrap_or("UTC"))
}
