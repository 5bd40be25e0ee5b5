//! `domicile report`: everything that is governed in a cluster, where it is, and what speaks against it.

use clap::{Args, ValueEnum};

use super::Error;
use crate::{
    audit::inventory::{Entry, Standing},
    controller::survey::{Survey, survey},
};

/// Report everything that is governed, where it is, and what breaks a residency. Needs the right to get, list and watch what
/// the operator reads (kubectl get clusterrole domicile -o yaml), and writes nothing.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Leave out what keeps to its residencies.
    #[arg(long)]
    findings: bool,
    /// Exit with code 1 where anything is not proven to keep to its residencies.
    #[arg(long)]
    check: bool,
    /// How it is written.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// The namespace that the chart is installed in.
    #[arg(long, env = "DOMICILE_NAMESPACE", default_value = "domicile-system")]
    namespace: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For machines.
    Json,
}

/// Looks and prints.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    crate::telemetry::start_logging("warn", crate::telemetry::LogFormat::Text);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut seen = runtime.block_on(survey(&arguments.namespace))?;
    let total = count(&seen);
    if arguments.findings {
        for governed in &mut seen.namespaces {
            governed.objects.retain(|entry| entry.standing != Standing::Compliant);
        }
    }
    match arguments.output {
        Output::Json => {
            println!("{}", serde_json::to_string_pretty(&seen).map_err(|error| Error::Yaml(error.to_string()))?)
        }
        Output::Table => table(&seen, &total),
    }
    if arguments.check && (total.broken > 0 || total.unknown > 0) {
        return Err(Error::NotProven { broken: total.broken, unknown: total.unknown });
    }
    Ok(())
}

#[derive(Default)]
struct Total {
    compliant: usize,
    broken: usize,
    unknown: usize,
}

fn count(seen: &Survey) -> Total {
    let mut total = Total::default();
    for entry in seen.namespaces.iter().flat_map(|governed| &governed.objects) {
        *match entry.standing {
            Standing::Compliant => &mut total.compliant,
            Standing::NonCompliant => &mut total.broken,
            Standing::Unknown => &mut total.unknown,
        } += 1;
    }
    let told = |name: &str| seen.findings.iter().any(|one| one.subject.kind == "Namespace" && one.subject.name == name);
    let open = seen.namespaces.iter().filter(|governed| !governed.confined && !told(&governed.namespace));
    total.unknown += seen.findings.len() + open.count();
    total
}

fn table(seen: &Survey, total: &Total) {
    for governed in &seen.namespaces {
        let confined = if governed.confined { "confined" } else { "NOT confined" };
        println!(
            "Namespace {}: DataResidency {}, {}, {confined}",
            governed.namespace,
            governed.residencies.replace('_', " and "),
            governed.enforcement
        );
        let names: Vec<String> =
            governed.objects.iter().map(|entry| format!("{} {}", entry.subject.kind, entry.subject.name)).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
        for (entry, name) in governed.objects.iter().zip(&names) {
            println!("  {:<12}  {name:<width$}  {}", format!("{:?}", entry.standing), entry.place);
            against(entry);
        }
        println!();
    }
    for finding in &seen.findings {
        println!(
            "{} {}: [{}] {}. Remedy: {}.",
            finding.verdict, finding.subject, finding.rule, finding.message, finding.remedy
        );
    }
    let Total { compliant, broken, unknown } = total;
    println!(
        "{} governed namespaces: {compliant} compliant, {broken} not compliant, {unknown} unknown",
        seen.namespaces.len()
    );
}

fn against(entry: &Entry) {
    for finding in &entry.findings {
        println!("                [{}] {}. Remedy: {}.", finding.rule, finding.message, finding.remedy);
    }
}
