use super::*;

/// Rules as a role has them.
fn rules(yaml: &str) -> Vec<PolicyRule> {
    serde_saphyr::from_str(yaml).unwrap()
}

const ROLE: &str = r#"
- {apiGroups: [apps], resources: [deployments], verbs: [list, patch]}
- {apiGroups: [apps], resources: [deployments/finalizers], verbs: [update]}
- {apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], resourceNames: [releases], verbs: [get]}
"#;
const ADMISSION: AskedByAdmission =
    AskedByAdmission { group: "apps", resource: "deployments/finalizers", verb: "update", shown_by: "a test" };

/// An entry of the audit log: verb, group, resource with subresource, namespace, name, answer.
fn entry(verb: &str, group: &str, resource: &str, namespace: &str, name: &str, code: u16) -> AuditEntry {
    staged("ResponseComplete", verb, (group, resource), namespace, name, code)
}

fn staged(
    stage: &str,
    verb: &str,
    (group, resource): (&str, &str),
    namespace: &str,
    name: &str,
    code: u16,
) -> AuditEntry {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    serde_json::from_value(serde_json::json!({
        "stage": stage, "requestURI": "/apis", "verb": verb, "user": {"username": "operator"},
        "objectRef": {
            "apiGroup": some(group), "resource": resource, "subresource": some(subresource),
            "namespace": some(namespace), "name": some(name),
        },
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": "2026-01-01T00:00:00Z", "stageTimestamp": "2026-01-01T00:00:00Z",
    }))
    .unwrap()
}

/// Uses each right of `ROLE` that a request can use.
fn all_used() -> Vec<AuditEntry> {
    vec![
        entry("list", "apps", "deployments", "", "", 200),
        entry("patch", "apps", "deployments", "shop", "web", 200),
        entry("patch", "apps", "deployments", "bank", "web", 200),
        entry("get", "apiextensions.k8s.io", "customresourcedefinitions", "", "releases", 200),
    ]
}

/// What `ROLE` with these rules and all its uses with these entries are found to differ in.
fn check(more_rules: &str, more_entries: Vec<AuditEntry>, expected: &[&str]) {
    let granted = grants(&rules(&format!("{ROLE}{more_rules}")), None);
    let uses = uses(all_used().iter().chain(&more_entries));
    let everybodys = grants(
        &rules("[{apiGroups: [authentication.k8s.io], resources: [selfsubjectreviews], verbs: [create]}]"),
        None,
    );
    let faults = difference(&granted, &everybodys, &[ADMISSION], &uses).faults();
    assert_eq!(faults, expected);
}

#[test]
fn what_is_used_and_granted_is_no_fault() {
    check("", Vec::new(), &[]);
}

#[test]
fn what_everybody_may_do_may_be_used_and_need_not_be_granted() {
    check("", vec![entry("create", "authentication.k8s.io", "selfsubjectreviews", "", "", 201)], &[]);
}

#[test]
fn an_extra_rule_is_found() {
    check(
        "- {apiGroups: [\"\"], resources: [pods], verbs: [list, watch]}",
        vec![entry("list", "", "pods", "", "", 200)],
        &["granted, but nobody uses it: watch pods"],
    );
}

#[test]
fn an_extra_verb_of_a_resource_that_is_used_is_found() {
    check(
        "- {apiGroups: [apps], resources: [deployments], verbs: [get]}",
        Vec::new(),
        &["granted, but nobody uses it: get deployments (apps)"],
    );
}

#[test]
fn a_subresource_is_another_resource() {
    check(
        "- {apiGroups: [apps], resources: [deployments/scale], verbs: [patch]}",
        Vec::new(),
        &["granted, but nobody uses it: patch deployments/scale (apps)"],
    );
    check(
        "",
        vec![entry("patch", "apps", "deployments/status", "shop", "web", 403)],
        &["used, but not granted: patch deployments/status (apps) named web in shop"],
    );
}

#[test]
fn a_name_that_nobody_asks_for_is_found_and_one_that_is_not_granted_too() {
    let named =
        |name: &str| format!("- {{apiGroups: [\"\"], resources: [secrets], resourceNames: [{name}], verbs: [get]}}");
    let asked = |name: &str| {
        vec![entry("get", "", "secrets", "shop", name, 200), entry("get", "", "secrets", "bank", name, 200)]
    };
    check(&named("token"), asked("token"), &[]);
    check(
        &named("token"),
        asked("key"),
        &[
            "granted, but nobody uses it: get secrets named token",
            "used, but not granted: get secrets named key in bank",
            "used, but not granted: get secrets named key in shop",
        ],
    );
}

