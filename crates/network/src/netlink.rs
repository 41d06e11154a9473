//! A small blocking client for the kernel's route netlink, in the network namespace of the thread that opened it.
//!
//! One request is one answer here, in well under a millisecond, so there is no event loop: callers on an async
//! runtime use a blocking task for the whole of their work. Messages are those of the `rtnetlink` crate.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::RawFd;

use ipnet::Ipv4Net;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage as Message;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{
    InfoData, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rtnetlink::{
    AddressMessageBuilder, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth,
    RouteMessageBuilder,
};

use crate::{Error, MacAddress, Result};

/// The kernel's largest answer to one read of a dump.
const RECEIVE_BYTES_MAX: usize = 64 * 1024;

/// An open conversation with the kernel.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// A veth pair between a bridge here and a container's namespace.
#[derive(Debug)]
pub struct VethPair<'a> {
    /// Name of the end that stays here.
    pub name: &'a str,
    /// The bridge that it becomes a port of.
    pub bridge_index: u32,
    /// Name of the end in the container.
    pub peer_name: &'a str,
    /// The container's Ethernet address.
    pub peer_mac: MacAddress,
    /// The container's network namespace.
    pub peer_netns: RawFd,
    /// Largest packet, for both ends.
    pub mtu: u32,
}

impl Netlink {
    /// Opens a conversation about the calling thread's network namespace.
    pub fn open() -> Result<Self> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket = open().map_err(failed("open a netlink socket"))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Brings a link up.
    pub fn link_up(&mut self, index: u32) -> Result<()> {
        let message = LinkUnspec::new_with_index(index).up().build();
        self.change(Message::SetLink(message), 0, || format!("bring link {index} up"))
    }

    /// The link of that name, if there is one.
    pub fn link_by_name(&mut self, name: &str) -> Result<Option<LinkMessage>> {
        let message = LinkUnspec::new_with_name(name).build();
        match self.exchange(Message::GetLink(message), NLM_F_ACK) {
            Ok(answers) => Ok(answers.into_iter().find_map(as_link)),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(failed(format!("look up link {name}"))(error)),
        }
    }

    /// All links.
    pub fn links(&mut self) -> Result<Vec<LinkMessage>> {
        let answers = self.dump(Message::GetLink(LinkMessage::default()), "list links")?;
        Ok(answers.into_iter().filter_map(as_link).collect())
    }

