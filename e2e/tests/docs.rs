//! Docs that say something checkable: links point to what is there, and the table of rights is the role.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Markdown files that are ours.
fn documents(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["target", ".git", "node_modules"].contains(&name.as_str()) {
            documents(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// Text outside of fenced blocks and of `code`.
fn prose(markdown: &str) -> String {
    let outside = markdown.split("```").step_by(2).collect::<String>();
    outside.split('`').step_by(2).collect()
}

/// Targets of `[text](target)` that are no addresses.
fn links(markdown: &str) -> Vec<String> {
    let after = markdown.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    after.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

/// What forges make of headings.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let outside = markdown.split("```").step_by(2).collect::<String>();
    let headings = outside.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let slug = |heading: &str| {
        let kept =
            heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
        kept.replace(' ', "-")
    };
    headings.map(slug).collect()
}

/// What is wrong with the links of a document.
fn broken(document: &Path, markdown: &str) -> Vec<String> {
    let wrong = links(&prose(markdown)).into_iter().filter(|link| {
        let (path, anchor) = link.split_once('#').map_or((link.as_str(), None), |(path, anchor)| (path, Some(anchor)));
        let target = if path.is_empty() { document.to_owned() } else { document.parent().unwrap().join(path) };
        let found = target.exists();
        !found || anchor.is_some_and(|anchor| !anchors(&fs::read_to_string(&target).unwrap()).contains(anchor))
    });
    wrong.map(|link| format!("{}: {link}", document.display())).collect()
}

#[test]
fn links_point_to_what_is_there() {
    let mut found = Vec::new();
    documents(&root(), &mut found);
    assert!(found.len() >= 5, "there are only {found:?}");
    let wrong: Vec<String> = found.iter().flat_map(|path| broken(path, &fs::read_to_string(path).unwrap())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_broken_link_is_seen() {
    let readme = root().join("README.md");
    let text = "[a](nowhere.md) [b](#no-such-heading) [c](CONTRIBUTING.md#nor-this) [d](#lockkeeper) `[e](code)`\n# Lockkeeper";
    assert_eq!(broken(&readme, text).len(), 3, "{:?}", broken(&readme, text));
}

fn listed(rule: &Value, key: &str) -> String {
    let words = rule[key].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    words.map(|word| if word.is_empty() { "core" } else { word }).collect::<Vec<_>>().join(", ")
}

/// SECURITY.md has a row for each rule of the operator's roles, in order, with a reason.
#[test]
fn the_table_of_rights_is_the_role() {
    let roles = fs::read_to_string(root().join("charts/lockkeeper/files/rbac/operator.yaml")).unwrap();
    let roles: Vec<Value> = serde_saphyr::from_multiple(&roles).unwrap();
    let rules = roles.iter().filter_map(|role| role["rules"].as_array()).flatten();
    let expected: Vec<String> = rules
        .map(|rule| format!("{}: {} | {}", listed(rule, "apiGroups"), listed(rule, "resources"), listed(rule, "verbs")))
        .collect();
    let security = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let section = security.split("## What each right is for").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let told: Vec<String> = rows
        .iter()
        .map(|row| {
            let (right, reason) = row.trim_matches(['|', ' ']).rsplit_once(" | ").unwrap();
            assert!(reason.len() > 3, "no reason: {row}");
            right.to_owned()
        })
        .collect();
    assert_eq!(told, expected);
}
