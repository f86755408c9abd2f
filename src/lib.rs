//! isoplan plans, proves and applies network isolation on a container host.
//!
//! A pure core turns a [`topology`] into an [`intent`], an [`approach`] turns that into desired state, and a
//! [`diff`] against the live state becomes a [`plan`]. Only the shell around it reads or writes the kernel.
//! `docs/architecture.md` has the map.
//!
//! # A tour
//!
//! A file is read whole, with every mistake in it at once. What it means is asked for by pair:
//!
//! ```
//! use isoplan::intent::{Intent, IpFamily, Party, Way};
//!
//! let file = r#"
//!     [[bridge]]
//!     name = "docker0"
//!     subnets = ["172.17.0.0/16"]
//!
//!     [[nic]]
//!     name = "eth0"
//!     role = "service"
//!     subnets = ["192.168.56.0/24"]
//!
//!     [[nic]]
//!     name = "eth1"
//!     role = "storage"
//!     subnets = ["192.168.57.0/24"]
//! "#;
//! let topology = isoplan::topology::parse("topology.toml", file.as_bytes())?;
//! let intent = Intent::new(&topology);
//! let (docker0, eth0, eth1) = (Party::Network(0), Party::Nic(0), Party::Nic(1));
//! assert_eq!(intent.way(docker0, eth0, IpFamily::V4), Some(Way::Open));
//! assert_eq!(intent.way(docker0, eth1, IpFamily::V4), Some(Way::Blocked));
//!
//! let mistaken = file.replace("eth1", "eth0");
//! let refused = isoplan::topology::parse("topology.toml", mistaken.as_bytes()).unwrap_err();
//! assert!(refused.render(false, 80).contains("eth0"));
//! # Ok::<(), isoplan::topology::Refused>(())
//! ```
//!
//! Rendered, it is a file that `nft -f` takes:
//!
//! ```
//! # use isoplan::intent::Intent;
//! # let file = "[[bridge]]\nname = \"docker0\"\n[[nic]]\nname = \"eth0\"\nrole = \"service\"\n\
//! #     subnets = [\"10.1.0.0/24\"]\n[[nic]]\nname = \"eth1\"\nrole = \"storage\"\nsubnets = [\"10.2.0.0/24\"]\n";
//! # let topology = isoplan::topology::parse("topology.toml", file.as_bytes())?;
//! let rules = isoplan::render::nft::file(&Intent::new(&topology))?;
//! assert!(rules.contains("table inet isoplan"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A plan compares it with what a host has: a [`diff::LiveState`], read by [`live::read`] on this host, or from what
//! `isoplan snapshot` saved on another one ([`saved::Snapshot`]). A host without anything of isoplan's:
//!
//! ```
//! # use isoplan::intent::Intent;
//! use isoplan::diff::LiveState;
//! use isoplan::plan::Plan;
//! # let file = "[[bridge]]\nname = \"docker0\"\n[[nic]]\nname = \"eth0\"\nrole = \"service\"\n\
//! #     subnets = [\"10.1.0.0/24\"]\n[[nic]]\nname = \"eth1\"\nrole = \"storage\"\nsubnets = [\"10.2.0.0/24\"]\n";
//! # let topology = isoplan::topology::parse("topology.toml", file.as_bytes())?;
//!
//! let bare = LiveState::default();
//! let plan = Plan::new(&topology, &bare);
//! for change in &plan.diff.changes {
//!     println!("{} {} {}: {}", change.action.sign(), change.kind.as_str(), change.name, change.why);
//! }
//! assert!(!plan.diff.is_empty());
//!
//! // A snapshot that another version wrote, or that was cut short, is refused.
//! assert!(isoplan::saved::Snapshot::from_bytes(b"{}").is_err());
//! # Ok::<(), isoplan::topology::Refused>(())
//! ```
//!
//! Two files compared, meaning first, as text or as Markdown for a pull request:
//!
//! ```
//! # use isoplan::intent::Intent;
//! # let file = "[[bridge]]\nname = \"docker0\"\n[[nic]]\nname = \"eth0\"\nrole = \"service\"\n\
//! #     subnets = [\"10.1.0.0/24\"]\n[[nic]]\nname = \"eth1\"\nrole = \"storage\"\nsubnets = [\"10.2.0.0/24\"]\n";
//! use isoplan::meaning::{Comparison, WayChange};
//!
//! let new = file.replace("\"docker0\"\n", "\"docker0\"\nreach = [\"service\", \"storage\"]\n");
//! let old = isoplan::topology::parse("topology.toml", file.as_bytes())?;
//! let new = isoplan::topology::parse("topology.toml", new.as_bytes())?;
//! let comparison = Comparison::new(&Intent::new(&old), &Intent::new(&new));
//! assert!(comparison.meaning.ways.iter().any(WayChange::opens));
//! let markdown = isoplan::render::review::diff(&comparison, &old, &new, false);
//! assert!(markdown.contains("**opens ways of "));
//! # Ok::<(), isoplan::topology::Refused>(())
//! ```
//!
//! The programs in `examples/` do the same with files.
//!
//! # What is stable
//!
//! Until 1.0 a minor version may change anything here; a patch version changes no signature of the modules that are
//! shown. What the command line promises (the topology file, exit codes, JSON) is in the changelog. Modules that are
//! not shown (`cli`, `lab`, `apply` and others) are public for the program and its tests; any version may change
//! them.

#[doc(hidden)]
pub mod apply;
pub mod approach;
#[doc(hidden)]
pub mod boot;
#[doc(hidden)]
pub mod cli;
pub mod diff;
#[doc(hidden)]
pub mod draft;
#[doc(hidden)]
pub mod error;
pub mod flows;
pub mod host;
#[doc(hidden)]
pub mod install;
pub mod intent;
#[doc(hidden)]
pub mod lab;
pub mod live;
pub mod meaning;
#[doc(hidden)]
pub mod netlink;
pub mod plan;
pub mod render;
#[doc(hidden)]
pub mod risks;
pub mod ruleset;
pub mod saved;
#[doc(hidden)]
pub mod schema;
#[doc(hidden)]
pub mod status;
pub mod topology;
#[doc(hidden)]
pub mod verify;
#[doc(hidden)]
pub mod vigil;
#[doc(hidden)]
pub mod watch;
