//! Files that users give, read.

use std::{fs, io::Read, path::PathBuf};

use lockkeeper_simulator::rehearse::Manifest;

use crate::error::Error;

/// Reads one file, or standard input where the name is `-`.
///
/// # Errors
/// If it cannot be read.
pub fn text(name: &str) -> Result<String, Error> {
    let mut text = String::new();
    let read =
        if name == "-" { std::io::stdin().read_to_string(&mut text).map(|_| text) } else { fs::read_to_string(name) };
    read.map_err(|source| Error::Unreadable { path: PathBuf::from(name), source })
}

/// Reads what users have in Git.
///
/// # Errors
/// If a file cannot be read, or everything that is wrong with them.
pub fn manifest(names: &[String], namespace: &str) -> Result<Manifest, Error> {
    let read: Result<Vec<(String, String)>, Error> = names.iter().map(|name| Ok((name.clone(), text(name)?))).collect();
    Manifest::read(&read?, namespace).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Error::Input(lines.join("\n       "))
    })
}
