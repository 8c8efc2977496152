//! The election as a whole, several processes against one API server over bad networks, on a paused clock.

use std::sync::atomic::Ordering::Relaxed;

use http::Method;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    fake::{ApiServer, Link},
    *,
};

const DURATION: Duration = Duration::from_secs(4);
/// What messages and attempts may take on top of a deadline; links here need at most 60 ms for a request and its answer.
const SLACK: Duration = Duration::from_millis(300);

/// One process that stands for election.
struct Process {
    leadership: Leadership,
    link: Link,
    shutdown: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Process {
    fn start(server: &ApiServer, identity: &str, seed: u64) -> Self {
        let link = Link::new(seed);
        let candidate = Candidate {
            namespace: "default".into(),
            lease: "lockkeeper-operator".into(),
            identity: identity.into(),
            duration: DURATION,
        };
        let (election, leadership) = Election::new(server.client(&link), candidate, Clock::new(jiff::Timestamp::now));
        let (shutdown, wanted) = oneshot::channel::<()>();
        let task = tokio::spawn(election.run(async move {
            let _ = wanted.await;
        }));
        Self { leadership, link, shutdown: Some(shutdown), task }
    }

    async fn leads_within(&mut self, limit: Duration) {
        timeout(limit, self.leadership.acquired()).await.expect("leads in time");
    }

    async fn shut_down(mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
        self.task.await.unwrap();
    }

    /// What SIGKILL does: no further request, no further decision.
    fn kill(self) {
        self.link.cut(true);
        self.task.abort();
    }
}

async fn led_by_first() -> (ApiServer, Process) {
    let server = ApiServer::new();
    let mut first = Process::start(&server, "first", 1);
    first.leads_within(DURATION + SLACK).await;
    (server, first)
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_lease_the_first_process_creates_and_takes_it_and_the_second_follows() {
    let server = ApiServer::new();
    let mut first = Process::start(&server, "first", 1);
    first.leads_within(DURATION + SLACK).await;
    let second = Process::start(&server, "second", 2);
    sleep(DURATION * 5).await;
    assert!(first.leadership.is_leader() && !second.leadership.is_leader());
    assert_eq!(server.holder().as_deref(), Some("first"));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_shuts_down_frees_the_lease_and_the_next_leads_at_once() {
    let (server, first) = led_by_first().await;
    let mut second = Process::start(&server, "second", 2);
    sleep(DURATION * 3).await;
    let leadership = first.leadership.clone();
    first.shut_down().await;
    assert!(!leadership.is_leader());
    second.leads_within(SLACK).await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_leader_is_replaced_within_the_duration_of_the_lease() {
    let (server, first) = led_by_first().await;
    let mut second = Process::start(&server, "second", 2);
    sleep(DURATION * 3).await;
    first.kill();
    second.leads_within(DURATION + SLACK).await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_started_again_under_its_name_leads_at_once() {
    let (server, first) = led_by_first().await;
    first.kill();
    Process::start(&server, "first", 2).leads_within(SLACK).await;
}

#[tokio::test(start_paused = true)]
async fn an_isolated_leader_stops_before_another_starts_and_comes_back_as_follower() {
    let (server, mut first) = led_by_first().await;
    let mut second = Process::start(&server, "second", 2);
    sleep(DURATION * 3).await;
    assert_eq!(first.leadership.term(), Some(1));
    first.link.cut(true);
    timeout(DURATION * 3 / 4, first.leadership.lost()).await.expect("stops by itself");
    assert!(!second.leadership.is_leader());
    second.leads_within(DURATION + SLACK).await;
    first.link.cut(false);
    sleep(DURATION * 3).await;
    assert!(second.leadership.is_leader() && !first.leadership.is_leader());
    second.kill();
    first.leads_within(DURATION + SLACK).await;
    assert_eq!(first.leadership.term(), Some(2), "what it knew when it led before is not proven any more");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_even_when_the_election_itself_is_stuck() {
    let (_server, mut first) = led_by_first().await;
    first.task.abort();
    timeout(DURATION * 3 / 4 + SLACK, first.leadership.lost()).await.expect("stops by itself");
    assert!(!first.leadership.is_leader());
}

#[tokio::test(start_paused = true)]
async fn one_lost_answer_does_not_cost_the_leadership() {
    let (_server, mut first) = led_by_first().await;
    first.link.deaf.store(true, Relaxed);
    sleep(DURATION / 3 + SLACK).await; // One renewal is stored and its answer lost.
    first.link.deaf.store(false, Relaxed);
    assert!(timeout(DURATION * 5, first.leadership.lost()).await.is_err(), "still leads");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_was_given_to_another_by_hand_stops_with_its_next_renewal() {
    let (server, mut first) = led_by_first().await;
    server.give_to("second");
    timeout(DURATION / 3 + SLACK, first.leadership.lost()).await.expect("stops");
    assert_eq!(server.holder().as_deref(), Some("second"));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_shuts_down_does_not_free_what_has_become_anothers() {
    let (server, first) = led_by_first().await;
    server.give_to("second");
    first.shut_down().await;
    assert_eq!(server.holder().as_deref(), Some("second"));
}

#[tokio::test(start_paused = true)]
async fn a_removed_lease_never_makes_two_leaders() {
    let server = ApiServer::new();
    let mut processes = [Process::start(&server, "a", 1), Process::start(&server, "b", 2)];
    processes[0].leads_within(DURATION + SLACK).await;
    for _ in 0..20 {
        server.delete();
        at_most_one_for(&mut processes, Duration::from_millis(1_700)).await;
    }
    sleep(DURATION * 3).await;
    assert_eq!(leaders(&processes), 1);
}

#[tokio::test(start_paused = true)]
async fn in_calm_the_leader_sends_one_write_an_interval_and_followers_nothing() {
    let (server, first) = led_by_first().await;
    let second = Process::start(&server, "second", 2);
    sleep(SLACK).await;
    first.link.requests.lock().clear();
    second.link.requests.lock().clear();
    sleep(DURATION * 30).await;
    let sent = first.link.requests.lock().clone();
    assert!(sent.iter().all(|method| method == Method::PATCH), "{sent:?}");
    assert!((80..=90).contains(&sent.len()), "{}", sent.len());
    assert_eq!(*second.link.requests.lock(), [Method::GET; 0]);
}

#[tokio::test(start_paused = true)]
async fn however_bad_the_networks_never_two_lead_and_in_the_end_one_does() {
    for seed in 0..60 {
        let server = ApiServer::new();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut processes: Vec<Process> =
            (0..3).map(|n| Process::start(&server, &format!("process-{n}"), random.u64(..))).collect();
        for round in 0..25 {
            let n = random.usize(0..processes.len());
            match random.u8(0..8) {
                0..=2 => processes[n].link.cut(true),
                3..=4 => processes[n].link.cut(false),
                5 => processes[n].link.deaf.store(random.bool(), Relaxed),
                6 => server.delete(),
                7.. => {
                    let new = Process::start(&server, &format!("process-{n}-{round}"), random.u64(..));
                    let old = std::mem::replace(&mut processes[n], new);
                    if random.bool() { old.shut_down().await } else { old.kill() }
                }
            }
            let pause = Duration::from_millis(random.u64(0..5_000));
            at_most_one_for(&mut processes, pause).await;
        }
        for process in &processes {
            process.link.cut(false);
            process.link.deaf.store(false, Relaxed);
        }
        at_most_one_for(&mut processes, DURATION * 4).await;
        assert_eq!(leaders(&processes), 1, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_election_a_process_always_leads() {
    let mut leadership = Leadership::always();
    leadership.acquired().await;
    assert!(timeout(DURATION * 100, leadership.lost()).await.is_err() && leadership.is_leader());
    assert_eq!(leadership.term(), None);
}

#[test]
fn a_missing_right_is_named_however_deep_it_is() {
    let error = |code| {
        let status = kube::core::Status { code, ..kube::core::Status::default() };
        kube::runtime::watcher::Error::WatchStartFailed(kube::Error::Api(status.boxed()))
    };
    assert!(mend(&error(403)).contains("get, list, watch, create and patch on leases"));
    assert_eq!(mend(&error(503)), "");
}

fn leaders(processes: &[Process]) -> usize {
    processes.iter().filter(|process| process.leadership.is_leader()).count()
}

/// Lets time pass and looks every few milliseconds.
async fn at_most_one_for(processes: &mut [Process], time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        assert!(leaders(processes) <= 1, "two processes lead at once");
        sleep(Duration::from_millis(7)).await;
    }
}
