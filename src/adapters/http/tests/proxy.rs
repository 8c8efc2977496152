//! Proxies are named in the environment, which a process has only one of: the client runs in one of its own.

use tokio::process::Command;

use super::*;

const ROLE: &str = "LOCKKEEPER_TEST_BEHIND_PROXY";

#[tokio::test]
async fn a_proxy_in_the_environment_is_used_but_not_for_what_no_proxy_names() {
    if std::env::var_os(ROLE).is_some() {
        return behind_proxy().await;
    }
    let mut proxy = Server::start(|_| json("1")).await;
    let name = std::thread::current().name().unwrap().to_owned();
    let mut child = Command::new(std::env::current_exe().unwrap());
    for variable in ["HTTP_PROXY", "http_proxy"] {
        child.env(variable, proxy.url());
    }
    for variable in ["NO_PROXY", "no_proxy"] {
        child.env(variable, "direct.invalid");
    }
    let output = child.args(["--exact", &name]).env(ROLE, "").kill_on_drop(true).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    let received = proxy.received();
    assert_eq!(
        received.iter().map(|request| request.path.as_str()).collect::<Vec<_>>(),
        ["http://proxied.invalid/path"]
    );
}

async fn behind_proxy() {
    let client = HttpClient::new(AddressPolicy::default(), Limits::default()).unwrap();
    // Neither name has an address: the first is the proxy's to resolve.
    assert_eq!(post(&client, "http://proxied.invalid").await.unwrap().json::<u8>(), Ok(1));
    assert_eq!(fault(&client, "http://direct.invalid").await, Fault::NameNotResolved);
    // The proxy would go there.
    assert_eq!(fault(&client, "http://169.254.169.254").await.reason(), "AddressNotAllowed");
}
