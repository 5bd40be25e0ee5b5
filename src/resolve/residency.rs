//! What one `DataResidency` comes to in this cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    api::{
        DataResidency,
        data_residency::{
            Allowance, Enforcement, Eviction, ExposurePolicy, IngressPolicy, Permit, TenantPolicyHandling,
        },
        selector::LabelSelector,
    },
    domain::{
        Cidr, Exposure, Finding, Ingress, Jurisdiction, Leg, Mode, Permitting, Subject, TenantPolicies, Verdict, keys,
    },
    observe::{Class, Node, Pod},
};

use super::{Facilities, Facility, Location, WantedClass, proven};

/// What all residencies need to know of the nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sites {
    /// Verified nodes of each data center.
    pub verified: BTreeMap<String, u32>,
    /// Addresses of pods: the nodes' podCIDRs, aggregated.
    pub pod_networks: Vec<Cidr>,
    /// All nodes.
    pub nodes: u32,
}

impl Sites {
    /// Counts what stands where.
    #[must_use]
    pub fn of(nodes: &BTreeMap<String, Node>, locations: &BTreeMap<String, Location>) -> Self {
        let mut verified: BTreeMap<String, u32> = BTreeMap::new();
        for location in locations.values() {
            if let Location::Verified { data_center, .. } = location {
                *verified.entry(data_center.clone()).or_default() += 1;
            }
        }
        let pod_networks: Vec<Cidr> = nodes.values().flat_map(|node| node.pod_networks.iter().copied()).collect();
        let nodes = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        Self { verified, pod_networks: Cidr::aggregate(&pod_networks), nodes }
    }

    fn in_data_center(&self, name: &str) -> u32 {
        self.verified.get(name).copied().unwrap_or_default()
    }
}

/// A residency, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Residency {
    /// Its name.
    pub name: String,
    /// How it is enforced.
    pub mode: Mode,
    /// Where the data may live.
    pub jurisdictions: BTreeSet<Jurisdiction>,
    /// Data centers that are present in this cluster, sorted.
    pub data_centers: Vec<String>,
    /// Nodes on which governed pods may run.
    pub eligible_nodes: u32,
    /// Zones in which governed volumes may lie.
    pub zones: BTreeSet<String>,
    /// Addresses that governed pods may reach at any port, the attested control plane among them, without pod networks.
    pub networks: Vec<Cidr>,
    /// What addresses pods can have in those of its data centers that name them: `podNetworks` and `networks`.
    pub pod_addresses: BTreeMap<String, Vec<Cidr>>,
    /// Where the API servers stand, as far as that is attested.
    pub control_plane: Vec<Cidr>,
    /// Further destinations.
    pub egress: Vec<Allowed>,
    /// Further sources.
    pub ingress: Vec<Allowed>,
    /// Who may connect to governed pods.
    pub ingress_policy: Ingress,
    /// What happens to wide tenants' policies.
    pub tenant_policies: TenantPolicies,
    /// Whether the permitted is opened.
    pub permitting: Permitting,
    /// Whether services may be exposed.
    pub exposure: Exposure,
    /// Classes to keep.
    pub classes: Vec<WantedClass>,
    /// Classes that exist and were judged by their content: claims may use them.
    pub admitted_classes: BTreeSet<String>,
    /// Class of claims that name none, while it is admitted.
    pub default_class: Option<String>,
    /// Whether pods that stand outside are moved.
    pub evict: bool,
    /// Why nothing governed may start in this cluster, if so.
    pub refused_because: Option<String>,
    /// What is wrong with the residency itself.
    pub findings: Vec<Finding>,
}

impl Residency {
    /// An address of a pod that runs in `data_center` which no pod can have there; `None` where that is not known.
    #[must_use]
    pub fn strange_address(&self, pod: &Pod, data_center: &str) -> Option<IpAddr> {
        let known = self.pod_addresses.get(data_center)?;
        pod.addresses.iter().copied().find(|address| !known.iter().any(|block| block.contains_address(*address)))
    }

    /// The residency of the canary namespace: it permits nothing, and asks only what no pod of a cluster could break
    /// unseen.
    #[must_use]
    pub fn canary() -> Self {
        Self {
            name: keys::CANARY_RESIDENCY.to_owned(),
            mode: Mode::Enforce,
            jurisdictions: BTreeSet::new(),
            data_centers: Vec::new(),
            eligible_nodes: 0,
            zones: BTreeSet::new(),
            networks: Vec::new(),
            pod_addresses: BTreeMap::new(),
            control_plane: Vec::new(),
            egress: Vec::new(),
            ingress: Vec::new(),
            ingress_policy: Ingress::Restricted,
            tenant_policies: TenantPolicies::Refuse,
            permitting: Permitting::None,
            exposure: Exposure::Deny,
            classes: Vec::new(),
            admitted_classes: BTreeSet::new(),
            default_class: None,
            evict: false,
            refused_because: None,
            findings: Vec::new(),
        }
    }
}

