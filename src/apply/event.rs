//! Events on the objects that they are about, each stored once and counted.
//!
//! An event's name follows from what it says, so that the API server itself knows what was told before. kube's recorder
//! remembers that in the process, and tells everything again after a restart.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};

use super::Error;
use crate::{domain::Subject, report::events::Telling};

/// Who tells; for `kubectl get events --field-selector reportingComponent=…`.
const CONTROLLER: &str = "domicile.dev/controller";
/// Events about objects without a namespace are kept here, as the API server demands.
const NAMESPACE_OF_CLUSTER: &str = "default";
/// The longest name that leaves room for a dot and sixteen digits.
const NAME: usize = 253 - 17;

/// Publishes events.
#[derive(Clone)]
pub struct Events {
    client: Client,
}

impl Events {
    /// Publishes through `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Publishes one. Events are for people and expire: one that can't be published is logged, no more.
    pub async fn publish(&self, telling: &Telling) {
        if let Err(error) = self.tell(telling).await {
            tracing::debug!(subject = %telling.subject, %error, "event not published");
        }
    }

    /// What was told in the same words is counted; what is new about it, in other words, is another event.
    async fn tell(&self, telling: &Telling) -> Result<(), Error> {
        let now = MicroTime(Timestamp::now());
        let event = event(telling, name(telling, ""), now.clone());
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let events: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let Some(told) = create(&events, &event).await? else { return Ok(()) };
        if telling.standing {
            return Ok(());
        }
        if told.note == event.note {
            return count(&events, told, now).await;
        }
        let event =
            Event { metadata: ObjectMeta { name: Some(name(telling, &telling.note)), ..event.metadata }, ..event };
        match create(&events, &event).await? {
            Some(told) => count(&events, told, now).await,
            None => Ok(()),
        }
    }
}

/// Creates an event, or says which one has the name already.
async fn create(events: &Api<Event>, event: &Event) -> Result<Option<Event>, Error> {
    match events.create(&PostParams::default(), event).await.map_err(Error::from) {
        Err(Error::Conflict) => Ok(Some(events.get(event.metadata.name.as_deref().unwrap_or_default()).await?)),
        answer => answer.map(|_| None),
    }
}

/// Once more what was told before.
async fn count(events: &Api<Event>, told: Event, now: MicroTime) -> Result<(), Error> {
    let ObjectMeta { name, resource_version, .. } = told.metadata;
    let count = told.series.map_or(1, |series| series.count).saturating_add(1);
    let series = EventSeries { count, last_observed_time: now };
    let patch = serde_json::json!({"metadata": {"resourceVersion": resource_version}, "series": series});
    events.patch(&name.unwrap_or_default(), &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

fn event(telling: &Telling, name: String, now: MicroTime) -> Event {
    let Telling { subject, warning, reason, action, topic: _, note, standing: _ } = telling;
    let namespace = if subject.namespace.is_empty() { NAMESPACE_OF_CLUSTER } else { &subject.namespace };
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(namespace.to_owned()), ..ObjectMeta::default() },
        type_: Some(if *warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some((*reason).to_owned()),
        action: Some((*action).to_owned()),
        note: Some(note.clone()),
        regarding: Some(reference(subject)),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(CONTROLLER.to_owned()),
        event_time: Some(now),
        ..Event::default()
    }
}

/// The same for what is told of the same object on the same topic, in these words.
fn name(telling: &Telling, words: &str) -> String {
    let Telling { subject, warning, reason, action: _, topic, note: _, standing: _ } = telling;
    let mut hasher = DefaultHasher::new();
    (subject, warning, reason, topic, words).hash(&mut hasher);
    let about: String = subject.name.chars().take(NAME).collect();
    format!("{}.{:016x}", about.trim_end_matches(|last: char| !last.is_ascii_alphanumeric()), hasher.finish())
}

fn reference(subject: &Subject) -> ObjectReference {
    // Of an add-on's kind nobody here remembers in which version it was read.
    let (kind, is_of_an_add_on) = subject.kind.split_once('.').map_or((subject.kind, false), |(kind, _)| (kind, true));
    let api_version = match kind {
        "StorageClass" => "storage.k8s.io/v1",
        "RoleBinding" => "rbac.authorization.k8s.io/v1",
        "NetworkPolicy" | "Ingress" => "networking.k8s.io/v1",
        "ClusterNetworkPolicy" => "policy.networking.k8s.io/v1alpha2",
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => "admissionregistration.k8s.io/v1",
        "APIService" => "apiregistration.k8s.io/v1",
        "DataCenter" | "DataResidency" => "domicile.dev/v1alpha1",
        _ => "v1",
    };
    let present = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ObjectReference {
        api_version: (!is_of_an_add_on).then(|| api_version.to_owned()),
        kind: Some(kind.to_owned()),
        name: Some(subject.name.clone()),
        namespace: present(&subject.namespace),
        uid: present(&subject.uid),
        ..ObjectReference::default()
    }
}
