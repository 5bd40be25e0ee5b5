//! Small fields that several resources share, with the rule and the message that each brings along.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::domain::Jurisdiction;

/// ISO 3166-1 alpha-2 code of a legal regime, as users write it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct JurisdictionCode(pub String);

impl JsonSchema for JurisdictionCode {
    fn schema_name() -> Cow<'static, str> {
        "JurisdictionCode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let codes: Vec<String> = Jurisdiction::all().map(|known| format!("'{}'", known.code())).collect();
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 16,
            "description": "ISO 3166-1 alpha-2 code of the legal regime. CN is the mainland; HK, MO and TW are other codes and never satisfy CN. Quote it: in YAML an unquoted NO is a boolean.",
            "x-kubernetes-validations": [{
                "rule": format!("self in [{}]", codes.join(", ")),
                "messageExpression": "self + ' is not an ISO 3166-1 alpha-2 code; write for example CN, HK, DE or GB in capital letters'",
                "message": "not an ISO 3166-1 alpha-2 code; write for example CN, HK, DE or GB in capital letters",
            }],
        })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// A block of addresses, as users write it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct CidrText(pub String);

impl JsonSchema for CidrText {
    fn schema_name() -> Cow<'static, str> {
        "Cidr".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 43,
            "description": "A block of addresses in CIDR notation, for example 10.20.0.0/16 or 2001:db8::/32.",
            "x-kubernetes-validations": [
                {
                    "rule": "isCIDR(self)",
                    "messageExpression": "self + ' is not in CIDR notation; write for example 10.20.0.0/16 or 2001:db8::/32'",
                    "message": "not in CIDR notation; write for example 10.20.0.0/16 or 2001:db8::/32",
                },
                {
                    "rule": "!isCIDR(self) || cidr(self) == cidr(self).masked()",
                    "messageExpression": "self + ' has host bits set; write the first address of the network, 10.20.0.0/16 and not 10.20.3.1/16'",
                    "message": "has host bits set; write the first address of the network, 10.20.0.0/16 and not 10.20.3.1/16",
                },
                {
                    "rule": "!isCIDR(self) || cidr(self).prefixLength() > 0",
                    "messageExpression": "self + ' is everywhere, not in the country; name the networks that are meant'",
                    "message": "0.0.0.0/0 and ::/0 are everywhere, not in the country; name the networks that are meant",
                },
            ],
        })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// One port, or a range of ports, of a protocol.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, kube::KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.endPort) || self.endPort >= self.port").message("endPort is smaller than port; write the larger number as endPort"))]
pub struct Port {
    /// Port number, or the first of a range.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Last port of a range, inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub end_port: Option<i32>,
    /// TCP, UDP or SCTP.
    #[serde(default)]
    pub protocol: Protocol,
}

/// A number of things. Kubernetes knows no unsigned formats and warns of them.
pub fn count(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 0})
}

/// Transport protocol.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Protocol {
    /// RFC 9293.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// RFC 768.
    #[serde(rename = "UDP")]
    Udp,
    /// RFC 9260.
    #[serde(rename = "SCTP")]
    Sctp,
}

impl Protocol {
    /// The word that Kubernetes uses.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}