/// Peers beside the permitted networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Who.
    pub peer: Peer,
    /// At which ports; all where empty.
    pub ports: Vec<PortRange>,
}

/// Who is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Blocks of addresses.
    Networks(Vec<Cidr>),
    /// Pods by labels.
    Pods {
        /// Of these namespaces; of the own one where `None`.
        namespaces: Option<LabelSelector>,
        /// These pods; all where `None`.
        pods: Option<LabelSelector>,
    },
}

/// Ports of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first, or only.
    pub first: i32,
    /// The last of a range.
    pub last: Option<i32>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: &'static str,
}

/// What every residency comes to. Of two that want a class of one name, the one for which it stands has it, else the first
/// by name.
#[must_use]
pub fn resolve(
    residencies: &BTreeMap<String, DataResidency>,
    facilities: &Facilities,
    sites: &Sites,
    classes: &BTreeMap<String, Class>,
) -> BTreeMap<String, Residency> {
    let mut taken = incumbents(residencies, classes);
    let mut resolved = BTreeMap::new();
    for (name, written) in residencies {
        let residency = resolve_one(name, written, facilities, sites, classes, &mut taken);
        resolved.insert(name.clone(), residency);
    }
    resolved
}

/// Classes that stand for a residency which still lists them: class to residency.
fn incumbents(
    residencies: &BTreeMap<String, DataResidency>,
    classes: &BTreeMap<String, Class>,
) -> BTreeMap<String, String> {
    let lists = |residency: &DataResidency, class: &String| {
        residency.spec.storage.classes.iter().any(|listed| listed.name == *class)
    };
    let incumbent = |(class, live): (&String, &Class)| {
        let owner = live.made_for.as_ref().filter(|_| live.managed)?;
        let residency = residencies.get(owner)?;
        lists(residency, class).then(|| (class.clone(), owner.clone()))
    };
    classes.iter().filter_map(incumbent).collect()
}

fn resolve_one(
    name: &str,
    written: &DataResidency,
    facilities: &Facilities,
    sites: &Sites,
    living: &BTreeMap<String, Class>,
    taken: &mut BTreeMap<String, String>,
) -> Residency {
    let spec = &written.spec;
    let mut findings = Vec::new();
    let jurisdictions: BTreeSet<Jurisdiction> = spec
        .jurisdictions
        .iter()
        .filter_map(|code| Jurisdiction::parse(&code.0).ok())
        .filter(|jurisdiction| *jurisdiction != Jurisdiction::UNKNOWN)
        .collect();
    let permitted = |facility: &&Facility| jurisdictions.iter().any(|wanted| facility.jurisdiction.satisfies(*wanted));
    let ours: Vec<&Facility> = facilities.accepted().filter(permitted).collect();
    let present: Vec<&&Facility> =
        ours.iter().filter(|facility| facility.scale_from_zero || sites.in_data_center(&facility.name) > 0).collect();
    let zones: BTreeSet<String> = ours.iter().flat_map(|facility| facility.zones.iter().cloned()).collect();

    let mut classes = Vec::new();
    for class in &spec.storage.classes {
        match wanted_class(name, class, &zones, living, taken) {
            Ok(wanted) => classes.push(wanted),
            Err(finding) => findings.push(*finding),
        }
    }
    let mut admitted: BTreeSet<String> = classes
        .iter()
        .filter(|wanted| living.get(&wanted.name).is_some_and(|live| wanted.covers(live)))
        .map(|wanted| wanted.name.clone())
        .collect();
    for class in &spec.storage.allowed_classes {
        match judge_allowed(class, living, &zones) {
            Ok(()) => drop(admitted.insert(class.clone())),
            Err(finding) => findings.push(*finding),
        }
    }
    let default_class = spec.storage.classes.iter().find(|class| class.default).map(|class| class.name.clone());
    let egress = allowances(&spec.network.egress.allow);
    let ingress = allowances(&spec.network.ingress.allow);

    Residency {
        name: name.to_owned(),
        mode: match spec.enforcement {
            Enforcement::Enforce => Mode::Enforce,
            Enforcement::Warn => Mode::Warn,
            Enforcement::Audit => Mode::Audit,
        },
        refused_because: present.is_empty().then(|| no_data_center(&jurisdictions)),
        data_centers: present.iter().map(|facility| facility.name.clone()).collect(),
        eligible_nodes: ours.iter().map(|facility| sites.in_data_center(&facility.name)).sum(),
        networks: networks(&ours, sites, &egress),
        pod_addresses: ours.iter().filter_map(|facility| pod_addresses(facility)).collect(),
        control_plane: ours.iter().flat_map(|facility| facility.control_plane.iter().copied()).collect(),
        ingress_policy: match spec.network.ingress.policy {
            IngressPolicy::Restricted => Ingress::Restricted,
            IngressPolicy::Open => Ingress::Open,
        },
        tenant_policies: match spec.network.tenant_policies {
            TenantPolicyHandling::Narrow => TenantPolicies::Narrow,
            TenantPolicyHandling::Refuse => TenantPolicies::Refuse,
        },
        permitting: match spec.network.permit {
            Permit::All => Permitting::All,
            Permit::None => Permitting::None,
        },
        exposure: match spec.network.exposure {
            ExposurePolicy::Deny => Exposure::Deny,
            ExposurePolicy::Allow => Exposure::Allow,
        },
        default_class: default_class.filter(|class| admitted.contains(class)),
        evict: spec.placement.eviction == Eviction::Enabled,
        admitted_classes: admitted,
        jurisdictions,
        egress,
        ingress,
        zones,
        classes,
        findings,
    }
}

