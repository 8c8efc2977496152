//! Lockkeeper's operator, its own code and not a copy, on a virtual clock before a model of a cluster.
//!
//! ```text
//!  operator (controllers::run, unchanged)          people, Git, autoscalers    Kubernetes' controllers, kubelets, gateway
//!      │ kube::Client                                   │ world::Script              │ world::Actor
//!      ▼                                                ▼                            ▼
//!  api::Service ── api::Link (delays, faults) ──▶ api::Server ── admission, schemas ──▶ api::Store ──▶ watches
//!                                                       │ each change
//!                                                       ▼
//!                                       api::Observer: run::Writer (trace), check (promises)
//! ```
//!
//! Everything runs on one thread on tokio's paused clock: virtual time goes on only when nobody has anything to do. All chance (delays of
//! messages, reactions of controllers, starts of pods, jitter) comes from one seed, so that equal seeds give traces that are equal to
//! the byte, and a failing seed can be looked at again and again.
//!
//! | place | what |
//! |---|---|
//! | [`api`] | The API server. `server.rs` does one request on plain JSON; `store.rs` keeps objects and their history; `watch.rs` tells of it; `patch/`, `schema/` (our real schemas with their CEL rules), `admission/` (our policies, modelled by hand), `managed.rs`; `link.rs` is the network to it, `service.rs` puts it under a `kube::Client` |
//! | [`world`] | Everybody else. What a controller decides is a pure function of objects (`deployment::sync`, `replica_set::sync`, `endpoints::sync`) that gives [`world::Edit`]s |
//! | [`run`] | One run: clock, operator processes, trace, and [`run::Sim`], which directs them |
//! | [`check`] | Promises, looked at after every single change, told from the objects alone |
//! | [`rehearse`] | `lockkeeper simulate` and `lockkeeper plan`: users' own files, played on this machine |
//!
//! # How to add
//!
//! - **A fault of the network or the API server**: a variant of [`api::Disposition`] with its arm in `api/service.rs`; who decides when it
//!   strikes implements [`api::Fault`] (a closure does) and is given to a [`api::Link`]. What concerns watches belongs into `api/watch.rs`.
//! - **A fault of the world** (a gateway that never accepts, pods that fail): the actor's own setting, set by [`run::Plot`].
//! - **A checker**: a type in `check/` that implements [`check::Checker`], and its line in `check.rs`. It gets a [`check::Scene`]: the change, who made
//!   it, traffic before and after. What it has to know of the past is kept in `check/watchman.rs`. It must not look into the operator.
//! - **An actor**: a type in `world/` that implements [`world::Actor`]: which kinds wake it, and one look. It is added to a plot's `actors`, or in `run/sim.rs` if
//!   it is always there. Keep what it decides a pure function. What somebody does once is an act of a [`world::Script`].
//! - **A kind**: a variant of [`api::Kind`]; the compiler finds the rest.
//!
//! # One model
//!
//! The controllers are modelled here and not in the engine's tests, because here they face what real ones face: stored objects, versions, and
//! others who write in between. They are pure functions over JSON so that the engine's tests can use them, too (a development dependency
//! on this crate), instead of their own, smaller model.
//!
//! # Why the model can be trusted
//!
//! The conformance suite (`e2e/tests/conformance`, see `e2e/README.md`) plays the same scenarios here and on a real control plane, with whole releases
//! among them, and compares every answer and every state. Whoever changes what [`api`] or [`world`] do runs it, and adds a scenario for
//! what is new.
//!
//! # Known limits
//!
//! The operator does everything but its start: what `run.rs` asks of the API server first (who am I, which kinds are there) is served, but not
//! played.
//!
//! Of the API server: built-in kinds are neither validated (names, immutable fields, two controllers of one object) nor given defaults, and there are no
//! roles but the custom verbs. Server-side apply is a forced merge: fields that its manager leaves out later stay; of maps, a Service's and a
//! workload's selector are one value. Managed fields are kept of Deployments, Services and routes, for `spec` only; where a policy undoes the whole of a write,
//! the real server writes them all the same, as a new version of an otherwise equal object. What a schema says of types and limits, and what is wrong
//! with a selector or a version that cannot be read, is said in other words. Lists have no pages, and are always of now, whatever version they ask for.
//! Bookmarks come at the end of what there is, and of a watch. What is in a namespace that is deleted stays.
//!
//! Of the controllers: they see what is stored, where real ones see a cache that may lack their own last write. (So a real Deployment may keep
//! an older reason in condition Progressing, as after the creation of a ReplicaSet in a `Recreate`.) There is no `rollbackTo`, no count of pods that
//! end, no quota. A Service has one EndpointSlice, with the ports of its first pod, and without addresses. Which Gateways are there is told by
//! [`run::Plot`] (else each that a route names is); routes of those are accepted, late at most. An autoscaler is whoever writes the scale. The metrics source
//! answers at once from what images say, where a real one has to find the pods first.
//!
//! Names and times of events come from the system's clock (kube's recorder takes them there), so the trace leaves them out. `tokio::select!` without `biased`
//! would be random in a way that no seed reaches: the operator's selects are biased for that. So would the order in which tokio's
//! `watch` channel wakes those who wait for it: the server has `api/news.rs` instead.

pub mod api;
pub mod check;
pub mod rehearse;
pub mod run;
pub mod world;
