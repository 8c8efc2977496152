//! Whether a container is confined as Pod Security's level `restricted` asks: also where no label of the namespace enforces it.

use k8s_openapi::api::core::v1::{Container, PodSpec};

/// What is missing, in the words of the fields; nothing if all is well.
pub(super) fn fault(spec: &PodSpec, container: &Container) -> Option<String> {
    let pod = spec.security_context.as_ref();
    let own = container.security_context.as_ref();
    let of = |own: Option<bool>, pod: Option<bool>| own.or(pod).unwrap_or(false);
    let seccomp = own.and_then(|own| own.seccomp_profile.as_ref());
    let seccomp = seccomp.or(pod.and_then(|pod| pod.seccomp_profile.as_ref()));
    let capabilities = own.and_then(|own| own.capabilities.as_ref());
    let dropped = capabilities.and_then(|capabilities| capabilities.drop.as_deref()).unwrap_or_default();
    let user = own.and_then(|own| own.run_as_user).or(pod.and_then(|pod| pod.run_as_user));
    let rules = [
        (
            of(own.and_then(|own| own.run_as_non_root), pod.and_then(|pod| pod.run_as_non_root)),
            "securityContext.runAsNonRoot must be true",
        ),
        (user != Some(0), "securityContext.runAsUser must not be 0"),
        (
            own.is_some_and(|own| own.allow_privilege_escalation == Some(false)),
            "securityContext.allowPrivilegeEscalation must be false",
        ),
        (
            own.is_some_and(|own| own.read_only_root_filesystem == Some(true)),
            "securityContext.readOnlyRootFilesystem must be true",
        ),
        (dropped.iter().any(|name| name == "ALL"), "securityContext.capabilities.drop must have ALL"),
        (
            capabilities.is_none_or(|capabilities| capabilities.add.iter().flatten().next().is_none()),
            "securityContext.capabilities.add must be empty",
        ),
        (
            seccomp.is_some_and(|profile| profile.type_ == "RuntimeDefault"),
            "securityContext.seccompProfile.type must be RuntimeDefault",
        ),
        (
            !of(spec.host_network, None) && !of(spec.host_pid, None) && !of(spec.host_ipc, None),
            "hostNetwork, hostPID and hostIPC must not be set",
        ),
    ];
    rules.into_iter().find(|(kept, _)| !kept).map(|(_, rule)| rule.to_owned())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;
    use serde_json::{Value, json};

    fn check(pod: Value, container: Value) -> Option<String> {
        let spec: PodSpec = serde_json::from_value(json!({
            "securityContext": pod, "containers": [{"name": "c", "securityContext": container}]
        }))
        .unwrap();
        super::fault(&spec, &spec.containers[0])
    }

    fn confined() -> Value {
        json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
    }

    #[test]
    fn what_is_left_out_is_named() {
        let pod = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
        assert_eq!(check(pod.clone(), confined()), None);
        assert!(check(json!({}), confined()).unwrap().contains("runAsNonRoot"));
        assert!(check(json!({"runAsNonRoot": true}), confined()).unwrap().contains("seccompProfile"));
        for (field, value) in [
            ("allowPrivilegeEscalation", json!(null)),
            ("readOnlyRootFilesystem", json!(false)),
            ("runAsNonRoot", json!(false)),
            ("runAsUser", json!(0)),
            ("capabilities", json!({"drop": ["NET_RAW"]})),
            ("capabilities", json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]})),
        ] {
            let mut container = confined();
            container[field] = value;
            assert!(check(pod.clone(), container).unwrap().contains(field), "{field}");
        }
    }
}
