use kube::core::TypeMeta;
use lockkeeper_api::{decision::Verdict, names};
use serde_json::json;

use super::*;

fn settings(mode: PolicyMode) -> PolicySettings {
    PolicySettings { operator_user: OPERATOR_USER.into(), approving_service_accounts: Vec::new(), mode }
}

fn decision() -> Vec<DynamicObject> {
    Policy::Decision.render(&settings(PolicyMode::Mutating)).unwrap()
}

/// As an API server returns it, in a list.
fn defaulted(objects: &[DynamicObject]) -> Vec<DynamicObject> {
    let mut live = objects.to_vec();
    for object in &mut live {
        object.types = None;
        object.metadata.uid = Some("u".into());
        if let Some(constraints) = object.data["spec"].get_mut("matchConstraints") {
            constraints["matchPolicy"] = "Equivalent".into();
            constraints["namespaceSelector"] = json!({});
            constraints["objectSelector"] = json!({});
            constraints["resourceRules"][0]["scope"] = "*".into();
        }
    }
    live
}

fn reason(live: &[DynamicObject], expected: &[DynamicObject]) -> String {
    match guard(live, expected) {
        Guard::Intact => panic!("not noticed"),
        Guard::Broken(reason) => reason,
    }
}

#[test]
fn every_policy_has_one_binding_that_enforces_it_and_our_labels() {
    for mode in [PolicyMode::Mutating, PolicyMode::Validating] {
        for policy in Policy::ALL.into_iter().filter(|policy| policy.text(mode).is_some()) {
            let objects = policy.render(&settings(mode)).unwrap();
            let [policy, binding] = &objects[..] else { panic!("{policy:?} has {} objects", objects.len()) };
            assert_eq!(binding.data["spec"]["policyName"], policy.name_any());
            assert_eq!(kind(binding), format!("{}Binding", kind(policy)));
            let denies = binding.data["spec"]["validationActions"] == json!(["Deny"]);
            assert_eq!(denies, kind(policy) == "ValidatingAdmissionPolicy");
            for object in &objects {
                assert_eq!(object.labels()["app.kubernetes.io/part-of"], "lockkeeper");
            }
        }
    }
    let count = |mode| render(&settings(mode)).unwrap().len();
    assert_eq!(count(PolicyMode::Mutating), 2 * Policy::ALL.len());
    assert_eq!(count(PolicyMode::Validating), count(PolicyMode::Mutating) - 2, "a Service is written by whoever may");
}

#[test]
fn the_kind_of_an_object_out_of_a_list_is_known_by_its_fields() {
    for mode in [PolicyMode::Mutating, PolicyMode::Validating] {
        for mut object in render(&settings(mode)).unwrap() {
            let TypeMeta { kind: told, .. } = object.types.take().unwrap();
            assert_eq!(kind(&object), told);
        }
    }
}

#[test]
fn the_decision_policy_asks_for_the_verb_of_each_verdict() {
    let policy = decision()[0].data.to_string();
    for verdict in Verdict::ALL {
        let pair = format!("'{verdict:?}': '{}'", verdict.verb());
        assert!(policy.contains(&pair), "{pair} is not in the policy");
    }
}

#[test]
fn the_annotations_are_those_of_the_contract() {
    let text = |policy: Policy, mode| policy.text(mode).unwrap();
    let hold = text(Policy::Hold, PolicyMode::Mutating);
    for name in [names::RELEASE, names::HOLD, names::PAUSED_BY, names::REQUESTED_BY, names::RESTARTED_AT] {
        assert!(hold.contains(&format!("'{name}'")), "{name}");
    }
    assert!(hold.contains(&format!("optional.of('{}')", names::FIELD_MANAGER)));
    let pin = text(Policy::Pin, PolicyMode::Mutating);
    assert!(pin.contains(&format!("'{}'", names::PIN)) && pin.contains(&format!("'{}'", names::POD_TEMPLATE_HASH)));
    for mode in [PolicyMode::Mutating, PolicyMode::Validating] {
        assert!(text(Policy::Author, mode).contains(&format!("'{}'", names::REQUESTED_BY)));
    }
}

#[test]
fn the_operator_is_exempt_under_the_name_it_has_and_a_name_cannot_break_out_of_its_expression() {
    let settings = PolicySettings { operator_user: r"o'\x' || true || '".into(), ..settings(PolicyMode::Mutating) };
    let policy = &Policy::Hold.render(&settings).unwrap()[0];
    assert_eq!(
        policy.data["spec"]["matchConditions"][0]["expression"],
        r"request.userInfo.username != 'o\'\\x\' || true || \''"
    );
    assert!(!policy.data.to_string().contains(OPERATOR_USER));
}

