use super::*;

const OPERATOR: &str = "platform";
const OFFICE: &str = "schedule: {cron: '0 9 * * 1-5', timeZone: Europe/Berlin, duration: 8h}";
const CHRISTMAS: &str =
    "schedule: {from: '2026-12-20T00:00:00', until: '2027-01-04T00:00:00', timeZone: Europe/Berlin}";
const BROKEN: &str = "schedule: {cron: '0 9 * *', timeZone: Europe/Berlin, duration: 8h}";
/// Wednesday 10:00 in Berlin.
const OPEN: &str = "2026-11-25T09:00:00Z";
/// The same day, 20:00.
const EVENING: &str = "2026-11-25T19:00:00Z";
/// Wednesday 23 December, 10:00.
const FROZEN: &str = "2026-12-23T09:00:00Z";

/// A window from its `namespace/name`, its action and the other fields of its spec.
fn window(name: &str, action: &str, rest: &[&str]) -> WindowView {
    let (namespace, name) = name.split_once('/').unwrap();
    let spec = serde_saphyr::from_str(&format!("action: {action}\n{}", rest.join("\n"))).unwrap();
    WindowView::new(namespace, name, spec)
}

/// The verdict for a critical release in namespace `shop`, which is in production.
fn verdict(windows: &[WindowView], exposure: Exposure, now: &str) -> WindowVerdict {
    let labels = BTreeMap::from([("tier".to_owned(), "critical".to_owned())]);
    let namespace_labels = BTreeMap::from([("stage".to_owned(), "prod".to_owned())]);
    let release = ReleaseFacts { namespace: "shop", labels: &labels, namespace_labels: &namespace_labels };
    evaluate(windows, &release, OPERATOR, exposure, now.parse().unwrap())
}

fn check(windows: &[WindowView], now: &str, reason: WindowReason) {
    let verdict = verdict(windows, Exposure::Increase, now);
    assert_eq!((verdict.reason, verdict.open), (reason, reason == WindowReason::Open), "{verdict:?} for {windows:?}");
}

#[test]
fn without_windows_the_gate_is_open_for_good() {
    let verdict = verdict(&[], Exposure::Start, OPEN);
    assert_eq!(
        verdict,
        WindowVerdict {
            open: true,
            reason: WindowReason::Open,
            message: "open: no window closes".into(),
            windows: Vec::new(),
            next_change: None,
        }
    );
}

#[test]
fn an_active_freeze_closes_and_says_who_why_and_until_when() {
    let freeze = window("platform/christmas", "Freeze", &[CHRISTMAS, "reason: Christmas freeze"]);
    let verdict = verdict(&[freeze], Exposure::Start, FROZEN);
    assert_eq!(verdict.reason, WindowReason::Frozen);
    assert_eq!(
        verdict.message,
        "closed by freeze platform/christmas (Christmas freeze) until 2027-01-04T00:00 Europe/Berlin"
    );
    assert_eq!(verdict.next_change, Some("2027-01-03T23:00:00Z".parse().unwrap()));
}

#[test]
fn each_layer_has_a_veto() {
    use WindowReason::{Frozen, Open, OutsideWindow};
    let allow = |name: &str| window(name, "Allow", &[OFFICE]);
    let night =
        |name: &str| window(name, "Allow", &["schedule: {cron: '0 18 * * *', timeZone: Europe/Berlin, duration: 8h}"]);
    let freeze = |name: &str| window(name, "Freeze", &[CHRISTMAS]);
    check(&[allow("platform/office")], OPEN, Open);
    check(&[allow("platform/office")], EVENING, OutsideWindow);
    check(&[allow("shop/office")], EVENING, OutsideWindow);
    // In one layer one open window is enough; in two layers both are asked.
    check(&[allow("platform/office"), night("platform/night")], EVENING, Open);
    check(&[allow("platform/office"), night("shop/night")], EVENING, OutsideWindow);
    check(&[allow("platform/office"), night("shop/night")], OPEN, OutsideWindow);
    check(&[freeze("platform/christmas"), allow("shop/office")], FROZEN, Frozen);
    check(&[allow("platform/office"), freeze("shop/christmas")], FROZEN, Frozen);
    // Another team's windows say nothing here.
    check(&[freeze("pay/christmas"), night("pay/night")], FROZEN, Open);
}

