//! Whether the rights that an account is granted are those that it uses: no fewer, and no more.
//!
//! Pure, but for `granted`, which asks the API server what is bound to the account. What is used comes from the audit log.

mod live;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::api::rbac::v1::PolicyRule;

pub use live::{Granted, granted};
pub use shape::too_wide;

use crate::audit_log::AuditEntry;

/// A verb on a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Empty for the core group.
    pub group: String,
    /// Plural; a subresource follows after a slash.
    pub resource: String,
    /// Lower case.
    pub verb: String,
}

/// A right on an object, or on any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// What may be done.
    pub right: Right,
    /// To the object of this name; none: whatever its name.
    pub name: Option<String>,
    /// In this namespace; none: everywhere.
    pub namespace: Option<String>,
}

/// What was asked: a right, with the object and where it is. A request to a collection has no name.
pub type Used = Grant;

/// How often something was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All requests.
    pub requests: u64,
    /// Those that were answered with 403.
    pub refused: u64,
}

/// What was asked, and how often.
pub type Uses = BTreeMap<Used, Count>;

/// A right that no request shows, because an admission plugin asks for it while it looks at another request.
#[derive(Clone, Copy, Debug)]
pub struct AskedByAdmission {
    /// API group.
    pub group: &'static str,
    /// Resource and subresource.
    pub resource: &'static str,
    /// Verb.
    pub verb: &'static str,
    /// The test that takes the right away and sees the refusal.
    pub shown_by: &'static str,
}

/// How what is granted and what is used differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Nobody has asked for them.
    pub unused: Vec<Grant>,
    /// Every request that they admitted was in the one namespace: a Role would do.
    pub of_one_namespace: Vec<(Grant, String)>,
    /// Were asked for, and are not granted.
    pub ungranted: Vec<Used>,
    /// Were answered with 403, although they are granted: by a plugin or a policy.
    pub refused: Vec<Used>,
}

impl Right {
    fn admits(&self, asked: &Right) -> bool {
        let matches = |granted: &str, asked: &str| granted == "*" || granted == asked;
        matches(&self.group, &asked.group)
            && matches(&self.resource, &asked.resource)
            && matches(&self.verb, &asked.verb)
    }
}

impl Grant {
    /// As RBAC decides.
    pub fn admits(&self, asked: &Used) -> bool {
        self.right.admits(&asked.right)
            && (self.name.is_none() || self.name == asked.name)
            && (self.namespace.is_none() || self.namespace == asked.namespace)
    }
}

impl From<&Grant> for PolicyRule {
    /// A rule that grants just this, where it is bound.
    fn from(grant: &Grant) -> PolicyRule {
        let Right { group, resource, verb } = &grant.right;
        PolicyRule {
            api_groups: Some(vec![group.clone()]),
            resources: Some(vec![resource.clone()]),
            verbs: vec![verb.clone()],
            resource_names: grant.name.clone().map(|name| vec![name]),
            ..PolicyRule::default()
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Right { group, resource, verb } = &self.right;
        write!(f, "{verb} {resource}")?;
        if !group.is_empty() {
            write!(f, " ({group})")?;
        }
        if let Some(name) = &self.name {
            write!(f, " named {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => Ok(()),
        }
    }
}

/// What rules grant, one by one; those about paths such as `/metrics` are left out.
pub fn grants<'a>(rules: impl IntoIterator<Item = &'a PolicyRule>, namespace: Option<&str>) -> BTreeSet<Grant> {
    let mut grants = BTreeSet::new();
    for rule in rules {
        let names = rule.resource_names.iter().flatten().cloned().map(Some);
        let names: Vec<Option<String>> = names.collect();
        let names = if names.is_empty() { vec![None] } else { names };
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    let right = Right { group: group.clone(), resource: resource.clone(), verb: verb.clone() };
                    grants.extend(names.iter().map(|name| Grant {
                        right: right.clone(),
                        name: name.clone(),
                        namespace: namespace.map(str::to_owned),
                    }));
                }
            }
        }
    }
    grants
}

