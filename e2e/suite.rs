//! Test programs with a `main` of their own: they enter the network namespace before any thread starts, and their tests
//! share what takes long to set up.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use parking_lot::Mutex;
use tokio::runtime::{Handle, Runtime};

use crate::{Cluster, reexec_in_network_namespace};

/// What tests share: a cluster, and what is in it.
pub trait Fixture: Send + Sync + Sized + 'static {
    /// The cluster, whose logs are kept when a test fails.
    fn cluster(&self) -> &Cluster;

    /// Ends all of it, after the last test.
    ///
    /// # Errors
    /// If something of it does not end as it should.
    fn tear_down(self) -> impl Future<Output = Result<()>>;
}

impl Fixture for Cluster {
    fn cluster(&self) -> &Cluster {
        self
    }

    async fn tear_down(self) -> Result<()> {
        self.stop().await
    }
}

/// A test, told by its name.
pub struct Test<F> {
    name: String,
    kind: String,
    skipped: bool,
    body: Body<F>,
}

type Body<F> = Box<dyn FnOnce(&Handle, &F) -> Result<()> + Send>;

impl<F: Fixture> Test<F> {
    /// It fails with what `body` returns as error.
    pub fn new(name: &str, body: impl AsyncFnOnce(&F) -> Result<()> + Send + 'static) -> Test<F> {
        let body = Box::new(move |handle: &Handle, fixture: &F| handle.block_on(body(fixture)));
        Test { name: name.to_owned(), kind: String::new(), skipped: false, body }
    }

    /// The same, with a word before its name in the report that tells it from others of that name.
    pub fn of_kind(self, kind: &str) -> Test<F> {
        Test { kind: kind.to_owned(), ..self }
    }

    /// The same, not to be run here; the report shows why.
    pub fn skipped(self, why: &str) -> Test<F> {
        Test { skipped: true, ..self.of_kind(why) }
    }
}

/// A test program that runs.
pub struct Suite {
    arguments: Arguments,
    runtime: Runtime,
    failed: bool,
}

impl Suite {
    /// The whole `main` of a test program; call it before any thread starts.
    ///
    /// Takes the arguments of Rust's own test programs; `threads` is how many tests run at once where they don't say.
    /// Exits as these do, with 0, or 101 if a test has failed; with 1 if anything else has.
    pub fn main(threads: usize, tests: impl FnOnce(&mut Suite) -> Result<()>) -> ExitCode {
        reexec_in_network_namespace();
        let mut arguments = Arguments::from_args();
        arguments.test_threads.get_or_insert(threads);
        let outcome = Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
            let mut suite = Suite { arguments, runtime, failed: false };
            tests(&mut suite)?;
            Ok(suite.failed)
        });
        match outcome {
            Ok(false) => ExitCode::SUCCESS,
            Ok(true) => ExitCode::from(101),
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    /// Runs those of these tests that the arguments choose, on this fixture, which is not even set up for none.
    ///
    /// A test that fails keeps the cluster's logs, and later fixtures have their turn all the same.
    ///
    /// # Errors
    /// If the fixture cannot be set up or torn down.
    pub fn run<F: Fixture>(&mut self, fixture: impl Future<Output = Result<F>>, tests: Vec<Test<F>>) -> Result<()> {
        if self.arguments.list {
            let listed = tests.into_iter().map(|test| Trial::test(test.name, || Ok(())).with_kind(test.kind)).collect();
            let _ = libtest_mimic::run(&self.arguments, listed);
            return Ok(());
        }
        if !tests.iter().any(|test| self.chooses(test)) {
            return Ok(());
        }
        let begun = Instant::now();
        let fixture = Arc::new(self.runtime.block_on(fixture)?);
        println!("set up in {:.1} s", begun.elapsed().as_secs_f64());
        let trials = tests.into_iter().map(|test| self.trial(test, fixture.clone())).collect();
        let conclusion = libtest_mimic::run(&self.arguments, trials);
        if conclusion.has_failed() {
            self.failed = true;
            fixture.cluster().keep_logs();
            eprintln!("logs: {}", fixture.cluster().logs().display());
        }
        let fixture = Arc::into_inner(fixture);
        self.runtime.block_on(fixture.map_or_else(|| unreachable!("no test runs any more"), F::tear_down))
    }

    /// The same for tests that are in each other's way: one after the other.
    ///
    /// # Errors
    /// As `run`.
    pub fn run_in_turn<F: Fixture>(
        &mut self,
        fixture: impl Future<Output = Result<F>>,
        tests: Vec<Test<F>>,
    ) -> Result<()> {
        let turn = Arc::new(Mutex::new(()));
        let in_turn = |test: Test<F>| {
            let (turn, body) = (turn.clone(), test.body);
            let body: Body<F> = Box::new(move |handle, fixture| {
                let _turn = turn.lock();
                body(handle, fixture)
            });
            Test { body, ..test }
        };
        // With one thread a line of the report would begin before the test and end after it; other suites report at the same time.
        let threads = self.arguments.test_threads.replace(2);
        let outcome = self.run(fixture, tests.into_iter().map(in_turn).collect());
        self.arguments.test_threads = threads;
        outcome
    }

    /// Runs a test about all that ran before. Where that was not everything it is skipped, and that is said.
    pub fn conclude(&mut self, name: &str, body: impl FnOnce() -> Result<()> + Send + 'static) {
        let Arguments { filter, skip, ignored, list, .. } = &self.arguments;
        let chosen = filter.is_some() || !skip.is_empty() || *ignored;
        if chosen && !list {
            println!("{name} is skipped: it is about all together, and only some were chosen to run");
            return;
        }
        let note = if self.failed { "\nOthers have failed: this may follow from what they have left out." } else { "" };
        let run = move || body().map_err(|error| Failed::from(format!("{error:#}{note}")));
        self.failed |= libtest_mimic::run(&self.arguments, vec![Trial::test(name, run)]).has_failed();
    }

    fn chooses<F>(&self, test: &Test<F>) -> bool {
        let exact = self.arguments.exact;
        let is = |text: &String| if exact { test.name == *text } else { test.name.contains(text.as_str()) };
        let runs = !test.skipped || self.arguments.ignored || self.arguments.include_ignored;
        runs && self.arguments.filter.as_ref().is_none_or(is) && !self.arguments.skip.iter().any(is)
    }

    fn trial<F: Fixture>(&self, test: Test<F>, fixture: Arc<F>) -> Trial {
        let handle = self.runtime.handle().clone();
        let name = test.name.clone();
        // Shown at once, too: a run that is ended before its report has still said why.
        let run = move || {
            let begun = Instant::now();
            (test.body)(&handle, &fixture).map_err(|error| {
                let failure = format!("{error:#}");
                eprintln!("\n{name} failed after {:.1} s: {failure}", begun.elapsed().as_secs_f64());
                Failed::from(failure)
            })
        };
        Trial::test(test.name, run).with_kind(test.kind).with_ignored_flag(test.skipped)
    }
}
