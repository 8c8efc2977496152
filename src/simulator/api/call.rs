//! From an HTTP request to what is asked for.

use std::borrow::Cow;

use http::{Method, request::Parts};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{Key, Kind, Patch, Preconditions, Propagation, Selector, Status};

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Verb {
    /// One object.
    Get,
    /// Those that a selector is about.
    List(Selector),
    /// Their changes.
    Watch {
        /// Which.
        selector: Selector,
        /// After this resource version; from what there is now, which is told first, without one.
        from: Option<u64>,
        /// How long, in seconds.
        seconds: u64,
        /// Whether a bookmark ends the tale of what there is now.
        initial: bool,
    },
    /// A new object.
    Create(Value),
    /// The object as it is to be.
    Replace(Value),
    /// A change.
    Patch(Patch),
    /// Its end.
    Delete(Preconditions, Option<u32>),
}

/// A request about objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Kind, namespace (empty: all) and name (empty: several).
    pub key: Key,
    /// Status, scale, or none.
    pub subresource: String,
    /// Who manages the fields that are changed.
    pub manager: Option<String>,
    /// What is asked.
    pub verb: Verb,
}

impl Verb {
    /// Whether it changes something.
    pub fn writes(&self) -> bool {
        match self {
            Self::Get | Self::List(_) | Self::Watch { .. } => false,
            Self::Create(_) | Self::Replace(_) | Self::Patch(_) | Self::Delete(..) => true,
        }
    }

    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List(_) => "list",
            Self::Watch { .. } => "watch",
            Self::Create(_) => "create",
            Self::Replace(_) => "update",
            Self::Patch(_) => "patch",
            Self::Delete(..) => "delete",
        }
    }
}

impl Call {
    /// Reads a request.
    ///
    /// # Errors
    /// 404 for a place where nothing is served, 400 for what cannot be read.
    pub fn read(parts: &Parts, body: &[u8]) -> Result<Self, Status> {
        let (key, subresource) = place(parts.uri.path())?;
        let query = Query::new(parts.uri.query().unwrap_or_default());
        let json = || -> Result<Value, Status> {
            serde_json::from_slice(body).map_err(|error| Status::bad_request(format!("couldn't get JSON: {error}")))
        };
        let verb = match parts.method {
            Method::GET if !key.name.is_empty() => Verb::Get,
            Method::GET => many(&query)?,
            Method::POST => Verb::Create(json()?),
            Method::PUT => Verb::Replace(json()?),
            Method::PATCH => {
                let content = parts.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
                Verb::Patch(Patch::new(content.unwrap_or_default(), json()?)?)
            }
            Method::DELETE => {
                let options: Value = if body.is_empty() { Value::Null } else { json()? };
                let condition = |field: &str| options["preconditions"][field].as_str().map(str::to_owned);
                let propagation = match options["propagationPolicy"].as_str() {
                    Some("Orphan") => Propagation::Orphan,
                    Some("Foreground") => Propagation::Foreground,
                    _ => Propagation::Background,
                };
                let conditions =
                    Preconditions { uid: condition("uid"), version: condition("resourceVersion"), propagation };
                let grace = options["gracePeriodSeconds"].as_u64().and_then(|grace| u32::try_from(grace).ok());
                Verb::Delete(conditions, grace)
            }
            _ => {
                return Err(Status::new(
                    405,
                    "MethodNotAllowed",
                    "the server does not allow this method on the requested resource",
                ));
            }
        };
        Ok(Self { key, subresource, manager: query.get("fieldManager").map(Cow::into_owned), verb })
    }
}

fn many(query: &Query) -> Result<Verb, Status> {
    let text = |name: &str| query.get(name).unwrap_or_default();
    let selector = Selector::parse(&text("labelSelector"), &text("fieldSelector"))?;
    if text("watch") != "true" {
        return Ok(Verb::List(selector));
    }
    let from = match &*text("resourceVersion") {
        "" | "0" => None,
        version => {
            Some(version.parse().map_err(|_| Status::bad_request(format!("invalid resource version {version:?}")))?)
        }
    };
    let initial = text("sendInitialEvents") == "true";
    let seconds = text("timeoutSeconds").parse().unwrap_or(1800);
    Ok(Verb::Watch { selector, from: from.filter(|_| !initial), seconds, initial })
}

/// Kind, namespace, name and subresource of a path.
fn place(path: &str) -> Result<(Key, String), Status> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    let decoded: Vec<Cow<'_, str>> = parts.map(|part| percent_decode_str(part).decode_utf8_lossy()).collect();
    let parts: Vec<&str> = decoded.iter().map(|part| &**part).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Err(Status::unknown_place()),
    };
    let (namespace, rest) = match rest {
        // A namespace is itself an object; what follows it is within it, unless it is a subresource.
        ["namespaces", namespace, rest @ ..] if !matches!(rest, [] | ["status" | "finalize"]) => (*namespace, rest),
        rest => ("", rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, "", ""),
        [plural, name] => (*plural, *name, ""),
        [plural, name, subresource] => (*plural, *name, *subresource),
        _ => return Err(Status::unknown_place()),
    };
    let kind = Kind::find(group, version, plural).ok_or_else(Status::unknown_place)?;
    Ok((Key::new(kind, namespace, name), subresource.into()))
}

struct Query<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Query<'a> {
    fn new(query: &'a str) -> Self {
        Self(query.split('&').filter_map(|pair| pair.split_once('=')).collect())
    }

    fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        let (_, value) = self.0.iter().find(|(key, _)| *key == name)?;
        Some(if value.contains('+') {
            Cow::Owned(percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
        } else {
            percent_decode_str(value).decode_utf8_lossy()
        })
    }
}
