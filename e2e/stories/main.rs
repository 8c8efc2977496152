//! Stories: what people do with releases and what becomes of it, on a real control plane with a real gateway and Prometheus.
//!
//! Each has a namespace of its own on one cluster with one operator; several run at once (`--test-threads`, default 6), and a
//! name, or part of it, as argument runs just those. What fails shows its Release, its objects and the operator's log.

mod harness;

mod approval;
mod authority;
mod carried;
mod command_line;
mod contested;
mod earlier_version;
mod going_back;
mod killed;
mod orphan;
mod people_decide;
mod platform_windows;
mod policy_status;
mod promoted;
mod requester;
mod restarted;
mod resynced;
mod rolled_back;
mod suspended;
mod two_workloads;
mod unpaused;
mod vanished;
mod verdicts;
mod windows;

use std::sync::Arc;

use anyhow::Result;
use harness::{Stage, Story};
use libtest_mimic::{Arguments, Failed, Trial};
use lockkeeper_e2e::reexec_in_network_namespace;
use tokio::runtime::{Handle, Runtime};

fn main() {
    reexec_in_network_namespace();
    if let Err(error) = run() {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    let mut arguments = Arguments::from_args();
    // They wait most of the time.
    arguments.test_threads.get_or_insert(6);
    if arguments.list {
        libtest_mimic::run(&arguments, stories(None)).exit();
    }
    let runtime = Runtime::new()?;
    let stage = Arc::new(runtime.block_on(Stage::set())?);
    let conclusion = libtest_mimic::run(&arguments, stories(Some((runtime.handle(), &stage))));
    if conclusion.has_failed() {
        stage.cluster.keep_logs();
        eprintln!("logs: {}", stage.cluster.logs().display());
    }
    let stage = Arc::into_inner(stage);
    runtime.block_on(stage.map_or_else(|| unreachable!("no story runs any more"), Stage::strike))?;
    conclusion.exit()
}

fn stories(place: Option<(&Handle, &Arc<Stage>)>) -> Vec<Trial> {
    let place = place.map(|(handle, stage)| (handle.clone(), stage.clone()));
    // `module::function` is the name and, with dashes, the namespace.
    macro_rules! stories {
        ($($module:ident :: $story:ident),* $(,)?) => {
            vec![$({
                let place = place.clone();
                Trial::test(concat!(stringify!($module), "::", stringify!($story)), move || match place {
                    Some((handle, stage)) => handle.block_on(async {
                        let name = concat!(stringify!($module), "-", stringify!($story));
                        let story = Story::begin(&stage, name).await.map_err(failed)?;
                        match $module::$story(&story).await {
                            Ok(()) => Ok(()),
                            Err(error) => Err(Failed::from(format!("{error:#}\n{}", harness::shown(&story).await))),
                        }
                    }),
                    None => Ok(()),
                })
            }),*]
        };
    }
    stories![
        promoted::images_under_traffic,
        promoted::deployment_under_traffic,
        promoted::long_history,
        rolled_back::by_metrics,
        rolled_back::no_data,
        rolled_back::crash_loop,
        rolled_back::never_ready,
        going_back::superseded,
        going_back::withdrawn,
        approval::two_people,
        approval::rejection,
        people_decide::pause_resume,
        people_decide::skip,
        people_decide::promote,
        people_decide::abort_retry,
        people_decide::rollback,
        windows::closed_and_opened,
        windows::freeze,
        platform_windows::frozen,
        platform_windows::outside,
        authority::wrong_user,
        authority::service_account,
        authority::releaser,
        authority::stricter_gates,
        requester::excluded,
        requester::unknown,
        requester::of_the_deployment,
        verdicts::override_expires,
        verdicts::reject_later,
        verdicts::resume,
        verdicts::retry_after_rollback,
        verdicts::approval_of_one_revision,
        verdicts::retry_before_start,
        verdicts::abort_while_promoting,
        verdicts::rollback_while_baking,
        suspended::before_start,
        suspended::midway,
        carried::withdrawn,
        carried::superseded,
        earlier_version::rollout_undo,
        earlier_version::healed_on_the_way,
        earlier_version::images_brought_back,
        restarted::images_in_release,
        restarted::deployment,
        restarted::midway,
        unpaused::by_rollout_resume,
        unpaused::by_patch,
        unpaused::by_apply,
        unpaused::before_start,
        unpaused::paused_by_person,
        resynced::images_server_side,
        resynced::images_client_side,
        resynced::deployment_server_side,
        resynced::deployment_client_side,
        resynced::aborted_server_side,
        resynced::aborted_client_side,
        contested::image_midway,
        contested::image_at_rest,
        contested::steady_fight,
        command_line::whole_release,
        orphan::given_back,
        orphan::unproven_stays_paused,
        policy_status::tried_before_it_is_needed,
        two_workloads::one_fails,
        two_workloads::both_promoted,
        vanished::stable_replica_set,
        vanished::route,
        vanished::service,
        vanished::release,
        vanished::deployment,
        killed::waiting,
        killed::progressing,
        killed::paused,
        killed::promoting,
        killed::baking,
        killed::rolling_back,
    ]
}

fn failed(error: anyhow::Error) -> Failed {
    format!("{error:#}").into()
}
