//! Asks the agent: one line there, one line back, and all of it within one time limit.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flock_shared::cni::{Answer, Call, LONGEST_LINE, NetworkName, Request};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// How often it is looked whether an agent listens by now.
const LOOK: Duration = Duration::from_millis(20);
/// To see once more who is there when the time is up.
const LEAST: Duration = Duration::from_millis(1);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("{}: {source}", socket.display())]
    Absent {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// So many wait already that it was no turn in time.
    #[error("the agent takes no more connections")]
    Crowded,
    /// The answer did not come in time.
    #[error("no answer of the agent in time")]
    Late,
    /// The connection broke.
    #[error("the agent gave no answer: {0}")]
    Broken(io::Error),
    /// What came is no answer.
    #[error("the agent gave no answer that can be understood")]
    Garbled,
    /// It would be longer than any line.
    #[error("the question is longer than {LONGEST_LINE} bytes")]
    Long,
}

impl AskError {
    /// Returns true if the next call would fare the same.
    #[must_use]
    pub const fn is_certain(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }
}

/// The time that is left.
#[derive(Debug, Clone, Copy)]
struct Deadline(Instant);

impl Deadline {
    fn left(self) -> Result<Duration, AskError> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(AskError::Late) } else { Ok(left) }
    }
}

/// Asks the agent that listens at `socket`; connecting counts as part of the time. A pod that starts waits for an agent that
/// has never listened there: the node has just started, and without the agent has no rules. An agent that has left its
/// socket has left its rules, too, and is not waited for.
///
/// # Errors
/// Why there is no answer.
pub fn ask(
    socket: &Path,
    call: Call,
    network: Option<NetworkName>,
    within: Duration,
) -> Result<Answer, AskError> {
    let deadline = Deadline(Instant::now() + within);
    let is_patient = matches!(call, Call::Add(_));
    let mut stream = connected(socket, deadline, is_patient)?;
    // After connecting, which may have taken most of the time.
    let within_ms = u32::try_from(deadline.left()?.as_millis()).unwrap_or(u32::MAX);
    let mut line =
        serde_json::to_vec(&Request { call, network, within_ms }).map_err(|_| AskError::Garbled)?;
    line.push(b'\n');
    if line.len() > LONGEST_LINE {
        return Err(AskError::Long);
    }
    send(&mut stream, &line, deadline)?;
    serde_json::from_slice(&receive(&mut stream, deadline)?).map_err(|_| AskError::Garbled)
}

fn connected(path: &Path, deadline: Deadline, is_patient: bool) -> Result<UnixStream, AskError> {
    let absent =
        |errno: rustix::io::Errno| AskError::Absent { socket: path.to_owned(), source: errno.into() };
    let address = SocketAddrUnix::new(path).map_err(absent)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|errno| AskError::Broken(errno.into()))?;
    loop {
        // The limit of sending is that of connecting, too: where more wait than the agent has room for, the kernel lets
        // each in as soon as another one has gone.
        let left = deadline.left().unwrap_or(LEAST);
        set_socket_timeout(&socket, Timeout::Send, Some(left))
            .map_err(|errno| AskError::Broken(errno.into()))?;
        match connect(&socket, &address) {
            Ok(()) => return Ok(UnixStream::from(socket)),
            Err(rustix::io::Errno::INTR) => {
                deadline.left()?;
            }
            Err(rustix::io::Errno::AGAIN) => return Err(AskError::Crowded),
            Err(errno @ rustix::io::Errno::NOENT) if is_patient => {
                let left = deadline.left().map_err(|_| absent(errno))?;
                std::thread::sleep(left.min(LOOK));
            }
            Err(errno) => return Err(absent(errno)),
        }
    }
}

