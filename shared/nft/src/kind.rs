//! What a name alone says of the object that has it. A script that says otherwise is not ours.

use crate::direction::Direction;
use crate::drops::FLOWS_PER_SET;
use crate::model::{Hook, SetType};
use crate::name::{Allow, ChainName, MapName, SetName};

impl SetName {
    /// What its elements are.
    #[must_use]
    pub const fn kind(&self) -> SetType {
        match self {
            Self::Pods(family, _)
            | Self::ContestedAny(_, family, _)
            | Self::Isolated(family)
            | Self::NodeAddresses(family)
            | Self::BridgePods(family) => SetType::Addresses(*family),
            Self::Blocks(family, _) => SetType::AddressRanges(*family),
            Self::Named(family, _) => SetType::Destinations(*family),
            Self::Contested(_, family, ..) => SetType::AddressPorts(*family),
            Self::Hairpin(family) => SetType::AddressPairs(*family),
            Self::ComputedInterfaces
            | Self::ClaimedInterfaces
            | Self::PodLinks
            | Self::OpenPorts
            | Self::OtherPorts
            | Self::Uplinks
            | Self::PodPorts => SetType::Interfaces,
            Self::SourceChecks(family) | Self::PortAddresses(family) => SetType::SourceChecks(*family),
            Self::PortTargets => SetType::Targets,
            Self::Attended => SetType::TimedFamilies,
            Self::Drops(_, family) => SetType::Drops(*family),
            Self::DropSources(_, family) => SetType::DropSources(*family),
        }
    }
}

impl MapName {
    /// What its keys are.
    #[must_use]
    pub const fn kind(&self) -> SetType {
        match self {
            Self::Dispatch(_, family) => SetType::Addresses(*family),
            Self::Open => SetType::Families,
            Self::Ports(..) => SetType::Ports,
            Self::PortRanges(..) => SetType::PortRanges,
        }
    }

    /// Where it stands in the order of [`ChainName::rank`].
    #[must_use]
    pub const fn rank(&self) -> u8 {
        match self {
            Self::Dispatch(..) | Self::Open => 2,
            Self::Ports(..) | Self::PortRanges(..) => 5,
        }
    }
}

impl SetType {
    /// Returns true if its elements are intervals.
    #[must_use]
    pub const fn is_interval(self) -> bool {
        matches!(self, Self::AddressRanges(_) | Self::AddressPorts(_) | Self::PortRanges)
    }

    /// What is said of it behind `typeof`, a line each.
    #[must_use]
    pub const fn properties(self) -> &'static [&'static str] {
        match self {
            Self::TimedFamilies => &["flags timeout"],
            // The size and the time are those of `drops`: a test compares them.
            Self::Drops(_) | Self::DropSources(_) => &["size 4096", "flags dynamic,timeout", "timeout 1m"],
            _ if self.is_interval() => &["flags interval"],
            _ => &[],
        }
    }

    /// How many elements it may get by packets.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Drops(_) | Self::DropSources(_) => FLOWS_PER_SET,
            _ => 0,
        }
    }

    /// Returns true if a script may say what its elements are.
    #[must_use]
    pub const fn has_elements(self) -> bool {
        !matches!(self, Self::TimedFamilies | Self::Drops(_) | Self::DropSources(_))
    }
}

impl ChainName {
    /// Where the kernel calls it, if it is a base chain.
    #[must_use]
    pub const fn hook(&self) -> Option<Hook> {
        match self {
            Self::Base(Direction::Egress) => Some(Hook::ForwardFirst),
            Self::Base(Direction::Ingress) => Some(Hook::ForwardSecond),
            Self::Entering => Some(Hook::Entering),
            Self::Translated => Some(Hook::Translated),
            Self::Bridged => Some(Hook::Bridged),
            Self::FromPorts => Some(Hook::FromPorts),
            Self::ToPorts => Some(Hook::ToPorts),
            Self::SourceChecks(_)
            | Self::Denied(_)
            | Self::Unkept(..)
            | Self::Portless(..)
            | Self::RuleSet(..)
            | Self::Peers(..)
            | Self::All(..)
            | Self::MidStream
            | Self::Reset
            | Self::Tunnel
            | Self::Frames
            | Self::FramesTo
            | Self::FromPort
            | Self::Neighbours
            | Self::FromPortV6
            | Self::ToPort => None,
        }
    }

    /// Whatever refers to an object has a lower rank than the object, chains and maps alike. So a packet's way ends, and
    /// what goes together is deleted in this order.
    #[must_use]
    pub const fn rank(&self) -> u8 {
        match self {
            Self::Base(_)
            | Self::Entering
            | Self::Translated
            | Self::Bridged
            | Self::FromPorts
            | Self::ToPorts => 0,
            Self::MidStream | Self::Tunnel | Self::Frames | Self::FromPort | Self::ToPort => 1,
            Self::SourceChecks(_) | Self::All(..) | Self::FramesTo | Self::Neighbours => 3,
            Self::RuleSet(..) | Self::FromPortV6 => 4,
            Self::Peers(..) => 6,
            Self::Denied(_) | Self::Reset => 7,
            Self::Unkept(..) => 8,
            Self::Portless(..) => 9,
        }
    }

    /// Returns true if `other` may come back here: a contested address asks the rule sets of its owners one by one.
    #[must_use]
    pub const fn may_jump_to(&self, other: &Self) -> bool {
        matches!((self, other), (Self::All(..), Self::RuleSet(_, _, Allow::Return)))
    }
}
