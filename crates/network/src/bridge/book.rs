//! What the bridge has given out: addresses, ports, endpoints. Touches no container; binds the ports it gives out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};

use ipnet::Ipv4Net;

use crate::ipam::Ipam;
use crate::ports::{PortError, PortTable};
use crate::{Error, MacAddress, PortMapping, Protocol, Result};

use super::state::Record;
use super::{AttachRequest, Attachment};

/// The interface of a container's first network.
const CONTAINER_INTERFACE: &str = "eth0";

#[derive(Debug)]
pub(super) struct Book {
    subnet: Ipv4Net,
    addresses: Ipam,
    ports: PortTable,
    endpoints: BTreeMap<String, Endpoint>,
    /// Counts changes of what is published; starts at 1, for rules that were never loaded.
    generation: u64,
}

#[derive(Debug)]
struct Endpoint {
    attachment: Attachment,
    /// Keeps other programs off the published ports.
    _reserved: Vec<Reservation>,
}

/// A socket that nothing is ever read from: packets for its port are translated before they get to it.
#[derive(Debug)]
#[expect(dead_code, reason = "held open, not used")]
enum Reservation {
    Tcp(TcpListener),
    Udp(UdpSocket),
    /// The book alone guards it.
    BookOnly,
}

impl Book {
    /// An empty book, or the recorded one. What of the record does not fit the subnet any more is left out.
    pub(super) fn new(subnet: Ipv4Net, recorded: Option<Record>) -> Self {
        let mut book = Self {
            subnet,
            addresses: Ipam::new(subnet, subnet.addr()),
            ports: PortTable::default(),
            endpoints: BTreeMap::new(),
            generation: 1,
        };
        if let Some(record) = recorded {
            book.addresses.set_cursor(record.cursor);
            for (container_id, attachment) in record.endpoints {
                book.adopt(&container_id, attachment);
            }
        }
        book
    }

    /// Finds an address and ports for a container and takes them.
    pub(super) fn plan(&mut self, request: &AttachRequest) -> Result<Attachment> {
        if self.endpoints.contains_key(&request.container_id) {
            return Err(Error::AlreadyAttached(request.container_id.clone()));
        }
        let endpoint_id = random_id()?;
        let (ports, reserved) = self.plan_ports(request).map_err(|source| Error::Publish {
            name: request.name.clone(),
            endpoint: endpoint_id.clone(),
            source,
        })?;
        let ipv4 = match self.plan_address(request.ipv4) {
            Ok(address) => address,
            Err(error) => {
                ports.iter().for_each(|port| self.ports.release(port));
                return Err(error);
            }
        };
        let attachment = Attachment {
            endpoint_id,
            ipv4,
            prefix_len: self.subnet.prefix_len(),
            gateway: self.subnet.addr(),
            mac: request.mac.unwrap_or_else(|| MacAddress::from_ipv4(ipv4)),
            interface: CONTAINER_INTERFACE.into(),
            host_interface: host_interface(&request.container_id),
            ports,
        };
        self.insert(&request.container_id, attachment.clone(), reserved);
        Ok(attachment)
    }

    /// Frees all that a container has.
    pub(super) fn remove(&mut self, container_id: &str) -> Option<Attachment> {
        let endpoint = self.endpoints.remove(container_id)?;
        self.addresses.release(endpoint.attachment.ipv4);
        endpoint.attachment.ports.iter().for_each(|port| self.ports.release(port));
        self.touched(&endpoint.attachment);
        Some(endpoint.attachment)
    }

