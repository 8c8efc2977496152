//! `lockkeeper simulate` and `lockkeeper plan` as users run them: output, files, exit codes.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const START: [&str; 2] = ["--start", "2026-11-24T10:00:00Z"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Runs it in the checkout, without any kubeconfig.
fn lockkeeper(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lockkeeper"))
        .args(arguments)
        .current_dir(repository())
        .env("KUBECONFIG", "/nowhere")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn samples() -> Vec<String> {
    let entries = fs::read_dir(repository().join("config/samples")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| format!("config/samples/{}", entry.unwrap().file_name().into_string().unwrap()))
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    names.sort();
    names
}

/// Runs a verb over all samples.
fn over_samples(verb: &str, more: &[&str]) -> Output {
    let samples = samples();
    let all: Vec<&str> =
        [verb].into_iter().chain(samples.iter().map(String::as_str)).chain(more.iter().copied()).collect();
    lockkeeper(&all)
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn the_samples_are_played_in_a_fresh_clone() {
    let output = over_samples("simulate", &START);
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    insta::assert_snapshot!(text(&output.stdout));
}

#[test]
fn the_readme_shows_what_is_printed() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let (_, chapter) = readme.split_once("The end of one:").unwrap();
    let shown = chapter.split("```").nth(1).unwrap();
    let printed = text(&over_samples("simulate", &START).stdout);
    assert!(shown.lines().count() >= 5);
    for line in shown.lines() {
        assert!(printed.contains(line), "the README shows {line:?}, printed is\n{printed}");
    }
}

#[test]
fn every_scenario_of_the_samples_ends_as_it_says() {
    let mut played = 0;
    for entry in fs::read_dir(repository().join("config/samples/scenarios")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".yaml") {
            continue;
        }
        let path = format!("config/samples/scenarios/{name}");
        let start: &[&str] =
            if fs::read_to_string(repository().join(&path)).unwrap().contains("start:") { &[] } else { &START };
        let more = [&["--scenario", &path, "--release", "checkout-web"], start].concat();
        let output = over_samples("simulate", &more);
        assert_eq!(code(&output), 0, "{name}: {}{}", text(&output.stdout), text(&output.stderr));
        insta::assert_snapshot!(name, text(&output.stdout));
        played += 1;
    }
    assert!(played >= 3);
}

#[test]
fn the_plan_of_the_samples_says_when_and_how_long() {
    let output = over_samples("plan", &["--at", "2026-11-24T22:00:00Z"]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    insta::assert_snapshot!(text(&output.stdout));
}

#[test]
fn json_has_what_the_text_has() {
    let output = over_samples("simulate", &[&START[..], &["-o", "json"]].concat());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let bad = &report["releases"][1]["rehearsals"][1];
    assert_eq!((&bad["version"], &bad["end"]["end"]), (&"bad".into(), &"RolledBack".into()));
    assert!(bad["plot"]["weights"].as_array().unwrap().len() > 1);
    assert!(bad["plot"]["checks"][0][1].as_array().unwrap().iter().any(|point| point["success"] == false));
    let output = over_samples("plan", &["--at", "2026-12-24T12:00:00Z", "-o", "json"]);
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["releases"][0]["start"]["now"], false);
    assert_eq!(plan["releases"][0]["start"]["earliest"], "2027-01-03T23:00:00Z");
}

