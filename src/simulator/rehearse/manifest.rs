//! What users have in Git: YAML documents, each checked as the API server would check it.

use std::fmt;

use serde_json::Value;

use super::scenario;
use crate::api::{
    Kind, faults,
    object::{list, name, namespace, text},
};

/// Something wrong with a file, a document or a field of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file as it was named.
    pub file: String,
    /// The document within, from 1; 0 for the whole file.
    pub document: usize,
    /// The object, as `Release shop/checkout`, where that is known.
    pub object: String,
    /// The field; empty for the whole document.
    pub path: String,
    /// What is wrong, with the mend.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, document, object, path, message } = self;
        write!(f, "{file}")?;
        if *document > 0 {
            write!(f, ", document {document}")?;
        }
        if !object.is_empty() {
            write!(f, " ({object})")?;
        }
        if path.is_empty() { write!(f, ": {message}") } else { write!(f, ": {path}: {message}") }
    }
}

/// An object of the user's.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its kind.
    pub kind: Kind,
    /// As it is written, with its namespace.
    pub object: Value,
}

/// All objects of all files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// The objects, in the order of the files.
    pub entries: Vec<Entry>,
    /// What was read and means nothing to a rehearsal, as `ConfigMap shop/settings`.
    pub ignored: Vec<String>,
}

impl Manifest {
    /// Reads files, given by name and content. Objects without a namespace are in `namespace`.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn read(files: &[(String, String)], namespace: &str) -> Result<Self, Vec<Fault>> {
        let mut reading = Reading { manifest: Self::default(), faults: Vec::new(), namespace };
        for (file, text) in files {
            match serde_saphyr::from_multiple::<Value>(text) {
                Ok(documents) => {
                    for (index, document) in documents.into_iter().enumerate() {
                        reading.document(file, index + 1, document);
                    }
                }
                Err(error) => reading.faults.push(Fault {
                    file: file.clone(),
                    document: 0,
                    object: String::new(),
                    path: String::new(),
                    message: format!("is no YAML: {error}"),
                }),
            }
        }
        let Reading { manifest, mut faults, .. } = reading;
        if faults.is_empty() && manifest.of(Kind::Release).next().is_none() {
            faults.push(Fault {
                file: files.iter().map(|(file, _)| file.as_str()).collect::<Vec<_>>().join(", "),
                document: 0,
                object: String::new(),
                path: String::new(),
                message: "there is no Release: add the file that has it".into(),
            });
        }
        if faults.is_empty() { Ok(manifest) } else { Err(faults) }
    }

    /// The objects of a kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        self.entries.iter().filter(move |entry| entry.kind == kind).map(|entry| &entry.object)
    }

    /// The object of this kind, namespace and name.
    pub fn find(&self, kind: Kind, home: &str, called: &str) -> Option<&Value> {
        self.of(kind).find(|object| name(object) == called && (!kind.served().namespaced || namespace(object) == home))
    }
}

struct Reading<'a> {
    manifest: Manifest,
    faults: Vec<Fault>,
    namespace: &'a str,
}

impl Reading<'_> {
    fn document(&mut self, file: &str, document: usize, mut object: Value) {
        if object.is_null() {
            return;
        }
        let (api_version, kind) = (text(&object["apiVersion"]).to_owned(), text(&object["kind"]).to_owned());
        if kind == "List" && api_version == "v1" {
            for item in list(&object["items"]) {
                self.document(file, document, item.clone());
            }
            return;
        }
        let title = title(&kind, &object, self.namespace);
        let mut fault = |path: &str, message: String| {
            self.faults.push(Fault { file: file.into(), document, object: title.clone(), path: path.into(), message });
        };
        if api_version.is_empty() || kind.is_empty() {
            return fault("", "has no apiVersion and kind: this is no Kubernetes object".into());
        }
        if (api_version.as_str(), kind.as_str()) == scenario::KIND {
            return fault("", "a Scenario is given with --scenario, not among the files".into());
        }
        let Some(kind) = Kind::of(&api_version, &kind).filter(|kind| is_users(*kind)) else {
            if api_version.starts_with("lockkeeper.dev/") {
                return fault("", format!("{api_version} {kind} is unknown: correct apiVersion or kind"));
            }
            self.manifest.ignored.push(title);
            return;
        };
        if name(&object).is_empty() {
            return fault("metadata.name", "is missing: add it".into());
        }
        let mut sound = true;
        for (path, message) in faults(kind, &object) {
            sound = false;
            fault(&path, message);
        }
        if kind.served().namespaced && namespace(&object).is_empty() {
            object["metadata"]["namespace"] = self.namespace.into();
        }
        if let Some(twice) = self.manifest.find(kind, namespace(&object), name(&object)) {
            if *twice != object {
                self.faults.push(Fault {
                    file: file.into(),
                    document,
                    object: title,
                    path: String::new(),
                    message: "another document describes the same object differently: give one of them".into(),
                });
            }
            return;
        }
        if sound {
            self.manifest.entries.push(Entry { kind, object });
        }
    }
}

