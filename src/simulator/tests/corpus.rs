//! The corpus of the fuzzer (`make fuzz`), replayed: what was found once stays mended, without a fuzzer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

#[path = "../../../fuzz/lib.rs"]
mod fuzz;

use std::{collections::BTreeSet, fs, panic, path::Path};

/// Each target has a corpus, and nothing in it breaks what the target asserts.
#[test]
fn the_corpus_of_each_target_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let there: BTreeSet<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let known: BTreeSet<_> = fuzz::TARGETS.iter().map(|(name, _)| (*name).into()).collect();
    assert_eq!(there, known, "directories of fuzz/corpus and targets in fuzz/lib.rs");
    let mut broken = Vec::new();
    for (name, target) in fuzz::TARGETS {
        for entry in fs::read_dir(corpus.join(name)).unwrap() {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            // Each prints why; then all that are broken are known.
            if panic::catch_unwind(|| target(&input)).is_err() {
                broken.push(path);
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
