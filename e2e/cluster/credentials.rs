//! Certificates, tokens and kubeconfigs of a cluster of our own.

use std::fs;
use std::path::Path;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::{Value, json};

use crate::user::User;

/// Programs of the cluster and the groups that they need. Kubernetes knows the first two by name. The others belong to the
/// test bench, which may do everything.
const PROGRAMS: [(&str, Option<&str>); 7] = [
    ("system:kube-controller-manager", None),
    ("system:kube-scheduler", None),
    ("kwok", Some("system:masters")),
    ("traefik", Some("system:masters")),
    ("prometheus", Some("system:masters")),
    ("demo-app", Some("system:masters")),
    ("node", Some("system:masters")),
];

/// Writes `ca.crt`, `apiserver.crt`, `apiserver.key`, `service-account.key` and `service-account.pub`, and returns the first.
pub(super) fn write_certificates(directory: &Path) -> Result<String> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "lockkeeper local cluster");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let ca_certificate = ca.self_signed(&ca_key)?.pem();
    let names = ["localhost", "127.0.0.1", "kubernetes.default.svc", "10.96.0.1"].map(str::to_owned);
    let mut server = CertificateParams::new(names)?;
    server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let server_key = KeyPair::generate()?;
    let server_certificate = server.signed_by(&server_key, &Issuer::new(ca, &ca_key))?;
    fs::write(directory.join("ca.crt"), &ca_certificate)?;
    fs::write(directory.join("apiserver.crt"), server_certificate.pem())?;
    fs::write(directory.join("apiserver.key"), server_key.serialize_pem())?;
    let service_accounts = KeyPair::generate()?;
    fs::write(directory.join("service-account.key"), service_accounts.serialize_pem())?;
    fs::write(directory.join("service-account.pub"), service_accounts.public_key_pem())?;
    Ok(ca_certificate)
}

/// Tokens equal names: the cluster is reachable from nowhere but this machine, and its data is worth nothing.
pub(super) fn tokens() -> String {
    let people = User::ALL.map(|user| (user.name(), user.group()));
    let lines = people.iter().chain(&PROGRAMS).map(|(name, group)| match group {
        Some(group) => format!("{name},{name},{name},\"{group}\"\n"),
        None => format!("{name},{name},{name}\n"),
    });
    lines.collect()
}

/// Everybody who gets a kubeconfig.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    User::ALL.into_iter().map(User::name).chain(PROGRAMS.into_iter().map(|(name, _)| name))
}

/// A kubeconfig with this token; JSON is YAML too.
pub(super) fn kubeconfig(server: &str, ca_certificate: &str, token: &str) -> Value {
    use k8s_openapi::ByteString;
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lockkeeper",
        "clusters": [{"name": "lockkeeper", "cluster": {
            "server": server,
            "certificate-authority-data": ByteString(ca_certificate.as_bytes().to_vec()),
        }}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "lockkeeper", "context": {"cluster": "lockkeeper", "user": "user"}}],
    })
}
