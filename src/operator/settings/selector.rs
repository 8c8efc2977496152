//! Label selectors as kubectl writes them.

use std::{collections::BTreeSet, fmt, str::FromStr};

use kube::core::{Expression, Selector};

/// Selects Releases by their labels; the empty one selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseSelector(Selector);

impl ReleaseSelector {
    /// Whether it selects every Release.
    pub fn selects_all(&self) -> bool {
        self.0.selects_all()
    }

    /// For a watch or a list; also matches labels itself (`kube::core::SelectorExt`).
    pub fn selector(&self) -> &Selector {
        &self.0
    }
}

impl fmt::Display for ReleaseSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no label selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no requirement on a label: write, comma separated, key=value, key!=value, key in (a,b), key notin (a,b), key or !key, \
     with keys and values as labels may have them"
)]
pub struct SelectorError(String);

impl FromStr for ReleaseSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let requirements = split(text).into_iter().map(str::trim);
        requirements
            .map(|text| requirement(text).ok_or_else(|| SelectorError(text.into())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Splits at the commas that are not within brackets.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0u32;
    text.split(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn requirement(text: &str) -> Option<Expression> {
    if let Some(name) = text.strip_prefix('!') {
        return key(name).map(Expression::DoesNotExist);
    }
    // The longer operators first: each contains the shorter one.
    for (operator, make) in [
        ("!=", Expression::NotEqual as fn(String, String) -> Expression),
        ("==", Expression::Equal),
        ("=", Expression::Equal),
    ] {
        if let Some((name, text)) = text.split_once(operator) {
            return Some(make(key(name)?, value(text)?));
        }
    }
    for (operator, make) in
        [(" notin ", Expression::NotIn as fn(String, BTreeSet<String>) -> Expression), (" in ", Expression::In)]
    {
        if let Some((name, list)) = text.split_once(operator) {
            let list = list.trim().strip_prefix('(')?.strip_suffix(')')?;
            return Some(make(key(name)?, list.split(',').map(value).collect::<Option<_>>()?));
        }
    }
    key(text).map(Expression::Exists)
}

fn key(text: &str) -> Option<String> {
    let text = text.trim();
    let (prefix, name) = text.rsplit_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let prefix_ok = prefix.is_none_or(|prefix| prefix.parse::<super::ObjectName>().is_ok());
    (prefix_ok && !name.is_empty() && is_value(name)).then(|| text.into())
}

fn value(text: &str) -> Option<String> {
    let text = text.trim();
    is_value(text).then(|| text.into())
}

/// Whether a label may have this value, which may be empty; the last part of a key follows the same rule otherwise.
fn is_value(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let outer = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && bytes.iter().copied().all(inner) && outer(bytes.first()) && outer(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_as_kubectl_writes_them() {
        for (text, canonical) in [
            ("", ""),
            ("tier=critical", "tier=critical"),
            ("tier == critical", "tier=critical"),
            ("tier=critical, shard!=b", "tier=critical,shard!=b"),
            ("example.com/shard in (a, b),team", "example.com/shard in (a,b),team"),
            ("shard notin (a),!team", "shard notin (a),!team"),
            ("team=", "team="),
            ("notin in (in)", "notin in (in)"),
        ] {
            let selector: ReleaseSelector = text.parse().unwrap();
            assert_eq!(selector.to_string(), canonical, "{text}");
            assert_eq!(selector.selects_all(), text.is_empty(), "{text}");
        }
    }

    #[test]
    fn what_no_label_can_have_is_refused_with_the_forms_there_are() {
        for text in
            ["a=b c", "=b", "a=b,", "a in b", "a in (b", "a=-b", "-a", "!", "a/b/c", "/a", "a>1", &"a".repeat(64)]
        {
            let error = text.parse::<ReleaseSelector>().unwrap_err().to_string();
            assert!(error.contains("notin (a,b)"), "{text}: {error}");
        }
    }
}
