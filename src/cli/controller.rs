//! `domicile controller`: runs the operator.

use std::net::SocketAddr;

use clap::Args;

use super::Error;
use crate::controller::Options;

/// Run the operator.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Address of the endpoints /livez, /readyz and /metrics. Port 0 takes a free one and logs it.
    #[arg(long, env = "DOMICILE_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Address of the mutating webhook, for API servers without MutatingAdmissionPolicy. Not served where it is not given.
    #[arg(long, env = "DOMICILE_WEBHOOK_LISTEN")]
    webhook_listen: Option<SocketAddr>,
    /// The namespace that the chart is installed in.
    #[arg(long, env = "DOMICILE_NAMESPACE", default_value = "domicile-system")]
    namespace: String,
    /// What is logged, for example `info` or `domicile=debug`.
    #[arg(long, env = "DOMICILE_LOG", default_value = "info")]
    log: String,
    /// How it is logged.
    #[arg(long, env = "DOMICILE_LOG_FORMAT", value_enum, default_value_t = crate::telemetry::LogFormat::Text)]
    log_format: crate::telemetry::LogFormat,
}

/// Runs until it is told to stop.
pub fn run(arguments: Arguments) -> Result<(), Error> {
    crate::telemetry::start_logging(&arguments.log, arguments.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let options =
        Options { listen: arguments.listen, webhook: arguments.webhook_listen, namespace: arguments.namespace };
    Ok(runtime.block_on(crate::controller::run(options))?)
}
