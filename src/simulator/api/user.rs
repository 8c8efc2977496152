//! Who asks.

/// A user as the API server has authenticated them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Groups.
    pub groups: Vec<String>,
    /// The custom verbs that they hold on all Releases (`approve`, `promote`, `abort`, `override`, `govern`).
    pub verbs: Vec<String>,
}

impl User {
    /// A user with all custom verbs.
    pub fn new(name: &str, groups: &[&str]) -> Self {
        let verbs = ["approve", "promote", "abort", "override", "govern"];
        let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        Self { name: name.into(), groups: owned(groups), verbs: owned(&verbs) }
    }

    /// The operator.
    pub fn operator() -> Self {
        Self {
            verbs: Vec::new(),
            ..Self::new(lockkeeper_operator::policies::OPERATOR_USER, &["system:serviceaccounts"])
        }
    }

    /// One of Kubernetes' own controllers.
    pub fn controller(name: &str) -> Self {
        Self { verbs: Vec::new(), ..Self::new(&format!("system:serviceaccount:kube-system:{name}"), &[]) }
    }
}
