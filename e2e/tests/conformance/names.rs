//! Names that each world makes up for itself, replaced by such as both have.

use lockkeeper_simulator::api::Kind;
use lockkeeper_simulator::api::object::{name, text};
use serde_json::Value;

/// What stands for what, in the order in which it was first seen.
#[derive(Debug, Default)]
pub struct Names {
    hashes: Vec<String>,
    revisions: Vec<String>,
}

impl Names {
    /// Takes notice of the hashes by which the pods of ReplicaSets are told apart: each world computes its own.
    pub fn learn(&mut self, objects: &[(Kind, Value)]) {
        self.learn_revisions(objects);
        let sets = objects.iter().filter(|(kind, _)| *kind == Kind::ReplicaSet).map(|(_, set)| set);
        let mut new: Vec<(String, String, String, &str)> = sets
            .map(|set| {
                let hash = text(&set["spec"]["selector"]["matchLabels"]["pod-template-hash"]);
                let image = set["spec"]["template"]["spec"]["containers"].to_string();
                // Those that are first seen together, by age; those of one second by what they run.
                (text(&set["metadata"]["creationTimestamp"]).to_owned(), image, name(set).to_owned(), hash)
            })
            .filter(|(.., hash)| !hash.is_empty() && !self.hashes.iter().any(|known| known == hash))
            .collect();
        new.sort();
        new.dedup_by(|a, b| a.3 == b.3);
        let new: Vec<String> = new.into_iter().map(|(.., hash)| hash.to_owned()).collect();
        self.hashes.extend(new);
    }

    /// The same of the revisions of Releases: they are digests of templates, which the real API server completes with defaults.
    fn learn_revisions(&mut self, objects: &[(Kind, Value)]) {
        let releases = objects.iter().filter(|(kind, _)| *kind == Kind::Release);
        for (_, release) in releases {
            for which in ["previous", "stable", "candidate"] {
                let revision = text(&release["status"][which]["revision"]);
                if !revision.is_empty() && !self.revisions.iter().any(|known| known == revision) {
                    self.revisions.push(revision.to_owned());
                }
            }
        }
    }

    /// A text without what is this world's own.
    pub fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (what, names) in [("HASH", &self.hashes), ("REVISION", &self.revisions)] {
            for (index, name) in names.iter().enumerate() {
                text = text.replace(name.as_str(), &format!("{what}{}", index + 1));
            }
        }
        without_uids(&text)
    }
}

/// UIDs are random in the one world and counted in the other.
fn without_uids(text: &str) -> String {
    let is_uid = |word: &str| {
        let groups: Vec<usize> = word.split('-').map(str::len).collect();
        groups == [8, 4, 4, 4, 12] && word.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
    };
    let parts = text.split_inclusive(|c: char| !(c == '-' || c.is_ascii_hexdigit()));
    parts
        .map(|part| {
            let word = part.trim_end_matches(|c: char| !(c == '-' || c.is_ascii_hexdigit()));
            if is_uid(word) { format!("UID{}", &part[word.len()..]) } else { part.to_owned() }
        })
        .collect()
}
