//! Stories: what people do with releases and what becomes of it, on a real control plane with a real gateway and Prometheus.
//!
//! Each has a namespace of its own on one cluster with one operator; several run at once (`--test-threads`, default 6), and a
//! name, or part of it, as argument runs just those. Then those for API servers without mutating admission policies have
//! their turn, on a cluster of that kind. What fails shows its Release, its objects and the operator's log. At last the operator's
//! rights are compared with what it has used. Those that install, upgrade and remove the product are in `installations.rs`.

mod harness;

mod approval;
mod audited;
mod authority;
mod carried;
mod command_line;
mod conditions;
mod contested;
mod earlier_version;
mod first;
mod going_back;
mod killed;
mod missing;
mod orphan;
mod paused_at_rest;
mod people_decide;
mod platform_windows;
mod policy_status;
mod promoted;
mod requester;
mod restarted;
mod resynced;
mod rights;
mod rolled_back;
mod routes;
mod scaled;
mod shared_policy;
mod slow;
mod suspended;
mod two_operators;
mod two_workloads;
mod unpaused;
mod unreadable;
mod vanished;
mod verdicts;
mod windows;

use std::process::ExitCode;

use harness::{Evidence, Stage, stories};
use lockkeeper_e2e::{MutatingPolicies, Suite, Test};

fn main() -> ExitCode {
    // They wait most of the time.
    Suite::main(6, |suite| {
        let evidence = Evidence::default();
        for policies in MutatingPolicies::possible() {
            suite.run(Stage::set(*policies, evidence.clone()), stories(*policies))?;
        }
        suite.conclude("rights::used_are_granted", move || evidence.used_are_granted());
        Ok(())
    })
}

/// On an API server that is as it is by itself, all; on one that only emulates an older one, those about that.
fn stories(policies: MutatingPolicies) -> Vec<Test<Stage>> {
    let by_itself = MutatingPolicies::possible()[0] == policies;
    match policies {
        MutatingPolicies::Served => {
            let mutating = with_mutating_policies().into_iter().flat_map(|(_, stories)| stories);
            everywhere().into_iter().chain(mutating).collect()
        }
        MutatingPolicies::Absent if by_itself => {
            let skipped = with_mutating_policies().into_iter().flat_map(|(why, stories)| {
                let why = format!("without mutating policies {why}");
                stories.into_iter().map(move |story| story.skipped(&why))
            });
            everywhere().into_iter().chain(without_mutating_policies()).chain(skipped).collect()
        }
        MutatingPolicies::Absent => without_mutating_policies()
            .into_iter()
            .chain(stories![orphan::given_back, promoted::images_under_traffic])
            .collect(),
    }
}

fn without_mutating_policies() -> Vec<Test<Stage>> {
    stories![
        paused_at_rest::deployment_carries_the_version,
        paused_at_rest::release_carries_the_version,
        paused_at_rest::resume_is_refused,
        paused_at_rest::rollback,
    ]
}

/// What only mutating policies can do, by what is so without.
fn with_mutating_policies() -> Vec<(&'static str, Vec<Test<Stage>>)> {
    vec![
        (
            "nobody's name is recorded",
            stories![requester::excluded, requester::of_the_deployment, authority::releaser,],
        ),
        (
            "kubectl neither restarts nor rolls back a paused Deployment",
            stories![
                earlier_version::rollout_undo,
                earlier_version::healed_on_the_way,
                restarted::images_in_release,
                restarted::deployment,
            ],
        ),
        (
            "who unpauses is refused",
            stories![
                unpaused::by_rollout_resume,
                unpaused::by_patch,
                unpaused::by_apply,
                unpaused::before_start,
                unpaused::paused_by_person,
            ],
        ),
        (
            "a write of the whole Service drops the pin for a moment",
            stories![
                carried::superseded,
                resynced::images_server_side,
                resynced::aborted_server_side,
                resynced::deployment_server_side,
                contested::steady_fight,
            ],
        ),
        ("a Deployment is not held as it is created", stories![first::behind_a_gate, first::rejected,]),
    ]
}

fn everywhere() -> Vec<Test<Stage>> {
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
        authority::stricter_gates,
        requester::unknown,
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
        earlier_version::images_brought_back,
        restarted::midway,
        resynced::images_client_side,
        resynced::deployment_client_side,
        resynced::aborted_client_side,
        contested::image_midway,
        contested::image_at_rest,
        contested::steady_fight_at_rest,
        command_line::whole_release,
        orphan::given_back,
        orphan::unproven_stays_paused,
        policy_status::tried_before_it_is_needed,
        shared_policy::admitted_by_label,
        two_workloads::one_fails,
        two_workloads::both_promoted,
        vanished::stable_replica_set,
        vanished::behind_a_gate,
        vanished::after_going_back,
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
        scaled::at_every_phase,
        scaled::between_the_writes_of_the_handover,
        scaled::between_the_writes_of_the_way_back,
        slow::min_ready_seconds,
        slow::start,
        first::deployment_then_release,
        first::release_then_deployment,
        first::deployment_then_release_with_images,
        first::release_then_deployment_with_images,
        missing::service,
        missing::route,
        missing::rollback_policy,
        missing::everything,
        missing::name_taken,
        two_operators::one_leads,
        two_operators::election_defeated,
        two_operators::killed_between_two_handovers,
        unreadable::among_good_ones,
        unreadable::found_at_the_start,
        rights::owner_references,
        audited::quiet_at_rest,
        audited::within_the_budget,
        conditions::of_every_phase,
        conditions::shown_by_kubectl,
        routes::rules_and_backends_of_others,
        routes::mesh,
        routes::other_services,
        routes::none,
    ]
}