    /// All addresses.
    pub fn addresses(&mut self) -> Result<Vec<AddressMessage>> {
        let answers =
            self.dump(Message::GetAddress(AddressMessage::default()), "list addresses")?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                Message::NewAddress(address) => Some(address),
                _ => None,
            })
            .collect())
    }

    /// All IPv4 routes.
    pub fn routes_v4(&mut self) -> Result<Vec<RouteMessage>> {
        let message = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let answers = self.dump(Message::GetRoute(message), "list routes")?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                Message::NewRoute(route) => Some(route),
                _ => None,
            })
            .collect())
    }

    /// Creates a bridge that is up.
    pub fn add_bridge(&mut self, name: &str, mac: MacAddress, mtu: u32) -> Result<()> {
        let message = LinkBridge::new(name).address(mac.0.to_vec()).mtu(mtu).build();
        self.change(Message::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, || {
            format!("create bridge {name}")
        })
    }

    /// Creates a veth pair in one request: one end up and a port of the bridge, the other in the namespace. That one
    /// can't be brought up before it has its partner, so it is left to whoever sets it up in there.
    pub fn add_veth(&mut self, pair: &VethPair<'_>) -> Result<()> {
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(pair.peer_name)
            .address(pair.peer_mac.0.to_vec())
            .mtu(pair.mtu)
            .setns_by_fd(pair.peer_netns)
            .build();
        let message = LinkMessageBuilder::<LinkVeth>::new(pair.name, pair.peer_name)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .controller(pair.bridge_index)
            .mtu(pair.mtu)
            .up()
            .build();
        self.change(Message::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, || {
            format!("create veth pair {}", pair.name)
        })
    }

    /// Sets how a bridge treats one of its ports: whether frames may return through it, whether it may talk to
    /// other isolated ports.
    pub fn set_bridge_port(&mut self, index: u32, hairpin: bool, isolated: bool) -> Result<()> {
        let message = LinkBridgePort::new(index).hairpin(hairpin).isolated(isolated).build();
        self.change(Message::NewLink(message), 0, || format!("set up bridge port {index}"))
    }

    /// Deletes a link; `false` if there is none of that name.
    pub fn delete_link(&mut self, name: &str) -> Result<bool> {
        let message = LinkUnspec::new_with_name(name).build();
        match self.exchange(Message::DelLink(message), NLM_F_ACK) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(false),
            Err(error) => Err(failed(format!("delete link {name}"))(error)),
        }
    }

    /// Gives a link an address, or leaves it if it has it.
    pub fn add_address(&mut self, index: u32, address: Ipv4Net) -> Result<()> {
        let mut message = AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(address.addr(), address.prefix_len())
            .build();
        message.attributes.push(rtnetlink::packet_route::address::AddressAttribute::Broadcast(
            address.broadcast(),
        ));
        self.change(Message::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE, || {
            format!("add address {address} to link {index}")
        })
    }

    /// Takes an address from a link.
    pub fn delete_address(&mut self, index: u32, address: Ipv4Net) -> Result<()> {
        let message = AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(address.addr(), address.prefix_len())
            .build();
        self.change(Message::DelAddress(message), 0, || {
            format!("delete address {address} from link {index}")
        })
    }

    /// Sends what no other route takes to this gateway.
    pub fn add_default_route(&mut self, gateway: Ipv4Addr) -> Result<()> {
        let message = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build();
        self.change(Message::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE, || {
            format!("add default route via {gateway}")
        })
    }

    fn change(
        &mut self,
        message: Message,
        flags: u16,
        operation: impl FnOnce() -> String,
    ) -> Result<()> {
        match self.exchange(message, NLM_F_ACK | flags) {
            Ok(_) => Ok(()),
            Err(error) => Err(failed(operation())(error)),
        }
    }

    fn dump(&mut self, message: Message, operation: &'static str) -> Result<Vec<Message>> {
        self.exchange(message, NLM_F_DUMP).map_err(failed(operation))
    }

    /// Sends one request and collects its answers up to the acknowledgement.
    fn exchange(&mut self, message: Message, flags: u16) -> io::Result<Vec<Message>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        self.collect()
    }

    fn collect(&self) -> io::Result<Vec<Message>> {
        let mut answers = Vec::new();
        let mut buffer = Vec::with_capacity(RECEIVE_BYTES_MAX);
        loop {
            buffer.clear();
            self.socket.recv(&mut buffer, 0)?;
            let mut rest = buffer.as_slice();
            while !rest.is_empty() {
                let answer = NetlinkMessage::<Message>::deserialize(rest).map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
                })?;
                let length = (answer.header.length as usize).next_multiple_of(4).min(rest.len());
                if length == 0 {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                rest = &rest[length..];
                // What is left of an earlier request that failed half-way is not ours.
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    _ => {}
                }
            }
        }
    }
}

/// The name of a link.
pub fn link_name(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

/// The bridge or bond that a link is a port of.
pub fn link_controller(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) => Some(*index),
        _ => None,
    })
}

/// The kind of a virtual link, as `ip -d link` shows it; none for a device.
pub fn link_kind(link: &LinkMessage) -> Option<String> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind.to_string()),
            _ => None,
        }),
        _ => None,
    })
}

/// Whether a link is administratively up.
pub fn link_is_up(link: &LinkMessage) -> bool {
    link.header.flags.contains(LinkFlags::Up)
}

fn as_link(answer: Message) -> Option<LinkMessage> {
    match answer {
        Message::NewLink(link) => Some(link),
        _ => None,
    }
}

fn failed(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let operation = operation.into();
    move |source| Error::Netlink { operation, source }
}