#[test]
fn selectors_and_covers_say_what_a_window_is_about() {
    use WindowReason::{Frozen, Open};
    let freeze = |rest: &str| [window("platform/christmas", "Freeze", &[CHRISTMAS, rest])];
    check(&freeze("releaseSelector: {matchLabels: {tier: critical}}"), FROZEN, Frozen);
    check(&freeze("releaseSelector: {matchLabels: {tier: low}}"), FROZEN, Open);
    check(&freeze("namespaceSelector: {matchLabels: {stage: prod}}"), FROZEN, Frozen);
    check(&freeze("namespaceSelector: {matchLabels: {stage: test}}"), FROZEN, Open);
    for exposure in Exposure::ALL {
        let open = verdict(&freeze("covers: [Start, Promotion]"), exposure, FROZEN).open;
        assert_eq!(open, exposure == Exposure::Increase, "{exposure:?}");
    }
    // An Allow window that is about other releases asks nothing of this one.
    check(&[window("shop/low", "Allow", &[OFFICE, "releaseSelector: {matchLabels: {tier: low}}"])], EVENING, Open);
}

#[test]
fn a_window_that_cannot_be_read_closes_and_is_named() {
    use WindowReason::{InvalidWindow, Open};
    for (action, name) in [("Freeze", "platform/broken"), ("Allow", "shop/broken")] {
        let broken = window(name, action, &[BROKEN]);
        let verdict = verdict(std::slice::from_ref(&broken), Exposure::Start, OPEN);
        assert_eq!(verdict.reason, InvalidWindow);
        assert!(verdict.message.contains(name) && verdict.message.contains("five fields"), "{}", verdict.message);
        // With an open Allow window beside it, a broken Allow has nothing to add; a broken Freeze may be active.
        let beside = if action == "Allow" { Open } else { InvalidWindow };
        check(&[broken, window(name.replace("broken", "office").as_str(), "Allow", &[OFFICE])], OPEN, beside);
    }
    // The first fault is told, and how many there are besides.
    let told = |window: WindowView| verdict(&[window], Exposure::Start, OPEN).message;
    let one = told(window("platform/broken", "Freeze", &[BROKEN]));
    assert!(one.contains("five fields") && !one.contains("more"), "{one}");
    let two = told(window("platform/broken", "Freeze", &[BROKEN, "covers: []"]));
    assert!(two.contains("(and 1 more in its status)"), "{two}");
    let selector =
        window("platform/odd", "Freeze", &[CHRISTMAS, "releaseSelector: {matchExpressions: [{key: a, operator: Is}]}"]);
    check(&[selector], OPEN, InvalidWindow);
    check(&[window("platform/nothing", "Freeze", &[CHRISTMAS, "covers: []"])], OPEN, InvalidWindow);
    // About other releases for certain: its fault is not ours.
    check(&[window("shop/low", "Freeze", &[BROKEN, "releaseSelector: {matchLabels: {tier: low}}"])], OPEN, Open);
}

#[test]
fn every_fault_of_a_window_is_told() {
    let window = window(
        "shop/wrong",
        "Freeze",
        &[
            BROKEN,
            "namespaceSelector: {}",
            "releaseSelector: {matchExpressions: [{key: a, operator: In}]}",
            "covers: []",
        ],
    );
    let faults = window.faults(OPERATOR);
    for part in ["five fields", "releaseSelector: operator In", "leave it out", "covers is empty"] {
        assert!(faults.iter().any(|fault| fault.contains(part)), "{part} is not in {faults:?}");
    }
    assert_eq!(faults.len(), 4, "{faults:?}");
}

#[test]
fn all_that_closes_is_told_the_weightiest_first() {
    let windows = [
        window("shop/night", "Allow", &["schedule: {cron: '0 18 * * *', timeZone: Europe/Berlin, duration: 1h}"]),
        window("shop/broken", "Freeze", &[BROKEN]),
        window("platform/christmas", "Freeze", &[CHRISTMAS]),
    ];
    let verdict = verdict(&windows, Exposure::Start, FROZEN);
    assert_eq!(verdict.reason, WindowReason::Frozen);
    let order =
        ["platform/christmas", "shop/broken", "until allow window shop/night opens at 2026-12-23T18:00 Europe/Berlin"];
    let places: Vec<_> = order.iter().map(|part| verdict.message.find(part).expect(part)).collect();
    assert!(places.is_sorted(), "{}", verdict.message);
}

