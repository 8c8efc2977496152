//! What goes wrong, in sentences that name the mend, and the exit codes.

use std::{io, path::PathBuf};

use lockkeeper_api::decision::Verdict;

/// Exit codes, for `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: cluster not reached, not allowed, not found
  2  wrong arguments
  3  the act makes no sense now; no Decision was created
  4  the operator counted the Decision for nothing (--wait)
  5  the operator did not answer in time (--wait); the Decision stands
simulate and plan have their own: see their --help";

/// Why a verb did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig cannot be used.
    #[error("no usable kubeconfig: {0}; give --kubeconfig and --context, or set KUBECONFIG")]
    Kubeconfig(String),
    /// The API server was not reached, or answered what nothing more is known about.
    #[error("{0}; is the cluster of this kubeconfig up (kubectl cluster-info)?")]
    Cluster(String),
    /// The API server refused.
    #[error("{0}")]
    Refused(String),
    /// There is no such Release.
    #[error("there is no Release {name} in namespace {namespace}: see lockkeeper get -A")]
    NoRelease {
        /// Its name.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// The act makes no sense now.
    #[error("{0}")]
    NotNow(String),
    /// The operator counted the Decision for nothing.
    #[error("Decision {decision} counted for nothing: {reason}")]
    CountedForNothing {
        /// Name of the Decision.
        decision: String,
        /// The operator's sentence.
        reason: String,
    },
    /// The operator did not answer.
    #[error(
        "Decision {decision} was created, but the operator has not counted it within {seconds} s: it stands and may \
         still count; see lockkeeper get, and whether the operator runs"
    )]
    TimedOut {
        /// Name of the Decision.
        decision: String,
        /// How long it was waited for, in seconds.
        seconds: u64,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}", path = .path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What users have given cannot be used.
    #[error("{0}")]
    Input(String),
    /// A rehearsal or a plan shows what should not be.
    #[error("{message}")]
    Surprise {
        /// The exit code that tells what.
        code: u8,
        /// In one sentence.
        message: String,
    },
    /// Standard output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// Something cannot be written as JSON.
    #[error("cannot write as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Something cannot be written as YAML.
    #[error("cannot write as YAML: {0}")]
    Yaml(String),
    /// The operator ended with an error.
    #[error("{0}")]
    Operator(String),
}

impl Error {
    /// The exit code of the process.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Surprise { code, .. } => *code,
            Self::Input(_) => 2,
            Self::NotNow(_) => 3,
            Self::CountedForNothing { .. } => 4,
            Self::TimedOut { .. } => 5,
            Self::Kubeconfig(_)
            | Self::Cluster(_)
            | Self::Refused(_)
            | Self::NoRelease { .. }
            | Self::File { .. }
            | Self::Unreadable { .. }
            | Self::Output(_)
            | Self::Json(_)
            | Self::Yaml(_)
            | Self::Operator(_) => 1,
        }
    }

    /// Of an attempt to read Releases.
    pub fn reading(error: kube::Error) -> Self {
        Self::api(error, "ask for ClusterRole lockkeeper-viewer in this namespace")
    }

    /// Of an attempt to learn who the user is.
    pub fn identity(error: kube::Error) -> Self {
        Self::api(error, "SelfSubjectReview must be allowed (ClusterRole system:basic-user)")
    }

    /// Of an attempt to create a Decision.
    pub fn deciding(error: kube::Error, verdict: Verdict) -> Self {
        Self::api(error, &format!("ask for ClusterRole {} in this namespace", role(verdict)))
    }

    fn api(error: kube::Error, mend_of_forbidden: &str) -> Self {
        let kube::Error::Api(status) = error else { return Self::Cluster(with_causes(&error)) };
        match status.code {
            401 => Self::Refused("the API server does not know you: log in to the cluster again".into()),
            403 => match status.message.split_once("denied request: ") {
                // The policy's own words name the mend.
                Some((_, words)) => Self::Refused(format!("refused by policy: {words}")),
                None => Self::Refused(format!("{}: {mend_of_forbidden}", status.message)),
            },
            404 => Self::Refused(
                "this cluster does not know Lockkeeper's kinds: install them with lockkeeper crds | kubectl apply -f -"
                    .into(),
            ),
            422 => Self::Refused(status.message.clone()),
            _ => Self::Cluster(status.message.clone()),
        }
    }
}

/// The error with what caused it: "client error (Connect)" alone does not say that a name is unknown.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// The ClusterRole that brings the verdict's verb.
const fn role(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Approve | Verdict::Reject => "lockkeeper-approver",
        Verdict::Promote | Verdict::Skip | Verdict::Pause | Verdict::Resume | Verdict::Retry => "lockkeeper-releaser",
        Verdict::Abort | Verdict::Rollback | Verdict::Override => "lockkeeper-oncall",
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(code: u16, message: &str) -> String {
        let status = Status::failure(message, "").with_code(code);
        Error::deciding(kube::Error::Api(Box::new(status)), Verdict::Approve).to_string()
    }

    #[test]
    fn a_missing_right_names_the_role_that_brings_it() {
        let text = refused(403, "decisions.lockkeeper.dev is forbidden: User \"mallory\" cannot create resource");
        assert!(text.contains("mallory") && text.contains("ClusterRole lockkeeper-approver"), "{text}");
    }

    #[test]
    fn a_policy_speaks_for_itself() {
        let text = refused(
            403,
            "decisions \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: ask somebody",
        );
        assert_eq!(text, "refused by policy: ask somebody");
    }

    #[test]
    fn a_cluster_that_cannot_be_reached_is_told_with_the_cause() {
        #[derive(Debug, thiserror::Error)]
        #[error("client error (Connect)")]
        struct Connect(#[source] io::Error);
        let error = Error::reading(kube::Error::Service(Box::new(Connect(io::Error::other("no such host")))));
        assert!(error.to_string().contains("client error (Connect): no such host;"), "{error}");
    }

    #[test]
    fn missing_kinds_name_how_to_install_them() {
        assert!(refused(404, "the server could not find the requested resource").contains("lockkeeper crds"));
    }
}
