//! `lockkeeper operator`: puts the parts together, and takes them apart on SIGTERM.

use std::{future::Future, sync::Arc, time::Duration};

use http::header::{HeaderValue, USER_AGENT};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{Api, Client, Config, api::PostParams, client::ClientBuilder, core::GroupVersionKind, discovery};
use lockkeeper_adapters::{
    address::AddressPolicy,
    http::{HttpClient, Limits, SetupError},
    metric::{MetricSource, Prometheus},
};
use lockkeeper_engine::plan::Setting;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::sleep,
};
use tracing::{info, warn};

use crate::{
    build_info,
    cache::Resource,
    context::{Clock, Context, Parts},
    controllers::{self, Scope},
    leader::{Election, Leadership},
    metrics::Metrics,
    policies::{self, OPERATOR_USER, PolicyMode, PolicySettings, TextError},
    server::{self, ListenError, Pages, Readiness},
    settings::{DeploymentHold, Settings},
};

/// How long until an API server that did not answer is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// Why the operator ended, other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No way to the API server is configured.
    #[error("failed to find the API server: run in a cluster, or set KUBECONFIG")]
    Kubeconfig(#[source] kube::config::InferConfigError),
    /// The client could not be made.
    #[error("failed to set up the client of the API server")]
    Client(#[source] kube::Error),
    /// The port could not be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The HTTP client could not be made.
    #[error(transparent)]
    Http(#[from] SetupError),
    /// This build is broken.
    #[error(transparent)]
    Policies(#[from] TextError),
    /// Signals cannot be received.
    #[error("failed to listen for signals")]
    Signals(#[source] std::io::Error),
    /// The election ended although nobody asked for that; without it, this process must not go on.
    #[error("the election of a leader ended by itself")]
    Election,
}

/// Runs until SIGTERM or Ctrl-C. Whoever calls has installed telemetry.
///
/// # Errors
/// When it cannot start, or has to stop.
pub async fn run(settings: Settings) -> Result<(), Error> {
    let metrics = Metrics::new();
    let readiness = Readiness::default();
    let start = readiness.require("API server", "it has not answered yet");
    let listener = server::listen(settings.listen).await?;
    let client = client(&metrics).await?;
    let provider = provider(&settings)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let shutdown = async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    let (stop_serving, serving) = oneshot::channel::<()>();
    let pages = Pages { readiness: readiness.clone(), metrics: metrics.clone() };
    let serve = tokio::spawn(server::serve(listener, pages, async move {
        // An error says that the sender is gone, which is an end too.
        let _ = serving.await;
    }));

    let operate = async {
        let facts = facts(&client).await;
        start.met();
        operate(settings, client.clone(), metrics, readiness, provider, facts, shutdown).await
    };
    let result = operate.await;
    // The server may be gone already.
    let _ = stop_serving.send(());
    let _ = serve.await;
    result
}

/// What has to be known of the API server before anything else.
#[derive(Clone, Debug)]
struct Facts {
    user: String,
    mutating: bool,
}

async fn operate(
    settings: Settings,
    client: Client,
    metrics: Metrics,
    readiness: Readiness,
    provider: Option<Arc<dyn MetricSource>>,
    facts: Facts,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let (election, leadership) = match settings.candidate() {
        Some(candidate) => {
            let (election, leadership) = Election::new(client.clone(), candidate, Clock::new(Timestamp::now));
            (Some(election), leadership)
        }
        None => (None, Leadership::always()),
    };
    let paused_at_rest = match settings.deployment_hold {
        DeploymentHold::Auto => !facts.mutating,
        DeploymentHold::Policy => false,
        DeploymentHold::PausedAtRest => true,
    };
    info!(
        user = facts.user,
        hold = if paused_at_rest { "PausedAtRest" } else { "Policy" },
        version = build_info::VERSION,
        commit = build_info::COMMIT,
        "starting"
    );
    if facts.user != OPERATOR_USER {
        warn!(
            user = facts.user,
            expected = OPERATOR_USER,
            "the admission policies as shipped are about another user: run as that one, or name this one in them"
        );
    }
    let context = Context::new(Parts {
        setting: Setting {
            operator_namespace: settings.namespace.to_string(),
            settle: settings.data_plane_settle.into(),
            paused_at_rest,
            approving_service_accounts: settings.approving_service_accounts.iter().map(|a| a.username()).collect(),
        },
        policies: policies::render_each(&PolicySettings {
            operator_user: facts.user,
            approving_service_accounts: settings.approving_service_accounts.clone(),
            mode: if paused_at_rest { PolicyMode::Validating } else { PolicyMode::Mutating },
        })?,
        readiness: readiness.clone(),
        client,
        clock: Clock::new(Timestamp::now),
        leadership,
        metrics,
        provider,
        random: Box::new(fastrand::f64),
        namespaces: settings.watch_namespaces.clone(),
        releases: settings.release_selector.selector().clone(),
        identity: settings.identity.clone(),
    });
    let scope = Scope { mutating: facts.mutating, concurrency: settings.concurrency };
    let (stop_standing, standing) = oneshot::channel::<()>();
    let elect = async move {
        match election {
            Some(election) => election.run(async move { drop(standing.await) }).await,
            None => drop(standing.await),
        }
    };
    let mut elect = std::pin::pin!(elect);
    tokio::select! {
        () = controllers::run(context, scope, readiness) => {}
        () = shutdown => info!("stopping"),
        () = &mut elect => return Err(Error::Election),
    }
    // Whatever acted has been dropped by now, so that the next process may.
    let _ = stop_standing.send(());
    elect.await;
    Ok(())
}

async fn client(metrics: &Metrics) -> Result<Client, Error> {
    let mut config = Config::infer().await.map_err(Error::Kubeconfig)?;
    // A write that is sent again blindly may be one that was decided on an older world.
    config.default_retry = false;
    // By this the API server's audit log and metrics tell our requests from those of others.
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(concat!("lockkeeper-operator/", env!("CARGO_PKG_VERSION")))));
    let builder = ClientBuilder::try_from(config).map_err(Error::Client)?;
    Ok(builder.with_layer(&metrics.requests()).build())
}

fn provider(settings: &Settings) -> Result<Option<Arc<dyn MetricSource>>, Error> {
    let Some(url) = &settings.prometheus_url else { return Ok(None) };
    let client = HttpClient::new(AddressPolicy::new(settings.allow_addresses.clone()), Limits::default())?;
    Ok(Some(Arc::new(Prometheus::new(client, url.clone()))))
}

/// Asks the API server what it is, for as long as it takes.
async fn facts(client: &Client) -> Facts {
    loop {
        match ask(client).await {
            Ok(facts) => return facts,
            Err(error) => warn!(%error, "the API server does not answer; it is asked again"),
        }
        sleep(AGAIN).await;
    }
}

async fn ask(client: &Client) -> kube::Result<Facts> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username).unwrap_or_default();
    let api = Resource::MutatingAdmissionPolicy.api();
    let kind = GroupVersionKind::gvk(&api.group, &api.version, &api.kind);
    let mutating = match discovery::pinned_kind(client, &kind).await {
        Ok(_) => true,
        Err(kube::Error::Discovery(_)) => false,
        Err(kube::Error::Api(status)) if status.code == 404 => false,
        Err(error) => return Err(error),
    };
    Ok(Facts { user, mutating })
}