fn send(stream: &mut UnixStream, mut line: &[u8], deadline: Deadline) -> Result<(), AskError> {
    while !line.is_empty() {
        stream.set_write_timeout(Some(deadline.left()?)).map_err(AskError::Broken)?;
        match stream.write(line) {
            Ok(0) => return Err(AskError::Broken(io::ErrorKind::WriteZero.into())),
            Ok(sent) => line = line.get(sent..).unwrap_or_default(),
            Err(error) => again(error)?,
        }
    }
    Ok(())
}

/// All that comes up to the end of the line, or of the connection.
fn receive(stream: &mut UnixStream, deadline: Deadline) -> Result<Vec<u8>, AskError> {
    let mut line = Vec::new();
    let mut part = [0; 4096];
    loop {
        stream.set_read_timeout(Some(deadline.left()?)).map_err(AskError::Broken)?;
        let read = match stream.read(&mut part) {
            Ok(0) if line.is_empty() => return Err(AskError::Broken(io::ErrorKind::UnexpectedEof.into())),
            // A connection that ends may have said all. Whether that is an answer, its JSON tells.
            Ok(0) => return Ok(line),
            Ok(read) => part.get(..read).unwrap_or_default(),
            Err(error) => {
                again(error)?;
                continue;
            }
        };
        if let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            line.extend_from_slice(read.get(..end).unwrap_or_default());
            return Ok(line);
        }
        line.extend_from_slice(read);
        if line.len() > LONGEST_LINE {
            return Err(AskError::Garbled);
        }
    }
}

