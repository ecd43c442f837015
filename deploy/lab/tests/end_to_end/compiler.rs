//! `flock-compiler serve` as a process: where it listens, its admin port, its end and its return.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use crate::support::process::Process;
use crate::support::programs::{COMPILER, program};
use crate::support::wait::PATIENCE;

/// A compiler that serves.
pub(crate) struct Compiler {
    pub(crate) process: Process,
    source: Vec<String>,
    directory: PathBuf,
    listen: SocketAddr,
    admin: SocketAddr,
}

impl Compiler {
    /// Starts it on free ports. `source` is `--manifests DIR` or `--kubeconfig FILE`, with options; logs go into
    /// `directory`.
    pub(crate) fn start<'a>(source: impl IntoIterator<Item = &'a str>, directory: &Path) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_at(source, any, any, directory)
    }

    /// The same at addresses that are known before.
    pub(crate) fn start_at<'a>(
        source: impl IntoIterator<Item = &'a str>,
        listen: SocketAddr,
        admin: SocketAddr,
        directory: &Path,
    ) -> Self {
        let source: Vec<String> = source.into_iter().map(str::to_owned).collect();
        let mut process = serve(&source, listen, admin, directory);
        let line = process.line(" listening ");
        let address = |name: &str| {
            let field = line.split_whitespace().find_map(|field| field.strip_prefix(name));
            field.unwrap_or_else(|| panic!("{name} in {line:?}")).parse().unwrap()
        };
        let (listen, admin) = (address("listen="), address("admin="));
        Self { process, source, directory: directory.to_owned(), listen, admin }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again where it listened before.
    pub(crate) fn restart(&mut self) {
        self.process = serve(&self.source, self.listen, self.admin, &self.directory);
        self.process.line(" listening ");
    }

    /// Where agents and flockctl reach it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Where its admin port is.
    pub(crate) const fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Status and body of a page of the admin port.
    pub(crate) fn admin(&self, path: &str) -> (u16, String) {
        get(self.admin, path)
    }

    /// The value of a series of `/metrics`, given with its labels; `None` if there is none.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let (status, body) = self.admin("/metrics");
        assert_eq!(status, 200);
        let value = body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }
}

/// Status and body of a page that is served in plain text.
pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn serve(source: &[String], listen: SocketAddr, admin: SocketAddr, directory: &Path) -> Process {
    let mut command = program(COMPILER);
    command.arg("serve").args(source);
    command.args(["--listen", &listen.to_string(), "--admin-listen", &admin.to_string()]);
    Process::start(command, directory)
}
