//! A lab made link by link, for hosts that a [`HostSpec`] cannot say.

use super::{
    Arc, BTreeMap, Family, HostSpec, IpAddr, Journal, Lab, Masquerade, Node, TcpListener, UdpSocket,
    answer_tcp, answer_udp, capture, io, isolate, nodad, pin_to_one_cpu, serve, thread,
};

/// A link of the host, and the node at its other end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cable<'a> {
    /// The host's end.
    pub(crate) link: &'a str,
    /// The bridge that the host's end is a port of.
    pub(crate) bridge: Option<&'a str>,
    /// The node, which has the other end as `eth0`.
    pub(crate) node: &'a str,
}

impl Lab {
    /// A host that forwards, and has nothing but its loopback.
    pub(crate) fn start_empty() -> io::Result<Self> {
        isolate::require();
        let lab = Self {
            spec: HostSpec {
                bridges: Vec::new(),
                nics: Vec::new(),
                forwards: true,
                masquerade: Masquerade::None,
            },
            journal: Arc::<Journal>::default(),
            cpu: pin_to_one_cpu()?,
            nodes: vec![Node::own("host")],
            by_name: BTreeMap::from([("host".to_owned(), 0)]),
            host_addresses: BTreeMap::new(),
        };
        lab.write_defaults(0)?;
        lab.host().ip("link set lo up\n")?;
        lab.forward(0, true)?;
        capture::start(lab.host(), &lab.journal)?;
        Ok(lab)
    }

    /// A bridge with these addresses of the host.
    pub(crate) fn add_bridge(&mut self, name: &str, interfaces: &[&str]) -> io::Result<()> {
        let number = self.host_addresses.len();
        self.host().ip(&format!(
            "link add {name} address 02:00:00:02:{number:02x}:fe type bridge mcast_snooping 0\n\
             link set {name} addrgenmode none up\n"
        ))?;
        self.add_interfaces(name, interfaces)
    }

    /// A container: a node on a bridge, with the host's addresses there as its gateways.
    pub(crate) fn add_container(&mut self, name: &str, bridge: &str, interfaces: &[&str]) -> io::Result<()> {
        let link = format!("v-{name}");
        self.add_cable(Cable { link: &link, bridge: Some(bridge), node: name }, interfaces)
    }

    /// A NIC with these addresses of the host, and a server with those of its own behind it.
    pub(crate) fn add_nic(
        &mut self,
        link: &str,
        node: &str,
        interfaces: &[&str],
        of_server: &[&str],
    ) -> io::Result<()> {
        self.plug(Cable { link, bridge: None, node })?;
        self.add_interfaces(link, interfaces)?;
        self.settle_in(node, link, of_server)
    }

    /// A link to a new node that has these addresses.
    pub(crate) fn add_cable(&mut self, cable: Cable<'_>, interfaces: &[&str]) -> io::Result<()> {
        self.plug(cable)?;
        self.settle_in(cable.node, cable.bridge.unwrap_or(cable.link), interfaces)
    }

    /// The link alone, also to a node that there is already.
    pub(crate) fn plug(&mut self, Cable { link, bridge, node }: Cable<'_>) -> io::Result<()> {
        let index = match self.by_name.get(node) {
            Some(index) => *index,
            None => self.add_node(node)?,
        };
        let [near, far] = [1, 2].map(|end| mac_text(mac(index, end)));
        let master = bridge.map_or(String::new(), |bridge| format!("master {bridge} "));
        self.host().ip(&format!(
            "link add {link} address {near} type veth peer name eth0 address {far} netns {node}\n\
             link set {link} addrgenmode none {master}up\n"
        ))?;
        self.nodes[index].ip("link set lo up\nlink set eth0 addrgenmode none up\n")
    }

    /// A node without a link.
    pub(crate) fn add_unplugged(&mut self, node: &str) -> io::Result<()> {
        self.add_node(node).map(drop)
    }

    /// Addresses of the host on a link, with servers on them.
    pub(crate) fn add_interfaces(&mut self, link: &str, interfaces: &[&str]) -> io::Result<()> {
        for interface in interfaces {
            let address = address_of(interface);
            let family = Family::of(address);
            // One that is only translated to: the host itself does not send with it (RFC 6724, rule 3).
            let is_extra = family == Family::V6 && interface.ends_with("/128");
            let deprecated = if is_extra { " preferred_lft 0" } else { "" };
            self.host().ip(&format!("address add {interface} dev {link}{}{deprecated}\n", nodad(family)))?;
            self.host_addresses.entry((link.to_owned(), family)).or_insert(address);
            self.nodes[0].addresses.push(address);
            self.serve_address(0, address, super::PORT)?;
        }
        Ok(())
    }

    /// Gives a new node its addresses on `eth0`, its way to the host's link `over`, its servers and its capture.
    pub(crate) fn settle_in(&mut self, node: &str, over: &str, interfaces: &[&str]) -> io::Result<()> {
        let index = self.by_name[node];
        for interface in interfaces {
            let address = address_of(interface);
            let family = Family::of(address);
            self.nodes[index].ip(&format!("address add {interface} dev eth0{}\n", nodad(family)))?;
            let is_first = self.nodes[index].addresses.iter().all(|other| Family::of(*other) != family);
            self.nodes[index].addresses.push(address);
            let gateway = self.host_addresses.get(&(over.to_owned(), family)).copied();
            if let Some(gateway) = gateway.filter(|_| is_first) {
                self.nodes[index].ip(&format!("route add default via {gateway}\n"))?;
                self.nodes[index].partners.push(gateway);
                self.nodes[0].partners.push(address);
            }
        }
        let node = &self.nodes[index];
        capture::start(node, &self.journal)?;
        serve(node, &self.journal)?;
        for partner in &node.partners {
            self.wait_for_echo(node, *partner)?;
        }
        Ok(())
    }

    /// Answers on one more port at every address of a node.
    pub(crate) fn serve_port(&self, node: &str, port: u16) -> io::Result<()> {
        let index = self.by_name[node];
        let addresses = &self.nodes[index].addresses;
        addresses.iter().try_for_each(|address| self.serve_address(index, *address, port))
    }

    fn serve_address(&self, node: usize, address: IpAddr, port: u16) -> io::Result<()> {
        let bind =
            || io::Result::Ok((UdpSocket::bind((address, port))?, TcpListener::bind((address, port))?));
        let (udp, tcp) = self.nodes[node]
            .enter(bind)
            .map_err(|error| io::Error::other(format!("serve {address} port {port}: {error}")))?;
        let journal = Arc::clone(&self.journal);
        thread::spawn(move || answer_udp(&udp, node, address, &journal));
        thread::spawn(move || answer_tcp(&tcp));
        Ok(())
    }

    /// An address of the host that a node can talk to whatever is blocked, instead of the one it had.
    pub(crate) fn set_partner(&mut self, node: &str, partner: IpAddr) {
        self.nodes[self.by_name[node]].partners.insert(0, partner);
    }

    /// The hardware address of a node that [`Self::plug`] made a link to.
    pub(crate) fn mac(&self, node: &str) -> [u8; 6] {
        mac(self.by_name[node], 2)
    }
}

fn mac(node: usize, end: u8) -> [u8; 6] {
    [2, 0, 0, 1, u8::try_from(node).expect("a small lab"), end]
}

/// A hardware address as `ip` takes it.
pub(crate) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The address of `192.168.56.10/24`.
fn address_of(interface: &str) -> IpAddr {
    let address = interface.split('/').next().unwrap_or(interface);
    address.parse().unwrap_or_else(|error| panic!("{interface}: {error}"))
}
