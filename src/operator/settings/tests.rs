use clap::{CommandFactory, Parser};

use super::*;

#[derive(Parser, Debug)]
struct Operator {
    #[command(flatten)]
    settings: Settings,
}

fn read(flags: &[&str]) -> Settings {
    Operator::try_parse_from([&["operator"], flags].concat()).unwrap_or_else(|error| panic!("{error}")).settings
}

fn refused(flags: &[&str]) -> String {
    Operator::try_parse_from([&["operator"], flags].concat()).unwrap_err().to_string()
}

#[test]
fn every_flag_is_documented_and_can_come_from_the_environment() {
    let command = Operator::command();
    command.clone().debug_assert();
    let flags: Vec<_> = command.get_arguments().filter(|flag| flag.get_id() != "help").collect();
    assert!(flags.len() > 10);
    for flag in flags {
        let name = flag.get_long().unwrap();
        let variable = format!("LOCKKEEPER_{}", name.to_uppercase().replace('-', "_"));
        assert_eq!(flag.get_env().unwrap(), variable.as_str());
        assert!(flag.get_help().is_some(), "--{name} has no help");
        let help = flag.get_long_help().or(flag.get_help()).unwrap().to_string();
        let default_shown = !flag.get_default_values().is_empty() && !flag.is_hide_default_value_set();
        assert!(default_shown || help.contains("Default: "), "--{name} does not say its default");
    }
}

#[test]
fn without_flags_all_releases_are_handled_by_one_leader() {
    let settings = read(&[]);
    assert_eq!(settings.watch_namespaces, WatchNamespaces::All);
    assert!(settings.release_selector.selects_all());
    assert_eq!(settings.deployment_hold, DeploymentHold::Auto);
    assert_eq!(settings.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(settings.data_plane_settle.as_secs(), 2);
    assert_eq!(settings.log_format, LogFormat::Text);
    assert!(settings.approving_service_accounts.is_empty() && settings.allow_addresses.is_empty());
    assert!(settings.prometheus_url.is_none());
    let candidate = settings.candidate().unwrap();
    assert_eq!((candidate.lease.as_str(), candidate.duration.as_secs()), ("lockkeeper-operator", 4));
    assert!(!candidate.identity.is_empty());
}

#[test]
fn flags_are_read_into_what_they_mean() {
    let settings = read(&[
        "--namespace=platform",
        "--watch-namespaces=shop,cart",
        "--release-selector=shard in (a,b)",
        "--prometheus-url=https://prometheus.example.com/tenant/",
        "--allow-addresses=127.0.0.1/32,fe80::/10",
        "--data-plane-settle=1m",
        "--listen=[::1]:9090",
        "--lease-name=lockkeeper-a",
        "--lease-duration=15s",
        "--concurrency=8",
        "--approving-service-accounts=ci:deployer,ci:robot",
        "--deployment-hold=pausedatrest",
        "--log-format=json",
        "--log-level=warn,lockkeeper_engine=debug",
        "--identity=here",
    ]);
    assert_eq!(settings.namespace.as_str(), "platform");
    assert_eq!(settings.watch_namespaces.to_string(), "cart,shop");
    assert_eq!(settings.release_selector.to_string(), "shard in (a,b)");
    assert_eq!(settings.prometheus_url.as_ref().unwrap().to_string(), "https://prometheus.example.com");
    assert!(settings.allow_addresses[0].contains(&"127.0.0.1".parse::<std::net::IpAddr>().unwrap()));
    assert_eq!(settings.allow_addresses.len(), 2);
    assert_eq!(settings.data_plane_settle.as_secs(), 60);
    assert_eq!(settings.listen.port(), 9090);
    assert_eq!(settings.concurrency.get(), 8);
    let accounts: Vec<_> = settings.approving_service_accounts.iter().map(ServiceAccount::username).collect();
    assert_eq!(accounts, ["system:serviceaccount:ci:deployer", "system:serviceaccount:ci:robot"]);
    assert_eq!(settings.deployment_hold, DeploymentHold::PausedAtRest);
    assert_eq!(settings.log_format, LogFormat::Json);
    assert_eq!(settings.log_level.to_string(), "warn,lockkeeper_engine=debug");
    let Candidate { namespace, lease, identity, duration } = settings.candidate().unwrap();
    assert_eq!((namespace.as_str(), lease.as_str(), identity.as_str()), ("platform", "lockkeeper-a", "here"));
    assert_eq!(duration.as_secs(), 15);
}

#[test]
fn operators_with_different_shares_do_not_wait_for_each_other() {
    let lease = |flags: &[&str]| read(flags).candidate().unwrap().lease;
    let shares = [
        lease(&[]),
        lease(&["--release-selector=shard=a"]),
        lease(&["--release-selector=shard=b"]),
        lease(&["--watch-namespaces=shop"]),
        lease(&["--watch-namespaces=shop", "--release-selector=shard=a"]),
    ];
    assert_eq!(shares.iter().collect::<BTreeSet<_>>().len(), shares.len(), "{shares:?}");
    // Written out because it must not change: during an upgrade, old and new have to agree on it.
    assert_eq!(shares[1], "lockkeeper-operator-18aadb9f");
    assert_eq!(lease(&["--watch-namespaces=b,a"]), lease(&["--watch-namespaces=a,b"]));
}

#[test]
fn the_election_can_be_left_out() {
    assert!(read(&["--leader-elect=false"]).candidate().is_none());
    assert!(read(&["--leader-elect"]).candidate().is_some());
}

#[test]
fn a_wrong_value_is_refused_with_the_flag_and_what_to_write() {
    for (flag, mend) in [
        ("--namespace=Shop", "lower-case"),
        ("--watch-namespaces=shop,", "lower-case"),
        ("--release-selector=a>1", "notin (a,b)"),
        ("--prometheus-url=prometheus:9090", "http://"),
        ("--prometheus-url=ftp://prometheus", "http://"),
        ("--prometheus-url=http://me:secret@prometheus", "leave credentials out"),
        ("--prometheus-url=http://prometheus/?a=b", "follows the path"),
        ("--allow-addresses=10.0.0.0", "invalid"),
        ("--data-plane-settle=2", "1h30m"),
        ("--data-plane-settle=11m", "from 0s to 10m"),
        ("--lease-duration=2s", "from 3s to 1m"),
        ("--concurrency=0", "1 to 1000"),
        ("--concurrency=1001", "1 to 1000"),
        ("--listen=8080", "invalid"),
        ("--lease-name=A", "lower-case"),
        ("--approving-service-accounts=deployer", "namespace:name"),
        ("--deployment-hold=Never", "PausedAtRest"),
        ("--log-level=loud", "lockkeeper_engine=debug"),
        ("--identity=", "value is required"),
        ("--leader-elect=perhaps", "true, false"),
    ] {
        let error = refused(&[flag]);
        let name = flag.split('=').next().unwrap();
        assert!(error.contains(name) && error.contains(mend), "{flag}: {error}");
    }
}

#[test]
fn the_own_namespace_is_the_pods_as_far_as_it_is_known() {
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(own_namespace(some("a"), some("b")), "a");
    assert_eq!(own_namespace(some(""), some("b\n")), "b");
    assert_eq!(own_namespace(None, None), "lockkeeper-system");
}

#[test]
fn the_identity_is_the_pods_name_or_else_unique() {
    let host = || Some("laptop\n".to_owned());
    assert_eq!(identity(Some("lockkeeper-7d4-x".into()), host()), "lockkeeper-7d4-x");
    let [one, other] = [identity(None, host()), identity(None, host())];
    assert!(one.starts_with("laptop_") && one != other, "{one} {other}");
}
