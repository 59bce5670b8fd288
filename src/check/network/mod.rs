//! The way to a peer, and our own end of it: device, route, name, port, TLS, HTTP.

mod dhcp_lease;
mod dns_resolves;
mod http_answers;
mod interface;
mod ip;
mod port_listening;
mod route_to;
mod tcp_open;
mod tls_certificate;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family {
    name: "network",
    title: "Network",
    kinds: &[
        &dhcp_lease::KIND,
        &dns_resolves::KIND,
        &http_answers::KIND,
        &interface::KIND,
        &port_listening::KIND,
        &route_to::KIND,
        &tcp_open::KIND,
        &tls_certificate::KIND,
    ],
};