fn no_data_center(jurisdictions: &BTreeSet<Jurisdiction>) -> String {
    let codes: Vec<&str> = jurisdictions.iter().map(|jurisdiction| jurisdiction.code()).collect();
    format!("this cluster has no data center in {} with a verified node", codes.join(" or "))
}

/// What addresses pods can have in a facility, by its name; `None` where it names no pod networks.
fn pod_addresses(facility: &Facility) -> Option<(String, Vec<Cidr>)> {
    let all = facility.pod_networks.iter().chain(&facility.networks).copied().collect();
    (!facility.pod_networks.is_empty()).then(|| (facility.name.clone(), all))
}

/// Addresses inside the facilities, of the API servers, and those allowed at every port, without the addresses of pods.
fn networks(facilities: &[&Facility], sites: &Sites, egress: &[Allowed]) -> Vec<Cidr> {
    let allowed = egress.iter().filter(|allowed| allowed.ports.is_empty()).filter_map(|allowed| match &allowed.peer {
        Peer::Networks(networks) => Some(networks.iter().copied()),
        Peer::Pods { .. } => None,
    });
    let attested =
        facilities.iter().flat_map(|facility| facility.networks.iter().chain(&facility.control_plane).copied());
    let inside: Vec<Cidr> = attested.chain(allowed.flatten()).collect();
    let declared = facilities.iter().flat_map(|facility| facility.pod_networks.iter().copied());
    let pods: Vec<Cidr> = declared.chain(sites.pod_networks.iter().copied()).collect();
    Cidr::without(&inside, &pods)
}

fn wanted_class(
    residency: &str,
    spec: &crate::api::data_residency::ClassSpec,
    zones: &BTreeSet<String>,
    living: &BTreeMap<String, Class>,
    taken: &mut BTreeMap<String, String>,
) -> Result<WantedClass, Box<Finding>> {
    let not_ours = |message: String| {
        Box::new(Finding {
            verdict: Verdict::Unknown,
            leg: Leg::Storage,
            rule: "domicile/storage-class-name",
            subject: Subject::cluster("StorageClass", &spec.name),
            message,
            remedy: "choose another name in spec.storage.classes, or list the class in allowedClasses".to_owned(),
        })
    };
    if let Some(other) = taken.get(&spec.name).filter(|other| *other != residency) {
        return Err(not_ours(format!("DataResidency {other} makes a class of this name already")));
    }
    if living.get(&spec.name).is_some_and(|live| !live.managed) {
        return Err(not_ours("a class of this name exists that Domicile did not make".to_owned()));
    }
    let wanted = WantedClass::resolve(residency, spec, zones)?;
    taken.insert(spec.name.clone(), residency.to_owned());
    Ok(wanted)
}

fn judge_allowed(name: &str, living: &BTreeMap<String, Class>, zones: &BTreeSet<String>) -> Result<(), Box<Finding>> {
    let verdict = match living.get(name) {
        Some(class) => proven(class, zones),
        None => Err("it does not exist".to_owned()),
    };
    verdict.map_err(|message| {
        Box::new(Finding {
            verdict: Verdict::Unknown,
            leg: Leg::Storage,
            rule: "domicile/storage-class-content",
            subject: Subject::cluster("StorageClass", name),
            message,
            remedy: "claims of this class are refused; let its allowedTopologies name the data centers' zones, or take it out of allowedClasses".to_owned(),
        })
    })
}

fn allowances(written: &[Allowance]) -> Vec<Allowed> {
    let allowed = written.iter().map(|allowance| Allowed {
        peer: if allowance.cidrs.is_empty() {
            Peer::Pods { namespaces: allowance.namespace_selector.clone(), pods: allowance.pod_selector.clone() }
        } else {
            Peer::Networks(allowance.cidrs.iter().filter_map(|text| text.0.parse().ok()).collect())
        },
        ports: allowance
            .ports
            .iter()
            .map(|port| PortRange { first: port.port, last: port.end_port, protocol: port.protocol.word() })
            .collect(),
    });
    allowed.filter(|allowed| !matches!(&allowed.peer, Peer::Networks(networks) if networks.is_empty())).collect()
}
