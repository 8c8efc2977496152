//! The kinds that are served.

/// A kind that is served, in its one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1`
    Namespace,
    /// `apps/v1`
    Deployment,
    /// `apps/v1`
    ReplicaSet,
    /// `apps/v1`
    ControllerRevision,
    /// `v1`
    Pod,
    /// `v1`
    Service,
    /// `discovery.k8s.io/v1`
    EndpointSlice,
    /// `gateway.networking.k8s.io/v1`
    HTTPRoute,
    /// `lockkeeper.dev/v1alpha1`
    Release,
    /// `lockkeeper.dev/v1alpha1`
    DeploymentWindow,
    /// `lockkeeper.dev/v1alpha1`
    RollbackPolicy,
    /// `lockkeeper.dev/v1alpha1`
    Decision,
    /// `coordination.k8s.io/v1`
    Lease,
    /// `admissionregistration.k8s.io/v1`
    ValidatingAdmissionPolicy,
    /// `admissionregistration.k8s.io/v1`
    ValidatingAdmissionPolicyBinding,
    /// `admissionregistration.k8s.io/v1`
    MutatingAdmissionPolicy,
    /// `admissionregistration.k8s.io/v1`
    MutatingAdmissionPolicyBinding,
}

/// How a kind is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Group; empty for the core.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Plural, as in paths.
    pub plural: &'static str,
    /// Whether objects have a namespace.
    pub namespaced: bool,
    /// Whether the status is a subresource, so that other writes leave it as it is.
    pub status: bool,
    /// Whether `metadata.generation` counts changes.
    pub generation: bool,
}

impl Served {
    /// Whether it has a scale.
    pub fn scale(&self) -> bool {
        matches!(self.plural, "deployments" | "replicasets")
    }

    /// Whether it has strategic merge patches: built-in kinds do, custom resources do not.
    pub fn strategic(&self) -> bool {
        !matches!(self.group, "gateway.networking.k8s.io" | "lockkeeper.dev")
    }
}

const ADMISSION: &str = "admissionregistration.k8s.io";

impl Kind {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Namespace,
        Self::Deployment,
        Self::ReplicaSet,
        Self::ControllerRevision,
        Self::Pod,
        Self::Service,
        Self::EndpointSlice,
        Self::HTTPRoute,
        Self::Release,
        Self::DeploymentWindow,
        Self::RollbackPolicy,
        Self::Decision,
        Self::Lease,
        Self::ValidatingAdmissionPolicy,
        Self::ValidatingAdmissionPolicyBinding,
        Self::MutatingAdmissionPolicy,
        Self::MutatingAdmissionPolicyBinding,
    ];

    /// How it is served.
    pub const fn served(self) -> Served {
        match self {
            Self::Namespace => Served { namespaced: false, generation: false, ..core("Namespace", "namespaces") },
            Self::Deployment => apps("Deployment", "deployments"),
            Self::ReplicaSet => apps("ReplicaSet", "replicasets"),
            Self::ControllerRevision => {
                Served { status: false, generation: false, ..apps("ControllerRevision", "controllerrevisions") }
            }
            Self::Pod => core("Pod", "pods"),
            Self::Service => Served { generation: false, ..core("Service", "services") },
            Self::EndpointSlice => {
                Served { group: "discovery.k8s.io", status: false, ..core("EndpointSlice", "endpointslices") }
            }
            Self::HTTPRoute => Served { group: "gateway.networking.k8s.io", ..core("HTTPRoute", "httproutes") },
            Self::Release => own("Release", "releases"),
            Self::DeploymentWindow => own("DeploymentWindow", "deploymentwindows"),
            Self::RollbackPolicy => own("RollbackPolicy", "rollbackpolicies"),
            Self::Decision => Served { status: false, ..own("Decision", "decisions") },
            Self::Lease => {
                Served { group: "coordination.k8s.io", status: false, generation: false, ..core("Lease", "leases") }
            }
            Self::ValidatingAdmissionPolicy => admission("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
            Self::ValidatingAdmissionPolicyBinding => {
                admission("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings")
            }
            Self::MutatingAdmissionPolicy => admission("MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
            Self::MutatingAdmissionPolicyBinding => {
                admission("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings")
            }
        }
    }

    /// The kind that is served at this place.
    pub fn find(group: &str, version: &str, plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let served = kind.served();
            served.plural == plural && served.group == group && served.version == version
        })
    }

    /// The kind of an object.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.served().kind == kind && known.api_version() == api_version)
    }

    /// Group and version as objects carry them.
    pub fn api_version(self) -> String {
        let Served { group, version, .. } = self.served();
        if group.is_empty() { version.into() } else { format!("{group}/{version}") }
    }

    /// Kind and group, as other errors name it.
    pub fn qualified_kind(self) -> String {
        let Served { group, kind, .. } = self.served();
        if group.is_empty() { kind.into() } else { format!("{kind}.{group}") }
    }

    /// Plural and group, as errors name it.
    pub fn qualified(self) -> String {
        let Served { group, plural, .. } = self.served();
        if group.is_empty() { plural.into() } else { format!("{plural}.{group}") }
    }
}

const fn core(kind: &'static str, plural: &'static str) -> Served {
    Served { group: "", version: "v1", kind, plural, namespaced: true, status: true, generation: true }
}

const fn apps(kind: &'static str, plural: &'static str) -> Served {
    Served { group: "apps", ..core(kind, plural) }
}

const fn own(kind: &'static str, plural: &'static str) -> Served {
    Served { group: "lockkeeper.dev", version: "v1alpha1", ..core(kind, plural) }
}

const fn admission(kind: &'static str, plural: &'static str) -> Served {
    Served { group: ADMISSION, namespaced: false, status: false, ..core(kind, plural) }
}
