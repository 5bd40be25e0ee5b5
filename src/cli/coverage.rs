//! `domicile coverage`: which routes are closed in a cluster, by what, and what would close the rest.

use clap::{Args, ValueEnum};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{InferConfigError, KubeConfigOptions, KubeconfigError},
};

use super::{Error, receivers, say};
use crate::{
    controller::{
        canary,
        facts::{facts, served, serves_mutating_policies},
        policies,
    },
    domain::keys,
    report::coverage::{Facts, coverage, markdown},
};

/// Which cluster is asked, and how the answer is told.
#[derive(Args, Debug)]
#[command(after_help = "\
Nothing is written: pods are sent to the canary namespace as dry runs, to see what the API server says. The cluster is
that of KUBECONFIG. The rights that it takes:
  get     configmaps domicile-policy-values, in Domicile's namespace
  list    validatingadmissionpolicies, mutatingadmissionpolicies and their bindings
  create  pods in namespace domicile-canary, whose quota lets none in
The rest of route N12 is told as far as you may list namespaces, customresourcedefinitions, apiservices,
validatingwebhookconfigurations and mutatingwebhookconfigurations.")]
pub struct Arguments {
    /// The namespace that the chart is installed in.
    #[arg(long, default_value = "domicile-system")]
    namespace: String,
    /// The context of the kubeconfig, if it is not the current one.
    #[arg(long)]
    context: Option<String>,
    /// How it is told: for people, for programs, or the catalogue alone, for which no cluster is asked.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// How the answer is told.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Table,
    Json,
    Markdown,
}

/// Why a cluster could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum CoverageError {
    /// No way to an API server.
    #[error("no cluster to ask: {0}; set KUBECONFIG")]
    Config(#[from] InferConfigError),
    /// The kubeconfig has no such context, or cannot be read.
    #[error("no cluster to ask: {0}")]
    Context(#[from] KubeconfigError),
    /// The API server did not answer, or refused.
    #[error("cannot ask the cluster for {what}: {source}")]
    Request {
        /// What was asked for.
        what: &'static str,
        /// What the client said.
        source: kube::Error,
    },
    /// Rights are missing.
    #[error("you may not {0}; `domicile coverage --help` lists the rights that this takes")]
    Rights(String),
    /// The chart is not there.
    #[error(
        "there is no Domicile in namespace {0} (no ConfigMap domicile-policy-values); name its namespace by --namespace, or install the chart"
    )]
    NotThere(String),
    /// The canary namespace is not there.
    #[error("there is no namespace {0}, in which the API server is asked; install the chart of this version")]
    NoCanary(&'static str),
    /// The installed policies could not be held against this build.
    #[error(transparent)]
    Policies(#[from] policies::Error),
    /// The answer could not be put into JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Asks, and prints.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    if matches!(arguments.output, Output::Markdown) {
        return say(&markdown());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let coverage = coverage(&runtime.block_on(ask(arguments))?);
    say(&match arguments.output {
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&coverage).map_err(CoverageError::from)?),
        Output::Table | Output::Markdown => coverage.table(),
    })
}

async fn ask(arguments: &Arguments) -> Result<Facts, CoverageError> {
    crate::controller::install_crypto();
    let mut config = match &arguments.context {
        Some(name) => {
            let options = KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
            Config::from_kubeconfig(&options).await?
        }
        None => Config::infer().await?,
    };
    config.default_retry = false; // whoever waits wants to hear what is wrong
    let failed = |what| move |source| CoverageError::Request { what, source };
    let client = Client::try_from(config).map_err(failed("its version"))?;
    let served = served(&client).await.map_err(failed("its version and its API groups"))?;
    let mutating = serves_mutating_policies(&client).await;
    check_rights(&client, &arguments.namespace, mutating).await?;
    let values = policies::tokens(&client, &arguments.namespace).await.map_err(|error| match error {
        kube::Error::Api(status) if status.code == 404 => CoverageError::NotThere(arguments.namespace.clone()),
        source => CoverageError::Request { what: "the values of the chart", source },
    })?;
    let no_canary = |error| match error {
        kube::Error::Api(status) if status.code == 404 => CoverageError::NoCanary(keys::CANARY_NAMESPACE),
        source => CoverageError::Request { what: "what it says to a canary", source },
    };
    let seen = canary::look(&client).await.map_err(no_canary)?;
    let installed = policies::look(&client, &values, mutating, seen.loaded.as_deref()).await?;
    let sent = receivers::read(&client).await.map_err(failed("its webhooks, APIServices and conversions"))?;
    Ok(Facts { sent, ..facts(served, values, &seen, Some(&installed)) })
}

/// Asks for every right at once, so that whoever lacks some is told of all.
async fn check_rights(client: &Client, namespace: &str, mutating: bool) -> Result<(), CoverageError> {
    let right = |verb: &str, group: &str, resource: &str| ResourceAttributes {
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        ..ResourceAttributes::default()
    };
    let values = ResourceAttributes {
        namespace: Some(namespace.to_owned()),
        name: Some(policies::VALUES.to_owned()),
        ..right("get", "", "configmaps")
    };
    let canary =
        ResourceAttributes { namespace: Some(keys::CANARY_NAMESPACE.to_owned()), ..right("create", "", "pods") };
    let kinds = [
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    ];
    let lists = kinds.into_iter().filter(|kind| mutating || !kind.starts_with("mutating"));
    let mut missing = Vec::new();
    for wanted in [values, canary].into_iter().chain(lists.map(|kind| right("list", policies::GROUP, kind))) {
        let spec = SelfSubjectAccessReviewSpec {
            resource_attributes: Some(wanted.clone()),
            ..SelfSubjectAccessReviewSpec::default()
        };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let answer = Api::<SelfSubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|source| CoverageError::Request { what: "your rights", source })?;
        if !answer.status.is_some_and(|status| status.allowed) {
            missing.push(in_words(&wanted));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(CoverageError::Rights(missing.join(", nor "))) }
}

fn in_words(right: &ResourceAttributes) -> String {
    let ResourceAttributes { verb, resource, name, namespace, .. } = right;
    let word =
        |part: &Option<String>, before: &str| part.as_ref().map(|part| format!("{before}{part}")).unwrap_or_default();
    format!("{}{}{}{}", word(verb, ""), word(resource, " "), word(name, " "), word(namespace, " in namespace "))
}
