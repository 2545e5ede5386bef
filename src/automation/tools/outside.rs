//! HTTP to addresses that a chat may have had a hand in: nothing inside the company's own network is reached.
//!
//! Names are resolved here, and only what is public is connected to, so that a name cannot mean one address when it is looked at and
//! another when it is used. Redirects are not followed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Url};

/// How long connecting may take; the step's own time bounds the rest.
const CONNECTING: Duration = Duration::from_secs(10);

/// A client that reaches what is public, and the hosts that are allowed.
#[derive(Clone, Debug)]
pub(in crate::automation) struct Outside {
    client: Option<Client>,
    allowed: Arc<Vec<String>>,
}

impl Outside {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is neither AllAI nor a system of the company"
    )]
    pub(in crate::automation) fn new(allowed: Vec<String>) -> Self {
        let allowed = Arc::new(allowed);
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECTING)
            .user_agent(concat!("allai-sync/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Public(Arc::clone(&allowed))))
            .build();
        Self {
            client: client.ok(),
            allowed,
        }
    }

    /// A request, unless it is to an address inside the company's own network.
    pub(in crate::automation) fn request(&self, method: Method, url: &str) -> Result<RequestBuilder, String> {
        let url = Url::parse(url).map_err(|error| format!("the address is none: {error}"))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err("the address is not one of HTTP".to_owned());
        }
        let host = url.host_str().unwrap_or_default();
        // An address that is no name is not resolved.
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        if address.is_some_and(|address| !is_public(address)) && !is_allowed(&self.allowed, host) {
            return Err("the address is inside the company's own network, and `allow` does not name it".to_owned());
        }
        let client = self.client.as_ref().ok_or("HTTP cannot be used here")?;
        Ok(client.request(method, url))
    }
}

fn is_allowed(allowed: &[String], host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    allowed.iter().any(|known| known.eq_ignore_ascii_case(host))
}

struct Public(Arc<Vec<String>>);

impl Resolve for Public {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = is_allowed(&self.0, name.as_str());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let usable: Vec<SocketAddr> = found.filter(|address| allowed || is_public(address.ip())).collect();
            if usable.is_empty() {
                return Err("no public address".into());
            }
            Ok(Box::new(usable.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public internet (IANA's special-purpose registries,
/// <https://www.iana.org/assignments/iana-ipv4-special-registry>).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

const fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 224
        || (a == 100 && b >= 64 && b < 128)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Addresses that carry one of IPv4 mean that one.
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let [first, second, .., seventh, eighth] = address.segments();
    let inner = || {
        let [a, b] = seventh.to_be_bytes();
        let [c, d] = eighth.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match (first, second) {
        // NAT64, and 6to4 whose IPv4 address is in front.
        (0x64, 0xff9b) => is_public_v4(inner()),
        (0x2002, _) | (0x2001, 0xdb8 | 0..=0x1ff) => false,
        // Global unicast, and nothing else.
        (0x2000..=0x3fff, _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.5.4",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn what_is_inside_is_not_reached_by_number_or_by_name() {
        let outside = Outside::new(Vec::new());
        for url in [
            "http://127.0.0.1/x",
            "http://[::1]/",
            "http://169.254.169.254/latest/meta-data",
            "http://2130706433/",
            "http://0x7f.1/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "nonsense",
        ] {
            assert!(outside.request(Method::GET, url).is_err(), "{url}");
        }
        let error = outside
            .request(Method::GET, "http://localhost:9/")
            .unwrap()
            .send()
            .await
            .unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        assert!(
            Outside::new(vec!["127.0.0.1".to_owned()])
                .request(Method::GET, "http://127.0.0.1:9/")
                .is_ok()
        );
    }
}
