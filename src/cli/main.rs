//! The one binary `lockkeeper`: the operator, and what people do with releases. Named `kubectl-lockkeeper`, it is a plugin.

mod act;
mod cluster;
mod crds;
mod error;
mod files;
mod get;
mod operator;
mod plan;
mod simulate;

use std::{env, path::Path, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use lockkeeper_operator::build_info::VERSION_AND_COMMIT;

use crate::error::{EXIT_CODES, Error};

/// Progressive delivery and release management for Kubernetes, in place.
#[derive(Parser, Debug)]
#[command(name = "lockkeeper", version = VERSION_AND_COMMIT.as_str(), after_help = EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Run the operator
    Operator(Box<operator::Operator>),
    /// Print the custom resource definitions, as YAML
    Crds(crds::Crds),
    /// Play releases as they are in Git on a virtual clock, without a cluster
    Simulate(simulate::Simulate),
    /// When releases as they are in Git could start, how long they take, what stands in the way
    Plan(plan::Plan),
    /// Show Releases: a table of all, or one in detail
    Get(get::Get),
    #[command(flatten)]
    Act(act::Act),
}

fn main() -> ExitCode {
    let cli = parse();
    match run(cli.verb) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has seen enough, like `head`.
        Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Reads the arguments; usage and help speak of the name that the user has typed.
fn parse() -> Cli {
    let plugin = env::args_os().next().is_some_and(|program| {
        Path::new(&program).file_name().is_some_and(|name| name.to_string_lossy().starts_with("kubectl-"))
    });
    let command = if plugin { Cli::command().bin_name("kubectl lockkeeper") } else { Cli::command() };
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

fn run(verb: Verb) -> Result<(), Error> {
    let verb = match verb {
        Verb::Crds(crds) => return crds.run(),
        // Each rehearsal brings its own clock.
        Verb::Simulate(simulate) => return simulate.run(),
        Verb::Plan(plan) => return plan.run(),
        // Its own runtime: it uses several cores, the others need one.
        Verb::Operator(operator) => return operator.run(),
        Verb::Get(get) => Caller::Get(get),
        Verb::Act(act) => Caller::Act(act),
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        match verb {
            Caller::Get(get) => get.run().await,
            Caller::Act(act) => act.run().await,
        }
    })
}

/// The verbs that speak with a cluster and end.
enum Caller {
    Get(get::Get),
    Act(act::Act),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_and_verb_has_a_help_text() {
        for verb in Cli::command().get_subcommands() {
            assert!(verb.get_about().is_some(), "{}", verb.get_name());
            for argument in verb.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", verb.get_name(), argument.get_id());
            }
        }
    }
}
