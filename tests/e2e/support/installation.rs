//! A cluster in which Domicile is installed as a platform team installs it: chart by Helm, resources by kubectl, and the
//! operator outside, with the rights of the chart's ServiceAccount.
//!
//! Four of them at most: one that all tests share, each in namespaces of its own; one for the tests that disturb
//! everybody (they stop components, or count what is written while nobody does anything); one for the tests that change
//! what is installed or want nobody beside them; and one whose API server is told of static policies. Those three are used in turns.

use std::{
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::Command,
    sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use serde_json::Value;

use super::{
    cluster::Cluster,
    kinds::{DATA_RESIDENCY, NAMESPACE},
    made::Made,
    manifest::{Manifest, documents},
    operator::Operator,
    process::{repository, scratch, succeed},
    seats::Seat,
    user::User,
    wait::{LATER, SOON, eventually, when},
};

/// The chart, seen from the repository.
pub const CHART: &str = "charts/domicile";
/// What a claim may say only where this gate is on is refused, and not dropped before anybody judges it.
const GATES: &str = "--apiserver-arg=--feature-gates=CrossNamespaceVolumeDataSource=true";
const NODES: &str = include_str!("../fixtures/nodes.yaml");
const SURROUNDINGS: &str = include_str!("../fixtures/surroundings.yaml");
const DATA_CENTERS: &str = include_str!("../fixtures/data-centers.yaml");
const MAINLAND: &str = include_str!("../fixtures/mainland.yaml");

/// A cluster with Domicile in it.
pub struct Installation {
    pub cluster: Cluster,
    pub operator: Operator,
    pub admin: User,
    /// May do everything in every namespace, and with namespaces, that RBAC can give without Domicile's own verbs.
    pub tenant: User,
    has_policies: bool,
    mutation: String,
}

/// The right to use an installation, until it is dropped.
pub struct Turn {
    installation: &'static Installation,
    is_put_right: bool,
    _turn: Lock,
}

#[expect(dead_code, reason = "held, not read")]
enum Lock {
    Shared(RwLockReadGuard<'static, ()>, Seat),
    Alone(RwLockWriteGuard<'static, ()>),
}

type Start = OnceLock<Result<Installation, String>>;
static SHARED: Start = OnceLock::new();
static TURNS_OF_SHARED: RwLock<()> = RwLock::new(());

/// The installation that tests share, a few at a time.
#[track_caller]
pub fn shared() -> Turn {
    let lock = TURNS_OF_SHARED.read().unwrap_or_else(PoisonError::into_inner);
    let seat = Seat::take();
    let installation = started(SHARED.get_or_init(|| Installation::start("shared", false)));
    Turn { installation, is_put_right: false, _turn: Lock::Shared(lock, seat) }
}

/// An installation that nobody else uses meanwhile, with the operator running.
#[track_caller]
pub fn alone() -> Turn {
    static DISTURBED: Start = OnceLock::new();
    static TURNS: RwLock<()> = RwLock::new(());
    in_turn(&TURNS, &DISTURBED, "disturbed", true)
}

/// The same, for tests that change what is installed, or stop no part of the control plane: so neither of the two clusters is
/// in use much longer than the other.
#[track_caller]
pub fn to_install_anew() -> Turn {
    static CHANGED: Start = OnceLock::new();
    static TURNS: RwLock<()> = RwLock::new(());
    in_turn(&TURNS, &CHANGED, "changed", false)
}

/// A cluster whose API server was started with the static policies of [`static_policies`], and in which nothing is installed
/// yet: the test installs. It does not begin watches with all objects either (feature gate WatchList), so that here
/// everything is read in pages, and has no NodeRestriction, so that here the policies alone judge kubelets. It fails where
/// the environment names a cluster, since no API server of others has these files; `tests/e2e/run` leaves such tests out
/// there, and says so.
#[track_caller]
pub fn with_static_policies() -> Turn {
    static START: Start = OnceLock::new();
    static TURNS: RwLock<()> = RwLock::new(());
    let lock = Lock::Alone(TURNS.write().unwrap_or_else(PoisonError::into_inner));
    let installation = started(START.get_or_init(|| {
        if Cluster::of_the_environment()?.is_some() {
            return Err("the API server of DOMICILE_TEST_KUBECONFIG does not load these static policies".to_owned());
        }
        let folder = static_policies();
        write_static_policies(&[])?;
        let flag = format!("--admission-control-config-file={}/admission-configuration.yaml", folder.display());
        let gate = "--feature-gates=WatchList=false".to_owned();
        let kubelets = "--disable-admission-plugins=NodeRestriction".to_owned();
        let flags = [flag, gate, kubelets].map(|flag| format!("--apiserver-arg={flag}"));
        let cluster = Cluster::start("static", NODES, &flags)?;
        Installation::prepare("static", cluster)
    }));
    installation.operator.rests();
    Turn { installation, is_put_right: false, _turn: lock }
}

/// Where the static policies lie that [`with_static_policies`] tells of.
pub fn static_policies() -> PathBuf {
    scratch().join("static-policies")
}

/// Writes them by `domicile policies --static`; returns what it says.
pub fn write_static_policies(arguments: &[&str]) -> Result<String, String> {
    let folder = static_policies();
    let mut domicile = Command::new(env!("CARGO_BIN_EXE_domicile"));
    domicile.args(["policies", "--static", "--out"]).arg(&folder).arg("--at").arg(&folder).args(arguments);
    succeed(&mut domicile)
}

#[track_caller]
fn in_turn(turns: &'static RwLock<()>, start: &'static Start, name: &str, audit: bool) -> Turn {
    let external = std::env::var_os("DOMICILE_TEST_KUBECONFIG").is_some_and(|path| !path.is_empty());
    let (turns, start) = if external { (&TURNS_OF_SHARED, &SHARED) } else { (turns, start) };
    let lock = Lock::Alone(turns.write().unwrap_or_else(PoisonError::into_inner));
    let installation = started(start.get_or_init(|| Installation::start(name, audit)));
    installation.operator.revive();
    Turn { installation, is_put_right: true, _turn: lock }
}

#[track_caller]
fn started(outcome: &'static Result<Installation, String>) -> &'static Installation {
    outcome.as_ref().unwrap_or_else(|error| panic!("there is no cluster to test on: {error}"))
}

impl Installation {
    fn start(name: &str, audit: bool) -> Result<Self, String> {
        let cluster = match Cluster::of_the_environment()? {
            Some(cluster) => cluster,
            None => {
                let flags = [Some(GATES), audit.then_some("--audit-log")].map(|flag| flag.map(str::to_owned));
                Cluster::start(name, NODES, &Vec::from_iter(flags.into_iter().flatten()))?
            }
        };
        let mut installation = Self::prepare(name, cluster)?;
        installation.install()?;
        let status = installation.admin.get_at(&DATA_RESIDENCY.path("", "mainland")).object["status"].clone();
        let seen = status["enforcedBy"]["mutation"].as_str().unwrap_or_default().to_owned();
        let expected = std::mem::replace(&mut installation.mutation, seen);
        if Cluster::of_the_environment()?.is_none() && installation.mutation != expected {
            let words = installation.operator.last_words();
            return Err(format!("{expected} was expected to mutate: {status}\n{words}"));
        }
        Ok(installation)
    }

    /// A cluster with its surroundings, in which nothing of Domicile is installed.
    fn prepare(name: &str, cluster: Cluster) -> Result<Self, String> {
        let admin = User::administrator(&cluster.kubeconfig, cluster.tools)?;
        let tenant = User::impersonated(&cluster.kubeconfig, cluster.tools, "tenant", &["e2e:tenants"])?;
        let operator = Operator::new(name);
        let served = admin.get_at("/apis/admissionregistration.k8s.io/v1").object;
        let has_policies = served["resources"]
            .as_array()
            .is_some_and(|list| list.iter().any(|kind| kind["name"] == "mutatingadmissionpolicies"));
        let mutation = if has_policies { "MutatingAdmissionPolicy" } else { "Webhook" }.to_owned();
        let installation = Self { cluster, operator, admin, tenant, has_policies, mutation };
        apply(&installation.admin, SURROUNDINGS)?;
        Ok(installation)
    }

    /// Installs the chart, data centers and a residency, starts the operator and waits until it is ready.
    pub fn install(&self) -> Result<(), String> {
        self.install_with("policies=Install")
    }

    /// The same, with values of the chart.
    pub fn install_with(&self, values: &str) -> Result<(), String> {
        let mut values = format!("replicas=0,{values}");
        if !self.has_policies {
            values += &format!(",webhook.url=https://{}", self.operator.serves_webhook());
        }
        self.helm(&["upgrade", "--install", "domicile", CHART, "--create-namespace", "--set", &values])?;
        for yaml in [DATA_CENTERS, MAINLAND] {
            apply(&self.admin, yaml)?;
        }
        let token = self.admin.kubectl("create token domicile -n domicile-system --duration=24h");
        if !token.ok() {
            return Err(format!("no token for the operator: {token:?}"));
        }
        self.operator.becomes(&self.cluster.kubeconfig, token.out.trim())?;
        self.operator.start()?;
        self.await_ready("mainland")
    }

    /// Writes the data centers anew.
    #[track_caller]
    pub fn applies_data_centers(&self) {
        apply(&self.admin, DATA_CENTERS).expect("the data centers are written");
    }

    /// Runs Helm in the repository, on the release's namespace.
    pub fn helm(&self, words: &[&str]) -> Result<String, String> {
        let mut helm = Command::new(self.cluster.tools.join("helm"));
        helm.current_dir(repository()).args(words).args(["--namespace", "domicile-system"]);
        helm.env("KUBECONFIG", &self.cluster.kubeconfig);
        for kind in ["CACHE", "CONFIG", "DATA"] {
            helm.env(format!("HELM_{kind}_HOME"), scratch().join("helm"));
        }
        succeed(&mut helm)
    }

    fn await_ready(&self, residency: &str) -> Result<(), String> {
        let path = DATA_RESIDENCY.path("", residency);
        let end = std::time::Instant::now() + LATER; // several clusters are started at once
        loop {
            let seen = self.admin.get_at(&path).object;
            if condition(&seen, "Ready") == "True" {
                return Ok(());
            }
            if std::time::Instant::now() > end {
                return Err(format!(
                    "DataResidency {residency} does not get Ready: {}\n{}",
                    seen["status"],
                    self.operator.last_words()
                ));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Whether what tenants leave out is filled in.
    pub fn mutates(&self) -> bool {
        self.mutation != "None"
    }

    /// Whether the API server does that itself, by mutating admission policies (1.36 and later), not the operator's webhook.
    pub fn has_mutating_policies(&self) -> bool {
        self.has_policies
    }

    /// Somebody with a name and groups.
    pub fn user(&self, name: &str, groups: &[&str]) -> User {
        User::impersonated(&self.cluster.kubeconfig, self.cluster.tools, name, groups).unwrap()
    }

    /// Somebody who may release namespaces from residencies, and change residencies and data centers.
    pub fn platform_team(&self) -> User {
        self.user("platform", &["e2e:platform", "e2e:tenants"])
    }

    /// Waits until nothing of earlier tests is governed, which the status counts until it is gone, and their residencies are gone.
    #[track_caller]
    pub fn is_left_alone(&self) {
        let ends = |object: &Value| !object["metadata"]["deletionTimestamp"].is_null();
        let governed = |space: &Value| {
            let named = &space["metadata"]["labels"]["domicile.dev/residency"];
            named == "mainland" || (named.is_string() && ends(space))
        };
        eventually("no governed namespace is left, and no residency that ends", LATER, || {
            let spaces = self.admin.list(&NAMESPACE, "").into_iter().filter(governed);
            let residencies = self.admin.list(&DATA_RESIDENCY, "").into_iter().filter(ends);
            let left: Vec<Value> = spaces.chain(residencies).map(|object| object["metadata"]["name"].clone()).collect();
            when(left.is_empty(), || format!("{left:?} are there"))
        });
    }

    /// Waits until the country is as it was before a test made a data center in it.
    #[track_caller]
    pub fn forgets(&self, center: Made, network: &str) {
        let name = center.name().to_owned();
        center.deleted();
        let shop = self.governed("mainland");
        eventually(&format!("{name} is forgotten, and the classes are made anew without it"), SOON, || {
            let networks = shop.annotation("domicile.dev/networks");
            let classes = shop.annotation("domicile.dev/storage-classes");
            when(!networks.contains(network) && classes == "mainland-hdd,mainland-ssd", || {
                format!("{networks} {classes}")
            })
        });
    }

    /// The kubelet of a node.
    pub fn kubelet(&self, node: &str) -> User {
        self.user(&format!("system:node:{node}"), &["system:nodes"])
    }

    /// A ServiceAccount.
    pub fn service_account(&self, namespace: &str, name: &str) -> User {
        let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        self.user(&format!("system:serviceaccount:{namespace}:{name}"), &groups)
    }

    /// Waits until a condition of a residency has a status, for its newest generation; returns the residency.
    #[track_caller]
    pub fn becomes(&self, residency: &str, condition_type: &str, status: &str) -> Value {
        eventually(&format!("DataResidency {residency} is {condition_type}={status}"), SOON, || {
            let seen = self.admin.get(&DATA_RESIDENCY, "", residency);
            let current = seen["status"]["observedGeneration"] == seen["metadata"]["generation"];
            when(current && condition(&seen, condition_type) == status, || seen["status"].to_string())?;
            Ok(seen)
        })
    }

    /// What a residency's status says of an object (`Kind namespace/name`) by a rule, if anything.
    pub fn finding(&self, residency: &str, rule: &str, subject: &str) -> Option<Value> {
        let status = self.admin.get(&DATA_RESIDENCY, "", residency)["status"].clone();
        let items = status["findings"]["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().find(|one| one["rule"] == rule && one["subject"] == subject)
    }

    /// Whether the judge lets a packet pass. `from` and `to` are `namespace/pod` or an address.
    #[track_caller]
    pub fn passes(&self, from: &str, to: &str, port: u16) -> bool {
        let mut command = Command::new(self.cluster.tools.join("packet"));
        command.arg(format!("--kubeconfig={}", self.cluster.kubeconfig.display()));
        command.args([format!("--from={from}"), format!("--to={to}"), format!("--port={port}")]);
        let output = super::process::run(&mut command).unwrap();
        match output.status.code() {
            Some(0) => true,
            Some(1) => false,
            _ => panic!("packet from {from} to {to}:{port}: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}

/// A test that failed half-way may have left nothing installed: the next one is not to fail for that.
impl Drop for Turn {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let installation = self.installation;
        eprintln!("{}", installation.operator.last_words());
        if !self.is_put_right {
            return;
        }
        let put_right = AssertUnwindSafe(|| {
            installation.operator.rests();
            installation.install()
        });
        match catch_unwind(put_right) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("Domicile cannot be installed anew after a test that failed: {error}"),
            Err(_) => eprintln!("Domicile cannot be installed anew after a test that failed"),
        }
    }
}

impl Deref for Turn {
    type Target = Installation;

    fn deref(&self) -> &Installation {
        self.installation
    }
}

/// A residency with a spec in YAML.
pub fn residency(name: &str, spec: &str) -> Manifest {
    let mut manifest =
        Manifest::from("{apiVersion: domicile.dev/v1alpha1, kind: DataResidency, metadata: {}}").named(name);
    manifest.0["spec"] = super::manifest::parse(spec);
    manifest
}

/// The status of a condition, or `-`.
pub fn condition(object: &Value, condition_type: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == condition_type);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or("-").to_owned()
}

fn apply(admin: &User, yaml: &str) -> Result<(), String> {
    for manifest in documents(yaml) {
        let reply = admin.apply(&manifest);
        if !reply.ok() {
            return Err(format!("{}: {} {}", reply.asked, reply.code, reply.message));
        }
    }
    Ok(())
}
