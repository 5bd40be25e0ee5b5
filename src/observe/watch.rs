//! One watch for each kind, each with its own backoff, so that a kind that cannot be read holds up no other.
//!
//! A list that is still arriving replaces nothing: objects disappear only by a delete event or by a whole new list, so
//! that a broken connection never looks like an empty cluster.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    future::{Future, ready},
    pin::pin,
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use k8s_openapi::{
    api::{
        admissionregistration::v1 as admission, core::v1 as core, discovery::v1::EndpointSlice, networking::v1 as net,
        rbac::v1 as rbac, storage::v1 as storage,
    },
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{
    Api, Client, Resource,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt as _, utils::Backoff, watcher},
};
use tokio::sync::mpsc;

use super::{
    Policy, Receivers, add_ons,
    change::{Change, Delta},
    cluster_policy, convert, devices,
    discovery::Discovery,
    model::{Claim, Class, Endpoints, Namespace, Node, Pod, RoleBinding, Volume},
    node::LiveNode,
    pod::LivePod,
    sent::{Reads, Sent, Unread},
    sight::{Look, Sight},
    unread::Id,
};
use crate::{
    api::{DataCenter, DataResidency},
    domain::{DeviceDrivers, FurtherNetworks, add_ons::ADD_ONS},
};

/// How many kinds are watched. Nothing is decided before each was read, is known not to be served, or, of an add-on, was told not to be
/// seen.
pub const KINDS: usize = 20 + ADD_ONS.len();

/// EndpointSlices but those that follow the pods of a Service, of which a large cluster has many and which change with every
/// pod. In a governed namespace nobody but their controller may give a slice this label, so none hides behind it.
const WRITTEN_BY_HAND: &str = "endpointslice.kubernetes.io/managed-by!=endpointslice-controller.k8s.io";

/// So many objects are read at a time at first, where an API server does not send them one by one. Tenants make single ones as
/// large as the API takes (1.5 MiB), and a page is held whole, as text and as objects.
const PAGE: u32 = 10;

/// So many changes wait to be taken in; then the watches wait. Each is at most some ten kilobytes.
const WAITING: usize = 256;

/// Starts every watch; each ends when the receiver is dropped. Pods and devices are read when it is known which annotations
/// give a pod a further network, and which drivers give parts of a node.
#[must_use]
pub fn start(
    client: &Client,
    lists: impl Future<Output = (FurtherNetworks, DeviceDrivers)> + Send + 'static,
) -> mpsc::Receiver<Change> {
    let (sink, changes) = mpsc::channel(WAITING);
    let groups = add_ons::groups().into_iter().chain([cluster_policy::GROUP, devices::GROUP]).collect();
    let discovery = Discovery::of(client, groups);
    let (later_client, later_sink, later_discovery) = (client.clone(), sink.clone(), discovery.clone());
    tokio::spawn(async move {
        let (further, drivers) = lists.await;
        let project = move |pod: LivePod| Some(Pod::read(pod, &further));
        follow(&later_client, &later_sink, project, Change::Pod);
        devices::follow(&later_client, later_discovery, &later_sink, drivers);
    });
    follow(client, &sink, |node: LiveNode| Some(Node::from(node)), Change::Node);
    follow(client, &sink, |space: core::Namespace| Some(Namespace::from(space)), Change::Namespace);
    follow(client, &sink, |claim: core::PersistentVolumeClaim| Some(Claim::from(claim)), Change::Claim);
    follow(client, &sink, |volume: core::PersistentVolume| Some(Volume::from(volume)), Change::Volume);
    follow(client, &sink, |class: storage::StorageClass| Some(Class::from(class)), Change::Class);
    follow(client, &sink, |node: storage::CSINode| Some(convert::drivers(node)), Change::Drivers);
    follow(client, &sink, |policy: net::NetworkPolicy| Some(Policy::from(policy)), Change::Policy);
    follow(client, &sink, |binding: rbac::RoleBinding| Some(RoleBinding::from(binding)), Change::RoleBinding);
    follow(client, &sink, |service: core::Service| convert::exposed_service(&service), Change::Service);
    follow(
        client,
        &sink,
        |ingress: PartialObjectMeta<net::Ingress>| Some(convert::exposed_ingress(ingress.metadata)),
        Change::Ingress,
    );
    follow_in(
        "EndpointSlice",
        Api::all(client.clone()),
        watcher::Config::default().labels(WRITTEN_BY_HAND),
        &sink,
        |slice: EndpointSlice| Some(Endpoints::from(slice)),
        Change::Endpoints,
    );
    follow(client, &sink, |one: admission::ValidatingWebhookConfiguration| sends(one), Change::ValidatingWebhooks);
    follow(client, &sink, |one: admission::MutatingWebhookConfiguration| sends(one), Change::MutatingWebhooks);
    follow(client, &sink, |one: APIService| sends(one), Change::ApiService);
    follow(client, &sink, |one: DataCenter| Some(one), Change::DataCenter);
    follow(client, &sink, |one: DataResidency| Some(one), Change::Residency);
    // The API servers write their own addresses under this name.
    follow_in(
        "EndpointSlice default/kubernetes",
        Api::namespaced(client.clone(), "default"),
        watcher::Config::default().fields("metadata.name=kubernetes"),
        &sink,
        |slice: EndpointSlice| Some(convert::addresses(&slice)),
        Change::ApiServers,
    );
    add_ons::follow(client, &discovery, &sink);
    cluster_policy::follow(client, discovery, &sink);
    changes
}

