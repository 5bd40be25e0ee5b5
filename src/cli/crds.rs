//! `domicile crds`: writes the custom resource definitions.

use std::{fs, path::PathBuf};

use clap::Args;

use super::Error;

/// Write the custom resource definitions.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The folder to write to; one file each, named after the plural.
    #[arg(long, default_value = "crds")]
    out: PathBuf,
}

/// Writes one file per definition.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    let failed = |path: &std::path::Path| {
        let path = path.display().to_string();
        move |source| Error::Write { path, source }
    };
    fs::create_dir_all(&arguments.out).map_err(failed(&arguments.out))?;
    for definition in crate::api::definitions() {
        let yaml = serde_saphyr::to_string(&definition).map_err(|error| Error::Yaml(error.to_string()))?;
        let path = arguments.out.join(format!("{}.yaml", definition.spec.names.plural));
        fs::write(&path, yaml).map_err(failed(&path))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}
