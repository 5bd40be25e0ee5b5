//! The programs that the tests need: the control plane, kubectl, Helm and the judge of network policies.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use super::process::repository;

/// Directory with `testcluster`, `kubectl`, `helm` and `packet`, built on the first use. The build shows its progress.
pub fn tools() -> Result<&'static Path, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(build).as_deref().map_err(Clone::clone)
}

/// The minor version that the environment asks for.
pub fn kubernetes() -> Option<String> {
    std::env::var("DOMICILE_TEST_KUBERNETES").ok().filter(|version| !version.is_empty())
}

fn build() -> Result<PathBuf, String> {
    let mut command = Command::new(repository().join("tests/cluster/build"));
    if let Some(version) = kubernetes() {
        command.args(["--kubernetes", &version]);
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("tests/cluster/build: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("tests/cluster/build failed ({}); its error is above\n{printed}", output.status));
    }
    let directory = printed.lines().last().unwrap_or_default().trim();
    Ok(PathBuf::from(directory))
}