/// What of an object says to whom others are sent; nothing where it names nobody.
fn sends<K>(object: K) -> Option<Receivers>
where
    Receivers: From<K>,
{
    Some(Receivers::from(object)).filter(|sent| !sent.receivers.is_empty())
}

/// Follows one kind: `project` reduces an object to what matters, `None` where nothing does.
fn follow<K, I, T>(
    client: &Client,
    sink: &mpsc::Sender<Change>,
    project: impl Fn(K) -> Option<T> + Send + 'static,
    wrap: fn(Delta<I, T>) -> Change,
) where
    K: Resource<DynamicType = ()> + Reads + Clone + Debug + Send + 'static,
    I: Id + Send + 'static,
    T: Unread + Send + 'static,
{
    follow_in(&K::kind(&()), Api::all(client.clone()), watcher::Config::default(), sink, project, wrap);
}

/// Follows what `config` selects of one kind; `name` is told to people.
fn follow_in<K, I, T>(
    name: &str,
    api: Api<Sent<K>>,
    config: watcher::Config,
    sink: &mpsc::Sender<Change>,
    project: impl Fn(K) -> Option<T> + Send + 'static,
    wrap: fn(Delta<I, T>) -> Change,
) where
    K: Resource<DynamicType = ()> + Reads + Clone + Debug + Send + 'static,
    I: Id + Send + 'static,
    T: Unread + Send + 'static,
{
    let (sink, name) = (sink.clone(), name.to_owned());
    tokio::spawn(async move {
        let mut events = pin!(events(name.clone(), api, config));
        let (mut sight, mut arriving) = (Sight::of(name.clone()), BTreeMap::new());
        while let Some(Look { event, sight }) = sight.look(&mut events).await {
            let delta = match event {
                Some(Ok(event)) => delta(event, &mut arriving, &project),
                Some(Err(error)) => {
                    tracing::warn!(kind = name, %error, "cannot watch; what was read stands, trying again");
                    None
                }
                None => None,
            };
            for change in delta.map(wrap).into_iter().chain(sight) {
                if sink.send(change).await.is_err() {
                    return;
                }
            }
        }
    });
}

/// Watches what `config` selects, each object of it first. They come one by one, so that no more than one is held whole;
/// where an API server does not do that, in small pages.
pub(super) fn events<K>(
    kind: String,
    api: Api<Sent<K>>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<watcher::Event<Sent<K>>>>
where
    K: Resource + Reads + Clone + Debug + Send + 'static,
{
    let one_by_one = watcher(api.clone(), config.clone().streaming_lists()).backoff(Patience::default());
    let in_pages = watcher(api, config.page_size(PAGE)).backoff(Patience::default());
    let offered = move |event: &watcher::Result<watcher::Event<Sent<K>>>| {
        let not_offered = is_not_offered(event);
        if not_offered {
            tracing::info!(kind, "the API server does not send all objects one by one; they are read in pages");
        }
        ready(!not_offered)
    };
    one_by_one.take_while(offered).chain(in_pages)
}

/// Whether an API server says that it does not begin a watch with all objects (feature gate WatchList).
fn is_not_offered<E>(event: &watcher::Result<E>) -> bool {
    match event {
        Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) => status.code == 422,
        _ => false,
    }
}

/// What an event of a watch comes to; nothing while a list is arriving.
pub(super) fn delta<K: Resource, I: Id, T: Unread>(
    event: watcher::Event<Sent<K>>,
    arriving: &mut BTreeMap<I, T>,
    project: &impl Fn(K) -> Option<T>,
) -> Option<Delta<I, T>> {
    let reduced = |object: Sent<K>| match object {
        Sent::Read(object) => (I::of(object.meta()), project(*object)),
        Sent::Unreadable(meta) => (I::of(&meta), T::unread(&meta)),
    };
    match event {
        watcher::Event::Init => {
            arriving.clear();
            None
        }
        watcher::Event::InitApply(object) => {
            if let (id, Some(kept)) = reduced(object) {
                arriving.insert(id, kept);
            }
            None
        }
        watcher::Event::InitDone => Some(Delta::Replaced(std::mem::take(arriving))),
        watcher::Event::Apply(object) => {
            let is_read = matches!(object, Sent::Read(_));
            match reduced(object) {
                (id, Some(kept)) => Some(Delta::Applied(id, kept)),
                (id, None) => is_read.then_some(Delta::Gone(id)), // what cannot be read stays as it is known
            }
        }
        watcher::Event::Delete(object) => Some(Delta::Gone(I::of(object.meta()))),
    }
}

/// Doubles from 50 ms to 5 s: an API server that comes back is read at once, one that stays away is not flooded.
#[derive(Debug, Default)]
pub(super) struct Patience {
    failures: u32,
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        Some(Duration::from_millis(50).saturating_mul(1 << self.failures.min(7)).min(Duration::from_secs(5)))
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        self.failures = 0;
    }
}
