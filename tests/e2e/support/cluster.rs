//! The control plane under test: one that is started here, or the one that `DOMICILE_TEST_KUBECONFIG` names.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use serde_json::Value;

use super::{
    process::{scratch, spawn, succeed},
    tools::tools,
};

/// A running cluster.
pub struct Cluster {
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Programs that fit the cluster.
    pub tools: &'static Path,
    /// Directory of the `testcluster up` that runs it, if one does.
    dir: Option<PathBuf>,
    /// File of the simulated nodes; changes to it are followed.
    nodes: PathBuf,
}

impl Cluster {
    /// The cluster that the environment names, if it names one.
    pub fn of_the_environment() -> Result<Option<Self>, String> {
        let Some(kubeconfig) = std::env::var_os("DOMICILE_TEST_KUBECONFIG").filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        let kubeconfig = PathBuf::from(kubeconfig);
        let dir = kubeconfig.ancestors().find(|dir| dir.join("control.sock").exists()).map(Path::to_owned);
        Ok(Some(Self { kubeconfig, tools: tools()?, dir, nodes: PathBuf::new() }))
    }

    /// Starts a cluster that ends with this process; `arguments` are further ones of `testcluster up`.
    pub fn start(name: &str, nodes: &str, arguments: &[String]) -> Result<Self, String> {
        let tools = tools()?;
        let file = scratch().join(format!("{name}-nodes.yaml"));
        std::fs::write(&file, nodes).map_err(|error| error.to_string())?;
        let log = scratch().join(format!("{name}-testcluster.log"));
        let errors = File::create(&log).map_err(|error| error.to_string())?;
        let mut child = spawn(&tools.join("testcluster"), |command| {
            command.args(["up", "--nodes"]).arg(&file).args(arguments);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        })?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let ready =
            lines.by_ref().map_while(Result::ok).find_map(|line| line.strip_prefix("READY ").map(str::to_owned));
        let Some(ready) = ready else {
            return Err(format!(
                "testcluster up did not get ready:\n{}",
                std::fs::read_to_string(&log).unwrap_or_default()
            ));
        };
        thread::spawn(move || {
            lines.for_each(drop); // whatever else it says must not block it
            let _ = child.wait();
        });
        let field = |key: &str| ready.split_whitespace().find_map(|word| word.strip_prefix(key)).map(PathBuf::from);
        let kubeconfig = field("kubeconfig=").ok_or_else(|| format!("READY names no kubeconfig: {ready}"))?;
        Ok(Self { kubeconfig, tools, dir: field("dir="), nodes: file })
    }

    /// Stops, kills, pauses, resumes, starts or restarts a component.
    pub fn component(&self, action: &str, name: &str) {
        let dir = self.directory();
        succeed(
            Command::new(self.tools.join("testcluster")).args(["component", "--dir"]).arg(dir).args([action, name]),
        )
        .unwrap();
    }

    /// What somebody has asked of the API server so far, not impersonating anybody: entries of its audit log.
    pub fn asked_by(&self, user: &str) -> Vec<Value> {
        let path = self.directory().join("audit.log");
        let log = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; start the cluster with --audit-log", path.display()));
        let of_user = log.lines().filter(|line| line.contains(user)); // parsing is slow, and most lines are of others
        of_user
            .filter_map(|line| serde_json::from_str::<Value>(line).ok()) // the last one may be half written
            .filter(|entry| entry["user"]["username"] == user && entry["impersonatedUser"].is_null())
            .collect()
    }

    /// Adds simulated nodes to the fleet, until the answer is dropped.
    pub fn adds_nodes(&self, yaml: &str) -> ChangedNodes<'_> {
        self.with_nodes(|before| format!("{before}{yaml}"))
    }

    /// Changes what simulated nodes say of themselves, until the answer is dropped.
    pub fn changes_nodes(&self, from: &str, to: &str) -> ChangedNodes<'_> {
        self.with_nodes(|before| before.replace(from, to))
    }

    fn with_nodes(&self, change: impl FnOnce(&str) -> String) -> ChangedNodes<'_> {
        assert!(
            self.nodes.exists(),
            "this test changes simulated nodes, which needs a cluster that the tests start: unset DOMICILE_TEST_KUBECONFIG"
        );
        let before = std::fs::read_to_string(&self.nodes).unwrap();
        self.write_nodes(&change(&before));
        ChangedNodes { cluster: self, before }
    }

    fn write_nodes(&self, text: &str) {
        let new = self.nodes.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &self.nodes).unwrap();
    }

    fn directory(&self) -> &Path {
        self.dir.as_deref().expect("this test disturbs the control plane, which needs a cluster that testcluster runs: unset DOMICILE_TEST_KUBECONFIG")
    }
}

/// A fleet that a test changed.
pub struct ChangedNodes<'cluster> {
    cluster: &'cluster Cluster,
    before: String,
}

impl Drop for ChangedNodes<'_> {
    fn drop(&mut self) {
        self.cluster.write_nodes(&self.before);
    }
}