#[test]
fn the_next_change_is_when_all_windows_together_say_something_else() {
    let office = window("platform/office", "Allow", &[OFFICE]);
    let lunch =
        window("platform/lunch", "Allow", &["schedule: {cron: '0 12 * * *', timeZone: Europe/Berlin, duration: 1h}"]);
    let christmas = window("platform/christmas", "Freeze", &[CHRISTMAS]);
    for (windows, now, change) in [
        // Lunch begins and ends within office hours, and changes nothing.
        (vec![office.clone(), lunch.clone()], OPEN, "2026-11-25T16:00:00Z"),
        (vec![office.clone()], EVENING, "2026-11-26T08:00:00Z"),
        // The freeze ends at midnight, but the office opens only at nine on that Monday.
        (vec![office.clone(), christmas.clone()], FROZEN, "2027-01-04T08:00:00Z"),
        (vec![christmas.clone()], OPEN, "2026-12-19T23:00:00Z"),
    ] {
        let before = verdict(&windows, Exposure::Start, now);
        assert_eq!(before.next_change, Some(change.parse().unwrap()), "{windows:?}");
        assert_ne!(verdict(&windows, Exposure::Start, change).open, before.open, "{windows:?}");
    }
}

#[test]
fn an_open_verdict_names_the_windows_that_opened_it() {
    let office = window("shop/office", "Allow", &[OFFICE, "reason: Somebody is there"]);
    let verdict = verdict(&[office, window("platform/christmas", "Freeze", &[CHRISTMAS])], Exposure::Start, OPEN);
    assert_eq!(
        verdict.message,
        "open: allowed by shop/office (Somebody is there) until 2026-11-25T17:00 Europe/Berlin"
    );
    let name = |namespace: &str, name: &str, reason: &str| WindowName {
        namespace: namespace.into(),
        name: name.into(),
        reason: Some(reason.into()),
    };
    assert_eq!(verdict.windows, [name("shop", "office", "Somebody is there")]);
}

#[test]
fn allow_windows_that_wait_are_told_in_the_order_in_which_they_open_and_not_endlessly() {
    let at = |hour: i32| {
        let schedule = format!("schedule: {{cron: '0 {hour} * * *', timeZone: UTC, duration: 10m}}");
        window(&format!("shop/at-{hour}"), "Allow", &[&schedule])
    };
    let past = window("shop/past", "Allow", &[CHRISTMAS]);
    let two = verdict(&[at(22), past.clone(), at(20)], Exposure::Start, "2027-11-25T19:00:00Z");
    assert_eq!(
        two.message,
        "closed until allow window shop/at-20 opens at 2027-11-25T20:00 UTC or shop/at-22 opens at 2027-11-25T22:00 UTC"
    );
    let many = verdict(&(0..9).map(at).collect::<Vec<_>>(), Exposure::Start, EVENING);
    assert!(many.message.ends_with("shop/at-4 opens at 2026-11-26T04:00 UTC and 4 more"), "{}", many.message);
    assert_eq!(many.windows.len(), 9);
    let never = verdict(&[past], Exposure::Start, "2027-11-25T19:00:00Z");
    assert_eq!(never.message, "closed for good, as no allow window opens again: shop/past");
    assert_eq!(never.next_change, None);
}

#[test]
fn a_change_behind_many_others_is_looked_for_again_later() {
    // The office opens and closes every working day, and the freeze outlasts more of that than is looked at.
    let freeze = "schedule: {from: '2026-01-01T00:00:00', until: '2028-01-01T00:00:00', timeZone: UTC}";
    let windows = [window("shop/office", "Allow", &[OFFICE]), window("platform/long", "Freeze", &[freeze])];
    let mut now: Timestamp = OPEN.parse().unwrap();
    let mut looks = 0;
    loop {
        let verdict = verdict(&windows, Exposure::Start, &now.to_string());
        if verdict.open {
            break;
        }
        now = verdict.next_change.filter(|next| *next > now).unwrap();
        looks += 1;
    }
    // Monday after New Year, nine o'clock in Berlin.
    assert_eq!((now.to_string().as_str(), looks > 5), ("2028-01-03T08:00:00Z", true), "{looks}");
}

