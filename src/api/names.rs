//! Names that Lockkeeper uses on objects. They are part of the contract: people select and search by them.

/// The API group of all custom resources.
pub const GROUP: &str = "lockkeeper.dev";

/// The name under which the API server records our writes.
pub const FIELD_MANAGER: &str = "lockkeeper";

/// On a Deployment (annotation): the Release that manages it. On objects of ours (label): the Release they belong to.
pub const RELEASE: &str = "lockkeeper.dev/release";

/// Annotation of a Deployment that is held during a release, or after one that went back: the revision held.
pub const HOLD: &str = "lockkeeper.dev/hold";

/// Annotation of a Deployment that Lockkeeper, not a person, has paused; value [`FIELD_MANAGER`].
pub const PAUSED_BY: &str = "lockkeeper.dev/paused-by";

/// Annotation of a Deployment or Release: the user who asked for the version, as the API server has authenticated them.
pub const REQUESTED_BY: &str = "lockkeeper.dev/requested-by";

/// Annotation of a Service whose selector is pinned to one version during a release: the pod-template-hash.
pub const PIN: &str = "lockkeeper.dev/pin";

/// Label of a ReplicaSet that Lockkeeper has taken from its Deployment for a while: what it is.
pub const ROLE: &str = "lockkeeper.dev/role";

/// Annotation of a ReplicaSet that was taken from a Deployment's history: it is given back, never deleted.
pub const BORROWED: &str = "lockkeeper.dev/borrowed";

/// Finalizer of a Release that has a release in flight.
pub const FINALIZER: &str = "lockkeeper.dev/handback";

/// The label by which Kubernetes tells ReplicaSets of one Deployment apart.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// The annotation that `kubectl rollout restart` changes.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
