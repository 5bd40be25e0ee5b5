//! What pods ask for and what nodes have, as far as it decides whether a pod fits: processor time and memory.

use std::{collections::BTreeMap, ops::Add};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube_quantity::ParsedQuantity;
use serde::Serialize;

use super::pod::Spec;

/// Processor time and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// Thousandths of a processor.
    pub millicores: i64,
    /// Bytes.
    pub memory: i64,
}

impl Resources {
    /// From a list of resources by name. What cannot be read counts as nothing.
    #[must_use]
    pub fn read(list: &BTreeMap<String, Quantity>) -> Self {
        let number = |name: &str| {
            let parsed = list.get(name).and_then(|quantity| ParsedQuantity::try_from(quantity).ok());
            parsed.and_then(|parsed| parsed.to_bytes_f64()).unwrap_or_default()
        };
        Self { millicores: whole(number("cpu") * 1000.0), memory: whole(number("memory")) }
    }

    /// What the scheduler reserves for a pod: all its containers together, or the largest that runs before them.
    pub(super) fn asked(spec: &Spec) -> Self {
        let (before, main) = (&spec.init_containers.0, &spec.containers.0);
        let overhead = spec.overhead.as_ref().map(Self::read).unwrap_or_default();
        (before.beside + main.together).larger(before.largest) + overhead
    }

    /// Whether `asked` fits into this.
    #[must_use]
    pub fn holds(self, asked: Self) -> bool {
        asked.millicores <= self.millicores && asked.memory <= self.memory
    }

    /// What is left when `used` is taken; less than nothing where more is used than there is.
    #[must_use]
    pub fn without(self, used: Self) -> Self {
        Self {
            millicores: self.millicores.saturating_sub(used.millicores),
            memory: self.memory.saturating_sub(used.memory),
        }
    }

    /// The larger of each.
    pub(super) fn larger(self, other: Self) -> Self {
        Self { millicores: self.millicores.max(other.millicores), memory: self.memory.max(other.memory) }
    }
}

impl Add for Resources {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            millicores: self.millicores.saturating_add(other.millicores),
            memory: self.memory.saturating_add(other.memory),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a float that is too large becomes the largest integer")]
fn whole(number: f64) -> i64 {
    number.ceil() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(spec: serde_json::Value) -> (i64, i64) {
        let Resources { millicores, memory } = Resources::asked(&serde_json::from_value(spec).unwrap());
        (millicores, memory)
    }

    fn container(cpu: &str, memory: &str) -> serde_json::Value {
        serde_json::json!({"name": "a", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn every_form_of_a_quantity_is_read() {
        for (cpu, memory, expected) in [
            ("100m", "1Ki", (100, 1024)),
            ("2", "1k", (2000, 1000)),
            ("0.5", "128974848", (500, 128_974_848)),
            ("1500m", "1Gi", (1500, 1 << 30)),
            ("nonsense", "", (0, 0)),
        ] {
            assert_eq!(asked(serde_json::json!({"containers": [container(cpu, memory)]})), expected, "{cpu} {memory}");
        }
    }

    #[test]
    fn a_pod_asks_for_what_runs_at_a_time() {
        let mut sidecar = container("50m", "1k");
        sidecar["restartPolicy"] = "Always".into();
        let spec = serde_json::json!({
            "initContainers": [sidecar, container("500m", "1k")],
            "containers": [container("100m", "3k"), container("100m", "3k")],
            "overhead": {"cpu": "10m"},
        });
        assert_eq!(asked(spec), (510, 7000));
    }

    #[test]
    fn what_fits_fits() {
        let all = Resources { millicores: 1000, memory: 10 };
        let used = Resources { millicores: 900, memory: 10 };
        assert!(all.holds(used));
        assert!(!all.without(used).holds(Resources { millicores: 100, memory: 1 }));
        assert!(all.without(used).holds(Resources { millicores: 100, memory: 0 }));
    }
}
