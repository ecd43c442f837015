//! UDP sockets inside pods, for what single probes cannot say.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use flock_lab::{Pod, patient};

/// Until something that is on its way is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A socket in a pod that waits for [`PATIENCE`]. Port 0 is the kernel's choice.
pub(crate) fn udp(pod: &Pod, address: IpAddr, port: u16) -> UdpSocket {
    let socket = pod.enter(|| UdpSocket::bind((address, port))).unwrap().unwrap();
    socket.set_read_timeout(Some(patient(PATIENCE))).unwrap();
    socket
}

/// The next datagram, or what the network says. A wait with a time limit may be interrupted without any signal's
/// doing; it begins anew then.
pub(crate) fn receive(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 4096];
    loop {
        match socket.recv(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => return received.map(|length| buffer[..length].to_vec()),
        }
    }
}
