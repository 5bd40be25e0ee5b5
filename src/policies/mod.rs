//! The chart's fixed policies as text: which there are, what stands for their tokens, and how they are loaded without the API.
//!
//! The files of `charts/domicile/policies` are compiled in and are never changed here but at their tokens and, for static
//! admission manifests, at their names: what the chart installs, what the operator expects to find and what
//! `domicile policies` writes is the same text. Pure: no file is read and none is written.

pub mod manifests;
pub mod values;

use std::collections::BTreeMap;

use serde_json::Value;

/// What stands for the tokens of the files, as the chart says it in its ConfigMap `domicile-policy-values`.
pub type Tokens = BTreeMap<String, String>;

/// Name and text of one file.
macro_rules! policy_file {
    ($name:literal) => {
        ($name, include_str!(concat!("../../charts/domicile/policies/", $name, ".yaml")))
    };
}

/// The chart's files.
const FILES: [(&str, &str); 18] = [
    policy_file!("access"),
    policy_file!("bindings"),
    policy_file!("devices"),
    policy_file!("exposure"),
    policy_file!("mutate-namespaces"),
    policy_file!("mutate-network"),
    policy_file!("mutate-placement"),
    policy_file!("mutate-storage"),
    policy_file!("namespaces"),
    policy_file!("network"),
    policy_file!("nodes"),
    policy_file!("operator"),
    policy_file!("own-objects"),
    policy_file!("pods"),
    policy_file!("storage"),
    policy_file!("templates"),
    policy_file!("threshold"),
    policy_file!("unclassified"),
];

/// Files whose names begin so hold mutating policies; all others hold validating ones.
const MUTATING: &str = "mutate-";

/// A file of this build that is not as it must be.
#[derive(Debug, thiserror::Error)]
#[error("policy file {file} of this build {what}")]
pub struct Error {
    file: String,
    what: String,
}

/// One file with its tokens put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name in the chart, without folder and ending.
    pub name: &'static str,
    /// Its text.
    pub text: String,
}

impl File {
    /// Whether it mutates, so that API servers before 1.36 do not know its kinds.
    #[must_use]
    pub fn mutates(&self) -> bool {
        self.name.starts_with(MUTATING)
    }

    /// The policies and bindings in it.
    ///
    /// # Errors
    /// Where it does not parse.
    pub fn documents(&self) -> Result<Vec<Value>, Error> {
        documents(self.name, &self.text)
    }
}

/// The files that a release with these tokens installs.
#[must_use]
pub fn files(tokens: &Tokens) -> Vec<File> {
    let strict = tokens.get(values::UNCLASSIFIED).is_some_and(|value| value == values::REFUSE);
    let wanted = FILES.into_iter().filter(|(name, _)| *name != "unclassified" || strict);
    wanted.map(|(name, text)| File { name, text: substitute(text, tokens) }).collect()
}

/// Puts the chart's values for the tokens, as Helm does.
fn substitute(text: &str, tokens: &Tokens) -> String {
    let put = |text: String, (key, value): (&String, &String)| {
        text.replace(&format!("{{{{ include \"domicile.{key}\" . }}}}"), value)
    };
    tokens.iter().fold(text.to_owned(), put)
}

fn documents(name: &str, text: &str) -> Result<Vec<Value>, Error> {
    let parsed: Result<Vec<Value>, _> = serde_saphyr::from_multiple(text);
    let documents =
        parsed.map_err(|error| Error { file: name.to_owned(), what: format!("does not parse: {error}") })?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_chart_is_compiled_in() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/domicile/policies");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap().replace(".yaml", ""))
            .collect();
        names.sort();
        assert_eq!(names, FILES.map(|(name, _)| name.to_owned()));
    }

    #[test]
    fn no_token_is_left_and_a_file_is_of_one_sort() {
        let values = "unclassifiedNamespaces: Refuse";
        let tokens = values::Values::read(&[values.to_owned()]).unwrap().tokens("domicile-system").unwrap();
        let files = files(&tokens);
        assert_eq!(files.len(), FILES.len());
        for file in files {
            assert!(!file.text.contains("{{"), "{}", file.name);
            for document in file.documents().unwrap() {
                let kind = document["kind"].as_str().unwrap();
                assert_eq!(kind.starts_with("Mutating"), file.mutates(), "{} {kind}", file.name);
            }
        }
    }

    #[test]
    fn strict_classification_is_there_only_where_it_is_asked_for() {
        let tokens = values::Values::read(&[]).unwrap().tokens("domicile-system").unwrap();
        assert!(files(&tokens).iter().all(|file| file.name != "unclassified"));
    }
}
