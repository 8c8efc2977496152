//! Names of Kubernetes objects, checked when they are read.

use std::{fmt, str::FromStr};

/// Name of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

/// Name of an object of most other kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

/// A service account, written `namespace:name` as kubectl does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAccount {
    namespace: Namespace,
    name: ObjectName,
}

/// Why a text is no such name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// For a [`Namespace`].
    #[error("a namespace is at most 63 lower-case letters, digits and '-', with a letter or digit at both ends")]
    Namespace,
    /// For an [`ObjectName`].
    #[error(
        "a name is at most 253 lower-case letters, digits, '-' and '.', with a letter or digit at both ends of each part"
    )]
    Object,
    /// For a [`ServiceAccount`].
    #[error("a service account is written namespace:name, like ci:deployer")]
    ServiceAccount,
}

impl FromStr for Namespace {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() <= 63 && is_label(text) { Ok(Self(text.into())) } else { Err(NameError::Namespace) }
    }
}

impl FromStr for ObjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() <= 253 && text.split('.').all(is_label) { Ok(Self(text.into())) } else { Err(NameError::Object) }
    }
}

fn is_label(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl FromStr for ServiceAccount {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (namespace, name) = text.split_once(':').ok_or(NameError::ServiceAccount)?;
        let malformed = |_| NameError::ServiceAccount;
        Ok(Self { namespace: namespace.parse().map_err(malformed)?, name: name.parse().map_err(malformed)? })
    }
}

impl ServiceAccount {
    /// The user name under which the API server knows it.
    pub fn username(&self) -> String {
        format!("system:serviceaccount:{self}")
    }
}

impl Namespace {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ObjectName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_api_server_takes() {
        let long = "a".repeat(63);
        for name in ["a", "shop", "kube-system", "0", &long] {
            assert_eq!(name.parse::<Namespace>().unwrap().as_str(), name);
        }
        for name in ["", "-a", "a-", "Shop", "a.b", "a b", "ä", &format!("{long}a")] {
            assert_eq!(name.parse::<Namespace>(), Err(NameError::Namespace), "{name}");
        }
        assert!("lockkeeper-operator.v1".parse::<ObjectName>().is_ok());
        for name in ["", "a..b", ".a", "a.-b", &"a.".repeat(127)] {
            assert_eq!(name.parse::<ObjectName>(), Err(NameError::Object), "{name}");
        }
    }

    #[test]
    fn a_service_account_is_known_to_the_api_server_by_its_user_name() {
        let account: ServiceAccount = "ci:deployer".parse().unwrap();
        assert_eq!(account.username(), "system:serviceaccount:ci:deployer");
        for text in ["deployer", "ci:", ":deployer", "ci:a:b", "system:serviceaccount:ci:deployer"] {
            assert_eq!(text.parse::<ServiceAccount>(), Err(NameError::ServiceAccount), "{text}");
        }
    }
}
