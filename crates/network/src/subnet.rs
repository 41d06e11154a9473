//! Which subnet the default bridge takes: Docker's list of private ranges, first one that nothing overlaps. Pure.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The first default range that none of the subnets in use overlaps.
pub fn choose(in_use: &[Ipv4Net]) -> Option<Ipv4Net> {
    candidates().find(|candidate| !in_use.iter().any(|used| overlap(candidate, used)))
}

/// The one that the bridge had before if it is still free, else the first free default range.
pub fn choose_with(before: Option<Ipv4Net>, in_use: &[Ipv4Net]) -> Option<Ipv4Net> {
    before
        .filter(|before| !in_use.iter().any(|used| overlap(before, used)))
        .or_else(|| choose(in_use))
}

/// The bridge's own address in a subnet: as given, or the first one when the network itself is given.
pub fn gateway(subnet: Ipv4Net) -> Option<Ipv4Net> {
    if subnet.prefix_len() > 30 {
        return None;
    }
    let first = Ipv4Addr::from(u32::from(subnet.network()) + 1);
    let address = if subnet.addr() == subnet.network() { first } else { subnet.addr() };
    Ipv4Net::new(address, subnet.prefix_len()).ok()
}

/// 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 onwards.
fn candidates() -> impl Iterator<Item = Ipv4Net> {
    let large = (17..=31).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (0..16).map(|block| (Ipv4Addr::new(192, 168, block * 16, 0), 20));
    large.chain(small).filter_map(|(address, prefix)| Ipv4Net::new(address, prefix).ok())
}

fn overlap(a: &Ipv4Net, b: &Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choose_skips_what_overlaps() {
        for (in_use, expect) in [
            (vec![], Some("172.17.0.0/16")),
            (vec!["172.17.0.1/16"], Some("172.18.0.0/16")),
            (vec!["172.17.44.0/24", "172.18.255.255/32"], Some("172.19.0.0/16")),
            (vec!["10.0.0.0/8"], Some("172.17.0.0/16")),
            (vec!["172.16.0.0/12"], Some("192.168.0.0/20")),
            (vec!["172.16.0.0/12", "192.168.1.0/24"], Some("192.168.16.0/20")),
            (vec!["172.16.0.0/12", "192.168.0.0/16"], None),
        ] {
            let subnets: Vec<Ipv4Net> =
                in_use.iter().map(|s| s.parse().expect("a subnet")).collect();
            assert_eq!(choose(&subnets).map(|s| s.to_string()).as_deref(), expect, "{in_use:?}");
        }
    }

    #[test]
    fn gateway_of() {
        for (subnet, expect) in [
            ("172.17.0.0/16", Some("172.17.0.1/16")),
            ("10.1.2.3/24", Some("10.1.2.3/24")),
            ("10.0.0.0/30", Some("10.0.0.1/30")),
            ("10.0.0.0/31", None),
        ] {
            let gateway = gateway(subnet.parse().expect("a subnet")).map(|g| g.to_string());
            assert_eq!(gateway.as_deref(), expect, "{subnet}");
        }
    }
}