#[test]
fn what_is_asked_and_refused_is_found_whether_it_is_granted_or_not() {
    check(
        "",
        vec![entry("get", "", "secrets", "shop", "a", 403)],
        &["used, but not granted: get secrets named a in shop"],
    );
    check(
        "",
        vec![entry("patch", "apps", "deployments", "shop", "web", 403)],
        &["granted, but answered with 403: patch deployments (apps) named web in shop"],
    );
}

#[test]
fn a_grant_everywhere_that_one_namespace_uses_is_found() {
    check(
        "- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get]}",
        vec![entry("get", "coordination.k8s.io", "leases", "system", "l", 200)],
        &["granted everywhere, but used in system only: get leases (coordination.k8s.io)"],
    );
}

#[test]
fn a_grant_in_one_namespace_admits_nothing_elsewhere() {
    let granted = grants(&rules("[{apiGroups: [\"\"], resources: [pods], verbs: [list]}]"), Some("system"));
    let asked = |namespace| uses(&[entry("list", "", "pods", namespace, "", 200)]);
    let faults = |namespace| difference(&granted, &BTreeSet::new(), &[], &asked(namespace)).faults();
    assert_eq!(faults("system"), Vec::<String>::new());
    let outside = ["granted, but nobody uses it: list pods in system", "used, but not granted: list pods in shop"];
    assert_eq!(faults("shop"), outside);
    assert_eq!(faults("")[1], "used, but not granted: list pods");
}

#[test]
fn a_watch_counts_once_whether_it_has_ended_or_not() {
    let watch = |stage, code| staged(stage, "watch", ("", "pods"), "", "", code);
    let counted = |entries: &[AuditEntry]| uses(entries).into_values().next();
    let one = Some(Count { requests: 1, refused: 0 });
    assert_eq!(counted(&[watch("ResponseStarted", 200)]), one);
    assert_eq!(counted(&[watch("ResponseStarted", 200), watch("ResponseComplete", 200)]), one);
    assert_eq!(counted(&[watch("ResponseComplete", 403)]), Some(Count { requests: 1, refused: 1 }));
}

#[test]
fn a_path_that_is_no_resource_is_nobodys_right() {
    let mut version = entry("get", "", "x", "", "", 200);
    version.object_ref = None;
    assert!(uses([&version]).is_empty());
}

#[test]
fn the_uses_of_two_clusters_are_added() {
    let mut all = uses(&all_used());
    add(&mut all, uses(&all_used()));
    let patch = &grants(&rules(ROLE), None).into_iter().find(|grant| grant.right.verb == "patch").unwrap();
    assert_eq!(requests(patch, &all), 4);
}

#[test]
fn the_table_has_a_line_for_each_grant() {
    let granted = grants(&rules(ROLE), None);
    let table = table(&granted, &[ADMISSION], &uses(&all_used()));
    assert_eq!(
        table,
        "\
GROUP                 RESOURCE                   VERB    NAME      NAMESPACE  REQUESTS
apiextensions.k8s.io  customresourcedefinitions  get     releases  all        1
apps                  deployments                list    any       all        1
apps                  deployments                patch   any       all        2
apps                  deployments/finalizers     update  any       all        by admission, see a test"
    );
}

/// What is too wide in one rule.
fn wide(rule: &str, expected: &[&str]) {
    let faults: Vec<String> = rules(&format!("[{rule}]")).iter().flat_map(too_wide).collect();
    assert_eq!(faults, expected, "{rule}");
}

#[test]
fn no_wildcard_no_secret_but_by_name_and_no_way_around() {
    wide("{apiGroups: [apps], resources: [deployments], verbs: [get, patch]}", &[]);
    wide("{apiGroups: [\"\"], resources: [secrets], resourceNames: [token], verbs: [get]}", &[]);
    wide("{apiGroups: ['*'], resources: [deployments], verbs: [get]}", &["a wildcard in apiGroups: *"]);
    wide("{apiGroups: [apps], resources: ['*'], verbs: [get]}", &["a wildcard in resources: *"]);
    wide("{apiGroups: [apps], resources: ['*/scale'], verbs: [get]}", &["a wildcard in resources: */scale"]);
    wide("{apiGroups: [apps], resources: [deployments], verbs: ['*']}", &["a wildcard in verbs: *"]);
    wide("{nonResourceURLs: ['/*'], verbs: [get]}", &["a wildcard in nonResourceURLs: /*"]);
    wide("{apiGroups: [\"\"], resources: [pods, secrets], verbs: [get]}", &["Secrets without a name"]);
    wide(
        "{apiGroups: [\"\"], resources: [secrets], resourceNames: [a], verbs: [get, list]}",
        &["list on Secrets: get by name is all that is needed"],
    );
    wide("{apiGroups: [\"\"], resources: [pods/exec], verbs: [create]}", &["a way into pods: pods/exec"]);
    wide("{apiGroups: [\"\"], resources: [users], verbs: [impersonate]}", &["a verb that gives rights: impersonate"]);
}
