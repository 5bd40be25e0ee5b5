//! Events on the objects that they are about, through kube's recorder, which counts repetitions instead of storing them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::{domain::Subject, report::events::Telling};

/// Publishes events.
#[derive(Clone)]
pub struct Events {
    recorder: Arc<Recorder>,
}

impl Events {
    /// Publishes as `domicile.dev/controller`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let reporter = Reporter { controller: "domicile.dev/controller".into(), instance: None };
        Self { recorder: Arc::new(Recorder::new(client, reporter)) }
    }

    /// Publishes one. Events are for people and expire: one that can't be published is logged, no more.
    pub async fn publish(&self, telling: &Telling) {
        let event = Event {
            type_: if telling.warning { EventType::Warning } else { EventType::Normal },
            reason: telling.reason.to_owned(),
            note: Some(telling.note.clone()),
            action: telling.action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &reference(&telling.subject)).await {
            tracing::debug!(subject = %telling.subject, %error, "event not published");
        }
    }
}

fn reference(subject: &Subject) -> ObjectReference {
    let api_version = match subject.kind {
        "StorageClass" => "storage.k8s.io/v1",
        "NetworkPolicy" | "Ingress" => "networking.k8s.io/v1",
        "DataCenter" | "DataResidency" => "domicile.dev/v1alpha1",
        _ => "v1",
    };
    let present = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ObjectReference {
        api_version: Some(api_version.to_owned()),
        kind: Some(subject.kind.to_owned()),
        name: Some(subject.name.clone()),
        namespace: present(&subject.namespace),
        uid: present(&subject.uid),
        ..ObjectReference::default()
    }
}
