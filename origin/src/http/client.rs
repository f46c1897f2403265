//! Where a request comes from.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::request::Parts;

/// The other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// The client's address: the connection's, or what trusted proxies say it is. Of
/// `X-Forwarded-For` only what a trusted proxy has added counts, so it is read from its end.
pub(crate) fn client_address(parts: &Parts, trusted: &[IpAddr]) -> IpAddr {
    // Without a connection there is a test.
    let peer = parts
        .extensions
        .get::<Peer>()
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.0);
    if !trusted.contains(&peer.to_canonical()) {
        return peer;
    }
    let mut client = peer;
    let forwarded: Vec<&str> = parts
        .headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    for address in forwarded.into_iter().rev() {
        let Ok(address) = address.trim().parse::<IpAddr>() else {
            break;
        };
        client = address.to_canonical();
        if !trusted.contains(&client) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn address(peer: &str, forwarded: &str) -> String {
        let trusted = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let mut request = Request::new(());
        request.extensions_mut().insert(Peer(peer.parse().unwrap()));
        request
            .headers_mut()
            .insert("x-forwarded-for", forwarded.parse().unwrap());
        client_address(&request.into_parts().0, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(address("192.0.2.9", "1.2.3.4"), "192.0.2.9");
        assert_eq!(address("10.0.0.1", "1.2.3.4"), "1.2.3.4");
        assert_eq!(address("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2"), "1.2.3.4");
        assert_eq!(address("10.0.0.1", "nonsense"), "10.0.0.1");
        assert_eq!(address("::ffff:10.0.0.1", "2001:db8::1"), "2001:db8::1");
    }
}
