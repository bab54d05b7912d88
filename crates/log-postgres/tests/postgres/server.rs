//! A private PostgreSQL server.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio_postgres::{Client, NoTls};

const SCRIPT: &str = include_str!("server.sh");
const MISSING: &str = "PostgreSQL's server is not installed: run `make services`, which `make test` does too, \
                       or on Debian: sudo apt-get install postgresql";

/// Runs as long as it is held, or this process lives.
pub(crate) struct Server {
    dir: String,
    script: Mutex<Option<Script>>,
    process: Child,
    databases: AtomicU64,
}

struct Script {
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

/// The server of all tests in this process that leave it alone.
pub(crate) fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| Server::start(&[]))
}

/// Where the programs of the newest version are.
fn programs() -> PathBuf {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = debian
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    found.sort();
    let elsewhere = std::env::var_os("PATH").unwrap_or_default();
    let places = found.into_iter().rev().map(|(_, path)| path).chain(std::env::split_paths(&elsewhere));
    let found = places.into_iter().find(|place| place.join("initdb").exists());
    found.expect(MISSING)
}

impl Server {
    /// Starts one with settings of its own.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let root = fs::metadata("/proc/self").expect("Linux").uid() == 0;
        let mut command = if root { Command::new("runuser") } else { Command::new("sh") };
        if root {
            // PostgreSQL refuses to run as root.
            command.args(["-u", "postgres", "--", "sh"]);
        }
        command.args(["-c", SCRIPT, "server.sh"]).arg(programs()).args(settings);
        command.args(["max_connections=200", "shared_buffers=32MB"]);
        // A signal to the tests must not reach it: it ends by itself after them.
        command
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = command.spawn().expect("a shell");
        let mut script = Script {
            ask: process.stdin.take().expect("a pipe"),
            answer: BufReader::new(process.stdout.take().expect("a pipe")),
        };
        let dir = script.line();
        let server = Self { dir, script: Mutex::new(Some(script)), process, databases: AtomicU64::new(0) };
        assert!(server.socket().exists(), "the server did not start: {}", server.said());
        server
    }

    /// Ends it at once, as a crash does, or starts it again.
    pub(crate) fn order(&self, order: Order) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let script = script.as_mut().expect("a running script");
        let word = match order {
            Order::Crash => "crash",
            Order::Start => "start",
        };
        writeln!(script.ask, "{word}").expect("a running script");
        assert_eq!(script.line(), "done", "{}", self.said());
    }

    /// What it and its programs wrote.
    fn said(&self) -> String {
        fs::read_to_string(Path::new(&self.dir).join("log")).unwrap_or_default()
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        Path::new(&self.dir).join(".s.PGSQL.5432")
    }

    /// The address of a database.
    pub(crate) fn address(&self, database: &str) -> String {
        format!("host={} user=postgres dbname={database}", self.dir)
    }

    /// The name of an empty database.
    pub(crate) async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let admin = self.client("postgres").await;
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database");
        name
    }

    /// A connection of the test's own.
    pub(crate) async fn client(&self, database: &str) -> Client {
        let (client, connection) =
            tokio_postgres::connect(&self.address(database), NoTls).await.expect("a running server");
        tokio::spawn(connection);
        client
    }
}

/// What a server is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    Crash,
    Start,
}

impl Script {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answer.read_line(&mut line).expect("a running script");
        line.trim_end().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input ends the script.
        drop(self.script.lock().unwrap_or_else(PoisonError::into_inner).take());
        // What it left is its own to tell.
        let _ = self.process.wait();
    }
}