/// Whether users write such objects, so that a rehearsal uses them.
const fn is_users(kind: Kind) -> bool {
    match kind {
        Kind::Namespace
        | Kind::Deployment
        | Kind::Service
        | Kind::HTTPRoute
        | Kind::Release
        | Kind::DeploymentWindow
        | Kind::RollbackPolicy
        | Kind::Decision => true,
        Kind::ReplicaSet
        | Kind::ControllerRevision
        | Kind::Pod
        | Kind::EndpointSlice
        | Kind::Lease
        | Kind::ValidatingAdmissionPolicy
        | Kind::ValidatingAdmissionPolicyBinding
        | Kind::MutatingAdmissionPolicy
        | Kind::MutatingAdmissionPolicyBinding => false,
    }
}

fn title(kind: &str, object: &Value, home: &str) -> String {
    let home = if namespace(object).is_empty() { home } else { namespace(object) };
    match name(object) {
        "" => kind.into(),
        name => format!("{kind} {home}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = "
apiVersion: lockkeeper.dev/v1alpha1
kind: Release
metadata: {name: web, namespace: shop}
spec:
  workloads: [{ref: {kind: Deployment, name: web}, service: web}]
  strategy: {canary: {steps: [{setWeight: 5}]}}
";

    fn faults(text: &str) -> Vec<String> {
        let faults = Manifest::read(&[("a.yaml".into(), text.into())], "default").unwrap_err();
        faults.iter().map(ToString::to_string).collect()
    }

    fn check(text: &str, fault: &str) {
        assert_eq!(faults(text), [fault]);
    }

    #[test]
    fn objects_of_all_documents_and_lists_are_read() {
        let text = format!(
            "# nothing\n---\n{RELEASE}---\napiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: Service, metadata: {{name: web}}}}\n\
             - {{apiVersion: v1, kind: ConfigMap, metadata: {{name: web}}}}\n"
        );
        let manifest = Manifest::read(&[("a.yaml".into(), text)], "shop").unwrap();
        assert!(manifest.find(Kind::Service, "shop", "web").is_some());
        assert_eq!(manifest.ignored, ["ConfigMap shop/web"]);
    }

    #[test]
    fn unknown_fields_and_wrong_values_are_named_by_file_document_and_path() {
        check(
            &format!("---\n{}", RELEASE.replace("service:", "servce:")),
            "a.yaml, document 1 (Release shop/web): spec.workloads[0].servce: unknown field: there are canaryService, images, pin, ref, \
             routes, service",
        );
        check(
            &RELEASE.replace("setWeight: 5", "setWeight: 101"),
            "a.yaml, document 1 (Release shop/web): spec.strategy.canary.steps[0].setWeight: Invalid value: 101: should be at most 100",
        );
        check(
            &format!("{RELEASE}  progressDeadline: 1s"),
            "a.yaml, document 1 (Release shop/web): spec.progressDeadline: Invalid value: progressDeadline must be at least 10s",
        );
        let twice = format!("{RELEASE}  rollbackPolicy: ''\n  strateg: 1\n");
        assert_eq!(faults(&twice).len(), 3, "{:?}", faults(&twice));
    }

    #[test]
    fn what_is_no_object_or_not_ours_is_named() {
        check("a: 1", "a.yaml, document 1: has no apiVersion and kind: this is no Kubernetes object");
        assert!(faults("a: [")[0].starts_with("a.yaml: is no YAML: "));
        check("", "a.yaml: there is no Release: add the file that has it");
        check(
            &RELEASE.replace("kind: Release", "kind: Realease"),
            "a.yaml, document 1 (Realease shop/web): lockkeeper.dev/v1alpha1 Realease is unknown: correct apiVersion or kind",
        );
        check(
            &RELEASE.replace("kind: Release", "kind: Scenario"),
            "a.yaml, document 1 (Scenario shop/web): a Scenario is given with --scenario, not among the files",
        );
        check(&RELEASE.replace("name: web, ", ""), "a.yaml, document 1 (Release): metadata.name: is missing: add it");
        check(
            &format!("{RELEASE}---{}", RELEASE.replace("setWeight: 5", "setWeight: 6")),
            "a.yaml, document 2 (Release shop/web): another document describes the same object differently: give one of them",
        );
    }
}
