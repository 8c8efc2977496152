//! Refusals, as the API server words them.

use serde_json::{Value, json};

use super::Key;

/// Why a request is refused: an API server's `Status`.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// HTTP code.
    pub code: u16,
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    details: Value,
}

impl Status {
    /// A refusal.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null }
    }

    fn about(mut self, key: &Key) -> Self {
        let served = key.kind.served();
        // The real one says the plural where it should say the kind.
        self.details = json!({"name": key.name, "group": served.group, "kind": served.plural});
        self
    }

    /// No such object.
    pub fn not_found(key: &Key) -> Self {
        Self::new(404, "NotFound", format!("{} \"{}\" not found", key.kind.qualified(), key.name)).about(key)
    }

    /// There is one of this name.
    pub fn already_exists(key: &Key) -> Self {
        Self::new(409, "AlreadyExists", format!("{} \"{}\" already exists", key.kind.qualified(), key.name)).about(key)
    }

    /// It has changed meanwhile.
    pub fn conflict(key: &Key) -> Self {
        Self::unfulfilled(
            key,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// The same, for a reason that is told first.
    pub fn because(mut self, why: &str) -> Self {
        self.message = format!("{why}: {}", self.message);
        self
    }

    /// A condition of a deletion does not hold. The real one says the kind where it should say the plural.
    pub fn unmet(key: &Key, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{}\": {why}", key.kind.qualified_kind(), key.name);
        Self::new(409, "Conflict", message).about(key)
    }

    /// An update does not say on which version it was decided.
    pub fn invalid_version(key: &Key, why: &str) -> Self {
        let mut status = Self::invalid(key, &[("metadata.resourceVersion".into(), why.into())]);
        status.message =
            format!("{} \"{}\" is invalid: metadata.resourceVersion: {why}", key.kind.qualified(), key.name);
        status
    }

    /// A condition of the request does not hold.
    pub fn unfulfilled(key: &Key, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{}\": {why}", key.kind.qualified(), key.name);
        Self::new(409, "Conflict", message).about(key)
    }

    /// The object is not as its kind has to be; each cause is a field and a sentence.
    pub fn invalid(key: &Key, causes: &[(String, String)]) -> Self {
        let all: Vec<String> = causes.iter().map(|(field, message)| format!("{field}: {message}")).collect();
        let kind = key.kind.qualified_kind();
        let all = if all.len() == 1 { all.concat() } else { format!("[{}]", all.join(", ")) };
        let mut status = Self::new(422, "Invalid", format!("{kind} \"{}\" is invalid: {all}", key.name)).about(key);
        let causes = causes
            .iter()
            .map(|(field, message)| json!({"reason": "FieldValueInvalid", "message": message, "field": field}));
        status.details["causes"] = causes.collect();
        status
    }

    /// A JSON patch whose test does not hold, or that does not fit the object.
    pub fn rejected_patch() -> Self {
        Self::new(422, "Invalid", "the server rejected our request due to an error in our request")
    }

    /// An admission policy says no.
    pub fn denied(key: &Key, policy: &str, message: &str) -> Self {
        let why = format!("ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {message}");
        let message = format!("{} \"{}\" is forbidden: {why}", key.kind.qualified(), key.name);
        let mut status = Self::new(403, "Forbidden", message).about(key);
        status.details["causes"] = json!([{"message": why}]);
        status
    }

    /// The request cannot be read.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// Nothing is served there.
    pub fn unknown_place() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// The resource version of a watch or list is gone.
    pub fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// As it is sent.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if !self.details.is_null() {
            body["details"] = self.details.clone();
        }
        body
    }
}
