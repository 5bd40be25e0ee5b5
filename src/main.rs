//! Parses arguments, runs, and maps an error to an exit code; nothing else.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match domicile::cli::Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("domicile: {error}");
            ExitCode::FAILURE
        }
    }
}