    /// Makes the endpoints exactly these.
    pub(super) fn keep_only(&mut self, attached: &[(String, Attachment)]) {
        let keep: BTreeMap<&str, &Attachment> =
            attached.iter().map(|(id, attachment)| (id.as_str(), attachment)).collect();
        let drop: Vec<String> = self
            .endpoints
            .iter()
            .filter(|(id, endpoint)| keep.get(id.as_str()) != Some(&&endpoint.attachment))
            .map(|(id, _)| id.clone())
            .collect();
        drop.iter().for_each(|id| drop_one(self.remove(id)));
        for (container_id, attachment) in attached {
            if !self.endpoints.contains_key(container_id) {
                self.adopt(container_id, attachment.clone());
            }
        }
        // Rules are loaded anew after a restart even if nothing changed here.
        self.generation += 1;
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn attachments(&self) -> Vec<(String, Attachment)> {
        self.endpoints
            .iter()
            .map(|(id, endpoint)| (id.clone(), endpoint.attachment.clone()))
            .collect()
    }

    pub(super) fn host_interfaces(&self) -> BTreeSet<String> {
        self.endpoints.values().map(|endpoint| endpoint.attachment.host_interface.clone()).collect()
    }

    pub(super) fn published(&self) -> Vec<(PortMapping, Ipv4Addr)> {
        let attachments = self.endpoints.values().map(|endpoint| &endpoint.attachment);
        attachments.flat_map(|a| a.ports.iter().map(|port| (*port, a.ipv4))).collect()
    }

    pub(super) fn record(&self, subnet: Ipv4Net) -> Record {
        Record::new(subnet, self.addresses.cursor(), self.attachments())
    }

    fn plan_address(&mut self, wish: Option<Ipv4Addr>) -> Result<Ipv4Addr> {
        match wish {
            Some(address) => self.addresses.reserve(address).map(|()| address),
            None => self.addresses.allocate(),
        }
    }

    /// All of the ports or none.
    fn plan_ports(
        &mut self,
        request: &AttachRequest,
    ) -> std::result::Result<(Vec<PortMapping>, Vec<Reservation>), PortError> {
        let mut mappings = Vec::new();
        let mut reserved = Vec::new();
        for port in &request.ports {
            match self.ports.allocate(port, reserve) {
                Ok((mapping, reservation)) => {
                    mappings.push(mapping);
                    reserved.push(reservation);
                }
                Err(error) => {
                    mappings.iter().for_each(|mapping| self.ports.release(mapping));
                    return Err(error);
                }
            }
        }
        Ok((mappings, reserved))
    }

    /// Takes over an endpoint from before a restart. Its container runs, so what can't be had back is reported only.
    fn adopt(&mut self, container_id: &str, attachment: Attachment) {
        if let Err(error) = self.addresses.reserve(attachment.ipv4) {
            tracing::warn!(container.id = container_id, %error, "an endpoint from before the restart does not fit");
            return;
        }
        let mut reserved = Vec::new();
        for port in &attachment.ports {
            self.ports.take(port);
            match reserve(SocketAddrV4::new(port.host_ip, port.host_port), port.protocol) {
                Ok(reservation) => reserved.push(reservation),
                Err(error) => {
                    tracing::warn!(container.id = container_id, ?port, %error, "another program took a published port");
                }
            }
        }
        self.insert(container_id, attachment, reserved);
    }

    fn insert(&mut self, container_id: &str, attachment: Attachment, reserved: Vec<Reservation>) {
        self.touched(&attachment);
        self.endpoints.insert(container_id.into(), Endpoint { attachment, _reserved: reserved });
    }

    fn touched(&mut self, attachment: &Attachment) {
        if !attachment.ports.is_empty() {
            self.generation += 1;
        }
    }
}

fn drop_one(attachment: Option<Attachment>) {
    if let Some(attachment) = attachment {
        tracing::info!(address = %attachment.ipv4, "dropping an endpoint whose container is gone");
    }
}

/// Gets a port from the kernel so that no other program does.
fn reserve(address: SocketAddrV4, protocol: Protocol) -> io::Result<Reservation> {
    Ok(match protocol {
        Protocol::Tcp => Reservation::Tcp(TcpListener::bind(address)?),
        Protocol::Udp => Reservation::Udp(UdpSocket::bind(address)?),
        Protocol::Sctp => Reservation::BookOnly,
    })
}

/// The host's end of a container's link: at most 15 characters, the same for the same container.
fn host_interface(container_id: &str) -> String {
    let digits: String =
        container_id.chars().filter(char::is_ascii_alphanumeric).take(11).collect();
    format!("veth{digits}")
}

fn random_id() -> Result<String> {
    let path = "/dev/urandom";
    let mut bytes = [0; 32];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|source| Error::State { operation: "read", path: path.into(), source })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
