//! The admission policies that Lockkeeper relies on: their text, and whether the API server has them as they were written.
//!
//! People decide by Decisions whose author the policy `lockkeeper-decision` has checked. While [`guard`] does not find it
//! [`Guard::Intact`], no Decision counts.

mod compare;

use std::borrow::Borrow;

use kube::{ResourceExt, api::DynamicObject};
use serde_json::Value;

use crate::settings::ServiceAccount;

/// The operator's user in the files of the chart (`charts/lockkeeper/files/policies`).
pub const OPERATOR_USER: &str = "system:serviceaccount:lockkeeper-system:lockkeeper";
/// The variable of the decision policy that lists the service accounts that may decide.
const APPROVING_SERVICE_ACCOUNTS: &str = "approvingServiceAccounts";

/// How foreign writes to what a release holds are dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyMode {
    /// They are put right within the same write; needs `MutatingAdmissionPolicy` in v1 (Kubernetes 1.36).
    Mutating,
    /// They are refused, but for those to Services; the operator keeps managed Deployments paused at rest.
    Validating,
}

/// One policy with its binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// A new version waits for its release, and a held Deployment stays held.
    Hold,
    /// A Release's requester is who the API server says.
    Author,
    /// The stable Service keeps its pin. Only where that can be put right: a refusal would stop every Git sync, so there the
    /// operator pins again when it sees a lost pin.
    Pin,
    /// A Decision's author is who the API server says, a person, and holds the verb.
    Decision,
    /// Gates, strategy and rollbackPolicy change only with the verb `govern`.
    Govern,
}

/// What the texts depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySettings {
    /// The user as whom the API server knows the operator (`SelfSubjectReview`).
    pub operator_user: String,
    /// Service accounts whose Decisions are admitted.
    pub approving_service_accounts: Vec<ServiceAccount>,
    /// What the API server is able to do.
    pub mode: PolicyMode,
}

/// Whether policies are in force as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// All of them.
    Intact,
    /// At least one is not; the sentence names the object, what is missing or altered, and the mend.
    Broken(String),
}

/// A text below `files/policies` of the chart that this build cannot read: a fault of the build.
#[derive(Debug, thiserror::Error)]
#[error("policy {policy:?} of this build cannot be read: {source}")]
pub struct TextError {
    policy: Policy,
    source: serde_saphyr::Error,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Hold, Self::Author, Self::Pin, Self::Decision, Self::Govern];

    const fn text(self, mode: PolicyMode) -> Option<&'static str> {
        Some(match (self, mode) {
            (Self::Hold, PolicyMode::Mutating) => {
                include_str!("../../charts/lockkeeper/files/policies/mutating/hold.yaml")
            }
            (Self::Hold, PolicyMode::Validating) => {
                include_str!("../../charts/lockkeeper/files/policies/validating/hold.yaml")
            }
            (Self::Author, PolicyMode::Mutating) => {
                include_str!("../../charts/lockkeeper/files/policies/mutating/author.yaml")
            }
            (Self::Author, PolicyMode::Validating) => {
                include_str!("../../charts/lockkeeper/files/policies/validating/author.yaml")
            }
            (Self::Pin, PolicyMode::Mutating) => {
                include_str!("../../charts/lockkeeper/files/policies/mutating/pin.yaml")
            }
            (Self::Pin, PolicyMode::Validating) => return None,
            (Self::Decision, PolicyMode::Mutating | PolicyMode::Validating) => {
                include_str!("../../charts/lockkeeper/files/policies/common/decision.yaml")
            }
            (Self::Govern, PolicyMode::Mutating | PolicyMode::Validating) => {
                include_str!("../../charts/lockkeeper/files/policies/common/govern.yaml")
            }
        })
    }

    /// The policy and its binding, as they are to be; none where the mode has no such policy.
    ///
    /// # Errors
    /// If the text of this build cannot be read.
    pub fn render(self, settings: &PolicySettings) -> Result<Vec<DynamicObject>, TextError> {
        let Some(text) = self.text(settings.mode) else { return Ok(Vec::new()) };
        let mut objects: Vec<DynamicObject> =
            serde_saphyr::from_multiple(text).map_err(|source| TextError { policy: self, source })?;
        for object in &mut objects {
            name_operator(&mut object.data, &format!("'{OPERATOR_USER}'"), &cel_string(&settings.operator_user));
            name_approvers(&mut object.data, &settings.approving_service_accounts);
        }
        Ok(objects)
    }
}

