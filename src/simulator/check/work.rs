//! The workloads of Releases, as their users have written them.

use std::sync::Arc;

use lockkeeper_api::names::POD_TEMPLATE_HASH;
use serde_json::Value;

use crate::api::{
    Key, Kind, Object, Snapshot,
    object::{controller, list, name, namespace, number, text},
};

/// One workload of a Release.
#[derive(Clone, Debug)]
pub struct Work {
    /// The Release as it is now.
    pub release: Arc<Object>,
    /// Its namespace.
    namespace: String,
    /// Which of its workloads.
    pub index: usize,
    /// The stable Service and the canary's.
    pub services: Option<(String, String)>,
    /// Names of the routes.
    pub routes: Vec<String>,
}

impl Work {
    /// All workloads of a Release.
    pub fn of(release: &Arc<Object>) -> impl Iterator<Item = Self> {
        list(&release["spec"]["workloads"]).iter().enumerate().map(|(index, workload)| Self {
            release: release.clone(),
            namespace: namespace(release).to_owned(),
            index,
            services: workload["service"].as_str().map(|stable| {
                let canary =
                    workload["canaryService"].as_str().map_or_else(|| format!("{stable}-canary"), str::to_owned);
                (stable.to_owned(), canary)
            }),
            routes: list(&workload["routes"]).iter().map(|route| text(&route["name"]).to_owned()).collect(),
        })
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Name of the Deployment.
    pub fn deployment(&self) -> &str {
        text(&self.release["spec"]["workloads"][self.index]["ref"]["name"])
    }

    /// The Deployment, if it is there.
    pub fn find<'a>(&self, objects: &'a Snapshot) -> Option<&'a Arc<Object>> {
        objects.get(&Key::new(Kind::Deployment, self.namespace(), self.deployment()))
    }

    /// The Release's status.
    pub fn status(&self) -> &Value {
        &self.release["status"]
    }

    /// The phase.
    pub fn phase(&self) -> &str {
        text(&self.status()["phase"])
    }

    /// The hash of this workload in a revision of the status (`stable`, `candidate`, `previous`).
    pub fn hash(&self, part: &str) -> Option<&str> {
        self.status()[part]["workloads"][self.index]["hash"].as_str()
    }

    /// Whether weights are set by routes.
    pub fn routed(&self) -> bool {
        !self.routes.is_empty()
    }

    /// Whether the steps give the candidate a scale of its own.
    pub fn scaled_by_user(&self) -> bool {
        list(&self.release["spec"]["strategy"]["canary"]["steps"]).iter().any(|step| {
            let scale = &step["setCanaryScale"];
            !scale["replicas"].is_null() || !scale["weight"].is_null()
        })
    }

    /// Whether an object of this name belongs to the workload.
    pub fn owns_set(&self, set: &str) -> bool {
        set.strip_prefix(self.deployment()).is_some_and(|rest| rest.starts_with('-') && !rest[1..].contains('-'))
    }

    /// Whether only the stable version runs, at the scale and with the template that the Deployment asks for, and no release is on its way.
    pub fn rests(&self, objects: &Snapshot) -> bool {
        let (Some(deployment), Some(stable)) = (self.find(objects), self.hash("stable")) else { return false };
        let (spec, status) = (&deployment["spec"], &deployment["status"]);
        let counted = |field: &str| number(&status[field]) == number(&spec["replicas"]);
        let rolled_out = status["observedGeneration"] == deployment["metadata"]["generation"]
            && ["replicas", "updatedReplicas", "availableReplicas"].into_iter().all(counted);
        let own = |pod: &&Arc<Object>| controller(pod).is_some_and(|set| self.owns_set(text(&set["name"])));
        let mut pods = objects.within(Kind::Pod, self.namespace()).filter(own);
        self.phase() == "Stable"
            && spec["paused"] != true
            && rolled_out
            && pods.all(|pod| pod["metadata"]["labels"][POD_TEMPLATE_HASH] == stable)
    }

    /// A name for people.
    pub fn title(&self) -> String {
        format!("{}/{} ({})", self.namespace(), name(&self.release), self.deployment())
    }
}