#[test]
fn a_bad_version_that_is_not_caught_has_its_exit_code_and_fails_in_junit() {
    let directory = std::env::temp_dir().join(format!("lockkeeper-simulate-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let policy = fs::read_to_string(repository().join("config/samples/rollback-policy.yaml")).unwrap();
    let blind = directory.join("policy.yaml");
    fs::write(&blind, policy.replace("max: 0.01", "max: 0.06")).unwrap();
    let (junit, html) = (directory.join("junit.xml"), directory.join("page.html"));
    let output = lockkeeper(&[
        "simulate",
        "config/samples/gateway.yaml",
        blind.to_str().unwrap(),
        "--junit",
        junit.to_str().unwrap(),
        "--html",
        html.to_str().unwrap(),
        START[0],
        START[1],
    ]);
    assert_eq!(code(&output), 25);
    assert_eq!(text(&output.stderr), "error: shop/checkout-web: version bad ended Succeeded, expected RolledBack\n");
    assert!(text(&output.stdout).contains("a version with 5 % errors would be promoted"), "{}", text(&output.stdout));
    let junit = fs::read_to_string(&junit).unwrap();
    assert!(junit.contains(r#"<testsuite name="shop/checkout-web" tests="2" failures="1">"#), "{junit}");
    assert!(junit.contains(r#"<failure message="ended Succeeded, expected RolledBack">"#), "{junit}");
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("<svg") && page.contains("prefers-color-scheme: dark"));
    for foreign in ["<script", "http://", "https://", "@import", "url("] {
        assert!(!page.contains(foreign), "the page has {foreign}");
    }
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn the_exit_code_tells_how_it_ended() {
    let scenario = |spec: &str| format!("apiVersion: lockkeeper.dev/v1alpha1\nkind: Scenario\nspec: {spec}\n");
    let directory = std::env::temp_dir().join(format!("lockkeeper-codes-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    for (index, (expected, spec)) in [
        (0, "{versions: [{name: v}]}"),
        (20, "{versions: [{name: v, requests: [{errorRate: 0.05}]}]}"),
        (0, "{versions: [{name: v, expect: RolledBack, requests: [{errorRate: 0.05}]}]}"),
        (21, "{versions: [{name: v}], people: {acts: [{verdict: Abort, at: 1m}]}}"),
        (22, "{versions: [{name: v}], people: {approvals: [{gate: change-board, by: [carol], reject: true}]}}"),
        (24, "{versions: [{name: v}], people: {otherwise: Nobody}}"),
        (25, "{versions: [{name: v, expect: RolledBack}]}"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = directory.join(format!("{index}.yaml"));
        fs::write(&path, scenario(spec)).unwrap();
        let more = [&["--scenario", path.to_str().unwrap(), "--release", "shop/checkout-web"], &START[..]].concat();
        let output = over_samples("simulate", &more);
        assert_eq!(code(&output), expected, "{spec}: {}", text(&output.stdout));
    }
    fs::remove_dir_all(directory).unwrap();
    let invalid = lockkeeper(&["simulate", "config/samples/gateway.yaml", START[0], START[1]]);
    assert_eq!(code(&invalid), 23, "{}", text(&invalid.stdout));
    assert_eq!(code(&lockkeeper(&["plan", "config/samples/gateway.yaml"])), 3);
}

#[test]
fn bad_input_is_refused_with_the_mend() {
    for (arguments, part) in [
        (&["simulate", "config/samples/windows.yaml"][..], "there is no Release: add the file that has it"),
        (&["simulate", "config/samples/scenarios/given-values.yaml"], "a Scenario is given with --scenario"),
        (&["simulate", "config/samples/gateway.yaml", "--release", "other"], "there are shop/checkout-web"),
        (&["simulate", "config/samples/gateway.yaml", "--only", "other"], "there are good, bad"),
        (&["simulate", "config/samples/gateway.yaml", "--start", "tomorrow"], "--start"),
        (&["simulate", "config/samples/gateway.yaml", "--metrics", "config/samples/gateway.yaml"], "time,check,value"),
        (&["simulate", "config/samples/gateway.yaml", "--scenario", "config/samples/gateway.yaml"], "gateway.yaml"),
    ] {
        let output = lockkeeper(arguments);
        assert_eq!((code(&output), text(&output.stdout)), (2, String::new()), "{arguments:?}");
        assert!(text(&output.stderr).contains(part), "{arguments:?}: {}", text(&output.stderr));
    }
    assert_eq!(code(&lockkeeper(&["simulate", "config/samples/none.yaml"])), 1);
}
