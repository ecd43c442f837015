//! What a link of the node is, as far as the kernel tells.

use std::path::Path;

/// What a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// A bridge, which many pods hang on.
    Bridge,
    /// A device, or a part of one.
    Device,
    /// Something that the kernel made: a pair of interfaces, for one.
    Virtual,
    /// It cannot be told.
    Unknown,
}

/// What the link of this name is by the kernel's folders of links, usually `/sys/class/net`.
#[must_use]
pub fn look(folder: &Path, name: &str) -> Link {
    // A name with a slash is no link's and would lead elsewhere.
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return Link::Unknown;
    }
    let link = folder.join(name);
    let has = |part: &str| link.join(part).symlink_metadata().is_ok();
    if !has("ifindex") {
        Link::Unknown
    } else if has("bridge") {
        Link::Bridge
    } else if has("device") {
        Link::Device
    } else {
        Link::Virtual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_folders_tell() {
        let folder = tempfile::tempdir().unwrap();
        for part in ["cni0/bridge", "veth1", "eth0/device", "odd"] {
            std::fs::create_dir_all(folder.path().join(part)).unwrap();
        }
        for name in ["cni0", "veth1", "eth0"] {
            std::fs::write(folder.path().join(name).join("ifindex"), "7\n").unwrap();
        }
        let look = |name: &str| look(folder.path(), name);
        assert_eq!([look("cni0"), look("veth1"), look("eth0")], [Link::Bridge, Link::Virtual, Link::Device]);
        for name in ["odd", "gone", "", "..", "../veth1"] {
            assert_eq!(look(name), Link::Unknown, "{name}");
        }
    }
}