/// Each policy that the mode has, with its objects as they are to be.
pub type Rendered = Vec<(Policy, Vec<DynamicObject>)>;

/// Each policy that the mode has, with its objects as they are to be.
///
/// # Errors
/// If a text of this build cannot be read.
pub fn render_each(settings: &PolicySettings) -> Result<Rendered, TextError> {
    let each = Policy::ALL.into_iter().map(|policy| policy.render(settings).map(|objects| (policy, objects)));
    let each: Rendered = each.collect::<Result<_, _>>()?;
    Ok(each.into_iter().filter(|(_, objects)| !objects.is_empty()).collect())
}

/// All policies and their bindings, as they are to be.
///
/// # Errors
/// If a text of this build cannot be read.
pub fn render(settings: &PolicySettings) -> Result<Vec<DynamicObject>, TextError> {
    Ok(render_each(settings)?.into_iter().flat_map(|(_, objects)| objects).collect())
}

/// Whether every expected policy and binding is among the live ones, with the same effect.
///
/// What the API server adds as a default is no difference; anything else is one, also what this version does not know.
/// `live` may hold other objects too. The parts beside `spec` are not looked at.
pub fn guard(live: &[impl Borrow<DynamicObject>], expected: &[DynamicObject]) -> Guard {
    expected.iter().find_map(|object| fault(live, object)).map_or(Guard::Intact, Guard::Broken)
}

fn fault(live: &[impl Borrow<DynamicObject>], expected: &DynamicObject) -> Option<String> {
    let (kind, name) = (kind(expected), expected.name_any());
    let mut live = live.iter().map(Borrow::borrow);
    let mend = "apply Lockkeeper's policies again: helm upgrade, or kubectl apply -k config/default";
    match live.find(|object| self::kind(object) == kind && object.metadata.name.as_ref() == Some(&name)) {
        None => Some(format!("{kind} {name} is missing: {mend}")),
        Some(found) => compare::difference(&expected.data["spec"], &found.data["spec"])
            .map(|difference| format!("{kind} {name} was altered: {difference}; {mend}")),
    }
}

/// Objects out of a list do not say their kind; only a binding names a policy, and only a mutating policy has mutations.
fn kind(object: &DynamicObject) -> &str {
    match &object.types {
        Some(types) => &types.kind,
        None => {
            let has = |field| object.data["spec"].get(field).is_some();
            match (has("policyName"), has("validationActions"), has("mutations")) {
                (true, true, _) => "ValidatingAdmissionPolicyBinding",
                (true, false, _) => "MutatingAdmissionPolicyBinding",
                (false, _, true) => "MutatingAdmissionPolicy",
                (false, _, false) => "ValidatingAdmissionPolicy",
            }
        }
    }
}

fn name_operator(value: &mut Value, written: &str, actual: &str) {
    match value {
        Value::String(text) => *text = text.replace(written, actual),
        Value::Array(items) => items.iter_mut().for_each(|item| name_operator(item, written, actual)),
        Value::Object(fields) => fields.values_mut().for_each(|field| name_operator(field, written, actual)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn name_approvers(data: &mut Value, accounts: &[ServiceAccount]) {
    let variables = data.pointer_mut("/spec/variables").and_then(Value::as_array_mut);
    for variable in variables.into_iter().flatten().filter(|variable| variable["name"] == APPROVING_SERVICE_ACCOUNTS) {
        let names: Vec<String> = accounts.iter().map(|account| cel_string(&account.username())).collect();
        variable["expression"] = format!("[{}]", names.join(", ")).into();
    }
}

/// A string literal of CEL: a user name may hold anything.
fn cel_string(text: &str) -> String {
    let mut literal = String::from("'");
    for character in text.chars() {
        match character {
            '\'' | '\\' => literal.extend(['\\', character]),
            c if c.is_control() => literal.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => literal.push(c),
        }
    }
    literal + "'"
}

#[cfg(test)]
mod tests;
