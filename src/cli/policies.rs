//! `domicile policies`: the fixed policies as the chart installs them, or as static admission manifests.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{Error, say};
use crate::policies::{
    self,
    manifests::{self, DEFAULT_MINOR, FIRST_MINOR, Manifest},
    values::Values,
};

/// Where policies that are printed or written come from, and where they go.
#[derive(Args, Debug)]
#[command(after_help = "\
With --static the policies are written for API servers to load from their own files, where not even a cluster-admin can
remove them, and it is said what to do with the files. No cluster is asked, so no rights are needed.")]
pub struct Arguments {
    /// Write static admission manifests (Kubernetes 1.36 and later) instead of printing.
    #[arg(long = "static", requires = "out")]
    manifests: bool,
    /// The folder to write to, with --static.
    #[arg(long, value_name = "FOLDER", requires = "manifests")]
    out: Option<PathBuf>,
    /// Where API servers will find that folder: an absolute path on their machines, or in their containers.
    #[arg(long, value_name = "FOLDER", requires = "manifests", default_value = "/etc/kubernetes/domicile")]
    at: String,
    /// The namespace that the chart is installed in.
    #[arg(long, default_value = "domicile-system")]
    namespace: String,
    /// A file of the chart's values, as for Helm; of several the last one wins.
    #[arg(long, short = 'f', value_name = "FILE")]
    values: Vec<PathBuf>,
}

/// Why there are no policies.
#[derive(Debug, thiserror::Error)]
pub enum PoliciesError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The values cannot be used.
    #[error(transparent)]
    Values(#[from] policies::values::Error),
    /// A file of this build is wrong.
    #[error(transparent)]
    File(#[from] policies::Error),
    /// API servers take no other paths.
    #[error("--at {0} is no absolute path: the API server does not start with it")]
    NotAbsolute(String),
    /// API servers load every file of a folder.
    #[error("{0} is none of this version's policies, and API servers would load it too: move it away")]
    Foreign(String),
}

/// Prints, or writes.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    let texts = arguments.values.iter().map(|path| fs::read_to_string(path).map_err(|source| read_error(path, source)));
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    let tokens = values(&texts, &arguments.namespace)?;
    let Some(out) = &arguments.out else {
        let all: String =
            policies::files(&tokens).iter().map(|file| format!("---\n{}\n", file.text.trim_end())).collect();
        return say(&all);
    };
    if !arguments.at.starts_with('/') {
        return Err(PoliciesError::NotAbsolute(arguments.at.clone()).into());
    }
    let set = manifests::set(&tokens).map_err(PoliciesError::from)?;
    write_folder(&out.join("validating"), &set.validating)?;
    write_folder(&out.join("mutating"), &set.mutating)?;
    let configuration = out.join("admission-configuration.yaml");
    write(&configuration, &manifests::admission_configuration(&arguments.at))?;
    let hashes = [manifests::folder_hash(&set.validating), manifests::folder_hash(&set.mutating)];
    say(&what_to_do(out, &arguments.at, &arguments.namespace, &hashes))
}

fn values(texts: &[String], namespace: &str) -> Result<policies::Tokens, PoliciesError> {
    Ok(Values::read(texts)?.tokens(namespace)?)
}

fn read_error(path: &Path, source: io::Error) -> PoliciesError {
    PoliciesError::Read { path: path.display().to_string(), source }
}

/// Writes one folder that API servers load whole.
fn write_folder(folder: &Path, files: &[Manifest]) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.display().to_string(), source })?;
    for entry in fs::read_dir(folder).map_err(|source| read_error(folder, source))? {
        let path = entry.map_err(|source| read_error(folder, source))?.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        let loads = ["yaml", "yml", "json"].contains(&ending.as_str());
        if loads && !files.iter().any(|file| path.file_name().is_some_and(|name| name == file.name.as_str())) {
            return Err(PoliciesError::Foreign(path.display().to_string()).into());
        }
    }
    files.iter().try_for_each(|file| write(&folder.join(&file.name), &file.text))
}

/// Puts the whole file in place at once: an API server that looks meanwhile reads the old one or the new one.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.display().to_string(), source };
    let new = path.with_extension("new");
    fs::write(&new, text).map_err(failed)?;
    fs::rename(&new, path).map_err(failed)
}

fn what_to_do(out: &Path, at: &str, namespace: &str, [validating, mutating]: &[String; 2]) -> String {
    let (out, at) = (out.display(), at.trim_end_matches('/'));
    format!(
        "Wrote {out}: the folders validating and mutating, and admission-configuration.yaml.

API servers of Kubernetes 1.{DEFAULT_MINOR} load them. Those of 1.{FIRST_MINOR} do not start with this file but with
--feature-gates=ManifestBasedAdmissionControlConfig=true. Older ones READ THE FILE AND LOAD NOTHING, without a word: leave
the chart's value policies at Install there.

1. Copy {out} to {at}
   on the machine of EACH API server of the cluster, writable by root alone. Where the API server runs in a container
   (kubeadm), mount it there, read-only, under the same path.
2. Start each API server, one after the other, with
     --admission-control-config-file={at}/admission-configuration.yaml
   Where it has such a file already, put the two entries of `plugins` into that one. An API server does not start with a
   file that is wrong, and says which.
3. See that EACH has loaded them; kubectl asks one of several, so name each by --server=https://ADDRESS:6443:
     kubectl get --raw /metrics | grep manifest_admission_config_controller_last_config_info
   ValidatingAdmissionPolicy {validating}
   MutatingAdmissionPolicy   {mutating}
4. Then let the chart install none:
     helm upgrade domicile charts/domicile -n {namespace} --reuse-values --set policies=Static
   Until then chart and files both judge, by the same rules. After it `kubectl get dataresidencies` shows READY only where the
   API server that the operator asked has loaded exactly this set.

They are for the release in namespace {namespace}, with the values that were given here. For another version of Domicile
or other values (helm get values domicile -n {namespace} -o yaml > values.yaml) write them again with --values values.yaml
and copy them before `helm upgrade`; API servers load changed files within a minute, without a restart. To be rid of them
take the flag away from each API server and start it again: nothing in the API can.
"
    )
}