#[test]
fn service_accounts_decide_only_when_listed() {
    let of = |accounts: &[&str]| {
        let approving_service_accounts = accounts.iter().map(|account| account.parse().unwrap()).collect();
        let settings = PolicySettings { approving_service_accounts, ..settings(PolicyMode::Validating) };
        let policy = Policy::Decision.render(&settings).unwrap().remove(0);
        let variables = policy.data["spec"]["variables"].as_array().unwrap().clone();
        let variable = variables.into_iter().find(|v| v["name"] == APPROVING_SERVICE_ACCOUNTS).unwrap();
        variable["expression"].as_str().unwrap().to_owned()
    };
    assert_eq!(of(&[]), "[]");
    assert_eq!(of(&["ci:deployer", "ci:bot"]), "['system:serviceaccount:ci:deployer', 'system:serviceaccount:ci:bot']");
}

#[test]
fn what_the_api_server_fills_in_is_no_difference() {
    let expected = render(&settings(PolicyMode::Mutating)).unwrap();
    assert_eq!(guard(&expected, &expected), Guard::Intact);
    let mut live = defaulted(&expected);
    live.reverse();
    assert_eq!(guard(&live, &expected), Guard::Intact);
}

#[test]
fn a_missing_policy_or_binding_is_named_with_the_mend() {
    let expected = decision();
    let live = defaulted(&expected);
    let mend = "apply Lockkeeper's policies again: helm upgrade, or kubectl apply -k config/default";
    assert_eq!(
        reason(&live[..1], &expected),
        format!("ValidatingAdmissionPolicyBinding lockkeeper-decision is missing: {mend}")
    );
    assert_eq!(
        reason(&live[1..], &expected),
        format!("ValidatingAdmissionPolicy lockkeeper-decision is missing: {mend}")
    );
}

#[test]
fn every_way_to_weaken_a_policy_is_noticed() {
    type Alter = fn(&mut Value);
    let policy: [(&str, Alter); 11] = [
        ("spec.failurePolicy differs", |spec| spec["failurePolicy"] = "Ignore".into()),
        ("spec.validations has 3 entries instead of 4", |spec| drop(spec["validations"].as_array_mut().unwrap().pop())),
        ("spec.validations[0].expression differs", |spec| spec["validations"][0]["expression"] = "true".into()),
        ("spec.matchConditions was added", |spec| {
            spec["matchConditions"] = json!([{"name": "never", "expression": "false"}]);
        }),
        ("spec.variables[3].expression differs", |spec| spec["variables"][3]["expression"] = "['x']".into()),
        ("spec.matchConstraints.excludeResourceRules was added", |spec| {
            spec["matchConstraints"]["excludeResourceRules"] = json!([{"resources": ["decisions"]}]);
        }),
        ("spec.matchConstraints.namespaceSelector was added", |spec| {
            spec["matchConstraints"]["namespaceSelector"] = json!({"matchLabels": {"a": "b"}});
        }),
        ("spec.matchConstraints.matchPolicy was added", |spec| {
            spec["matchConstraints"]["matchPolicy"] = "Exact".into()
        }),
        ("spec.matchConstraints.resourceRules[0].resourceNames was added", |spec| {
            spec["matchConstraints"]["resourceRules"][0]["resourceNames"] = json!(["x"]);
        }),
        ("spec.matchConstraints.resourceRules is missing", |spec| {
            spec["matchConstraints"].as_object_mut().unwrap().remove("resourceRules");
        }),
        ("spec.paramKind was added", |spec| spec["paramKind"] = json!({"kind": "ConfigMap"})),
    ];
    let binding: [(&str, Alter); 4] = [
        ("spec.matchResources was added", |spec| spec["matchResources"] = json!({"objectSelector": {"a": "b"}})),
        ("spec.validationActions[0] differs", |spec| spec["validationActions"] = json!(["Audit"])),
        ("spec.validationActions has 0 entries instead of 1", |spec| spec["validationActions"] = json!([])),
        ("spec.policyName differs", |spec| spec["policyName"] = "other".into()),
    ];
    let expected = decision();
    let cases = policy.iter().map(|case| (0, case)).chain(binding.iter().map(|case| (1, case)));
    for (index, (told, alter)) in cases {
        let mut live = defaulted(&expected);
        alter(&mut live[index].data["spec"]);
        let reason = reason(&live, &expected);
        assert!(reason.contains(&format!("lockkeeper-decision was altered: {told};")), "{told}: {reason}");
    }
}
