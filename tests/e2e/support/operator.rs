//! The operator under test: the real binary, with the rights of the chart's own ServiceAccount and no others.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use super::process::{scratch, spawn, succeed};

/// User name of the operator's ServiceAccount.
pub const OPERATOR: &str = "system:serviceaccount:domicile-system:domicile";

/// The operator's process, which may be killed and started again.
pub struct Operator {
    kubeconfig: PathBuf,
    log: PathBuf,
    /// Where its webhook listens, if it serves one.
    webhook: Mutex<Option<SocketAddr>>,
    child: Mutex<Option<Child>>,
}

impl Operator {
    /// An operator that is nobody yet.
    pub fn new(name: &str) -> Self {
        let file = |what: &str| scratch().join(format!("{name}-operator.{what}"));
        Self { kubeconfig: file("kubeconfig"), log: file("log"), webhook: Mutex::new(None), child: Mutex::new(None) }
    }

    /// Lets it be whom the token is for, from its next start on.
    pub fn becomes(&self, administrators: &std::path::Path, token: &str) -> Result<(), String> {
        let text = std::fs::read_to_string(administrators).map_err(|error| error.to_string())?;
        std::fs::write(&self.kubeconfig, with_token(&text, token)?).map_err(|error| error.to_string())
    }

    /// Lets it serve the webhook, from its next start on; returns where.
    pub fn serves_webhook(&self) -> SocketAddr {
        // A port that was free a moment ago, since the chart must know it before the operator runs.
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        *self.webhook.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(free)
    }

    /// Lets it serve no webhook, from its next start on.
    pub fn serves_no_webhook(&self) {
        *self.webhook.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Starts it; its log goes on in the same file.
    pub fn start(&self) -> Result<(), String> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(child.is_none(), "the operator runs already");
        let log = OpenOptions::new().create(true).append(true).open(&self.log).map_err(|error| error.to_string())?;
        let webhook = *self.webhook.lock().unwrap_or_else(PoisonError::into_inner);
        let errors = File::try_clone(&log).map_err(|error| error.to_string())?;
        let started = spawn(std::path::Path::new(env!("CARGO_BIN_EXE_domicile")), |command| {
            command
                .args(["controller", "--listen", "127.0.0.1:0"])
                .args(webhook.map(|address| format!("--webhook-listen={address}")))
                .env("KUBECONFIG", &self.kubeconfig)
                .stdin(Stdio::null())
                .stdout(log)
                .stderr(errors);
        })?;
        *child = Some(started);
        Ok(())
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = child.take().expect("the operator runs");
        running.kill().expect("kill");
        running.wait().expect("wait");
    }

    /// Halts it as a machine does that is suspended: it keeps its connections and what it knows, and does nothing.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        succeed(Command::new("kill").args([signal, &self.id().to_string()])).expect("kill");
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.as_ref().expect("the operator runs").id()
    }

    /// Ends it where it runs.
    pub fn rests(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut running) = child.take() {
            let _ = running.kill(); // it may have ended by itself
            running.wait().expect("wait");
        }
    }

    /// Starts it where it does not run, and lets it go on where it was paused.
    pub fn revive(&self) {
        if self.ended().is_some() {
            *self.child.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let runs = self.child.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if runs {
            self.resume();
        } else {
            self.start().unwrap();
        }
    }

    /// How it ended, if it ended by itself.
    pub fn ended(&self) -> Option<String> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.as_mut()?.try_wait().ok()?.map(|status| status.to_string())
    }

    /// The most memory that it ever held since its start, in bytes.
    pub fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("/proc");
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        kibibytes.and_then(|number| number.trim().parse::<u64>().ok()).expect("VmHWM") * 1024
    }

    /// What it tells a scraper, at the address that it has logged.
    pub fn metrics(&self) -> Result<String, String> {
        let said = self.said();
        let told = said.lines().rev().find(|line| line.contains("serving /livez")).ok_or("it serves nothing yet")?;
        let address = told.rsplit_once("address=").and_then(|(_, address)| address.trim().parse::<SocketAddr>().ok());
        let address = address.ok_or_else(|| format!("no address: {told}"))?;
        let exchange = || {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok::<_, std::io::Error>(text)
        };
        exchange().map_err(|error| format!("{address}: {error}"))
    }

    /// Everything that it has logged.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last lines of its log, each as far as people read. CI shows no more than a few thousand characters of a run.
    pub fn last_words(&self) -> String {
        let text = self.said();
        let all: Vec<&str> = text.lines().collect();
        let last = all[all.len().saturating_sub(12)..].iter();
        let shown = Vec::from_iter(last.map(|line| line.chars().take(240).collect::<String>())).join("\n");
        let state = self.ended().map_or_else(String::new, |how| format!("the operator ENDED: {how}\n"));
        format!("{state}last of {} lines in {}:\n{shown}", all.len(), self.log.display())
    }
}

/// A kubeconfig for the same server with a token in place of the administrator's identity.
fn with_token(kubeconfig: &str, token: &str) -> Result<String, String> {
    let mut config: serde_json::Value = serde_saphyr::from_str(kubeconfig).map_err(|error| error.to_string())?;
    let users = config["users"].as_array_mut().ok_or("the kubeconfig has no users")?;
    for user in users {
        user["user"] = serde_json::json!({"token": token});
    }
    Ok(config.to_string())
}
