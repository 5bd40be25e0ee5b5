//! The command line: one file per subcommand.

mod controller;
mod coverage;
mod crds;
mod policies;
mod receivers;
mod report;

use clap::{Parser, Subcommand};

/// Keeps regulated data in the country it belongs to.
#[derive(Debug, Parser)]
#[command(name = "domicile", version, about)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the custom resource definitions, one file each.
    Crds(crds::Arguments),
    /// Run the operator against the current kubeconfig, or in the cluster it runs in.
    Controller(controller::Arguments),
    /// Report everything that is governed, where it is, and what breaks a residency.
    Report(report::Arguments),
    /// Show which ways out are closed in this cluster, by what, and what would close the rest.
    Coverage(coverage::Arguments),
    /// Print the admission policies, or write them as static manifests that nobody can remove through the API.
    Policies(policies::Arguments),
}

/// Why a subcommand could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A definition could not be put into YAML.
    #[error("cannot put a definition into YAML: {0}")]
    Yaml(String),
    /// The run time could not be started.
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
    /// `--check` was given, and not everything is proven.
    #[error("{broken} governed objects break a residency, and of {unknown} it cannot be told")]
    NotProven {
        /// How many break one.
        broken: usize,
        /// How many are unknown.
        unknown: usize,
    },
    /// The operator ended, or could not look.
    #[error(transparent)]
    Controller(#[from] crate::controller::Error),
    /// The cluster could not be asked.
    #[error(transparent)]
    Coverage(#[from] coverage::CoverageError),
    /// There are no policies.
    #[error(transparent)]
    Policies(#[from] policies::PoliciesError),
}

/// Prints, also where the reader has gone.
fn say(text: &str) -> Result<(), Error> {
    use std::io::Write as _;
    let failed = |source| Error::Write { path: "to the standard output".to_owned(), source };
    std::io::stdout().write_all(text.as_bytes()).map_err(failed)
}

impl Arguments {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// What the subcommand could not do.
    pub fn run(self) -> Result<(), Error> {
        match self.command {
            Command::Crds(arguments) => crds::run(&arguments),
            Command::Controller(arguments) => controller::run(arguments),
            Command::Report(arguments) => report::run(&arguments),
            Command::Coverage(arguments) => coverage::run(&arguments),
            Command::Policies(arguments) => policies::run(&arguments),
        }
    }
}
