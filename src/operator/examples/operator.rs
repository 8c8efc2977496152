//! trial
use clap::Parser;
#[derive(Parser)]
struct Cli { #[command(flatten)] settings: lockkeeper_operator::settings::Settings }
#[tokio::main]
async fn main() {
    let Cli { settings } = Cli::parse();
    lockkeeper_operator::telemetry::install(settings.log_format, &settings.log_level).unwrap();
    if let Err(e) = lockkeeper_operator::run::run(settings).await { eprintln!("{e:?}"); std::process::exit(1); }
}
