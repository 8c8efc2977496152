//! From what each window says to what they say together, and to the sentence for people.

use std::cmp::Reverse;

use jiff::Timestamp;
use lockkeeper_api::deployment_window::WindowAction;

use super::{Calendar, WindowName, WindowReason, WindowVerdict, WindowView};

/// Instants at which windows change that are looked at to find when the verdict changes.
const CHANGES_MAX: usize = 32;
/// Windows that a sentence names; of more it gives the number.
const NAMED_MAX: usize = 5;

/// The windows of one namespace that are about the release and the exposure in question.
pub(super) struct Layer<'a>(pub Vec<Asked<'a>>);

/// A window with its calendar, or with what is wrong with it.
pub(super) struct Asked<'a> {
    pub window: &'a WindowView,
    pub calendar: Result<&'a Calendar, Vec<String>>,
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
pub(super) fn of(layers: &[Layer<'_>; 2], now: Timestamp) -> WindowVerdict {
    let mut closings: Vec<Closing<'_>> = layers.iter().flat_map(|layer| layer.closings(now)).collect();
    // Stable, so that the platform's come first among equals.
    closings.sort_by_key(|closing| Reverse(closing.reason));
    let next_change = next_change(layers, now);
    let Some(first) = closings.first() else {
        let opening: Vec<&Asked<'_>> = layers.iter().flat_map(|layer| layer.saying(Says::Opens, now)).collect();
        let message = match opening.is_empty() {
            true => "open: no window closes".into(),
            false => format!("open: allowed by {}", list(opening.iter().map(|asked| asked.until_end(now)), ", ")),
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
fn next_change(layers: &[Layer<'_>], now: Timestamp) -> Option<Timestamp> {
    let open = |at| layers.iter().all(|layer| layer.open(at));
    let open_now = open(now);
    let mut at = now;
    for _ in 0..CHANGES_MAX {
        let calendars = layers.iter().flat_map(|layer| &layer.0).filter_map(|asked| asked.calendar.as_ref().ok());
        at = calendars.filter_map(|calendar| calendar.at(at).holds_until).min()?;
        if open(at) != open_now {
            break;
        }
    }
    Some(at)
}

impl<'a> Layer<'a> {
    fn saying(&self, says: Says, at: Timestamp) -> impl Iterator<Item = &Asked<'a>> {
        self.0.iter().filter(move |asked| asked.says(at) == says)
    }

    fn open(&self, at: Timestamp) -> bool {
        self.saying(Says::Closes, at).next().is_none()
            && (self.saying(Says::Opens, at).next().is_some() || self.saying(Says::Waits, at).next().is_none())
    }

    fn closings(&self, now: Timestamp) -> Vec<Closing<'_>> {
        let mut closings: Vec<Closing<'_>> = self.saying(Says::Closes, now).map(|asked| asked.frozen(now)).collect();
        if self.saying(Says::Opens, now).next().is_none() {
            let (sound, faulty): (Vec<_>, Vec<_>) =
                self.saying(Says::Waits, now).partition(|asked| asked.calendar.is_ok());
            closings.extend(faulty.into_iter().filter_map(Asked::fault));
            closings.extend((!sound.is_empty()).then(|| waiting(sound, now)));
        }
        closings
    }
}

/// That none of these Allow windows is open, and which ones open next.
fn waiting<'a>(windows: Vec<&'a Asked<'a>>, now: Timestamp) -> Closing<'a> {
    let mut next: Vec<(Timestamp, String)> = windows
        .iter()
        .filter_map(|asked| {
            let calendar = asked.calendar.as_ref().ok()?;
            let start = calendar.at(now).next_start?;
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
    fn says(&self, at: Timestamp) -> Says {
        let active = self.calendar.as_ref().map(|calendar| calendar.at(at).active);
        match (self.window.0.observed.spec.action, active) {
            (WindowAction::Freeze, Ok(true) | Err(_)) => Says::Closes,
            (WindowAction::Freeze, Ok(false)) => Says::Nothing,
            (WindowAction::Allow, Ok(true)) => Says::Opens,
            (WindowAction::Allow, Ok(false) | Err(_)) => Says::Waits,
        }
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
    fn until_end(&self, now: Timestamp) -> String {
        let end = self.calendar.as_ref().ok().and_then(|calendar| Some(local(calendar.at(now).next_end?, calendar)));
        match end {
            Some(end) => format!("{} until {end}", self.title()),
            None => format!("{} with no end in sight", self.title()),
        }
    }

    fn frozen(&'a self, now: Timestamp) -> Closing<'a> {
        self.fault().unwrap_or_else(|| Closing {
            reason: WindowReason::Frozen,
            message: format!("closed by freeze {}", self.until_end(now)),
            windows: vec![self],
        })
    }

    fn fault(&'a self) -> Option<Closing<'a>> {
        let faults = self.calendar.as_ref().err()?;
        let action = match self.window.0.observed.spec.action {
            WindowAction::Allow => "allow window",
            WindowAction::Freeze => "freeze",
        };
        let first = faults.first().map_or("", String::as_str);
        let more = match faults.len() {
            0 | 1 => String::new(),
            several => format!(" (and {} more in its status)", several - 1),
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