#[test]
fn a_namespace_selector_of_a_team_is_a_fault_that_touches_no_other_team() {
    let theirs = window("pay/wide", "Freeze", &[CHRISTMAS, "namespaceSelector: {}"]);
    let ours = window("shop/wide", "Freeze", &[CHRISTMAS, "namespaceSelector: {}"]);
    check(&[theirs], FROZEN, WindowReason::Open);
    check(std::slice::from_ref(&ours), OPEN, WindowReason::InvalidWindow);
    assert_eq!(ours.at(OPERATOR, FROZEN.parse().unwrap()), None);
}

#[test]
fn what_a_window_says_does_not_depend_on_what_it_was_asked_before() {
    let endless = "schedule: {start: '2020-01-01T00:00:00', timeZone: UTC, duration: 24h, recurrence: FREQ=DAILY}";
    for spec in [OFFICE, CHRISTMAS, endless] {
        let window = window("platform/any", "Freeze", &[spec]);
        let calendar = Calendar::parse(&window.0.observed.spec.schedule).unwrap();
        for now in
            [OPEN, OPEN, EVENING, FROZEN, OPEN, "2026-11-25T09:30:00Z", "2026-11-25T16:00:00Z", "2030-01-01T00:00:00Z"]
        {
            let now = now.parse().unwrap();
            assert_eq!(window.at(OPERATOR, now), Some(calendar.at(now)), "{spec} at {now}");
        }
    }
}

#[test]
fn a_recorded_window_is_the_same_when_it_is_replayed() {
    for spec in [CHRISTMAS, OFFICE, BROKEN] {
        let window = window("platform/any", "Freeze", &[spec, "reason: any", "covers: [Start]"]);
        let replayed = serde_json::from_value(serde_json::to_value(&window).unwrap()).unwrap();
        assert_eq!(window, replayed);
    }
}

#[test]
fn the_samples_are_sound_and_do_what_their_comments_say() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/samples/windows.yaml")).unwrap();
    let windows: Vec<WindowView> = text
        .split("\n---\n")
        .map(|document| {
            let value: serde_json::Value = serde_saphyr::from_str(document).unwrap();
            let part = |path: &str| value.pointer(path).unwrap().clone();
            serde_json::from_value(serde_json::json!({
                "namespace": part("/metadata/namespace"), "name": part("/metadata/name"), "spec": part("/spec"),
            }))
            .unwrap()
        })
        .collect();
    let labels = BTreeMap::from([("tier".to_owned(), "critical".to_owned())]);
    let release = ReleaseFacts { namespace: "shop", labels: &labels, namespace_labels: &BTreeMap::new() };
    for window in &windows {
        assert_eq!(window.faults("lockkeeper-system"), Vec::<String>::new(), "{}", window.name());
    }
    for (now, reason) in [
        ("2026-11-25T09:00:00Z", WindowReason::Open),
        ("2026-11-23T09:00:00Z", WindowReason::OutsideWindow),
        ("2026-11-25T22:00:00Z", WindowReason::Frozen),
        (FROZEN, WindowReason::Frozen),
    ] {
        let verdict = evaluate(&windows, &release, "lockkeeper-system", Exposure::Start, now.parse().unwrap());
        assert_eq!(verdict.reason, reason, "{now}: {verdict:?}");
    }
}

#[test]
fn windows_are_equal_if_their_authors_wrote_the_same() {
    let one = || window("shop/office", "Allow", &[OFFICE]);
    assert_eq!(one(), one());
    for other in [
        window("shop/evening", "Allow", &[OFFICE]),
        window("platform/office", "Allow", &[OFFICE]),
        window("shop/office", "Freeze", &[OFFICE]),
        window("shop/office", "Allow", &[CHRISTMAS]),
    ] {
        assert_ne!(one(), other);
    }
}

#[test]
fn of_both_layers_the_platforms_word_comes_first() {
    let windows = [window("shop/team", "Freeze", &[CHRISTMAS]), window("platform/company", "Freeze", &[CHRISTMAS])];
    let verdict = verdict(&windows, Exposure::Start, FROZEN);
    let names: Vec<_> = verdict.windows.iter().map(|window| window.name.as_str()).collect();
    assert_eq!(names, ["company", "team"], "{verdict:?}");
}
