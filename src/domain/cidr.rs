//! Blocks of addresses, and the little set arithmetic that network rules need.
//!
//! Works on IPv4 and IPv6 alike; blocks of different families never contain or overlap each other.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// A block of addresses in CIDR notation (RFC 4632, RFC 4291), with no host bits set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(IpNet);

/// A string that is no block of addresses.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoCidr {
    /// Not in CIDR notation at all.
    #[error("{0:?} is not a CIDR such as 10.20.0.0/16 or 2001:db8::/32")]
    Malformed(String),
    /// An IPv4 address written as IPv6 (RFC 4291 §2.5.5.2): the API server refuses it in policies.
    #[error("{0:?} is an IPv4-mapped IPv6 address; write the IPv4 block")]
    Mapped(String),
}

impl Cidr {
    /// Whether every address of `other` is one of `self`.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.0.contains(&other.0)
    }

    /// Whether every address of it is in one of `blocks`, which are sorted and apart, as [`Cidr::without`] makes them.
    #[must_use]
    pub fn lies_in(&self, blocks: &[Self]) -> bool {
        // One that contains it is sorted before it, and no other that is apart from that one stands between.
        let before = blocks.partition_point(|block| block <= self);
        blocks.get(..before).and_then(<[Self]>::last).is_some_and(|block| block.contains(self))
    }

    /// Whether `address` is in the block.
    #[must_use]
    pub fn contains_address(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Whether the two blocks share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other) || other.contains(self)
    }

    /// Whether it is every address of its family.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.prefix_len() == 0
    }

    /// Whether the block is IPv4.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        matches!(self.0, IpNet::V4(_))
    }

    /// As few blocks as the notation allows, sorted.
    #[must_use]
    pub fn aggregate(blocks: &[Self]) -> Vec<Self> {
        let nets: Vec<IpNet> = blocks.iter().map(|block| block.0).collect();
        let mut blocks: Vec<Self> = IpNet::aggregate(&nets).into_iter().map(Self).collect();
        blocks.sort();
        blocks
    }

    /// The blocks of `permitted` without any address of `excluded`, sorted. Neighbours are not joined, so that people find
    /// the networks that they wrote; a block inside another one is left out.
    #[must_use]
    pub fn without(permitted: &[Self], excluded: &[Self]) -> Vec<Self> {
        let mut left: Vec<IpNet> = permitted.iter().map(|block| block.0).collect();
        for hole in excluded {
            left = left.into_iter().flat_map(|block| cut(block, hole.0)).collect();
        }
        let mut blocks: Vec<Self> = left.into_iter().map(Self).collect();
        blocks.sort();
        // Blocks are nested or apart, and one that contains another is sorted before it: so the last one kept decides.
        let mut kept: Vec<Self> = Vec::with_capacity(blocks.len());
        for block in blocks {
            if kept.last().is_none_or(|last| !last.contains(&block)) {
                kept.push(block);
            }
        }
        kept
    }
}

/// `block` without `hole`: halves the block until the hole is one of the pieces.
fn cut(block: IpNet, hole: IpNet) -> Vec<IpNet> {
    if hole.contains(&block) {
        return Vec::new();
    }
    if !block.contains(&hole) {
        return vec![block];
    }
    match block.subnets(block.prefix_len() + 1) {
        Ok(halves) => halves.flat_map(|half| cut(half, hole)).collect(),
        Err(_) => Vec::new(), // a single address cannot contain a smaller hole
    }
}

impl FromStr for Cidr {
    type Err = NoCidr;

    fn from_str(text: &str) -> Result<Self, NoCidr> {
        let malformed = || NoCidr::Malformed(text.to_owned());
        // A number that begins with 0 is octal to some and decimal to others; CEL and Go read neither.
        let (address, length) = text.split_once('/').ok_or_else(malformed)?;
        let is_plain = length == "0" || !length.starts_with('0');
        if IpAddr::from_str(address).is_err() || !is_plain {
            return Err(malformed());
        }
        let net = IpNet::from_str(text).map_err(|_| malformed())?;
        match net {
            IpNet::V6(six) if six.addr().to_ipv4_mapped().is_some() => Err(NoCidr::Mapped(text.to_owned())),
            _ => Ok(Self(net.trunc())),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl serde::Serialize for Cidr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blocks(texts: &[&str]) -> Vec<Cidr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_pod_network_is_cut_out_of_its_facility() {
        let left = Cidr::without(&blocks(&["10.20.0.0/16"]), &blocks(&["10.20.128.0/17"]));
        assert_eq!(left, blocks(&["10.20.0.0/17"]));
    }

    #[test]
    fn what_lies_outside_changes_nothing() {
        let left =
            Cidr::without(&blocks(&["10.20.0.0/16", "2001:db8::/48"]), &blocks(&["10.244.0.0/16", "2001:db8:1::/48"]));
        assert_eq!(left, blocks(&["10.20.0.0/16", "2001:db8::/48"]));
    }

    #[test]
    fn a_hole_larger_than_the_block_leaves_nothing() {
        assert!(Cidr::without(&blocks(&["10.20.0.0/16"]), &blocks(&["10.0.0.0/8"])).is_empty());
    }

    #[test]
    fn mapped_and_malformed_blocks_are_refused() {
        assert!(matches!("::ffff:10.0.0.0/104".parse::<Cidr>(), Err(NoCidr::Mapped(_))));
        for text in ["10.0.0.0", "010.0.0.0/8", "10.0.0.0/08", "10.0.0.0/33", "2001:db8::/032", "10.0.0.0/+8"] {
            assert!(matches!(text.parse::<Cidr>(), Err(NoCidr::Malformed(_))), "{text}");
        }
        assert!("0.0.0.0/0".parse::<Cidr>().is_ok() && "::/0".parse::<Cidr>().is_ok());
    }

    proptest! {
        #[test]
        fn an_address_is_left_exactly_where_it_was_permitted_and_not_excluded(
            permitted in proptest::collection::vec((any::<u32>(), 4u8..=30), 1..5),
            excluded in proptest::collection::vec((any::<u32>(), 4u8..=30), 0..5),
            probe in any::<u32>(),
        ) {
            let parse = |(address, length): &(u32, u8)| format!("{}/{length}", std::net::Ipv4Addr::from(*address)).parse::<Cidr>().unwrap();
            let permitted: Vec<Cidr> = permitted.iter().map(parse).collect();
            let excluded: Vec<Cidr> = excluded.iter().map(parse).collect();
            let probe = IpAddr::from(std::net::Ipv4Addr::from(probe));
            let within = |list: &[Cidr]| list.iter().any(|block| block.contains_address(probe));
            prop_assert_eq!(within(&Cidr::without(&permitted, &excluded)), within(&permitted) && !within(&excluded));
        }

        #[test]
        fn a_block_lies_in_one_of_several_that_are_apart(
            permitted in proptest::collection::vec((0u32..4096, 20u8..=30), 0..12),
            probe in (0u32..4096, 16u8..=32),
        ) {
            let parse = |(address, length): &(u32, u8)| format!("{}/{length}", std::net::Ipv4Addr::from(*address)).parse::<Cidr>().unwrap();
            let mut permitted: Vec<Cidr> = permitted.iter().map(parse).collect();
            permitted.push("2001:db8::/48".parse().unwrap());
            let (apart, probe) = (Cidr::without(&permitted, &[]), parse(&probe));
            prop_assert_eq!(probe.lies_in(&apart), apart.iter().any(|block| block.contains(&probe)));
        }
    }
}