/// Whether to go on after an error: a signal is none.
fn again(error: io::Error) -> Result<(), AskError> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(AskError::Late),
        _ => Err(AskError::Broken(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use flock_shared::cni::Reach;

    /// Far longer than any test takes.
    const AGES: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    fn ask(socket: &Path, call: Call, within: Duration) -> Result<Answer, AskError> {
        super::ask(socket, call, NetworkName::new("pods").ok(), within)
    }

    /// Asks an agent that does `serve` with the first connection.
    fn asked(
        call: Call,
        within: Duration,
        serve: impl FnOnce(UnixStream) + Send + 'static,
    ) -> Result<Answer, AskError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let agent = thread::spawn(move || serve(listener.accept().unwrap().0));
        let answer = ask(&path, call, within);
        agent.join().unwrap();
        answer
    }

    fn line_of(stream: &UnixStream) -> String {
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(stream), &mut line).unwrap();
        line
    }

    #[test]
    fn one_line_there_and_one_back() {
        let answer = asked(Call::Status, AGES, |mut stream| {
            let request: Request = serde_json::from_str(&line_of(&stream)).unwrap();
            assert_eq!((request.call, request.network), (Call::Status, NetworkName::new("pods").ok()));
            assert!((1..=60_000).contains(&request.within_ms));
            // In parts, without an end of line.
            for part in [r#"{"done":{"#, r#""reach":"node"}}"#] {
                stream.write_all(part.as_bytes()).unwrap();
            }
        });
        let expected = Answer::Done { reach: Reach::Node, behind: vec![] };
        assert_eq!(answer.unwrap(), expected);
    }

    #[test]
    fn a_long_list_of_what_stays_goes_through() {
        let ids: Vec<_> = (0..2_000)
            .map(|number| flock_shared::cni::SandboxId::new(&format!("{number:064}")).unwrap())
            .collect();
        let answer = asked(Call::Gc(ids), AGES, |mut stream| {
            let request: Request = serde_json::from_str(&line_of(&stream)).unwrap();
            let Call::Gc(ids) = request.call else { panic!("{request:?}") };
            assert_eq!(ids.len(), 2_000);
            stream.write_all(b"{\"failed\":\"no\"}\nand more").unwrap();
        });
        assert_eq!(answer.unwrap(), Answer::Failed("no".to_owned()));
    }

    #[test]
    fn nobody_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let gone = ask(&folder.path().join("s"), Call::Status, AGES).unwrap_err();
        assert!(gone.is_certain(), "{gone}");
        let path = folder.path().join("dead");
        drop(UnixListener::bind(&path).unwrap());
        let refused = ask(&path, Call::Status, AGES).unwrap_err();
        assert!(
            matches!(&refused, AskError::Absent { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused)
        );
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(ask(&folder.path().join("file"), Call::Status, AGES).unwrap_err().is_certain());
    }

    #[test]
    fn a_pod_that_starts_waits_for_the_first_agent_of_the_node() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let add = Call::Add(flock_shared::cni::Sandbox {
            id: flock_shared::cni::SandboxId::new("3fa9").unwrap(),
            pod: flock_shared::PodKey::new("shop", "web-0").unwrap(),
            uid: None,
            addresses: vec!["10.1.0.5".parse().unwrap()],
            interface: None,
        });
        let nobody = ask(&path, add.clone(), SHORT).unwrap_err();
        assert!(nobody.is_certain(), "{nobody}");
        let pod = thread::spawn({
            let path = path.clone();
            move || ask(&path, add, AGES)
        });
        // It has been there for a while.
        thread::sleep(SHORT);
        assert!(!pod.is_finished());
        // As agents do it: nobody finds it before it listens.
        let beside = folder.path().join("s.new");
        let listener = UnixListener::bind(&beside).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        line_of(&stream);
        stream.write_all(b"{\"failed\":\"no compiler\"}\n").unwrap();
        assert_eq!(pod.join().unwrap().unwrap(), Answer::Failed("no compiler".to_owned()));
    }

    #[test]
    fn an_agent_that_says_nothing_is_late() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        assert!(matches!(ask(&path, Call::Status, SHORT), Err(AskError::Late)));
    }

    #[test]
    fn an_agent_that_dribbles_is_late() {
        let answer = asked(Call::Status, SHORT, |mut stream| {
            // Until the plugin has gone.
            while stream.write_all(b" ").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        });
        assert!(matches!(answer, Err(AskError::Late)), "{answer:?}");
    }

    #[test]
    fn an_agent_with_no_room_left_is_crowded_and_lets_in_who_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let address = SocketAddrUnix::new(&path).unwrap();
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&socket, &address).unwrap();
        rustix::net::listen(&socket, 0).unwrap();
        let listener = UnixListener::from(socket);
        let waiting = UnixStream::connect(&path).unwrap();
        assert!(matches!(ask(&path, Call::Status, SHORT), Err(AskError::Crowded)));
        let agent = thread::spawn(move || {
            thread::sleep(SHORT);
            let (_waiting, _) = listener.accept().unwrap();
            // Who has gone meanwhile says nothing.
            while let Ok((mut stream, _)) = listener.accept() {
                if !line_of(&stream).is_empty() {
                    return stream.write_all(b"{\"refused\":\"no\"}\n").unwrap();
                }
            }
        });
        let answer = ask(&path, Call::Status, AGES);
        drop(waiting);
        assert_eq!(answer.unwrap(), Answer::Refused("no".to_owned()));
        agent.join().unwrap();
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for said in [&b"no\n"[..], b"\n", b"{\"done\":{}}\n", b"\xff\n"] {
            let answer = asked(Call::Status, AGES, move |mut stream| {
                // Who answers before it was asked may be gone before that.
                line_of(&stream);
                stream.write_all(said).unwrap();
            });
            assert!(matches!(answer, Err(AskError::Garbled)), "{answer:?}");
        }
        let nothing = asked(Call::Status, AGES, |stream| drop(line_of(&stream)));
        assert!(matches!(nothing, Err(AskError::Broken(_))), "{nothing:?}");
        let endless =
            asked(Call::Status, AGES, |mut stream| while stream.write_all(&[b' '; 4096]).is_ok() {});
        assert!(matches!(endless, Err(AskError::Garbled)), "{endless:?}");
        let long = (0..3_000).map(|_| flock_shared::cni::SandboxId::new(&"a".repeat(128)).unwrap());
        let long = asked(Call::Gc(long.collect()), AGES, |_| {});
        assert!(matches!(long, Err(AskError::Long)), "{long:?}");
    }
}
