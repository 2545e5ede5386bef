//! Where a URL leads.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use http::header::LOCATION;
use url::{Host, Url};

/// Where a redirect leads: scheme, host and port only, the rest may hold what was asked for.
pub(super) fn redirected(headers: &HeaderMap, base: &Url) -> String {
    let target = headers.get(LOCATION).and_then(|target| target.to_str().ok());
    let origin = target.and_then(|target| Some(base.join(target).ok()?.origin()));
    match origin {
        Some(origin) if origin == base.origin() => "it redirects to another path of the same host".to_owned(),
        Some(origin) if origin.is_tuple() => {
            format!(
                "it redirects to {}; if that is right, use it",
                origin.ascii_serialization()
            )
        }
        _ => "it redirects somewhere else".to_owned(),
    }
}

/// Whether a URL's host is this machine, or surely in its own network.
pub(super) fn is_nearby(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => is_private_v4(ip),
        Some(Host::Ipv6(ip)) => is_private_v6(ip),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            !name.contains('.')
                || [".localhost", ".local", ".lan", ".internal", ".home.arpa"]
                    .iter()
                    .any(|suffix| name.ends_with(suffix))
        }
        None => false,
    }
}

const fn is_private_v4(ip: Ipv4Addr) -> bool {
    ip.is_loopback() || ip.is_private() || ip.is_link_local()
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    ip.to_ipv4_mapped().map_or_else(
        || ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        is_private_v4,
    )
}