/// What these requests asked for. Those to paths such as `/version` are left out: they are everybody's.
pub fn uses<'a>(entries: impl IntoIterator<Item = &'a AuditEntry>) -> Uses {
    let mut uses = Uses::new();
    for entry in entries {
        let refused = entry.code() == Some(403);
        // A watch is told of twice, and one that has not ended only as it begins.
        if entry.verb == "watch" && entry.stage == "ResponseComplete" && !refused {
            continue;
        }
        let Some(object) = &entry.object_ref else { continue };
        let subresource = object.subresource.as_ref().map(|subresource| format!("/{subresource}")).unwrap_or_default();
        let right = Right {
            group: object.api_group.clone().unwrap_or_default(),
            resource: format!("{}{subresource}", object.resource),
            verb: entry.verb.clone(),
        };
        let used = Used { right, name: object.name.clone(), namespace: object.namespace.clone() };
        let count = uses.entry(used).or_default();
        count.requests += 1;
        count.refused += u64::from(refused);
    }
    uses
}

/// The same, together.
pub fn add(all: &mut Uses, more: Uses) {
    for (used, Count { requests, refused }) in more {
        let count = all.entry(used).or_default();
        count.requests += requests;
        count.refused += refused;
    }
}

/// Requests that a grant admits.
pub fn requests(grant: &Grant, uses: &Uses) -> u64 {
    uses.iter().filter(|(used, _)| grant.admits(used)).map(|(_, count)| count.requests).sum()
}

/// What differs. `everybodys` may be used, and need not be.
pub fn difference(
    granted: &BTreeSet<Grant>,
    everybodys: &BTreeSet<Grant>,
    asked_by_admission: &[AskedByAdmission],
    uses: &Uses,
) -> Difference {
    let by_admission = |grant: &Grant| {
        let Right { group, resource, verb } = &grant.right;
        asked_by_admission.iter().any(|asked| (asked.group, asked.resource, asked.verb) == (group, resource, verb))
    };
    let mut difference = Difference::default();
    for grant in granted {
        let mut admitted = uses.keys().filter(|used| grant.admits(used));
        match admitted.next() {
            None if by_admission(grant) => {}
            None => difference.unused.push(grant.clone()),
            Some(first) => {
                // Requests to all namespaces have none.
                if let Some(namespace) = first.namespace.clone().filter(|_| grant.namespace.is_none())
                    && admitted.all(|used| used.namespace.as_ref() == Some(&namespace))
                {
                    difference.of_one_namespace.push((grant.clone(), namespace));
                }
            }
        }
    }
    for (used, count) in uses {
        if !granted.iter().chain(everybodys).any(|grant| grant.admits(used)) {
            difference.ungranted.push(used.clone());
        } else if count.refused > 0 {
            difference.refused.push(used.clone());
        }
    }
    difference
}

impl Difference {
    /// A sentence for each.
    pub fn faults(&self) -> Vec<String> {
        let unused = self.unused.iter().map(|grant| format!("granted, but nobody uses it: {grant}"));
        let of_one = self.of_one_namespace.iter();
        let of_one =
            of_one.map(|(grant, namespace)| format!("granted everywhere, but used in {namespace} only: {grant}"));
        let ungranted = self.ungranted.iter().map(|used| format!("used, but not granted: {used}"));
        let refused = self.refused.iter().map(|used| format!("granted, but answered with 403: {used}"));
        unused.chain(of_one).chain(ungranted).chain(refused).collect()
    }
}

/// What is granted, a line each: group, resource, verb, name, where, and how often it was used.
pub fn table(granted: &BTreeSet<Grant>, asked_by_admission: &[AskedByAdmission], uses: &Uses) -> String {
    let heading = ["GROUP", "RESOURCE", "VERB", "NAME", "NAMESPACE", "REQUESTS"].map(str::to_owned);
    let lines = granted.iter().map(|grant| {
        let Right { group, resource, verb } = &grant.right;
        let asked = asked_by_admission.iter().find(|a| (a.group, a.resource, a.verb) == (group, resource, verb));
        let requests = match asked {
            Some(asked) => format!("by admission, see {}", asked.shown_by),
            None => requests(grant, uses).to_string(),
        };
        let or = |text: &Option<String>, none: &str| text.clone().unwrap_or_else(|| none.to_owned());
        let group = if group.is_empty() { "core" } else { group };
        [
            group.to_owned(),
            resource.clone(),
            verb.clone(),
            or(&grant.name, "any"),
            or(&grant.namespace, "all"),
            requests,
        ]
    });
    let lines: Vec<[String; 6]> = std::iter::once(heading).chain(lines).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |line: &[String; 6]| {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}
