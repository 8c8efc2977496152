//! Requests as data, and their way through a `kube::Client`.

use std::fmt;

use anyhow::{Context, Result};
use futures::io::AsyncBufReadExt;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use lockkeeper_simulator::api::Kind;
use serde_json::Value;

/// How a patch is written.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    Json,
    Merge,
    Strategic,
    /// Server-side apply, forced, by manager `conformance`.
    Apply,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Ask {
    pub kind: Kind,
    pub name: Option<String>,
    method: Method,
    subresource: &'static str,
    query: String,
    /// How it is told of where the name is this world's own.
    alias: Option<&'static str>,
    content_type: &'static str,
    body: Value,
}

/// The lines of a watch.
pub type Lines = BoxStream<'static, std::io::Result<String>>;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub body: Value,
}

impl Ask {
    fn new(kind: Kind, method: Method, name: Option<&str>, body: Value) -> Ask {
        let name = name.map(str::to_owned);
        let (subresource, query, content_type) = ("", String::new(), "application/json");
        Ask { kind, name, method, subresource, query, alias: None, content_type, body }
    }

    pub fn get(kind: Kind, name: &str) -> Ask {
        Self::new(kind, Method::GET, Some(name), Value::Null)
    }

    pub fn list(kind: Kind, query: &[(&str, &str)]) -> Ask {
        Self::new(kind, Method::GET, None, Value::Null).with(query)
    }

    pub fn watch(kind: Kind, query: &[(&str, &str)]) -> Ask {
        Self::list(kind, &[&[("watch", "true")], query].concat())
    }

    pub fn create(kind: Kind, mut object: Value) -> Ask {
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.served().kind.into();
        Self::new(kind, Method::POST, None, object)
    }

    pub fn replace(kind: Kind, name: &str, object: Value) -> Ask {
        Self::new(kind, Method::PUT, Some(name), object)
    }

    pub fn delete(kind: Kind, name: &str, options: Value) -> Ask {
        Self::new(kind, Method::DELETE, Some(name), options)
    }

    pub fn patch(kind: Kind, name: &str, form: Form, patch: Value) -> Ask {
        let ask = Self::new(kind, Method::PATCH, Some(name), patch);
        match form {
            Form::Json => Ask { content_type: "application/json-patch+json", ..ask },
            Form::Merge => Ask { content_type: "application/merge-patch+json", ..ask },
            Form::Strategic => Ask { content_type: "application/strategic-merge-patch+json", ..ask },
            Form::Apply => Ask { content_type: "application/apply-patch+yaml", ..ask }
                .with(&[("fieldManager", "conformance"), ("force", "true")]),
        }
    }

    /// Of a part of the object: `status` or `scale`.
    pub fn of(self, subresource: &'static str) -> Ask {
        Ask { subresource, ..self }
    }

    /// Told of by this name, because its own is random.
    pub fn called(self, alias: &'static str) -> Ask {
        Ask { alias: Some(alias), ..self }
    }

    fn with(self, query: &[(&str, &str)]) -> Ask {
        let query: Vec<String> = query.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        Ask { query: query.join("&"), ..self }
    }

    pub fn writes(&self) -> bool {
        self.method != Method::GET
    }

    fn request(&self, namespace: &str) -> Result<Request<Body>> {
        let served = self.kind.served();
        let mut path = match served.group {
            "" => format!("/api/{}", served.version),
            group => format!("/apis/{group}/{}", served.version),
        };
        path.push_str(&format!("/namespaces/{namespace}/{}", served.plural));
        for part in self.name.as_deref().into_iter().chain(Some(self.subresource).filter(|part| !part.is_empty())) {
            path.push('/');
            path.push_str(part);
        }
        if !self.query.is_empty() {
            path.push_str(&format!("?{}", self.query));
        }
        let body = if self.body.is_null() { Body::empty() } else { Body::from(serde_json::to_vec(&self.body)?) };
        let request = Request::builder().method(self.method.clone()).uri(path);
        Ok(request.header("content-type", self.content_type).body(body)?)
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.kind.served().plural)?;
        let name = self.alias.or(self.name.as_deref());
        for part in name.into_iter().chain(Some(self.subresource).filter(|part| !part.is_empty())) {
            write!(f, "/{part}")?;
        }
        if !self.query.is_empty() {
            write!(f, "?{}", without_numbers(&self.query))?;
        }
        if let Some(form) = self.content_type.strip_prefix("application/").filter(|form| *form != "json") {
            write!(f, " {}", form.split('+').next().unwrap_or(form))?;
        }
        if self.body.is_null() { Ok(()) } else { write!(f, " {}", without_version(&self.body)) }
    }
}

/// Each world has versions of its own.
fn without_numbers(query: &str) -> String {
    let known = |value: &str| value.len() < 2 || !value.chars().all(|c| c.is_ascii_digit());
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some(("resourceVersion", value)) if !known(value) => "resourceVersion=(some)",
        Some(_) | None => pair,
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// The same of bodies.
fn without_version(body: &Value) -> Value {
    let mut body = body.clone();
    for parent in ["/metadata", "/preconditions"] {
        if let Some(version) = body.pointer_mut(parent).and_then(|parent| parent.get_mut("resourceVersion")) {
            *version = "(some)".into();
        }
    }
    for operation in body.as_array_mut().into_iter().flatten() {
        if operation["path"] == "/metadata/resourceVersion" && operation["value"].as_str().is_some_and(|v| v.len() > 1)
        {
            operation["value"] = "(some)".into();
        }
    }
    for field in ["creationTimestamp", "managedFields", "uid"] {
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove(field);
        }
    }
    body
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Sends a request, whatever the answer.
pub async fn send(client: Client, ask: &Ask, namespace: &str) -> Result<Answer> {
    let answer = client.send(ask.request(namespace)?).await.with_context(|| ask.to_string())?;
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(Answer { code, body: serde_json::from_slice(&body).unwrap_or_default() })
}

/// Sends a request whose answer comes line by line.
pub async fn open(client: Client, ask: &Ask, namespace: &str) -> Result<(u16, Lines)> {
    let answer = client.send(ask.request(namespace)?).await.with_context(|| ask.to_string())?;
    let code = answer.status().as_u16();
    let bytes = answer.into_body().into_data_stream().map_err(std::io::Error::other);
    Ok((code, bytes.into_async_read().lines().boxed()))
}
