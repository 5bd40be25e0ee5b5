//! What gives a pod its node, and with it a way past every rule: what Pod Security's `baseline` refuses of it, seen in pods that
//! it did not judge, or only warned of. What only weakens a pod's own walls (seccomp, SELinux, sysctls) is left to Pod Security.
//!
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/>

use k8s_openapi::api::core::v1::{
    ContainerPort, Lifecycle, LifecycleHandler, Probe, SecurityContext, WindowsSecurityContextOptions,
};

use super::{
    convert::plain,
    pod::{Container, Spec},
};

/// Capabilities that `baseline` lets a container add.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The first of it that a pod has, in words.
pub(super) fn of(spec: &Spec) -> Option<String> {
    let [early, main, late] =
        [&spec.init_containers, &spec.containers, &spec.ephemeral_containers].map(|list| &list.0.ways);
    let first = |way: fn(&Ways) -> &Option<String>| [early, main, late].into_iter().find_map(|ways| way(ways).clone());
    of_the_pod(spec)
        .or_else(|| first(|ways| &ways.context))
        .or_else(|| first(|ways| &ways.port).filter(|_| spec.host_network != Some(true))) // the whole network is another rule's
        .or_else(|| first(|ways| &ways.hook))
}

/// The first of each kind that containers have, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ways {
    context: Option<String>,
    port: Option<String>,
    hook: Option<String>,
}

impl Ways {
    /// Looks at one more container.
    pub fn take(&mut self, container: &Container) {
        let told = |what: String| format!("container {} {what}", plain(container.name.as_deref().unwrap_or_default()));
        let Self { context, port, hook } = self;
        *context = context.take().or_else(|| of_context(container.security_context.as_ref()?).map(told));
        *port = port.take().or_else(|| of_ports(container).map(told));
        *hook = hook.take().or_else(|| of_hooks(container).map(told));
    }
}

fn of_the_pod(spec: &Spec) -> Option<String> {
    let windows = spec.security_context.as_ref().and_then(|context| context.windows_options.as_ref());
    if spec.host_pid == Some(true) {
        Some("it shares the processes of its node (hostPID)".to_owned())
    } else if spec.host_ipc == Some(true) {
        Some("it shares the memory of its node (hostIPC)".to_owned())
    } else {
        windows
            .filter(|windows| is_host_process(windows))
            .map(|_| "it is a process of its node (hostProcess)".to_owned())
    }
}

fn of_context(context: &SecurityContext) -> Option<String> {
    if context.privileged == Some(true) {
        return Some("is privileged".to_owned());
    }
    if context.windows_options.as_ref().is_some_and(is_host_process) {
        return Some("is a process of its node (hostProcess)".to_owned());
    }
    let added = context.capabilities.as_ref()?.add.iter().flatten();
    let further = added.into_iter().find(|capability| !CAPABILITIES.contains(&capability.as_str()))?;
    Some(format!("adds capability {}", plain(further)))
}

fn is_host_process(windows: &WindowsSecurityContextOptions) -> bool {
    windows.host_process == Some(true)
}

fn of_ports(container: &Container) -> Option<String> {
    let taken = |port: &ContainerPort| port.host_port.filter(|port| *port != 0);
    let port = container.ports.iter().flatten().find_map(taken)?;
    Some(format!("takes port {port} of its node (hostPort)"))
}

/// Probes and hooks are the kubelet's own requests, which no network policy holds.
fn of_hooks(container: &Container) -> Option<String> {
    let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
    let asked = probes.into_iter().flatten().find_map(asked_by_probe);
    let Lifecycle { post_start, pre_stop, .. } = container.lifecycle.clone().unwrap_or_default();
    let host = asked.or_else(|| [post_start, pre_stop].into_iter().flatten().find_map(|hook| asked_by_hook(&hook)))?;
    Some(format!("has its node ask host {} (probes and hooks)", plain(&host)))
}

fn asked_by_probe(probe: &Probe) -> Option<String> {
    let http = probe.http_get.as_ref().and_then(|http| http.host.clone());
    http.or_else(|| probe.tcp_socket.as_ref()?.host.clone()).filter(|host| !host.is_empty())
}

fn asked_by_hook(hook: &LifecycleHandler) -> Option<String> {
    let http = hook.http_get.as_ref().and_then(|http| http.host.clone());
    http.or_else(|| hook.tcp_socket.as_ref()?.host.clone()).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn found(change: &Value) -> Option<String> {
        let mut spec = json!({"containers": [{"name": "main"}]});
        json_patch::merge(&mut spec, change);
        of(&serde_json::from_value(spec).unwrap())
    }

    fn with(container: &Value) -> Option<String> {
        let mut main = json!({"name": "main"});
        json_patch::merge(&mut main, container);
        found(&json!({"containers": [{"name": "first"}, main]}))
    }

    #[test]
    fn what_gives_a_pod_its_node_is_found_wherever_it_stands() {
        for (change, words) in [
            (json!({"hostPID": true}), "hostPID"),
            (json!({"hostIPC": true}), "hostIPC"),
            (json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}), "hostProcess"),
            (
                json!({"initContainers": [{"name": "early", "securityContext": {"privileged": true}}]}),
                "container early",
            ),
            (json!({"ephemeralContainers": [{"name": "debug", "securityContext": {"privileged": true}}]}), "debug is"),
        ] {
            assert!(found(&change).unwrap().contains(words), "{change}");
        }
        for (container, words) in [
            (json!({"securityContext": {"privileged": true}}), "container main is privileged"),
            (json!({"securityContext": {"capabilities": {"add": ["CHOWN", "SYS_TIME"]}}}), "adds capability SYS_TIME"),
            (json!({"ports": [{"containerPort": 1}, {"containerPort": 80, "hostPort": 80}]}), "takes port 80"),
            (json!({"livenessProbe": {"httpGet": {"host": "198.51.100.7", "port": 80}}}), "ask host 198.51.100.7"),
            (json!({"lifecycle": {"preStop": {"tcpSocket": {"host": "a.example", "port": 80}}}}), "ask host a.example"),
        ] {
            assert!(with(&container).unwrap().contains(words), "{container}");
        }
    }

    #[test]
    fn what_baseline_permits_is_nothing() {
        for container in [
            json!({"securityContext": {"privileged": false, "capabilities": {"add": CAPABILITIES, "drop": ["ALL"]}}}),
            json!({"ports": [{"containerPort": 80, "hostPort": 0}]}),
            json!({"livenessProbe": {"httpGet": {"host": "", "port": 80}}, "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}),
        ] {
            assert_eq!(with(&container), None, "{container}");
        }
        assert_eq!(found(&json!({"hostPID": false, "shareProcessNamespace": true})), None);
    }
}
