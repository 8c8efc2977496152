//! The kinds of object that are watched.

use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apps::v1::{ControllerRevision, Deployment, ReplicaSet},
    core::v1::{Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::api::ApiResource;
use lockkeeper_api::{Decision, DeploymentWindow, Release, RollbackPolicy};
use lockkeeper_engine::write::Kind;

/// A kind of object that the cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// `lockkeeper.dev/v1alpha1`
    Release,
    /// `lockkeeper.dev/v1alpha1`
    DeploymentWindow,
    /// `lockkeeper.dev/v1alpha1`
    RollbackPolicy,
    /// `lockkeeper.dev/v1alpha1`
    Decision,
    /// `apps/v1`
    Deployment,
    /// `apps/v1`
    ReplicaSet,
    /// `apps/v1`, those that hold saved templates
    ControllerRevision,
    /// `v1`
    Service,
    /// `discovery.k8s.io/v1`
    EndpointSlice,
    /// `gateway.networking.k8s.io/v1`
    HTTPRoute,
    /// `v1`
    Namespace,
    /// `admissionregistration.k8s.io/v1`, ours
    ValidatingAdmissionPolicy,
    /// `admissionregistration.k8s.io/v1`, ours
    ValidatingAdmissionPolicyBinding,
    /// `admissionregistration.k8s.io/v1`, ours
    MutatingAdmissionPolicy,
    /// `admissionregistration.k8s.io/v1`, ours
    MutatingAdmissionPolicyBinding,
}

impl Resource {
    /// All kinds.
    pub const ALL: [Self; 15] = [
        Self::Release,
        Self::DeploymentWindow,
        Self::RollbackPolicy,
        Self::Decision,
        Self::Deployment,
        Self::ReplicaSet,
        Self::ControllerRevision,
        Self::Service,
        Self::EndpointSlice,
        Self::HTTPRoute,
        Self::Namespace,
        Self::ValidatingAdmissionPolicy,
        Self::ValidatingAdmissionPolicyBinding,
        Self::MutatingAdmissionPolicy,
        Self::MutatingAdmissionPolicyBinding,
    ];

    /// How the API server serves it.
    pub fn api(self) -> ApiResource {
        match self {
            Self::Release => ApiResource::erase::<Release>(&()),
            Self::DeploymentWindow => ApiResource::erase::<DeploymentWindow>(&()),
            Self::RollbackPolicy => ApiResource::erase::<RollbackPolicy>(&()),
            Self::Decision => ApiResource::erase::<Decision>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::ReplicaSet => ApiResource::erase::<ReplicaSet>(&()),
            Self::ControllerRevision => ApiResource::erase::<ControllerRevision>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::EndpointSlice => ApiResource::erase::<EndpointSlice>(&()),
            Self::HTTPRoute => named("gateway.networking.k8s.io", "HTTPRoute", "httproutes"),
            Self::Namespace => ApiResource::erase::<Namespace>(&()),
            Self::ValidatingAdmissionPolicy => ApiResource::erase::<ValidatingAdmissionPolicy>(&()),
            Self::ValidatingAdmissionPolicyBinding => ApiResource::erase::<ValidatingAdmissionPolicyBinding>(&()),
            Self::MutatingAdmissionPolicy => {
                named("admissionregistration.k8s.io", "MutatingAdmissionPolicy", "mutatingadmissionpolicies")
            }
            Self::MutatingAdmissionPolicyBinding => named(
                "admissionregistration.k8s.io",
                "MutatingAdmissionPolicyBinding",
                "mutatingadmissionpolicybindings",
            ),
        }
    }

    /// Whether objects of this kind have a namespace.
    pub const fn namespaced(self) -> bool {
        match self {
            Self::Release
            | Self::DeploymentWindow
            | Self::RollbackPolicy
            | Self::Decision
            | Self::Deployment
            | Self::ReplicaSet
            | Self::ControllerRevision
            | Self::Service
            | Self::EndpointSlice
            | Self::HTTPRoute => true,
            Self::Namespace
            | Self::ValidatingAdmissionPolicy
            | Self::ValidatingAdmissionPolicyBinding
            | Self::MutatingAdmissionPolicy
            | Self::MutatingAdmissionPolicyBinding => false,
        }
    }

    /// Whether it is an admission policy or a binding of one.
    pub const fn admission(self) -> bool {
        matches!(
            self,
            Self::ValidatingAdmissionPolicy
                | Self::ValidatingAdmissionPolicyBinding
                | Self::MutatingAdmissionPolicy
                | Self::MutatingAdmissionPolicyBinding
        )
    }

    /// Whether the API server may lack it, and the operator works all the same.
    pub const fn optional(self) -> bool {
        matches!(self, Self::HTTPRoute | Self::MutatingAdmissionPolicy | Self::MutatingAdmissionPolicyBinding)
    }
}

fn named(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: group.into(),
        version: "v1".into(),
        api_version: format!("{group}/v1"),
        kind: kind.into(),
        plural: plural.into(),
    }
}

impl From<Kind> for Resource {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Release => Self::Release,
            Kind::Deployment => Self::Deployment,
            Kind::ReplicaSet => Self::ReplicaSet,
            Kind::ControllerRevision => Self::ControllerRevision,
            Kind::Service => Self::Service,
            Kind::HTTPRoute => Self::HTTPRoute,
        }
    }
}
